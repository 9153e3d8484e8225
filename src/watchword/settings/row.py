"""One row of the table of settings: its name, its default, how it is read, what it is for."""

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
    """A row, and the attribute of `Settings` with its value, whose type it names: `port: Setting[int] = Setting(…)`.

    `name` is that of the attribute and of the key in `watchword.toml`.

    :param default: as it would be written, or empty: no value, or one that follows from other settings.
    :param read: a text → a value; None where a rule finds the value.
    :param otherwise: what an empty default means, for readers of the documentation.
    :param secret: never shown, never a flag, also read from the file that `<name>_file` names.
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
        many: bool = False,
    ) -> None:
        self.default = default
        self.read = read
        self.purpose = purpose
        self.otherwise = otherwise
        self.secret = secret
        self.many = many

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, settings: None, owner: type) -> Self: ...

    @overload
    def __get__(self, settings: Frozen, owner: type) -> T: ...

    def __get__(self, settings: Frozen | None, owner: type) -> Any:
        return self if settings is None else settings.value(self.name)

    # From this signature type checkers know what `Settings(…)` takes: the value itself, or as it would be written.
    def __set__(self, settings: Frozen, value: T | str | int | list[str] | None) -> None:
        raise AttributeError(self.name)

    @property
    def variable(self) -> str:
        """The name in the environment."""
        return variable(self.name)

    @property
    def flag(self) -> str:
        """The name on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def can_be_off(self) -> bool:
        """Whether None is a value, and not the lack of one."""
        try:
            return self.default != "" and self.read("off") is None
        except Unfit:
            return False


class Whose(Enum):
    """Whose attempts are counted together. In the order in which they are counted."""

    ADDRESS = "per address"
    ADDRESS_AND_ACCOUNT = "per address and account"
    ACCOUNT = "per account"


class Limited(Setting[Limit | None]):
    """The row of a limit. `login_limit`, `login_address_limit` and `login_account_limit` are those of one occasion.

    :param what: is counted, for the documentation.
    :param whose: attempts are counted together; several are counted apart, with the same quota.
    """

    def __init__(self, default: str, what: str, *whose: Whose) -> None:
        super().__init__(default, values.limit, f"{what} {' and '.join(each.value for each in whose)}.")
        self.whose = whose

    @property
    def limit(self) -> str:
        """The name that the throttle and an answer give it: `login_address`."""
        return self.name.removesuffix("_limit")

    @property
    def occasion(self) -> str:
        """What is attempted: `login`."""
        return self.limit.removesuffix("_address").removesuffix("_account")


def variable(name: str) -> str:
    """A setting's name in the environment."""
    return ENVIRONMENT_PREFIX + name.upper()
