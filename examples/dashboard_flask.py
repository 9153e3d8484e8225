r"""A dashboard behind the guard, with the address of the service in `.env`.

Start the service (`make serve`). Put where it is into a file `.env` in the working directory:

    AUTH_URL=http://127.0.0.1:4000

Then start this file in another terminal. It listens on port 8000, and needs `flask` and `python-dotenv`.

    .venv/bin/python examples/dashboard_flask.py

In a third terminal register, log in, look at the dashboard, log out, and look again:

    $ curl -s http://127.0.0.1:4000/register -H 'Content-Type: application/json' -o /dev/null \
        -d '{"username": "grace", "password": "plum-orbit-canvas"}'

    $ TOKEN=$(curl -s http://127.0.0.1:4000/login -H 'Content-Type: application/json' \
        -d '{"username": "grace", "password": "plum-orbit-canvas"}' | sed 's/{"access_token":"\([^"]*\)".*/\1/')

    $ curl -s http://127.0.0.1:8000/dashboard | grep -o '"code":.*"'
    "code":"token_missing"

    $ curl -s http://127.0.0.1:8000/dashboard -H "Authorization: Bearer $TOKEN"
    {"message":"Welcome to your dashboard.","roles":[],"user":"01a1f7a0-ad3d-72f2-aa04-709828f888db"}

    $ curl -s -X POST http://127.0.0.1:4000/logout -H "Authorization: Bearer $TOKEN"

    $ sleep 1; curl -s http://127.0.0.1:8000/dashboard -H "Authorization: Bearer $TOKEN" | grep -o '"code":.*"'
    "code":"token_revoked"
"""

from __future__ import annotations

import os
from typing import Any

from dotenv import load_dotenv
from flask import Flask

from watchword.guard import Guard
from watchword.guard.flask import FlaskGuard, current_caller

load_dotenv(".env")
AUTH_URL = os.environ.get("AUTH_URL", "http://127.0.0.1:4000")
PORT = int(os.environ.get("PORT", "8000"))

auth = FlaskGuard(Guard(AUTH_URL))
app = Flask(__name__)


@app.get("/")
def home() -> dict[str, str]:
    """For everybody."""
    return {"message": "Log in and see /dashboard."}


@app.get("/dashboard")
@auth.required()
def dashboard() -> dict[str, Any]:
    """For those who are logged in."""
    return {
        "message": "Welcome to your dashboard.",
        "user": current_caller.user_id,
        "roles": sorted(current_caller.roles),
    }


if __name__ == "__main__":
    auth.guard.start()  # now and not with the first request
    app.run(port=PORT)
