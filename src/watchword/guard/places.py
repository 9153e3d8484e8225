"""The places from which a guard may read a token besides the Authorization header: each by choice, none by default.

    guard = Guard("https://auth.example", tokens_from=[AccessCookie(), Subprotocol()])

The choice belongs to the guard. Where it is forgotten, only the header counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, get_args

from watchword.authorization import only, only_token
from watchword.authorization import read_bearer as read
from watchword.browsers import AccessCookieRule, Sent
from watchword.errors import Refused
from watchword.guard.loops import Returns
from watchword.guard.refusals import Refusal
from watchword.guard.sent import PROTOCOLS
from watchword.guard.waiting import MOST

_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_TAKEN: Final = frozenset({"authorization", "cookie", "host", "origin", "sec-websocket-protocol", "set-cookie"})


class _TheIssuers(str):
    """Says that no address of a log-in page was written. An empty one, as from a missing setting, is an error."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<the issuer's>"


THE_ISSUERS: Final = _TheIssuers()
_LONGEST_WAIT: Final = 60.0


@dataclass(frozen=True, slots=True)
class AccessCookie:
    """Reads the access cookie, which the service sets with `WATCHWORD_ACCESS_COOKIE=on`.

    Browsers send a cookie by themselves. So it counts for requests of pages of the same origin only, and for links to a
    page. A browser that opens a page without a good token is led to the log-in page, and back afterwards.

    :param origin: the address under which browsers see this API; by default the issuer's. Cookies belong to a host.
    :param log_in: the address of the log-in page; by default `/account/login` of the service. None: 401 for pages too.
    :raises TypeError: not texts. :raises ValueError: not usable addresses.
    """

    origin: str | None = None
    log_in: str | None = THE_ISSUERS

    def __post_init__(self) -> None:
        for name in ("origin", "log_in"):
            given = getattr(self, name)
            if given is not None and not isinstance(given, str):
                raise TypeError(f"guard: {name} of AccessCookie is an address, unlike {given!r:.100}")

    def rule(self, issuer: str) -> AccessCookieRule:
        """Return the rule for an API of this issuer. :raises ValueError: an address is not usable."""
        if not issuer and (self.origin is None or self.log_in is THE_ISSUERS):
            raise ValueError("guard: AccessCookie needs an issuer, or origin=… and log_in=…")
        log_in = f"{issuer.rstrip('/')}/account/login" if self.log_in is THE_ISSUERS else self.log_in
        if log_in is not None and ("?" in log_in or "#" in log_in or not log_in.isascii() or not log_in.isprintable()):
            raise ValueError(f"guard: log_in of AccessCookie is an address without a query, unlike {log_in!r:.100}")
        try:
            return AccessCookieRule(issuer if self.origin is None else self.origin, log_in)
        except ValueError as error:
            raise ValueError(f"guard: AccessCookie: {error}") from error


@dataclass(frozen=True, slots=True)
class OtherHeader:
    """Reads another header, of the form `Bearer <token>`: for a staging site whose proxy needs Authorization itself.

    :raises TypeError: not a text. :raises ValueError: not the name of a header, or one with another meaning.
    """

    name: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"guard: OtherHeader is given the name of a header, unlike {self.name!r:.100}")
        if not _NAME.fullmatch(self.name) or "_" in self.name or self.name.lower() in _TAKEN:
            raise ValueError(f"guard: OtherHeader cannot read {self.name!r:.100}: choose a name such as X-Access-Token")


@dataclass(frozen=True, slots=True)
class Subprotocol:
    """Reads the token from the list of sub-protocols of a WebSocket's handshake, where it follows this name.

    `new WebSocket(url, ["watchword.bearer", token])`. The application sees neither the name nor the token.

    :raises TypeError: not a text. :raises ValueError: not the name of a sub-protocol.
    """

    name: str = "watchword.bearer"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"guard: Subprotocol is given a name, unlike {self.name!r:.100}")
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"guard: {self.name!r:.100} is not the name of a sub-protocol")


@dataclass(frozen=True, slots=True)
class FirstMessage:
    """Reads the token from the first message of a WebSocket, a text that is nothing else.

    The guard accepts such a connection by itself; the application's code begins when the token was found good.

    :param seconds: the time for that message, up to 60.
    :param per_network: how many of one network (an IPv4 address, an IPv6 /64) may wait at a time, in a process.
    :raises TypeError: not a number. :raises ValueError: not a usable one.
    """

    seconds: float = 5.0
    per_network: int = 50

    def __post_init__(self) -> None:
        given: object = self.seconds
        if not isinstance(given, int | float) or isinstance(given, bool):
            raise TypeError(f"guard: seconds of FirstMessage is a number, unlike {self.seconds!r:.100}")
        if not 0 < self.seconds <= _LONGEST_WAIT:
            raise ValueError(f"guard: seconds of FirstMessage are more than 0, and {_LONGEST_WAIT:.0f} at most")
        share: object = self.per_network
        if not isinstance(share, int) or isinstance(share, bool):
            raise TypeError(f"guard: per_network of FirstMessage is a whole number, unlike {share!r:.100}")
        if not 1 <= share <= MOST:
            raise ValueError(f"guard: per_network of FirstMessage is 1 at least, and {MOST} at most")


