"""Protects any Python API with the tokens of a Watchword service: offline, revoked within a second.

    guard = Guard("https://auth.example")
    caller = guard.check(request.headers.get("Authorization"), scopes={"orders:read"})

An adapter is a file of its framework's name.
"""

from watchword.guard.bearer import Authorization
from watchword.guard.caller import Caller
from watchword.guard.guard import Guard
from watchword.guard.local import Local
from watchword.guard.places import AccessCookie, FirstMessage, OtherHeader, Subprotocol
from watchword.guard.refusals import Refusal, Unready
from watchword.guard.requirement import Requirement
from watchword.guard.several import SeveralIssuers
from watchword.tokens.legacy import Legacy

__all__ = [
    "AccessCookie",
    "Authorization",
    "Caller",
    "FirstMessage",
    "Guard",
    "Legacy",
    "Local",
    "OtherHeader",
    "Refusal",
    "Requirement",
    "SeveralIssuers",
    "Subprotocol",
    "Unready",
]
