"""For the tests of APIs behind a guard: an issuer in memory, with a clock that can be moved. No network, no service.

    def test_admins_may_delete(watchword_issuer):
        app = make_app(guard=watchword_issuer.guard())
        token = watchword_issuer.token(roles=["admin"])
        assert delete(app, "/posts/1", headers={"Authorization": f"Bearer {token}"}) == 204

The tokens are real ones, and so is the guard: signatures, times, revocations, roles and scopes are checked as in
production. Only where keys and revocations come from is different.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import WeakSet

from watchword.clock import FixedClock
from watchword.guard.caller import Caller
from watchword.guard.guard import LEEWAY, Guard
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
        """The guard that it asks."""


class Issuer:
    """Mints access tokens, and revokes them.

    :param issuer: what it is called in `iss`.
    :param audience: the audience of tokens and guards that name none.
    :param algorithm: what it signs with.
    :param clock: stands still until it is moved (`issuer.clock.advance(seconds)`).
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
        self._guards: WeakSet[Guard] = WeakSet()

    def guard(self, audience: str | None = None, *, leeway: int = LEEWAY) -> Guard:
        """A guard that is ready, trusts this issuer, and knows at once what it revokes."""
        made = Guard.offline(
            self.issuer,
            audience=audience or self.audience,
            keys=KeySet(self._keys),
            revocations=self._revocations,
            algorithms=(self._algorithm,),
            leeway=leeway,
            clock=self.clock,
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
        **claims: Any,
    ) -> str:
        """A genuine access token.

        :param user_id: a new one if not given; so is `session_id`.
        :param expires_in: seconds from now; negative: expired that long ago.
        :param auth_time: when the user logged in, seconds since 1970; now if not given.
        :param claims: further claims, or other values for the usual ones; `...` leaves a claim out, also one that no
            genuine token is without (`exp=...`).
        """
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
            "auth_time": now if auth_time is None else auth_time,
            "amr": ["pwd"],
        }
        payload.update(claims)
        kept = {name: value for name, value in payload.items() if value is not ...}
        # What every token has to have may be missing here: that, too, is to be tested.
        return sign_access_unchecked(kept, self._signing)

    def expired_token(self, user_id: str | None = None, **given: Any) -> str:
        """A token that was good once and expired a second ago; takes what `token` takes."""
        return self.token(user_id, **({"expires_in": -1} | given))

    def forged_token(self, user_id: str | None = None, **given: Any) -> str:
        """A token with the right claims and key id that another signed."""
        parts = self.token(user_id, **given).split(".")
        other = Issuer(self.issuer, audience=self.audience, algorithm=self._algorithm, clock=self.clock)
        return ".".join([*parts[:2], other.token(user_id, **given).split(".")[2]])

    def headers(self, user_id: str | None = None, **given: Any) -> dict[str, str]:
        """The header that a client sends, with a new token; takes what `token` takes."""
        return {"Authorization": f"Bearer {self.token(user_id, **given)}"}

    def caller(self, user_id: str | None = None, **given: Any) -> Caller:
        """What a guard yields for such a token: for code that is given a caller; takes what `token` takes."""
        return self.guard().verify(self.token(user_id, **given))

    @contextmanager
    def trusted_by(self, guard: Guard | HasGuard) -> Iterator[Guard]:
        """For a while, let a guard that the application already has trust this issuer, and nothing else.

        So a test needs no application of its own: `with watchword_issuer.trusted_by(auth): client.get(…)`.

        :param guard: or an adapter that has one as `guard`.
        """
        changed = guard if isinstance(guard, Guard) else guard.guard
        with changed.standing_in(self.guard()):
            yield changed

    def revoke_session(self, session_id: str) -> None:
        """As a log-out does: the session's tokens are refused from now on."""
        self._revocations.add("session", session_id, 0, self.clock.now() + LIFE)

    def revoke_user(self, user_id: str) -> None:
        """As a password reset does: every token that the user has is refused; one that is minted later is good."""
        self._versions[user_id] = version = self._versions.get(user_id, 1) + 1
        self._revocations.add("user", user_id, version, NEVER)

    def revoke_key(self) -> None:
        """As in an emergency: everything signed with the current key is refused, and a new one signs from now on."""
        revoked = self._signing.kid
        self._revocations.add("key", revoked, 0, NEVER)
        self._keys = [key for key in self._keys if key.kid != revoked]
        self.rotate_key()

    def rotate_key(self) -> None:
        """A new key signs from now on; what the old ones signed stays good."""
        self._signing = SigningKey.generate(self._algorithm)
        self._keys.append(self._signing.verification_key)
        for made in list(self._guards):
            made.use_keys(KeySet(self._keys))


def _fixture() -> Callable[..., Any]:
    """The pytest fixture, where there is pytest: these may be the tests of any project."""
    try:
        import pytest
    except ImportError:
        return _provide

    return pytest.fixture(name="watchword_issuer")(_provide)


def _provide() -> Iterator[Issuer]:
    """An `Issuer` of this test's own."""
    yield Issuer()


watchword_issuer = _fixture()
