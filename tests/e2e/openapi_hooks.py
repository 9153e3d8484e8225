"""What `schemathesis` is told: how to show credentials, since it ends sessions and closes accounts, and one exception.

The program loads it, as `SCHEMATHESIS_HOOKS` says. It reads `ACCOUNTS` (names of administrators), `PASSWORD` and
`GUARD_KEY` from the environment.
"""

from __future__ import annotations

import os
from collections import deque
from typing import Any

import httpx2
import schemathesis


@schemathesis.auth()
class Credentials:
    """Logs in again after each 401, as the next administrator where the last one is not there any more."""

    def __init__(self) -> None:
        self.names = deque(os.environ["ACCOUNTS"].split())

    def get(self, case: schemathesis.Case, context: schemathesis.AuthContext) -> str:
        """Return an access token."""
        url = f"{case.operation.base_url.rstrip('/')}/login"
        while True:
            body = {"username": self.names[0], "password": os.environ["PASSWORD"]}
            answer = httpx2.post(url, json=body, timeout=120)
            if answer.status_code == httpx2.codes.OK:
                return str(answer.json()["access_token"])
            self.names.popleft()

    def set(self, case: schemathesis.Case, data: str, context: schemathesis.AuthContext) -> None:
        """Show what the operation asks for."""
        asked: list[dict[str, Any]] = case.operation.definition.raw["security"]
        of_guards = any("guard_key" in each for each in asked)
        case.headers["Authorization"] = f"Bearer {os.environ['GUARD_KEY'] if of_guards else data}"


@schemathesis.hook
def filter_failure(
    context: schemathesis.HookContext,
    failure: Exception,
    case: schemathesis.Case,
    response: object,
) -> bool:
    """Let `/verify` answer every method as GET: a proxy passes on that of the request that it asks about."""
    return not (case.operation.path == "/verify" and type(failure).__name__ == "UnsupportedMethodResponse")