Place = AccessCookie | OtherHeader | Subprotocol | FirstMessage
TokensFrom = Place | Iterable[Place] | None


def places_of(given: TokensFrom, issuer: str) -> Places | None:
    """Return what `tokens_from` says, or None for the Authorization header only.

    :raises TypeError: not places. :raises ValueError: one of a kind twice, none in a list, or one that is not usable.
    """
    if given is None:
        return None
    kinds = get_args(Place)
    listed: list[Any] = list(given) if isinstance(given, list | tuple | set | frozenset) else [given]
    for each in listed:
        if not isinstance(each, Place):
            raise TypeError(f"guard: tokens_from is {_NAMES}, or a list of them, unlike {each!r:.100}")
    if not listed:
        raise ValueError("guard: tokens_from is empty; leave it out where only the Authorization header is read")
    if len({type(each) for each in listed}) < len(listed):
        raise ValueError("guard: tokens_from has a place of one kind twice")
    chosen = {kind: next((each for each in listed if isinstance(each, kind)), None) for kind in kinds}
    return Places(chosen, issuer)


_NAMES: Final = "AccessCookie(), OtherHeader(…), Subprotocol() or FirstMessage()"


class Places:
    """Finds the token of a request in the places of one guard. Immutable; threads share it."""

    def __init__(self, chosen: dict[Any, Any], issuer: str) -> None:
        cookie: AccessCookie | None = chosen[AccessCookie]
        header: OtherHeader | None = chosen[OtherHeader]
        self.subprotocol: Subprotocol | None = chosen[Subprotocol]
        self.first_message: FirstMessage | None = chosen[FirstMessage]
        self._cookie = None if cookie is None else cookie.rule(issuer)
        self._returns = None if self._cookie is None else Returns(self._cookie)
        self._header = None if header is None else header.name.lower()
        named = ["Authorization", *([] if cookie is None else ["Cookie"]), *([] if header is None else [header.name])]
        self.vary = tuple(named)
        """The headers by which answers differ, for caches."""

    def find(self, sent: Sent) -> Found:
        """Return the only token that a request sends.

        :raises TokenError: `token_missing`.
        :raises Refused: `invalid_request`: two tokens; `authorization_malformed`, `cookie_repeated`.
        :raises Forbidden: `origin_refused`.
        """
        return only_token([each for each in self._all(sent) if each is not None])

    def _all(self, sent: Sent) -> Iterable[Found | None]:
        for name in ("authorization", self._header):
            if name is not None:
                yield _in_header(sent, name)
        if self._cookie is not None:
            token = self._cookie.token(sent)
            yield None if token is None else Found(token)
        if self.subprotocol is not None and not sent.method:
            yield in_protocols(protocols_of(sent), self.subprotocol.name)

    def answer(self, refusal: Refusal, sent: Sent) -> Refusal:
        """Return the answer to a request that was refused: perhaps the way to the log-in page."""
        if self._returns is None or self._by_header(sent):
            return refusal
        return self._returns.answer(refusal, sent)

    def _by_header(self, sent: Sent) -> bool:
        """Tell whether a program has sent a token in a header, which no browser does by itself."""
        names = [name for name in ("authorization", self._header) if name is not None]
        try:
            return any(_in_header(sent, name) is not None for name in names)
        except Refused:
            return True


class Found(NamedTuple):
    """Holds a token, and in which sub-protocols it was found, without those of the guard."""

    token: str
    protocols: tuple[str, ...] | None = None


def _in_header(sent: Sent, name: str) -> Found | None:
    value = only(sent.values(name))
    token = None if value is None else read(value)
    return None if token is None else Found(token)


def protocols_of(sent: Sent) -> list[str]:
    """Return the sub-protocols that a WebSocket offers (RFC 6455 section 11.3.4)."""
    listed = b",".join(sent.values(PROTOCOLS)).decode("latin-1").split(",")
    return [each.strip(" \t") for each in listed if each.strip(" \t")]


def in_protocols(offered: list[str], name: str) -> Found | None:
    """Return the token that follows our name.

    :raises Refused: `invalid_request`: the name is there twice, or nothing follows.
    """
    if name not in offered:
        return None
    place = offered.index(name) + 1
    if offered.count(name) > 1 or place == len(offered):
        raise Refused(f"After the sub-protocol {name} follows one access token.", code="invalid_request")
    rest = (*offered[: place - 1], *offered[place + 1 :])
    return Found(offered[place], rest)
