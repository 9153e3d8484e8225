"""Ends a command: exit codes, and errors as `error:` and `hint:` lines without a traceback."""

from __future__ import annotations

import sys

from watchword.errors import (
    InvalidInput,
    NotFound,
    SchemaMismatch,
    SettingsError,
    StorageError,
    WatchwordError,
)
from watchword.platforms import is_journal

OK = 0
FAULT = 1
USAGE = 2
MISSING = 3
SETTINGS = 78  # EX_CONFIG of BSD's sysexits
INTERRUPTED = 130
_ERROR, _WARNING = 3, 4  # of the journal: sd-daemon(3)
CODES_HELP = (
    f"Exit codes: {OK} done, {FAULT} something failed, {USAGE} wrong usage, {MISSING} not found, "
    f"{SETTINGS} settings that cannot be used."
)

_HINTS: tuple[tuple[type[WatchwordError], str], ...] = (
    (StorageError, "check that the database answers; of SQLite, that its directory can be written to and is not full"),
    (NotFound, "`watchword users list` shows who there is"),
)


class CommandError(Exception):
    """Says what the command line found wrong: a sentence, a hint, an exit code."""

    def __init__(self, message: str, hint: str, code: int = FAULT) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code


def complain(message: str, hint: str = "") -> None:
    """Print a fault to stderr."""
    _say(_ERROR, f"error: {message}", hint)


def warn(message: str, hint: str) -> None:
    """Print a warning to stderr."""
    _say(_WARNING, f"warning: {message}", hint)


def _say(priority: int, message: str, hint: str) -> None:
    """Print both to stderr. Where that is systemd's journal, each line begins with its level, as lines of the log do.

    Else `journalctl -p warning` shows nothing of a start that failed.
    """
    mark = f"<{priority}>" if is_journal(sys.stderr) else ""
    lines = [*message.split("\n"), *(f"hint: {hint}".split("\n") if hint else ())]
    sys.stderr.write("".join(f"{mark}{line}\n" for line in lines))


def told(error: Exception) -> int:
    """Print what went wrong and return the exit code. An unexpected error is raised: a bug keeps its traceback."""
    if isinstance(error, CommandError):
        complain(error.message, error.hint)
        return error.code
    if isinstance(error, SettingsError):
        for fault in error.faults:
            complain(f"{fault.setting} {fault.message}", fault.hint)
        return SETTINGS
    if isinstance(error, InvalidInput):
        for field in error.errors:
            complain(f"{field.field}: {field.message}")
        return FAULT
    if isinstance(error, WatchwordError):
        complain(sentence(error), _hint(error))
        return MISSING if isinstance(error, NotFound) else FAULT
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        complain(f"{place}{(error.strerror or str(error)).lower()}", "check the path, its owner and free space")
        return FAULT
    raise error


def _hint(error: WatchwordError) -> str:
    from watchword.storage import postgres_faults, sqlite_faults
    from watchword.storage.sqlite_lock import BeingReplaced

    if isinstance(error, BeingReplaced):
        return "wait until that has ended, then try again"
    if isinstance(error, SchemaMismatch) and error.hint:
        return error.hint
    cause = error.__cause__ if isinstance(error, StorageError) else None
    found = sqlite_faults.advice(cause) or postgres_faults.advice(cause)
    return found or next((hint for kind, hint in _HINTS if isinstance(error, kind)), "")


def sentence(error: WatchwordError) -> str:
    """Return the message with the driver's reason, which clients never get and which may have several lines."""
    from watchword.storage.postgres_faults import reason

    cause = error.__cause__ if isinstance(error, StorageError) else None
    more = f" ({reason(cause)})" if cause is not None else ""
    return " ".join((error.message.rstrip(".") + more).split())
