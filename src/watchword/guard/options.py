"""The operator's options of a guard, one row each: what kind of value each takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final


class _TheIssuer(str):
    """No audience was written; unlike None or an empty text, as of a setting that is missing."""

    __slots__ = ()


THE_ISSUER: Final = _TheIssuer()
"""The default audience: what the service is called itself, which is what its tokens name by default."""


def _text(value: object) -> bool:
    return isinstance(value, str) and value == value.strip()


def _or_none(kind: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or kind(value)


def _switch(value: object) -> bool:
    return isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _texts(value: object) -> bool:
    return isinstance(value, tuple | list | set | frozenset) and all(isinstance(each, str) for each in value)


def _checks_certificates(value: Any) -> bool:
    return bool(getattr(value, "verify_mode", 0)) and getattr(value, "check_hostname", False) is True


_KINDS: Final[dict[str, tuple[Callable[[Any], bool], str]]] = {
    "issuer": (_text, "one text without spaces around it: the service's public URL"),
    "audience": (_text, "one text without spaces around it: what this API is called in `aud`"),
    "url": (_or_none(_text), "one text without spaces around it, or None"),
    "guard_key": (_or_none(lambda value: isinstance(value, str)), "a text, or None"),
    "algorithms": (_texts, 'a list of names, such as ("ES256",)'),
    "leeway": (lambda value: type(value) is int, "a number of whole seconds"),
    "revocations": (_switch, "True or False"),
    "max_stale": (_number, "a number of seconds"),
    "allow_private_networks": (_switch, "True or False"),
    "plain_http": (_switch, "True or False"),
    "tls": (_or_none(_checks_certificates), "an ssl.SSLContext that checks certificates and names, or None"),
    "clock": (_or_none(lambda value: callable(getattr(value, "now", None))), "an object with now(), or None"),
    "on_event": (_or_none(callable), "a function of a name and fields, or None"),
}


def check_kinds(**given: Any) -> None:
    """Refuse a value of the wrong kind, which would be noticed late or never. :raises TypeError: it says which."""
    for name, value in given.items():
        fits, kind = _KINDS[name]
        if not fits(value):
            shown = "" if name == "guard_key" else f", unlike {value!r:.100}"
            raise TypeError(f"guard: {name} is {kind}{shown}")
