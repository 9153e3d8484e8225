"""For tests of guarded APIs: an issuer in memory with a movable clock.

    def test_admins_may_delete(watchword_issuer):
        app = make_app(guard=watchword_issuer.guard())
        token = watchword_issuer.token(roles=["admin"])
        assert delete(app, "/posts/1", headers={"Authorization": f"Bearer {token}"}) == 204

Tokens and guard are real; only the source of keys and revocations differs.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import WeakSet

from watchword.claim_names import alike, fault_of
from watchword.clock import FixedClock
from watchword.guard.caller import Caller
from watchword.guard.guard import LEEWAY, Guard
from watchword.guard.places import TokensFrom
from watchword.tokens.keys import KeySet, SigningKey
from watchword.tokens.revocations import NEVER, RevocationSet
from watchword.tokens.sign import sign_access_unchecked

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FixedClock", "Issuer", "watchword_issuer"]

ISSUER: Final = "https://auth.test"
AUDIENCE: Final = "api"
LIFE: Final = 900


class HasGuard(Protocol):
    """An adapter, such as `FastAPIGuard`."""

    @property
    def guard(self) -> Guard:
        """The adapter's guard."""


class Issuer:
    """Mints and revokes access tokens.

    :param issuer: the `iss` claim.
    :param audience: default for tokens and guards.
    :param clock: moved by `issuer.clock.advance(seconds)`.
    """

    def __init__(
        self,
        issuer: str = ISSUER,
        *,
        audience: str = AUDIENCE,
        algorithm: str = "ES256",
        clock: FixedClock | None = None,
    ) -> None:
        self.issuer = issuer
        self.audience = audience
        self.clock = clock or FixedClock()
        self._algorithm = algorithm
        self._signing = SigningKey.generate(algorithm)
        self._keys = [self._signing.verification_key]
        self._revocations = RevocationSet()
        self._versions: dict[str, int] = {}
        self._rights = 1
        self._guards: WeakSet[Guard] = WeakSet()
        self._own_guard: Guard | None = None

    def guard(self, audience: str | None = None, *, leeway: int = LEEWAY, tokens_from: TokensFrom = None) -> Guard:
        """Return a guard that trusts this issuer.

        :param tokens_from: as of `Guard`.
        """
        made = Guard.offline(
            self.issuer,
            audience=audience or self.audience,
            keys=KeySet(self._keys),
            revocations=self._revocations,
            algorithms=(self._algorithm,),
            leeway=leeway,
            clock=self.clock,
            tokens_from=tokens_from,
        )
        self._guards.add(made)
        return made

    def token(
        self,
        user_id: str | None = None,
        *,
        roles: Iterable[str] = (),
        scopes: Iterable[str] = (),
        audience: str | None = None,
        session_id: str | None = None,
        expires_in: int = LIFE,
        auth_time: int | None = None,
        claims: Mapping[str, Any] | None = None,
        **changed: Any,
    ) -> str:
        """Return a genuine access token.

        :param user_id: random if None, as is `session_id`.
        :param expires_in: seconds from now; negative for an expired token.
        :param auth_time: of the log-in, seconds since 1970; now if None.
        :param claims: the service's own, such as `{"tenant": "acme"}`, which `Caller.claim` reads.
        :param changed: claims of the protocol with other values; `...` omits a claim (`exp=...`).
        :raises ValueError: a name in `claims` that the service would refuse.
        """
        for name in claims or ():
            if fault := fault_of(name):
                raise ValueError(f"{name!a} {fault}")
        if other := alike(claims or ()):
            raise ValueError(f"{other!a} is there twice, but for capitals")
        now = self.clock.now()
        user_id = user_id or str(uuid.uuid4())
        payload: dict[str, Any] = {
            "iss": self.issuer,
            "sub": user_id,
            "aud": audience or self.audience,
            "exp": now + expires_in,
            "iat": now + min(expires_in, 0) - (LIFE if expires_in <= 0 else 0),
            "jti": secrets.token_urlsafe(16),
            "client_id": "watchword",
            "sid": session_id or str(uuid.uuid4()),
            "scope": " ".join(scopes),
            "roles": list(roles),
            "ver": self._versions.get(user_id, 1),
            "rver": self._rights,
            "auth_time": now if auth_time is None else auth_time,
            "amr": ["pwd"],
        }
        payload.update(claims or {})
        payload.update(changed)
        kept = {name: value for name, value in payload.items() if value is not ...}
        # Tests need tokens without required claims.
        return sign_access_unchecked(kept, self._signing)

    def expired_token(self, user_id: str | None = None, **given: Any) -> str:
        """Return a token that expired a second ago; see `token`."""
        return self.token(user_id, **({"expires_in": -1} | given))

    def forged_token(self, user_id: str | None = None, **given: Any) -> str:
        """Return a token with another key's signature; see `token`."""
        parts = self.token(user_id, **given).split(".")
        other = Issuer(self.issuer, audience=self.audience, algorithm=self._algorithm, clock=self.clock)
        return ".".join([*parts[:2], other.token(user_id, **given).split(".")[2]])

    def headers(self, user_id: str | None = None, **given: Any) -> dict[str, str]:
        """Return the request header with a new token; see `token`."""
        return {"Authorization": f"Bearer {self.token(user_id, **given)}"}

    def caller(self, user_id: str | None = None, **given: Any) -> Caller:
        """Return the guard's caller for a new token; see `token`."""
        if self._own_guard is None:
            self._own_guard = self.guard()  # held, so that its callers can be watched
        return self._own_guard.verify(self.token(user_id, **given))

    @contextmanager
    def trusted_by(self, guard: Guard | HasGuard) -> Iterator[Guard]:
        """Let an application's guard trust only this issuer for a while.

        with watchword_issuer.trusted_by(auth):
            client.get(…)
        """
        changed = guard if isinstance(guard, Guard) else guard.guard
        with changed.standing_in(self.guard()):
            yield changed

    def revoke_session(self, session_id: str) -> None:
        """Refuse the session's tokens, as a log-out does."""
        self._revocations.add("session", session_id, 0, self.clock.now() + LIFE)

    def revoke_user(self, user_id: str) -> None:
        """Refuse the user's tokens, as a password reset does. Later ones are good."""
        self._versions[user_id] = version = self._versions.get(user_id, 1) + 1
        self._revocations.add("user", user_id, version, NEVER)

    def revoke_scope(self, scope: str) -> None:
        """Refuse tokens that have a scope, as when a role loses it. Later ones are good."""
        self._rights += 1
        self._revocations.add("scope", scope, self._rights, self.clock.now() + LIFE)

    def revoke_key(self) -> None:
        """Refuse what the current key signed, as in an emergency; sign with a new one."""
        revoked = self._signing.kid
        self._revocations.add("key", revoked, 0, NEVER)
        self._keys = [key for key in self._keys if key.kid != revoked]
        self.rotate_key()

    def rotate_key(self) -> None:
        """Sign with a new key; what the old ones signed stays good."""
        self._signing = SigningKey.generate(self._algorithm)
        self._keys.append(self._signing.verification_key)
        for made in list(self._guards):
            made.use_keys(KeySet(self._keys))


def _fixture() -> Callable[..., Any]:
    """Return a pytest fixture, or without pytest a generator."""
    try:
        import pytest
    except ImportError:
        return _provide

    return pytest.fixture(name="watchword_issuer")(_provide)


def _provide() -> Iterator[Issuer]:
    """Yield an `Issuer` for this test."""
    yield Issuer()


watchword_issuer = _fixture()
