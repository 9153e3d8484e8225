r"""An application that carries the service inside itself: one process, one command, nothing else to run.

It needs `watchword[server]`, `fastapi` and `uvicorn`, listens on port 8000, and keeps users and keys in
`watchword-data/` in the working directory, as `make serve` does: users of one are users of the other. Its own routes
check tokens without a network.

    .venv/bin/python examples/embedded_fastapi.py

Then, in another terminal:

    $ curl -s http://127.0.0.1:8000/auth/register -H 'Content-Type: application/json' -o /dev/null \
        -d '{"username": "barbara", "password": "plum-orbit-canvas"}'

    $ TOKEN=$(curl -s http://127.0.0.1:8000/auth/login -H 'Content-Type: application/json' \
        -d '{"username": "barbara", "password": "plum-orbit-canvas"}' | sed 's/{"access_token":"\([^"]*\)".*/\1/')

    $ curl -s http://127.0.0.1:8000/hello -H "Authorization: Bearer $TOKEN"
    {"hello":"01a1f7a0-ad3d-72f2-aa04-709828f888db"}

    $ curl -s -X POST http://127.0.0.1:8000/auth/logout -H "Authorization: Bearer $TOKEN"

    $ curl -s http://127.0.0.1:8000/hello -H "Authorization: Bearer $TOKEN" -o /dev/null -w '%{http_code}\n'
    401

Logging out counts at once: the application and the service share their list. http://127.0.0.1:8000/docs has the
application's routes and an Authorize button, http://127.0.0.1:8000/auth/docs has those of the service.
"""

from __future__ import annotations

import os
from typing import Annotated

import uvicorn
from fastapi import FastAPI

from watchword import Settings, Watchword
from watchword.guard import Caller, Guard
from watchword.guard.fastapi import FastAPIGuard

PORT = int(os.environ.get("PORT", "8000"))

service = Watchword(Settings(public_url=f"http://127.0.0.1:{PORT}/auth"))
auth = FastAPIGuard(Guard.local(service, issuer=service.settings.public_url))

app = FastAPI(title="Embedded", lifespan=service.lifespan)
app.mount("/auth", service)


@app.get("/hello")
async def hello(caller: Annotated[Caller, auth.required()]) -> dict[str, str]:
    """For those who are logged in."""
    return {"hello": caller.user_id}


if __name__ == "__main__":
    uvicorn.run(app, port=PORT)
