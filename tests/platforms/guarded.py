"""An API's side, as a program: `guarded.py ISSUER TOKEN` accepts the token, refuses another one, and stops."""

from __future__ import annotations

import sys

from watchword.errors import TokenError
from watchword.guard import Guard

issuer, token = sys.argv[1:]
guard = Guard(issuer)
assert guard.wait_until_ready(30)
print("accepted" if guard.check(f"Bearer {token}").session_id else "?")
head, claims, signature = token.split(".")
try:
    guard.check(f"Bearer {head}.{claims}.{signature[::-1]}")
except TokenError:
    print("refused")
guard.stop()
print("stopped")
