"""One row of the table of settings: name, default, reader, purpose."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Generic, Protocol, Self, TypeVar, overload

from watchword.settings import values
from watchword.settings.values import Limit, Unfit

ENVIRONMENT_PREFIX = "WATCHWORD_"
T = TypeVar("T")


class Frozen(Protocol):
    """The settings, as a row sees them."""

    def value(self, name: str) -> Any:
        """Return the value of a setting."""


class Setting(Generic[T]):
    """A row, typed by its value: `port: Setting[int] = Setting(…)`.

    :param default: as written by a user; empty: none, or derived from other settings.
    :param read: text → value; None where a rule finds it.
    :param otherwise: the documented meaning of an empty default.
    :param secret: masked, never a flag, also read from the file `<name>_file`.
    :param in_file: also read from such a file, since it may hold a password; every secret is.
    :param many: a comma list.
    """

    name: str

    def __init__(
        self,
        default: str,
        read: Callable[[str], T | None],
        purpose: str,
        otherwise: str = "",
        *,
        secret: bool = False,
        in_file: bool = False,
        many: bool = False,
    ) -> None:
        self.default = default
        self.read = read
        self.purpose = purpose
        self.otherwise = otherwise
        self.secret = secret
        self.in_file = secret or in_file
        self.many = many

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, settings: None, owner: type) -> Self: ...

    @overload
    def __get__(self, settings: Frozen, owner: type) -> T: ...

    def __get__(self, settings: Frozen | None, owner: type) -> Any:
        return self if settings is None else settings.value(self.name)

    # Type checkers learn here what `Settings(…)` takes: a value, or its text.
    def __set__(self, settings: Frozen, value: T | str | int | list[str] | None) -> None:
        raise AttributeError(self.name)

    @property
    def variable(self) -> str:
        """Return the name in the environment."""
        return variable(self.name)

    @property
    def flag(self) -> str:
        """Return the name on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def can_be_off(self) -> bool:
        """Tell whether None is a value."""
        try:
            return self.default != "" and self.read("off") is None
        except Unfit:
            return False


class CountedBy(Enum):
    """The subjects counted together, in the order of counting."""

    DEVICE = "per device that the user has logged in with before"
    ADDRESS = "per address"
    MAIL = "per mail"
    ADDRESS_AND_ACCOUNT = "per address and account"
    KEY = "per API key, with all that is weakened from it"
    ACCOUNT = "per account"


class Limited(Setting[Limit | None]):
    """A limit. `login_limit`, `login_address_limit` and `login_account_limit` share an occasion.

    :param what: the counted attempts, for the documentation.
    :param counted_by: the subjects, counted apart with the same quota.
    :param grows: each time that it is used up, its next window is longer.
    """

    def __init__(self, default: str, what: str, *counted_by: CountedBy, grows: bool = False) -> None:
        then = "; each time that it is used up, the next window is twice as long, up to four hours" if grows else ""
        super().__init__(default, values.limit, f"{what} {' and '.join(each.value for each in counted_by)}{then}.")
        self.counted_by = counted_by
        self.grows = grows

    @property
    def limit(self) -> str:
        """Return its name in the throttle and in answers: `login_address`."""
        return self.name.removesuffix("_limit")

    @property
    def occasion(self) -> str:
        """Return what is attempted: `login`."""
        for suffix in ("_address", "_account", "_device", "_each"):
            if self.limit.endswith(suffix):
                return self.limit.removesuffix(suffix)
        return self.limit


def variable(name: str) -> str:
    """Return a setting's name in the environment."""
    return ENVIRONMENT_PREFIX + name.upper()
