"""The guard: what an API asks about each request. Offline; the fast path has no lock, no await and no I/O."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from watchword.clock import Clock, SystemClock
from watchword.errors import TokenError, WatchwordError
from watchword.guard import bearer
from watchword.guard.bearer import Authorization
from watchword.guard.caller import Caller
from watchword.guard.following.events import Events, OnEvent
from watchword.guard.following.follow import Following, follow
from watchword.guard.following.follower import ServiceFollower
from watchword.guard.following.waiting import WAIT, Pending
from watchword.guard.local import Local, LocalVerifier
from watchword.guard.options import THE_ISSUER, check_kinds
from watchword.guard.refusals import Refusal, refusal_of
from watchword.guard.requirement import Names, Requirement, checked_names, names
from watchword.guard.seen import Basis, SeenCallers
from watchword.guard.slips import EVERYONE
from watchword.guard.standing import StalePolicy, Standing, not_ready
from watchword.tokens import compact
from watchword.tokens.algorithms import ALGORITHMS as ALL_ALGORITHMS
from watchword.tokens.keys import KeySet, VerificationKey
from watchword.tokens.revocations import RevocationSet
from watchword.tokens.verify import Policy, Verifier

if TYPE_CHECKING:
    from ssl import SSLContext
else:
    SSLContext = object  # it is loaded late; FastAPI can read this signature, and refuses it

ALGORITHMS: Final = ("ES256", "RS256", "PS256", "EdDSA", "Ed25519")
LEEWAY: Final = 5
"""Seconds by which a machine's clock may be behind the service's, as it often is by one."""
_NONE: Final[frozenset[str]] = frozenset()
Needs = tuple[frozenset[str], frozenset[str], int | None]
"""Roles, scopes, and how many seconds ago the user may have logged in."""
Judging = Generator[Pending, None, Caller]


class Guard:
    """Protects an API with the tokens of one Watchword service. One object per application; threads may share it.

    :param issuer: the service's public URL, byte for byte as in `iss`.
    :param audience: what this API is called in `aud`; the issuer if not given, as in the service's own default.
    :param url: where the service is reached from here, if not under its public URL.
    :param guard_key: what `watchword guards create` printed; needed for the feed beyond loopback.
    :param algorithms: the only signature algorithms accepted.
    :param leeway: seconds by which a token may begin in the future, 0 to 60. Its end is never forgiven.
    :param revocations: whether to follow the revocation feed. Without it a token is good until it expires.
    :param max_stale: seconds without news (at least 15) after which `stale` applies.
    :param stale: `open`: go on, warn; `closed`: refuse everything with 503 until there is news.
    :param allow_private_networks: whether the service's name may lead to an address that is not public. It usually
        does: guards and service mostly live in one private network.
    :param plain_http: whether `url` may be plain http beyond this machine, in a private network where nothing else
        can listen or answer. Keys and revocations could be forged there, so a warning is logged once.
    :param tls: for certificates that the system does not know. They are always checked.
    :param on_event: called with a name and fields on `ready`, `keys_changed`, `keys_failed`, `feed_failed`,
        `feed_stale`, `feed_recovered`, `clock_behind`, from any thread.
    :raises TypeError: a value of the wrong kind.
    :raises ValueError: a value that is not usable; the message says which.
    """

    def __init__(
        self,
        issuer: str,
        *,
        audience: str = THE_ISSUER,
        url: str | None = None,
        guard_key: str | None = None,
        algorithms: Collection[str] = ALGORITHMS,
        leeway: int = LEEWAY,
        revocations: bool = True,
        max_stale: float = 30.0,
        stale: StalePolicy = "open",
        allow_private_networks: bool = True,
        plain_http: bool = False,
        tls: SSLContext | None = None,
        clock: Clock | None = None,
        on_event: OnEvent | None = None,
    ) -> None:
        audience = issuer if audience is THE_ISSUER else audience
        check_kinds(issuer=issuer, audience=audience, algorithms=algorithms, leeway=leeway, clock=clock)
        policy = Policy(issuer, audience, tuple(algorithms), leeway=leeway)
        if ALL_ALGORITHMS[policy.algorithms[0]].symmetric:
            raise ValueError("guard: for a shared secret use Guard.shared_secret")
        verifier = Verifier(policy, KeySet(), cache_size=0)  # what it found is remembered with the caller
        standing, clock = Standing(verifier), clock or SystemClock()
        options = Following(url, guard_key, max_stale, stale, allow_private_networks, plain_http, tls, on_event)
        follower = follow(standing, issuer, options, clock=clock, keys_of=verifier, revocations=revocations)
        self._begin(issuer, audience, standing, clock, follower, on_event)

    @classmethod
    def shared_secret(
        cls,
        issuer: str,
        *,
        audience: str = THE_ISSUER,
        secret: bytes,
        url: str | None = None,
        guard_key: str | None = None,
        leeway: int = LEEWAY,
        revocations: bool = True,
        max_stale: float = 30.0,
        stale: StalePolicy = "open",
        allow_private_networks: bool = True,
        plain_http: bool = False,
        tls: SSLContext | None = None,
        clock: Clock | None = None,
        on_event: OnEvent | None = None,
    ) -> Guard:
        """A guard for tokens signed with a shared secret (HS256).

        **Anyone who can verify can forge**: every API that holds this secret can make itself a token of any user for
        every other API. Prefer the default, where a guard needs no secret at all.

        :param secret: at least 32 bytes, and none that tutorials use.
        :raises InvalidKey: a secret that is not usable.
        """
        audience = issuer if audience is THE_ISSUER else audience
        check_kinds(issuer=issuer, audience=audience, leeway=leeway, clock=clock)
        key = VerificationKey.shared_secret(secret)
        verifier = Verifier(Policy(issuer, audience, ("HS256",), leeway=leeway), KeySet([key]), cache_size=0)
        standing, clock = Standing(verifier), clock or SystemClock()
        options = Following(url, guard_key, max_stale, stale, allow_private_networks, plain_http, tls, on_event)
        follower = follow(standing, issuer, options, clock=clock, keys_of=None, revocations=revocations)
        return cls._made(issuer, audience, standing, clock, follower, on_event)

    @classmethod
    def local(cls, service: Local, *, issuer: str = "", audience: str = "", clock: Clock | None = None) -> Guard:
        """A guard in the process of the service itself: no network, no threads, always up to date.

        :param issuer: the service's public URL, for the addresses in problem documents and of the token endpoint.
        """
        return cls._made(issuer, audience, Standing(LocalVerifier(service)), clock or SystemClock(), None)

    @classmethod
    def offline(
        cls,
        issuer: str,
        *,
        audience: str = THE_ISSUER,
        keys: KeySet,
        revocations: RevocationSet | None = None,
        algorithms: Collection[str] = ALGORITHMS,
        leeway: int = LEEWAY,
        clock: Clock | None = None,
    ) -> Guard:
        """A guard with keys (and a list) that someone else keeps: for tests, and where there is no network."""
        audience = issuer if audience is THE_ISSUER else audience
        check_kinds(issuer=issuer, audience=audience, algorithms=algorithms, leeway=leeway, clock=clock)
        verifier = Verifier(Policy(issuer, audience, tuple(algorithms), leeway=leeway), keys, cache_size=0)
        return cls._made(issuer, audience, Standing(verifier, revocations), clock or SystemClock(), None)

    def use_keys(self, keys: KeySet) -> None:
        """Replace the keys of an `offline` guard. :raises TypeError: any other guard keeps its keys itself."""
        verifier = self._standing.verifier
        if self._follower is not None or not isinstance(verifier, Verifier):
            raise TypeError("only an offline guard is given its keys")
        self._standing.verifier = verifier.with_keys(keys)

    # Checking -------------------------------------------------------------------------------------------------------

    def check(
        self,
        authorization: Authorization,
        *,
        roles: Names = _NONE,
        scopes: Names = _NONE,
        max_age: int | None = None,
    ) -> Caller:
        """Who sends a request with this Authorization header.

        May block this thread, for two seconds at most, in the first moments of the process or when a token names a
        key that is just being fetched; otherwise it does no I/O.

        :param authorization: the header's value, or all values if there may be several, or None; str or bytes.
        :param roles: each of which the user must have: several, or one text with spaces in between.
        :param scopes: each of which the token must have, likewise.
        :param max_age: seconds that may have passed since the user logged in (RFC 9470).
        :raises TokenError: 401 or 403, by its code. :raises Refused: 400. :raises Unready: 503.
        """
        needs = names(roles), names(scopes), max_age
        caller = self._by_header.recall(authorization, *needs)
        return caller or _blocking(self._judge_header(authorization, needs))

    async def check_async(
        self,
        authorization: Authorization,
        *,
        roles: Names = _NONE,
        scopes: Names = _NONE,
        max_age: int | None = None,
    ) -> Caller:
        """As `check`, but waits without blocking the event loop (asyncio)."""
        needs = names(roles), names(scopes), max_age
        caller = self._by_header.recall(authorization, *needs)
        return caller or await _awaiting(self._judge_header(authorization, needs))

    def verify(
        self,
        token: str,
        *,
        roles: Names = _NONE,
        scopes: Names = _NONE,
        max_age: int | None = None,
    ) -> Caller:
        """As `check`, for a bare token."""
        needs = names(roles), names(scopes), max_age
        caller = self._by_token.recall(token, *needs)
        return caller or _blocking(self._judge(token, token, self._by_token, needs))

    async def verify_async(
        self,
        token: str,
        *,
        roles: Names = _NONE,
        scopes: Names = _NONE,
        max_age: int | None = None,
    ) -> Caller:
        """As `verify`, but waits without blocking the event loop (asyncio)."""
        needs = names(roles), names(scopes), max_age
        caller = self._by_token.recall(token, *needs)
        return caller or await _awaiting(self._judge(token, token, self._by_token, needs))

    def require(self, *, scopes: Names = EVERYONE, roles: Names = EVERYONE, max_age: int | None = None) -> Requirement:
        """What a route needs, as an object that adapters hold. Without arguments: any valid token."""
        return Requirement(self, checked_names(scopes, "scopes"), checked_names(roles, "roles"), max_age)

    def refusal(self, error: WatchwordError, *, scopes: Iterable[str] = (), max_age: int | None = None) -> Refusal:
        """The answer for an error that a check raised: status, headers, body.

        :param scopes: the scopes that the check asked for, for the challenge.
        :param max_age: the age that the check asked for, for the challenge.
        """
        return refusal_of(error, issuer=self.issuer, scopes=scopes, max_age=max_age)

    # Life -----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to fetch keys and revocations, in the background. The first check does it too, but has to wait."""
        if self._follower is not None:
            self._follower.start()

    def stop(self) -> None:
        """End the background threads; the end of the process or of the guard does it too. A check starts new ones."""
        if self._follower is not None:
            self._follower.stop()

    def wait_until_ready(self, seconds: float = 10.0) -> bool:
        """Start, and block until there are keys and a complete list, or for so long. Whether there are.

        If not, `why_not_ready` says why, and so does a warning in the log.
        """
        if self._follower is None or self._follower.wait_until_ready(seconds):
            return True
        self._events.emit("not_ready", service=self._follower.service.url, reason=self.why_not_ready)
        return False

    @property
    def why_not_ready(self) -> str | None:
        """Why requests cannot be judged yet, for the operator; None where they can."""
        return None if self._follower is None else self._follower.why_not_ready()

    @property
    def ready(self) -> bool:
        """Whether requests can be judged: for the application's own readiness check."""
        return self._follower is None or self._follower.ready

    def feed_age(self) -> float | None:
        """Seconds since the service read its database for the list at hand; None where no list is followed (yet)."""
        return None if self._follower is None else self._follower.feed_age()

    @contextmanager
    def standing_in(self, other: Guard) -> Iterator[None]:
        """Judge as another guard does, for a while: for tests of what holds this guard already."""
        mine = self._inside()
        self._judge_by(*other._inside())
        try:
            yield
        finally:
            self._judge_by(*mine)

    # The inside -----------------------------------------------------------------------------------------------------

    @classmethod
    def _made(cls, *parts: Any) -> Guard:
        guard = cls.__new__(cls)
        guard._begin(*parts)  # noqa: SLF001  this is a constructor too
        return guard

    def _begin(
        self,
        issuer: str,
        audience: str,
        standing: Standing,
        clock: Clock,
        follower: ServiceFollower | None,
        on_event: OnEvent | None = None,
    ) -> None:
        self.issuer = issuer
        self.audience = audience
        self._events = Events(on_event)
        self._too_early = 0
        self._standing = standing
        # Two, because a bare token in place of a header is refused, and the other way round.
        self._by_header, self._by_token = SeenCallers(standing, clock), SeenCallers(standing, clock)
        self.check_needs = self._by_header.check_needs
        self.recall = self._by_header.recall  # for `Requirement`, one call nearer
        self._follower = follower
        if follower is None:
            standing.settle()
        else:
            # Runs when the guard goes away and when the process ends; the follower itself knows no guard.
            weakref.finalize(self, follower.stop)

    def _inside(self) -> tuple[str, str, Standing, ServiceFollower | None, Basis]:
        return self.issuer, self.audience, self._standing, self._follower, self._by_header.basis

    def _judge_by(
        self, issuer: str, audience: str, standing: Standing, follower: ServiceFollower | None, by: Basis
    ) -> None:
        self.issuer, self.audience, self._standing, self._follower = issuer, audience, standing, follower
        for seen in (self._by_header, self._by_token):
            seen.judge_by(by)

    def _judge_header(self, authorization: Authorization, needs: Needs) -> Judging:
        token = bearer.likely_token(authorization)
        try:
            return (yield from self._judge(authorization, token, self._by_header, needs))
        except TokenError as error:
            if error.code == "token_malformed":
                bearer.check_form(token)
            raise

    def _judge(self, shown: Authorization, token: str, seen: SeenCallers, needs: Needs) -> Judging:
        """Check a token in full. Yields what has to be waited for first, in whatever way the caller waits."""
        standing = self._standing
        if not standing.settled(seen.now()):
            pending = self._attend()
            if pending is not None:
                yield pending
                if self._attend(waited=True) is not None:
                    raise not_ready()
        verifier = standing.verifier
        try:
            return seen.verify(shown, token, *needs)
        except TokenError as error:
            pending = self._worth_waiting(error, token, verifier)
            if pending is None:
                self._tell_of_early(error, verifier)
                raise
        yield pending
        return seen.verify(shown, token, *needs)

    def _attend(self, *, waited: bool = False) -> Pending | None:
        assert self._follower is not None, "only a guard that follows something is ever unsettled"
        return self._follower.attend(waited=waited)

    def _tell_of_early(self, error: TokenError, verifier: object) -> None:
        """A genuine token that is not valid yet shows that two clocks differ, of which one is this machine's."""
        if error.early_by and isinstance(verifier, Verifier):
            self._too_early += 1
            leeway = verifier.policy.leeway
            self._events.emit("clock_behind", seconds=error.early_by, leeway=leeway, failures=self._too_early)

    def _worth_waiting(self, error: TokenError, token: str, verifier: object) -> Pending | None:
        """What to wait for before a token is refused: only for one that could be good under keys not yet known."""
        if error.code != "token_invalid" or self._follower is None or not isinstance(verifier, Verifier):
            return None
        return self._follower.ask_for_key() if _names_unknown_key(token, verifier) else None


def _blocking(judging: Judging) -> Caller:
    try:
        while True:
            next(judging).wait(WAIT)
    except StopIteration as end:
        caller: Caller = end.value
        return caller


async def _awaiting(judging: Judging) -> Caller:
    try:
        while True:
            await next(judging).wait_async(WAIT)
    except StopIteration as end:
        caller: Caller = end.value
        return caller


def _names_unknown_key(token: str, verifier: Verifier) -> bool:
    try:
        header = compact.read_header(compact.split(token).header)
        kid = compact.header_kid(header, own=True)
    except TokenError:
        return False
    return kid is not None and header.get("alg") in verifier.policy.algorithms and kid not in verifier.key_set
