"""The kernel: one struct, no container. `watchword.opening` builds it; features take from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Event
from typing import Protocol

from watchword.clock import Clock
from watchword.identity.feed import RevocationLog
from watchword.identity.guard_keys import GuardKeys
from watchword.identity.hashing import Hasher
from watchword.identity.issuing import TokenIssuer
from watchword.identity.keys.master import Master
from watchword.identity.keys.ring import Keys
from watchword.identity.login import LogIn
from watchword.identity.revocation import Revocations
from watchword.identity.sessions.sessions import Sessions
from watchword.identity.throttle import Throttle
from watchword.identity.users import Users
from watchword.identity.verifying import AccessVerifier
from watchword.settings import Settings
from watchword.storage.database import Database
from watchword.storage.ephemeral import Ephemeral


class HintedPolls(Protocol):
    """Hints between processes that something was revoked."""

    def tell(self) -> None:
        """Hint to the others soon. Waits for nothing and raises nothing."""
        ...

    async def wait(self, seconds: float) -> None:
        """Return at a hint, or after these seconds."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """Everything that knows users and their sessions."""

    settings: Settings
    clock: Clock
    database: Database
    master: Master
    ephemeral: Ephemeral
    hasher: Hasher
    keys: Keys
    issuer: TokenIssuer
    verifier: AccessVerifier
    revocations: Revocations
    feed: RevocationLog
    guard_keys: GuardKeys
    throttle: Throttle
    users: Users
    sessions: Sessions
    login: LogIn
    hints: HintedPolls | None = None
    stopping: Event = field(default_factory=Event)  # set when the process is asked to end
