"""Checks requests to an API. The fast path has no lock, no await and no I/O."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Collection, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Unpack

from watchword.clock import Clock, SystemClock
from watchword.errors import WatchwordError
from watchword.guard.asked import Names, needs_of
from watchword.guard.asking import ask, known
from watchword.guard.bearer import Authorization
from watchword.guard.caller import Caller
from watchword.guard.calls import refuse_thrown_away
from watchword.guard.following.events import Events, OnEvent
from watchword.guard.following.follow import follow, key_exchange
from watchword.guard.following.follower import ServiceFollower
from watchword.guard.following.key_exchange import KeyExchange
from watchword.guard.handling import refuse_for_a_request
from watchword.guard.judging import Basis, Judge, Judging, blocking
from watchword.guard.local import Local, LocalVerifier
from watchword.guard.marks import EVERYONE
from watchword.guard.options import OPEN, THE_ISSUER, AllOptions, Options, checked, current, policy_of
from watchword.guard.places import Places, TokensFrom, places_of
from watchword.guard.refusals import Refusal, refusal_of
from watchword.guard.requirement import Requirement
from watchword.guard.standing import StalePolicy, Standing
from watchword.tokens.algorithms import ALGORITHMS as ALL_ALGORITHMS
from watchword.tokens.keys import KeySet, VerificationKey
from watchword.tokens.legacy import Legacy
from watchword.tokens.needs import NOTHING, Needs
from watchword.tokens.revocations import RevocationSet
from watchword.tokens.verify import Verifier

if TYPE_CHECKING:
    from ssl import SSLContext
else:
    SSLContext = object  # loaded late; FastAPI reads this signature

ALGORITHMS: Final = ("ES256", "RS256", "PS256", "EdDSA", "Ed25519")
LEEWAY: Final = 5  # seconds by which this machine's clock may be behind the service's


class Guard:
    """Protects an API with the tokens of one Watchword service. Make one per application; threads may share it.

    :param issuer: the service's public URL, byte for byte as in `iss`.
    :param audience: this API's name in `aud`; by default the issuer.
    :param url: where to reach the service, if not under its public URL.
    :param guard_key: printed by `watchword guards create`; needed for the feed beyond loopback, and
        shown where API keys are exchanged.
    :param algorithms: the only signature algorithms accepted.
    :param leeway: seconds by which a token may begin in the future, 0 to 60. Its end has no leeway.
    :param revocations: whether to follow the feed. Without it a token is good until it expires.
    :param max_stale: seconds without news (15 to 86,400) after which `stale` applies.
    :param stale: `open`: go on and warn; `closed`: answer 503 until there is news.
    :param background: whether threads follow the service. Without them a request asks when the list is older than
        `max_stale`, within 5 seconds, for all others too; if it cannot know, `closed` applies.
    :param allow_private_networks: whether the service's name may resolve to a private address.
    :param plain_http: whether `url` may be plain http beyond this machine, in a network that you trust: keys and
        revocations can be forged there. A warning is logged once.
    :param tls: for certificates that the system does not know. They are always checked.
    :param legacy: whose tokens are accepted too, until its day: those of the application that was there before.
    :param tokens_from: where a token may be besides the Authorization header (`guard.places`), one or several.
    :param on_event: called from any thread with a name and fields on `ready`, `not_ready`, `keys_changed`,
        `keys_failed`, `feed_failed`, `feed_stale`, `feed_recovered`, `clock_behind`.
    :raises TypeError: a value of the wrong kind.
    :raises ValueError: an unusable value; the message says which.
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
        stale: StalePolicy = OPEN,
        background: bool = True,
        allow_private_networks: bool = True,
        plain_http: bool = False,
        tls: SSLContext | None = None,
        legacy: Legacy | None = None,
        tokens_from: TokensFrom = None,
        clock: Clock | None = None,
        on_event: OnEvent | None = None,
    ) -> None:
        self._follow(
            AllOptions(
                issuer=issuer, audience=audience, url=url, guard_key=guard_key, algorithms=algorithms, leeway=leeway,
                revocations=revocations, max_stale=max_stale, stale=stale, plain_http=plain_http, tls=tls, clock=clock,
                allow_private_networks=allow_private_networks, legacy=legacy, background=background, on_event=on_event,
                tokens_from=tokens_from,
            )
        )  # fmt: skip

    @classmethod
    def shared_secret(cls, issuer: str, *, secret: bytes, **options: Unpack[Options]) -> Guard:
        """Make a guard for tokens signed with a shared secret (HS256), with the other options of `Guard`.

        **Anyone who can verify can forge**: an API with this secret can sign any user's token for all others.

        :param secret: at least 32 bytes, and none that tutorials use.
        :raises InvalidKey: the secret is not usable.
        """
        if "algorithms" in options:
            raise TypeError("guard: with a shared secret algorithms are not chosen: it is HS256")
        defaults: AllOptions = Guard.__init__.__kwdefaults__  # type: ignore[assignment]
        guard = cls.__new__(cls)
        key = VerificationKey.shared_secret(secret)
        legacy = options.get("legacy")
        if isinstance(legacy, Legacy) and legacy.shares(secret):
            raise ValueError("guard: the secret of the application before must not be the service's")
        guard._follow(  # noqa: SLF001  this is a constructor too
            {**defaults, **options, "issuer": issuer, "algorithms": ("HS256",)}, key
        )
        return guard

    @classmethod
    def local(
        cls,
        service: Local,
        *,
        issuer: str = "",
        audience: str = "",
        tokens_from: TokensFrom = None,
        clock: Clock | None = None,
    ) -> Guard:
        """Make a guard in the service's own process, without network and threads.

        It exchanges no API keys: routes that take them need `Guard(URL)`.

        :param issuer: the service's public URL, for addresses in problem documents.
        :raises TypeError: no such service.
        """
        standing, places = Standing(LocalVerifier(service)), places_of(tokens_from, issuer)
        guard = cls._made(issuer, audience, standing, clock or SystemClock(), None, places)
        guard._is_local = True  # noqa: SLF001  this is a constructor too
        return guard

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
        legacy: Legacy | None = None,
        tokens_from: TokensFrom = None,
        clock: Clock | None = None,
    ) -> Guard:
        """Make a guard of given keys and revocations: for tests, and without a network."""
        options = checked(
            AllOptions(
                issuer=issuer, audience=audience, algorithms=algorithms, leeway=leeway, legacy=legacy, clock=clock
            )
        )
        verifier, clock = Verifier(policy_of(options), keys, cache_size=0), clock or SystemClock()
        standing = Standing(verifier, revocations, current(legacy, clock))
        return cls._made(issuer, options["audience"], standing, clock, None, places_of(tokens_from, issuer))

    def use_keys(self, keys: KeySet) -> None:
        """Replace the keys of an `offline` guard. :raises TypeError: any other guard."""
        verifier = (standing := self._judge.standing).verifier
        if self._follower is not None or not isinstance(verifier, Verifier):
            raise TypeError("only an offline guard is given its keys")
        standing.verifier = verifier.with_keys(keys)

    # Checking -------------------------------------------------------------------------------------------------------

    def check(
        self,
        authorization: Authorization,
        *,
        roles: Names = EVERYONE,
        scopes: Names = EVERYONE,
        max_age: int | None = None,
        api_keys: bool = False,
    ) -> Caller:
        """Return the caller of a request with this Authorization header, or raise why it is refused.

        It may block for two seconds: after a start or pause of the process, or while a key is fetched; without
        `background` for five.

        :param authorization: the header's value, all values if several, or None; str or bytes.
        :param roles: the user must have each: several, or one text with spaces.
        :param scopes: the token must have each, likewise.
        :param max_age: the most seconds since log-in (RFC 9470).
        :param api_keys: whether an API key may stand in place of a token.
        :raises TokenError: 401 or 403, by its code. :raises Refused: 400. :raises Unready: 503.
        """
        if roles is scopes is EVERYONE and max_age is None and api_keys is False:  # as `needs_of`, for speed
            return self.recall(authorization) or self.check_for(authorization, NOTHING)
        return self.check_for(authorization, self.can_ask(needs_of(roles, scopes, max_age, api_keys)))

    def check_async(
        self,
        authorization: Authorization,
        *,
        roles: Names = EVERYONE,
        scopes: Names = EVERYONE,
        max_age: int | None = None,
        api_keys: bool = False,
    ) -> Coroutine[Any, Any, Caller]:
        """Check on an asyncio event loop. Bad callers are refused at once; `await` waits where `check` would block."""
        return self.check_for_async(authorization, self.can_ask(needs_of(roles, scopes, max_age, api_keys)))

    def verify(
        self,
        token: str,
        *,
        roles: Names = EVERYONE,
        scopes: Names = EVERYONE,
        max_age: int | None = None,
        api_keys: bool = False,
    ) -> Caller:
        """Check a bare token."""
        if roles is scopes is EVERYONE and max_age is None and api_keys is False:  # likewise
            return self._recall_token(token) or self.verify_for(token, NOTHING)
        return self.verify_for(token, self.can_ask(needs_of(roles, scopes, max_age, api_keys)))

    def verify_async(
        self,
        token: str,
        *,
        roles: Names = EVERYONE,
        scopes: Names = EVERYONE,
        max_age: int | None = None,
        api_keys: bool = False,
    ) -> Coroutine[Any, Any, Caller]:
        """Check a bare token on an asyncio event loop."""
        return self.verify_for_async(token, self.can_ask(needs_of(roles, scopes, max_age, api_keys)))

    def require(
        self,
        *,
        scopes: Names = EVERYONE,
        roles: Names = EVERYONE,
        max_age: int | None = None,
        api_keys: bool = False,
    ) -> Requirement:
        """Return what a route needs. Without arguments any person's token passes, no API key and no service account."""
        refuse_for_a_request()
        made = Requirement(self, needs_of(roles, scopes, max_age, api_keys))
        refuse_thrown_away(sys._getframe(), "require(…)", "write `guard.check(authorization, roles=…)`")  # noqa: SLF001
        return made

    def check_for(self, authorization: Authorization, needs: Needs) -> Caller:
        """Check a header for a `Requirement`."""
        return self.recall(authorization, needs) or blocking(self._judge.header(authorization, needs))

    def check_for_async(self, authorization: Authorization, needs: Needs) -> Coroutine[Any, Any, Caller]:
        """Check a header for a `Requirement`, without blocking the event loop (asyncio)."""
        caller = self.recall(authorization, needs)
        return known(caller) if caller is not None else ask(self._judge.header(authorization, needs))

    def verify_for(self, token: str, needs: Needs) -> Caller:
        """Check a bare token for a `Requirement`."""
        return self._recall_token(token, needs) or blocking(self._judge.token(token, needs))

    def verify_for_async(self, token: str, needs: Needs) -> Coroutine[Any, Any, Caller]:
        """Check a bare token for a `Requirement`, without blocking the event loop (asyncio)."""
        caller = self._recall_token(token, needs)
        return known(caller) if caller is not None else ask(self._judge.token(token, needs))

    def judging_for(self, authorization: Authorization, needs: Needs) -> Judging:
        """Judge a header for a `Requirement`, and yield what to wait for."""
        return self._judge.header(authorization, needs)

    def judging_token_for(self, token: str, needs: Needs) -> Judging:
        """Judge a bare token likewise."""
        return self._judge.token(token, needs)

    def refusal(self, error: WatchwordError, *, scopes: Iterable[str] = (), max_age: int | None = None) -> Refusal:
        """Return the answer for an error that a check raised.

        :param scopes: like `max_age` what the check asked for; the challenge names it.
        """
        return refusal_of(error, issuer=self.issuer, scopes=scopes, max_age=max_age)

    # Life -----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to fetch in the background, before the first check."""
        if self._follower is not None:
            self._follower.start()

    def stop(self) -> None:
        """End the background threads. The next check starts new ones."""
        if self._follower is not None:
            self._follower.stop()
        if self._judge.keys is not None:
            self._judge.keys.close()

    def wait_until_ready(self, seconds: float = 10.0) -> bool:
        """Start, block until `ready` or for so long, and return `ready`. If not, log why."""
        if self._follower is None or self._follower.wait_until_ready(seconds):
            return True
        self._events.emit("not_ready", service=self._follower.service.url, reason=self.why_not_ready)
        return False

    @property
    def why_not_ready(self) -> str | None:
        """Return why it is not ready, for the operator, or None."""
        return None if self._follower is None else self._follower.why_not_ready()

    @property
    def ready(self) -> bool:
        """Return whether there are keys and a complete list, for readiness checks."""
        return self._follower is None or self._follower.ready

    def feed_age(self) -> float | None:
        """Return the list's age in seconds; None without a list."""
        return None if self._follower is None else self._follower.feed_age()

    @contextmanager
    def standing_in(self, other: Guard) -> Iterator[None]:
        """Judge as another guard for a while: for an application's tests."""
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
        policy = policy_of(options := checked(given))
        if secret is None and ALL_ALGORITHMS[policy.algorithms[0]].symmetric:
            raise ValueError("guard: for a shared secret use Guard.shared_secret")
        keys = KeySet() if secret is None else KeySet([secret])
        verifier = Verifier(policy, keys, cache_size=0)  # `SeenCallers` remembers
        clock, events = options["clock"] or SystemClock(), Events(options["on_event"])
        standing = Standing(verifier, legacy=current(options["legacy"], clock))
        follower = follow(standing, options, clock=clock, events=events, keys_of=verifier if secret is None else None)
        places = places_of(options["tokens_from"], policy.issuer)
        exchange = key_exchange(options, policy.audience, events)
        self._begin(policy.issuer, policy.audience, standing, clock, follower, places, events, exchange)

    def _begin(
        self,
        issuer: str,
        audience: str,
        standing: Standing,
        clock: Clock,
        follower: ServiceFollower | None,
        places: Places | None = None,
        events: Events | None = None,
        keys: KeyExchange | None = None,
    ) -> None:
        self.issuer = issuer
        self.audience = audience
        self.places = places
        self._is_local = False
        self._events = events or Events(None)
        self._judge = judge = Judge(standing, clock, follower, self._events, keys)
        self.recaller, self.passing = judge.by_header.recaller, judge.by_header.passing
        self.recall, self._recall_token = self.recaller(), judge.by_token.recaller()
        self.check_needs = judge.by_header.check_needs
        if follower is None:
            standing.settle()
        else:
            # Runs at the end of guard or process. The follower must not refer to the guard.
            weakref.finalize(self, follower.stop)
        if keys is not None:
            weakref.finalize(self, keys.close)

    def can_ask(self, needs: Needs) -> Needs:
        """Return them. :raises ValueError: no key could ever pass here, which must not look like a bad key."""
        if needs.api_keys and self._is_local:
            raise ValueError("guard: Guard.local exchanges no API keys: use Guard(URL) where api_keys=True")
        return needs

    @property
    def _follower(self) -> ServiceFollower | None:
        return self._judge.follower

    def _inside(self) -> tuple[str, str, Basis]:
        return self.issuer, self.audience, self._judge.basis

    def _judge_by(self, issuer: str, audience: str, basis: Basis) -> None:
        self.issuer, self.audience = issuer, audience
        self._judge.judge_by(basis)
