"""Read, check and complete the settings once, as one frozen object."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from dataclasses import FrozenInstanceError
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, ClassVar, NoReturn, Self, dataclass_transform

from watchword import base64url
from watchword.errors import Fault, SettingsError
from watchword.settings.row import ENVIRONMENT_PREFIX, Setting
from watchword.settings.rules import Draft, complete
from watchword.settings.values import duration_text

MASK = "********"
# Names that others use, and derived values.
_INSTEAD = {
    "database_path": "give database_url='sqlite:///path/to/file.db', or data_dir for the directory",
    "issuer": "give public_url, which is the issuer",
    "url": "give public_url",
    "is_on_loopback": "it follows from public_url",
    "sends_mail": "it follows from smtp_url",
}


# Type checkers read the constructor's arguments from the rows.
@dataclass_transform(kw_only_default=True, frozen_default=True)
class Frozen:
    """What `Settings` does with its rows."""

    __slots__ = ("_values",)
    rows: ClassVar[dict[str, Setting[Any]]] = {}
    _values: dict[str, Any]

    def __init_subclass__(cls) -> None:
        cls.rows = cls.rows | {name: row for name, row in vars(cls).items() if isinstance(row, Setting)}

    def __init__(self, **given: Any) -> None:
        faults = [Fault(name, "is not a setting", _instead(name, self.rows)) for name in given if name not in self.rows]
        known = {name: value for name, value in given.items() if name in self.rows}
        for name, value in known.items():
            if self.rows[name].secret and value is not None and not value:
                faults.append(Fault(self.rows[name].variable, "is given and is empty", "give one, or leave it out"))
        texts = {name: _text(self.rows[name], value) for name, value in known.items()}
        exact = frozenset(name for name, value in known.items() if isinstance(value, bytes))
        try:
            draft = complete(self.rows, texts, verbatim=exact)
        except SettingsError as error:
            raise SettingsError((*faults, *error.faults)) from None
        if faults:
            raise SettingsError(tuple(faults))
        for each in draft.warnings:
            warnings.warn(f"{each.setting} {each.message}; {each.hint}", stacklevel=2)
        object.__setattr__(self, "_values", draft.values)

    @classmethod
    def of(cls, draft: Draft) -> Self:
        """Make the settings of a checked draft."""
        made = cls.__new__(cls)
        object.__setattr__(made, "_values", draft.values)
        return made

    def value(self, name: str) -> Any:
        """Return the value of a setting, or a derived value."""
        return self._values[name]

    def shown(self) -> dict[str, str]:
        """Return every setting as text, secrets masked, for people and logs."""
        return {name: _shown(row, self._values[name]) for name, row in self.rows.items()}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={text!r}' for name, text in self.shown().items())})"

    def __eq__(self, other: object) -> bool:
        return self._values == other._values if isinstance(other, type(self)) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self._values.values()))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __reduce__(self) -> str:
        # A pickled object would carry the secrets along.
        raise TypeError("settings are not pickled: they hold secrets")


def _text(row: Setting[Any], value: Any) -> str:
    """Write a value as in the environment: there is one way in, and one check."""
    if value is None:
        return "off" if row.can_be_off else ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, timedelta):
        return duration_text(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, tuple | list):
        return (
            ",".join(base64url.encode_text(part) if isinstance(part, bytes) else str(part) for part in value) or "off"
        )
    return str(value)


def _instead(name: str, known: Collection[str]) -> str:
    """Name what to give for an unknown argument."""
    plain = name.lower().removeprefix(ENVIRONMENT_PREFIX.lower())
    if plain in _INSTEAD:
        return _INSTEAD[plain]
    if (setting := plain.removesuffix("_file")) != plain and setting in known:
        return f"read the file yourself, and give {setting}"
    close = get_close_matches(plain, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known are: {', '.join(known)}"


def _shown(row: Setting[Any], value: Any) -> str:
    if value == ():
        return ""
    if row.secret and value is not None:
        return MASK
    return without_password(_text(row, value)) if row.name.endswith("_url") else _text(row, value)


def without_password(url: str) -> str:
    """Mask the password of a URL."""
    scheme, separator, rest = url.partition("://")
    credentials, at, place = rest.rpartition("@")
    if not at:
        return url
    user, colon, _ = credentials.partition(":")
    return f"{scheme}{separator}{user}{colon}{MASK if colon else ''}@{place}"
