"""Every error Watchword raises on purpose.

    WatchwordError
    ├── SettingsError           settings that cannot be used; carries every fault found, each with a hint
    ├── InvalidKey              key material that cannot be used, or may not be used as asked
    ├── TokenError              an access token (or any JWT) that is not accepted
    ├── InvalidInput            a request of the right shape with values that are not acceptable; one entry per field
    ├── Refused                 a request understood and turned down
    │   ├── Unauthenticated     the caller is not, or no longer, who the request needs
    │   ├── Forbidden           the caller is known and may not
    │   ├── NotFound            what was named does not exist for this caller
    │   └── Conflict            what was asked for clashes with what is stored
    ├── TooManyAttempts         a limit is used up; try again after `retry_after` seconds
    ├── Overloaded              no capacity right now; try again after `retry_after` seconds
    └── StorageError
        ├── StorageUnavailable  the database did not do what it should have; nothing was stored, as far as it said
        ├── UniqueViolation     a unique index refused the row
        └── SchemaMismatch      the database belongs to another version of Watchword

Each has a stable snake_case `code` and a `message` that is safe to show to anyone. The cause for the log travels as
`__cause__` or in `cause`, never in the message. This module knows no HTTP: which status a code becomes is written
in `watchword.web.problem_table`.
"""

from __future__ import annotations

from dataclasses import dataclass


class WatchwordError(Exception):
    """The root of the tree.

    :param message: one sentence that may be shown to anyone.
    :param code: stable snake_case name of what happened; a class has a default.
    """

    code: str = "internal_error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with the settings: which setting, what, and what to do about it."""

    setting: str
    message: str
    hint: str


class SettingsError(WatchwordError):
    """Settings that cannot be used. `faults` holds all that were found, not just the first."""

    code = "invalid_settings"

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("; ".join(f"{fault.setting}: {fault.message}" for fault in faults))
        self.faults = faults


class InvalidKey(WatchwordError):
    """Key material that cannot be used, or may not be used as asked (too short, wrong curve, mixed kinds)."""

    code = "invalid_key"


class TokenError(WatchwordError):
    """A token that is not accepted. No claims travel with it.

    `code` is one of `token_missing, token_malformed, token_invalid, token_expired, token_not_yet_valid,
    token_revoked, scope_missing, role_missing, reauthentication_required`.
    """

    code = "token_invalid"
    early_by: int = 0
    """Of `token_not_yet_valid`: in how many seconds it will be."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field: where (`password`, `items.0.name`), a stable code, a sentence."""

    field: str
    code: str
    message: str


class InvalidInput(WatchwordError):
    """A request of the right shape with values that are not acceptable; one entry per field."""

    code = "invalid_input"

    def __init__(self, *errors: FieldError) -> None:
        super().__init__("Some fields are not acceptable.")
        self.errors = errors


class Refused(WatchwordError):
    """A request understood and turned down."""

    code = "refused"


class Unauthenticated(Refused):
    """The caller is not, or no longer, who the request needs (`invalid_credentials`, `session_ended`, …)."""

    code = "invalid_credentials"


class Forbidden(Refused):
    """The caller is known and may not do this."""

    code = "forbidden"


class NotFound(Refused):
    """What was named does not exist, or not for this caller."""

    code = "not_found"


class Conflict(Refused):
    """What was asked for clashes with what is stored (`username_taken`, `email_taken`)."""

    code = "conflict"


class TooManyAttempts(WatchwordError):
    """A limit is used up.

    :param limit: name of the limit, as in the `RateLimit` header.
    :param quota: how many were allowed.
    :param window: per how many seconds.
    :param retry_after: seconds until the next attempt is counted afresh.
    """

    code = "too_many_attempts"

    def __init__(self, *, limit: str, quota: int, window: int, retry_after: int) -> None:
        super().__init__(f"Too many attempts. Try again in {retry_after} seconds.")
        self.limit = limit
        self.quota = quota
        self.window = window
        self.retry_after = retry_after


class Overloaded(WatchwordError):
    """No capacity right now; the request had no effect. Try again after `retry_after` seconds."""

    code = "overloaded"

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StorageError(WatchwordError):
    """Something about the database."""

    code = "storage_unavailable"


class StorageUnavailable(StorageError):
    """The database did not do what it should have. Nothing of the unit was stored; only where the connection to
    PostgreSQL was lost during the commit itself, that is not known.
    """


class UniqueViolation(StorageError):
    """A unique index refused the row. `index` names it (`ww_users_username`)."""

    code = "unique_violation"

    def __init__(self, index: str) -> None:
        super().__init__(f"unique index {index} refused the row")
        self.index = index


class SchemaMismatch(StorageError):
    """The database was written by another version of Watchword, or has not been migrated."""

    code = "schema_mismatch"
