"""Every limit, one row each: the settings, what the throttle counts and the documentation follow from this table."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Whose(Enum):
    """Whose attempts one counter of a limit counts. An attempt is counted in this order."""

    ADDRESS = "address"
    ADDRESS_AND_ACCOUNT = "address and account"  # one counter for the two together
    ADDRESS_THEN_ACCOUNT = "address, account"  # one counter for each of the two
    ACCOUNT = "account"


class LimitRow(NamedTuple):
    """One limit.

    :param name: as in audit records and in answers; with `_limit` it is the setting.
    :param attempt: what is counted: all limits of one attempt are taken together.
    :param default: as it would be written.
    :param purpose: what it is for, as in the table of settings.
    """

    name: str
    attempt: str
    whose: Whose
    default: str
    purpose: str

    @property
    def setting(self) -> str:
        """Return the name of its setting."""
        return f"{self.name}_limit"


# fmt: off
LIMITS: tuple[LimitRow, ...] = (
    LimitRow("login", "login", Whose.ADDRESS_AND_ACCOUNT, "10/15m", "Failed log-ins per address and account."),
    LimitRow("login_address", "login", Whose.ADDRESS, "100/15m", "Failed log-ins per address."),
    LimitRow("login_account", "login", Whose.ACCOUNT, "100/15m", "Failed log-ins per account."),
    LimitRow("register", "register", Whose.ADDRESS, "20/1h", "Registrations per address."),
    LimitRow("session", "session", Whose.ACCOUNT, "300/1h", "Log-ins that succeed, and other uses of the right password, per account."),
    LimitRow("session_address", "session", Whose.ADDRESS, "3000/1h", "The same per address."),
    LimitRow("change", "change", Whose.ACCOUNT, "60/1h", "Changes of an account by its owner, per account."),
    LimitRow("change_address", "change", Whose.ADDRESS, "600/1h", "The same per address."),
    LimitRow("conflict", "conflict", Whose.ADDRESS_THEN_ACCOUNT, "20/1h", "Answers that a username or an e-mail address is taken, per address and per account."),
)
# fmt: on


def limits_of(attempt: str) -> tuple[LimitRow, ...]:
    """Return the limits of an attempt, in the order in which they are taken. Raises `LookupError` if it has none."""
    found = [row for row in LIMITS if row.attempt == attempt]
    if not found:
        raise LookupError(f"no limit counts {attempt}: add a row to LIMITS in settings/limits.py")
    return tuple(sorted(found, key=lambda row: list(Whose).index(row.whose)))
