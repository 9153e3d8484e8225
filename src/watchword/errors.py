"""Every error that Watchword raises on purpose.

    WatchwordError
    ├── SettingsError
    ├── InvalidKey
    ├── TokenError
    ├── ClaimError
    ├── InvalidInput
    ├── Refused
    │   ├── Unauthenticated
    │   ├── Forbidden
    │   ├── NotFound
    │   └── Conflict
    │       └── TooEarly
    ├── TooManyAttempts
    ├── Overloaded
    └── StorageError
        ├── StorageUnavailable
        ├── UniqueViolation
        └── SchemaMismatch

Anyone may see an error's stable `code` and its `message`; `__cause__` is for the log. `watchword.problem_table`
maps codes to HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass


class WatchwordError(Exception):
    """The root of the tree.

    :param message: one sentence that anyone may see.
    :param code: instead of the class's own.
    """

    code: str = "internal_error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


@dataclass(frozen=True, slots=True)
class Fault:
    """A faulty setting, what is wrong, what to do."""

    setting: str
    message: str
    hint: str


class SettingsError(WatchwordError):
    """Settings that cannot be used, with all their `faults`."""

    code = "invalid_settings"

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("; ".join(f"{fault.setting}: {fault.message}" for fault in faults))
        self.faults = faults


class InvalidKey(WatchwordError):
    """Key material that is unfit (too short, wrong curve, mixed kinds)."""

    code = "invalid_key"


class TokenError(WatchwordError):
    """A token that is not accepted. It carries no claims.

    `code` is one of `token_missing, token_malformed, token_invalid, token_expired, token_not_yet_valid,
    token_revoked, scope_missing, role_missing, reauthentication_required`, at the service also `token_narrowed`.
    """

    code = "token_invalid"
    early_by: int = 0
    """Seconds until a `token_not_yet_valid` is valid."""
    log_in: str = ""
    """Where a proxy may lead a browser whose page is refused."""


class ClaimError(WatchwordError):
    """A claim that an API needs, and that this token lacks or has in another form."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """A faulty field (`items.0.name`), a stable code, a sentence."""

    field: str
    code: str
    message: str


class InvalidInput(WatchwordError):
    """Unacceptable values in a well-formed request."""

    code = "invalid_input"

    def __init__(self, *errors: FieldError) -> None:
        super().__init__("Some fields are not acceptable.")
        self.errors = errors


class Refused(WatchwordError):
    """A request that is turned down."""

    code = "refused"


class Unauthenticated(Refused):
    """The caller is not, or no longer, known."""

    code = "invalid_credentials"


class Forbidden(Refused):
    """The caller is known and may not."""

    code = "forbidden"


class NotFound(Refused):
    """There is nothing of this name for this caller."""

    code = "not_found"


class Conflict(Refused):
    """The request clashes with what is stored."""

    code = "conflict"


class TooEarly(Conflict):
    """What works only later.

    :param since: from when on, seconds since 1970 UTC.
    """

    def __init__(self, message: str, *, code: str, since: int) -> None:
        super().__init__(message, code=code)
        self.since = since


class TooManyAttempts(WatchwordError):
    """A limit is used up.

    :param limit: which one, for the log alone: an answer that names it would tell what others do to an account.
    :param policy: name in the `RateLimit` header: what was attempted.
    :param quota: attempts per `window` seconds, as anyone may know them.
    :param retry_after: seconds.
    """

    code = "too_many_attempts"

    def __init__(self, *, limit: str, policy: str, quota: int, window: int, retry_after: int) -> None:
        super().__init__(f"Too many attempts. Try again in {retry_after} seconds.")
        self.limit = limit
        self.policy = policy
        self.quota = quota
        self.window = window
        self.retry_after = retry_after


class Overloaded(WatchwordError):
    """No capacity now; the request had no effect.

    :param retry_after: seconds.
    """

    code = "overloaded"

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StorageError(WatchwordError):
    """Something about the database."""

    code = "storage_unavailable"


class StorageUnavailable(StorageError):
    """Nothing of the unit was stored. Unknown only if PostgreSQL's connection was lost during the commit."""


class UniqueViolation(StorageError):
    """A unique `index` refused the row (`ww_users_username`)."""

    code = "unique_violation"

    def __init__(self, index: str) -> None:
        super().__init__(f"unique index {index} refused the row")
        self.index = index


class SchemaMismatch(StorageError):
    """The database's schema is another version's or another program's, or it is not complete.

    :param hint: what to do, where it is known.
    """

    code = "schema_mismatch"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
