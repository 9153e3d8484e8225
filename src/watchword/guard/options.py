"""Lists a guard's options: type, and the message for any other value. `Guard` holds meanings and defaults."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, TypedDict, cast, get_type_hints

from watchword.clock import Clock
from watchword.guard.following.events import OnEvent
from watchword.guard.places import TokensFrom
from watchword.guard.standing import StalePolicy
from watchword.tokens.algorithms import ALGORITHMS
from watchword.tokens.legacy import Legacy
from watchword.tokens.verify import MAX_LEEWAY, Policy

if TYPE_CHECKING:
    from ssl import SSLContext
else:
    SSLContext = object  # it is loaded late


class _TheIssuer(str):
    """Says that no audience was written. None or "", as from a missing setting, is an error."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<the issuer>"


class _Open(str):
    """Says that no `stale` was written, which means closed where a guard has no background."""

    __slots__ = ()


THE_ISSUER: Final = _TheIssuer()
"""The default audience. The service's tokens name it too, unless WATCHWORD_AUDIENCE is set."""


_NEVER_EMPTY: Final[dict[Literal["issuer", "audience"], str]] = {
    "issuer": "the service's public URL, such as https://auth.example.com",
    "audience": "what this API is called in `aud`, or leave it out for the issuer",
}

OPEN: Final[StalePolicy] = cast(StalePolicy, _Open("open"))
"""The default of `stale`."""


class _Kind(NamedTuple):
    fits: Callable[[Any], bool]
    said: str


def _text(value: object) -> bool:
    return isinstance(value, str) and value == value.strip()


def _switch(value: object) -> bool:
    return isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _texts(value: object) -> bool:
    return isinstance(value, tuple | list | set | frozenset) and all(isinstance(each, str) for each in value)


def _checks_certificates(value: Any) -> bool:
    return bool(getattr(value, "verify_mode", 0)) and getattr(value, "check_hostname", False) is True


def _or_none(fits: Callable[[Any], bool], said: str) -> _Kind:
    return _Kind(lambda value: value is None or fits(value), f"{said}, or None")


_SWITCH: Final = _Kind(_switch, "True or False")
_POLICY: Final = _Kind(lambda value: isinstance(value, str), "open or closed")


class Options(TypedDict, total=False):
    """Lists the options of every guard that follows a service."""

    audience: Annotated[str, _Kind(_text, "one text without spaces around it: what this API is called in `aud`")]
    url: Annotated[str | None, _or_none(_text, "one text without spaces around it")]
    guard_key: Annotated[str | None, _or_none(lambda value: isinstance(value, str), "a text")]
    leeway: Annotated[int, _Kind(lambda value: type(value) is int, "a number of whole seconds")]
    revocations: Annotated[bool, _SWITCH]
    max_stale: Annotated[float, _Kind(_number, "a number of seconds")]
    stale: Annotated[StalePolicy, _POLICY]
    background: Annotated[bool, _SWITCH]
    allow_private_networks: Annotated[bool, _SWITCH]
    plain_http: Annotated[bool, _SWITCH]
    tls: Annotated[
        SSLContext | None, _or_none(_checks_certificates, "an ssl.SSLContext that checks certificates and names")
    ]
    clock: Annotated[
        Clock | None, _or_none(lambda value: callable(getattr(value, "now", None)), "an object with now()")
    ]
    legacy: Annotated[Legacy | None, _or_none(lambda value: isinstance(value, Legacy), "a watchword.guard.Legacy")]
    tokens_from: Annotated[TokensFrom, _Kind(lambda _: True, "checked by `places_of`, which says more")]
    on_event: Annotated[OnEvent | None, _or_none(callable, "a function of a name and fields")]


class AllOptions(Options, total=False):
    """Adds what each constructor of a guard sets itself."""

    issuer: Annotated[str, _Kind(_text, "one text without spaces around it: the service's public URL")]
    algorithms: Annotated[Collection[str], _Kind(_texts, 'a list of names, such as ("ES256",)')]


_KINDS: Final[dict[str, _Kind]] = {
    name: row.__metadata__[0] for name, row in get_type_hints(AllOptions, include_extras=True).items()
}


def checked(given: AllOptions) -> AllOptions:
    """Return the options with the audience filled in. :raises TypeError: a wrong type, or an unknown name."""
    if given.get("audience") is THE_ISSUER:
        given = {**given, "audience": given["issuer"]}
    for name, value in given.items():
        if name not in _KINDS:
            raise TypeError(f"guard: there is no option {name!r}")
        fits, said = _KINDS[name]
        if not fits(value):
            shown = "" if name == "guard_key" else f", unlike {value!r:.100}"
            raise TypeError(f"guard: {name} is {said}{shown}")
    return given


def current(legacy: Legacy | None, clock: Clock) -> Legacy | None:
    """Return what was given, and warn when its day is over. :raises ValueError: the day is too far ahead."""
    if legacy is not None:
        legacy.require_sane(clock.now())
        if clock.now() >= legacy.until:
            import logging  # as in events.py

            logging.getLogger("watchword.guard").warning("The day of %r is over: take legacy= away.", legacy)
    return legacy


def policy_of(options: AllOptions) -> Policy:
    """Return what a guard with these options accepts. :raises ValueError: an unusable value."""
    algorithms = tuple(options["algorithms"])
    for name, meant in _NEVER_EMPTY.items():
        if not options[name]:
            raise ValueError(f"guard: {name} is empty, as from a missing setting: write {meant}")
    known = [ALGORITHMS[name].symmetric for name in algorithms if name in ALGORITHMS]
    if not algorithms or len(known) < len(algorithms) or len(set(known)) > 1:
        public = [name for name, row in ALGORITHMS.items() if not row.symmetric]
        raise ValueError(
            f"guard: algorithms are one or several of {', '.join(public)}, unlike {algorithms!r:.100}; "
            "for a shared secret (HS256) use Guard.shared_secret"
        )
    if not 0 <= options["leeway"] <= MAX_LEEWAY:
        raise ValueError(f"guard: leeway is 0 to {MAX_LEEWAY} whole seconds, unlike {options['leeway']}")
    return Policy(options["issuer"], options["audience"], algorithms, leeway=options["leeway"])
