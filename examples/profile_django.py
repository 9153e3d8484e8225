r"""Django in one file, with everything under /api behind the guard, and one view for admins.

Start the service (`make serve`), and in another terminal this file, which listens on port 8000 and needs `django`:

    .venv/bin/python examples/profile_django.py

Then, in a third terminal:

    $ curl -s http://127.0.0.1:4000/register -H 'Content-Type: application/json' -o /dev/null \
        -d '{"username": "edsger", "password": "plum-orbit-canvas"}'

    $ TOKEN=$(curl -s http://127.0.0.1:4000/login -H 'Content-Type: application/json' \
        -d '{"username": "edsger", "password": "plum-orbit-canvas"}' | sed 's/{"access_token":"\([^"]*\)".*/\1/')

    $ curl -s http://127.0.0.1:8000/api/profile -H "Authorization: Bearer $TOKEN"
    {"user": "01a1f7a0-ad3d-72f2-aa04-709828f888db", "roles": [], "scopes": []}

    $ curl -s http://127.0.0.1:8000/api/profile -o /dev/null -w '%{http_code}\n'
    401

    $ curl -s http://127.0.0.1:8000/api/statistics -H "Authorization: Bearer $TOKEN" -o /dev/null -w '%{http_code}\n'
    403

    $ curl -s -X POST http://127.0.0.1:4000/logout -H "Authorization: Bearer $TOKEN"

    $ sleep 1; curl -s http://127.0.0.1:8000/api/profile -H "Authorization: Bearer $TOKEN" | grep -o '"code":.*"'
    "code":"token_revoked"

`.venv/bin/watchword users roles edsger --add admin`, where the service runs or with `--data-dir`, makes
an admin, who sees /api/statistics from the next log-in on. The token held now is refused from then on.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections import Counter

from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpRequest, JsonResponse
from django.urls import path

AUTH_URL = os.environ.get("AUTH_URL", "http://127.0.0.1:4000")
PORT = int(os.environ.get("PORT", "8000"))

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    SECRET_KEY=secrets.token_urlsafe(),  # of this run: nothing here is signed with it
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["watchword.guard.django.GuardMiddleware"],
    WATCHWORD_GUARD={"issuer": AUTH_URL, "protect": ["/api"]},
)

from watchword.guard.django import get_guard, guarded  # noqa: E402  the settings had to be there first

visits: Counter[str] = Counter()


def home(request: HttpRequest) -> JsonResponse:
    """For everybody."""
    return JsonResponse({"message": "Log in and see /api/profile."})


def profile(request: HttpRequest) -> JsonResponse:
    """For those who are logged in, as the middleware sees to."""
    caller = request.caller
    visits[caller.user_id] += 1
    return JsonResponse({"user": caller.user_id, "roles": sorted(caller.roles), "scopes": sorted(caller.scopes)})


@guarded(roles="admin")
def statistics(request: HttpRequest) -> JsonResponse:
    """For admins only."""
    return JsonResponse({"visits": visits.total(), "users": len(visits)})


urlpatterns = [path("", home), path("api/profile", profile), path("api/statistics", statistics)]

if __name__ == "__main__":
    get_guard().start()  # now and not with the first request
    execute_from_command_line([sys.argv[0], "runserver", "--noreload", f"127.0.0.1:{PORT}"])
