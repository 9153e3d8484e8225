"""Answers an API's question about each request. The fast path has no lock, no await and no I/O."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Unpack

from watchword.clock import Clock, SystemClock
from watchword.errors import WatchwordError
from watchword.guard.asked import NONE, Names, checked_age, checked_names, needs_of
from watchword.guard.bearer import Authorization
from watchword.guard.caller import Caller
from watchword.guard.following.events import Events, OnEvent
from watchword.guard.following.follow import follow
from watchword.guard.following.follower import ServiceFollower
from watchword.guard.judging import Basis, Judge, awaiting, blocking
from watchword.guard.local import Local, LocalVerifier
from watchword.guard.marks import EVERYONE
from watchword.guard.options import THE_ISSUER, AllOptions, Options, checked
from watchword.guard.refusals import Refusal, refusal_of
from watchword.guard.requirement import Requirement
from watchword.guard.standing import StalePolicy, Standing
from watchword.tokens.algorithms import ALGORITHMS as ALL_ALGORITHMS
from watchword.tokens.keys import KeySet, VerificationKey
from watchword.tokens.needs import Needs
from watchword.tokens.revocations import RevocationSet
from watchword.tokens.verify import Policy, Verifier

if TYPE_CHECKING:
    from ssl import SSLContext
else:
    SSLContext = object  # it is loaded late; FastAPI can read this signature, and refuses it

ALGORITHMS: Final = ("ES256", "RS256", "PS256", "EdDSA", "Ed25519")
LEEWAY: Final = 5
"""Seconds by which a machine's clock may be behind the service's, as it often is by one."""


class Guard:
    """Protects an API with the tokens of one Watchword service. One object per application; threads may share it.

    :param issuer: the service's public URL, byte for byte as in `iss`.
    :param audience: what this API is called in `aud`; the issuer if not given, as in the service's own default.
    :param url: where the service is reached from here, if not under its public URL.
    :param guard_key: what `watchword guards create` printed; needed for the feed beyond loopback.
    :param algorithms: the only signature algorithms accepted.
    :param leeway: seconds by which a token may begin in the future, 0 to 60. Its end is never forgiven.
    :param revocations: whether to follow the revocation feed. Without it a token is good until it expires.
    :param max_stale: seconds without news (15 to 86,400) after which `stale` applies.
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
        self._follow(
            AllOptions(
                issuer=issuer, audience=audience, url=url, guard_key=guard_key, algorithms=algorithms, leeway=leeway,
                revocations=revocations, max_stale=max_stale, stale=stale, plain_http=plain_http, tls=tls, clock=clock,
                allow_private_networks=allow_private_networks, on_event=on_event,
            )
        )  # fmt: skip

    @classmethod
    def shared_secret(cls, issuer: str, *, secret: bytes, **options: Unpack[Options]) -> Guard:
        """Make a guard for tokens signed with a shared secret (HS256). It takes the other options of `Guard` too.

        **Anyone who can verify can forge**: every API that has this secret can make itself a token of any user for
        every other API. Prefer the default, where a guard needs no secret at all.

        :param secret: at least 32 bytes, and none that tutorials use.
        :raises InvalidKey: a secret that is not usable.
        """
        if "algorithms" in options:
            raise TypeError("guard: with a shared secret algorithms are not chosen: it is HS256")
        defaults: AllOptions = Guard.__init__.__kwdefaults__  # type: ignore[assignment]
        guard = cls.__new__(cls)
        key = VerificationKey.shared_secret(secret)
        guard._follow(  # noqa: SLF001  this is a constructor too
            {**defaults, **options, "issuer": issuer, "algorithms": ("HS256",)}, key
        )
        return guard

    @classmethod
    def local(cls, service: Local, *, issuer: str = "", audience: str = "", clock: Clock | None = None) -> Guard:
        """Make a guard in the process of the service itself: no network, no threads, always up to date.

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
        """Make a guard with keys (and a list) that someone else keeps: for tests, and without a network."""
        options = checked(
            AllOptions(issuer=issuer, audience=audience, algorithms=algorithms, leeway=leeway, clock=clock)
        )
        verifier = Verifier(_policy(options), keys, cache_size=0)
        return cls._made(issuer, options["audience"], Standing(verifier, revocations), clock or SystemClock(), None)

    def use_keys(self, keys: KeySet) -> None:
        """Replace the keys of an `offline` guard. :raises TypeError: any other guard keeps its keys itself."""
        standing = self._judge.standing
        verifier = standing.verifier
        if self._follower is not None or not isinstance(verifier, Verifier):
            raise TypeError("only an offline guard is given its keys")
        standing.verifier = verifier.with_keys(keys)

    # Checking -------------------------------------------------------------------------------------------------------

    def check(
        self,
        authorization: Authorization,
        *,
        roles: Names = NONE,
        scopes: Names = NONE,
        max_age: int | None = None,
    ) -> Caller:
        """Return who sends a request with this Authorization header, or raise why it is refused.

        It may block this thread for two seconds: in the first moments of the process, after a pause of it, or when a
        token names a key that is being fetched. Otherwise it does no I/O.

        :param authorization: the header's value, or all values if there may be several, or None; str or bytes.
        :param roles: each of which the user must have: several, or one text with spaces in between.
        :param scopes: each of which the token must have, likewise.
        :param max_age: seconds that may have passed since the user logged in (RFC 9470).
        :raises TokenError: 401 or 403, by its code. :raises Refused: 400. :raises Unready: 503.
        """
        needs = needs_of(roles, scopes, max_age)
        return self.recall(authorization, needs) or blocking(self._judge.header(authorization, needs))

    async def check_async(
        self,
        authorization: Authorization,
        *,
        roles: Names = NONE,
        scopes: Names = NONE,
        max_age: int | None = None,
    ) -> Caller:
        """Do as `check`, without blocking the event loop (asyncio)."""
        needs = needs_of(roles, scopes, max_age)
        return self.recall(authorization, needs) or await awaiting(self._judge.header(authorization, needs))

    def verify(
        self,
        token: str,
        *,
        roles: Names = NONE,
        scopes: Names = NONE,
        max_age: int | None = None,
    ) -> Caller:
        """Do as `check`, for a bare token."""
        needs = needs_of(roles, scopes, max_age)
        return self._recall_token(token, needs) or blocking(self._judge.token(token, needs))

    async def verify_async(
        self,
        token: str,
        *,
        roles: Names = NONE,
        scopes: Names = NONE,
        max_age: int | None = None,
    ) -> Caller:
        """Do as `verify`, without blocking the event loop (asyncio)."""
        needs = needs_of(roles, scopes, max_age)
        return self._recall_token(token, needs) or await awaiting(self._judge.token(token, needs))

    def require(self, *, scopes: Names = EVERYONE, roles: Names = EVERYONE, max_age: int | None = None) -> Requirement:
        """Return what a route needs, as one object for adapters. Without arguments: any valid token."""
        asked = Needs(checked_names(roles, "roles"), checked_names(scopes, "scopes"), checked_age(max_age))
        return Requirement(self, asked)

    def refusal(self, error: WatchwordError, *, scopes: Iterable[str] = (), max_age: int | None = None) -> Refusal:
        """Return the answer for an error that a check raised: status, headers, body.

        :param scopes: the scopes that the check asked for, for the challenge.
        :param max_age: the age that the check asked for, for the challenge.
        """
        return refusal_of(error, issuer=self.issuer, scopes=scopes, max_age=max_age)

    # Life -----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to fetch keys and revocations in the background. The first check does it too, but has to wait."""
        if self._follower is not None:
            self._follower.start()

    def stop(self) -> None:
        """End the background threads, as the end of the process or of the guard does. A check starts new ones."""
        if self._follower is not None:
            self._follower.stop()

    def wait_until_ready(self, seconds: float = 10.0) -> bool:
        """Start, and block until there are keys and a complete list, or for so long. Return whether there are.

        If not, `why_not_ready` says why, and so does a warning in the log.
        """
        if self._follower is None or self._follower.wait_until_ready(seconds):
            return True
        self._events.emit("not_ready", service=self._follower.service.url, reason=self.why_not_ready)
        return False

    @property
    def why_not_ready(self) -> str | None:
        """Return why requests cannot be judged yet, for the operator; None where they can."""
        return None if self._follower is None else self._follower.why_not_ready()

    @property
    def ready(self) -> bool:
        """Return whether requests can be judged: for the application's own readiness check."""
        return self._follower is None or self._follower.ready

    def feed_age(self) -> float | None:
        """Return the seconds since the service read its database for the list in force; None without a list."""
        return None if self._follower is None else self._follower.feed_age()

    @contextmanager
    def standing_in(self, other: Guard) -> Iterator[None]:
        """Judge as another guard does, for a while: for tests of an application that has this guard already."""
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

    def _follow(self, given: AllOptions, secret: VerificationKey | None = None) -> None:
        options = checked(given)
        policy = _policy(options)
        if secret is None and ALL_ALGORITHMS[policy.algorithms[0]].symmetric:
            raise ValueError("guard: for a shared secret use Guard.shared_secret")
        keys = KeySet() if secret is None else KeySet([secret])
        verifier = Verifier(policy, keys, cache_size=0)  # what it found is remembered with the caller
        standing = Standing(verifier)
        clock, events = options["clock"] or SystemClock(), Events(options["on_event"])
        follower = follow(standing, options, clock=clock, events=events, keys_of=verifier if secret is None else None)
        self._begin(policy.issuer, policy.audience, standing, clock, follower, events)

    def _begin(
        self,
        issuer: str,
        audience: str,
        standing: Standing,
        clock: Clock,
        follower: ServiceFollower | None,
        events: Events | None = None,
    ) -> None:
        self.issuer = issuer
        self.audience = audience
        self._events = events or Events(None)
        self._judge = judge = Judge(standing, clock, follower, self._events)
        # One call nearer, for the fast path and for `Requirement`.
        self.recall, self._recall_token = judge.by_header.recall, judge.by_token.recall
        self.check_needs = judge.by_header.check_needs
        if follower is None:
            standing.settle()
        else:
            # Runs when the guard goes away and when the process ends; the follower itself knows no guard.
            weakref.finalize(self, follower.stop)

    @property
    def _follower(self) -> ServiceFollower | None:
        return self._judge.follower

    def _inside(self) -> tuple[str, str, Basis]:
        return self.issuer, self.audience, self._judge.basis

    def _judge_by(self, issuer: str, audience: str, basis: Basis) -> None:
        self.issuer, self.audience = issuer, audience
        self._judge.judge_by(basis)


def _policy(options: AllOptions) -> Policy:
    algorithms = tuple(options["algorithms"])
    return Policy(options["issuer"], options["audience"], algorithms, leeway=options["leeway"])
