"""Protects any Python API with the tokens of a Watchword service: offline, revoked within a second.

    guard = Guard("https://auth.example")
    caller = guard.check(request.headers.get("Authorization"), scopes={"orders:read"})

An adapter is a file of its framework's name.
"""

from watchword.guard.bearer import Authorization
from watchword.guard.caller import Caller
from watchword.guard.guard import Guard
from watchword.guard.local import Local
from watchword.guard.refusals import Refusal, Unready
from watchword.guard.requirement import Requirement

__all__ = ["Authorization", "Caller", "Guard", "Local", "Refusal", "Requirement", "Unready"]
