"""What PostgreSQL's errors mean to the rest of the product. Told by their codes, so that no driver is imported here.

* a unique index refused a row → `UniqueViolation` with the name that the index has on SQLite as well,
* the server did not do what it should have (gone, full, read-only, too slow, …) → `StorageUnavailable`,
* anything else (no such table, NOT NULL, a wrong binding) is a fault of the program and stays as it is.
"""

from __future__ import annotations

import socket
import ssl

from watchword.errors import Fault, SettingsError, StorageError, StorageUnavailable, UniqueViolation
from watchword.settings.postgres_url import PostgresUrl

SETTING = "WATCHWORD_DATABASE_URL"

_UNIQUE = "23505"
_BAD_VALUES = "22"  # among them NUL, the one character that UTF-8 has and PostgreSQL does not
_NOT_ALLOWED = "42501"
_NO_DATABASE = "3D000"
_READ_ONLY = "25006"
_TOO_MANY = "53300"
_OVERTAKEN = frozenset({"40001", "40P01"})  # serialisation failure, deadlock: nothing was stored
# Whole classes: connection, login, resources, transaction ended by the server, intervention, system, damage.
_UNAVAILABLE_CLASSES = frozenset({"08", "28", "40", "53", "57", "58", "XX"})
_MIXED_UP = frozenset({"26000", "42P05"})  # prepared statements
_POOLED = frozenset({"08P01", *_MIXED_UP})  # a pooler refuses the start, or mixes them up
_UNAVAILABLE = frozenset({_READ_ONLY, "25P03", "25P04", "55P03", _NO_DATABASE, _NOT_ALLOWED, *_POOLED})
_GONE = frozenset({"57P01", "57P02", "57P03", "57P05", "25P03", "25P04"})  # with these the server ends the connection
_STALE_PLAN = "cached plan must not change result type"

_REACH = "check that the server runs, its host and port in the URL, and the network between"
_ADVICE = {
    "28": "check the user and the password in WATCHWORD_DATABASE_URL, and the server's pg_hba.conf",
    "53": "the server is full (disk, memory or connections): look at its log",
    "57": "the server stops, starts or was told to end this: try again in a moment",
    _NOT_ALLOWED: "the database user lacks a right: as the owner of the database, GRANT CREATE ON SCHEMA public TO it",
    _NO_DATABASE: "make the database: createdb NAME",
    _READ_ONLY: "this server only reads (a standby?): name the primary, or both: postgresql://…@one,other/…",
    _TOO_MANY: "the server has no connection left: raise its max_connections, or lower pool_size in the URL",
}
_POOLER = "where PgBouncer or another pooler stands before the server, write pgbouncer=true in WATCHWORD_DATABASE_URL"
_OTHERWISE = "look at the log of the database server"
_NOT_THE_OWNER = (
    "the database user must own the tables: restore with pg_restore --no-owner --role=USER into a database of its own "
    "(createdb --owner USER), or REASSIGN OWNED BY the user that owns them TO it"
)
_TLS = "write the sslmode that the server offers, and its authority as sslrootcert=/path/to/ca.pem"
_NO_TLS = "the server has no TLS: switch on its ssl, or check the port, where another program may listen"
_EXPIRED = "renew the server's certificate, and check the clock of this machine"
_STRANGER = "name the authority that signed it: sslrootcert=/path/to/ca.pem, or sslrootcert=system"
_OTHER_HOST = "write the host that the server's certificate names; verify-ca does not look at it"
_CERTIFICATES = {7: _STRANGER, 9: _EXPIRED, 10: _EXPIRED, 18: _STRANGER, 19: _STRANGER, 20: _STRANGER, 21: _STRANGER,
                 62: _OTHER_HOST, 64: _OTHER_HOST}  # fmt: skip
"""By what OpenSSL found (X509_V_ERR_…)."""


def state_of(error: BaseException | None) -> str:
    """The five characters that PostgreSQL gives each kind of error, or nothing where it did not come from there."""
    return str(getattr(error, "sqlstate", None) or "")


def is_of_driver(error: BaseException) -> bool:
    """Whether the driver raised this, or the connection did."""
    return type(error).__module__.startswith("asyncpg.") or isinstance(error, OSError | TimeoutError)


def is_unavailable(error: BaseException) -> bool:
    """Whether the server or the way to it is at fault, not the program."""
    state = state_of(error)
    if state:
        return state in _UNAVAILABLE or state[:2] in _UNAVAILABLE_CLASSES or is_stale(error)
    # What the driver says of values that it cannot send is a ValueError; the rest is about its connection.
    return is_of_driver(error) and not isinstance(error, ValueError)


def is_stale(error: BaseException) -> bool:
    """Whether a migration has changed what a prepared statement was planned for: the next one is planned anew."""
    return _STALE_PLAN in str(error) or type(error).__name__ in {
        "InvalidCachedStatementError",
        "OutdatedSchemaCacheError",
    }


def is_overtaken(error: BaseException) -> bool:
    """Whether others were faster, or the plan was stale: nothing was stored, and trying again works."""
    return state_of(error) in _OVERTAKEN or is_stale(error)


def is_lost(error: BaseException) -> bool:
    """Whether the connection is of no use any more."""
    state = state_of(error)
    if state:
        return state.startswith("08") or state in _GONE
    return is_of_driver(error) and not isinstance(error, ValueError)


def is_elsewhere(error: BaseException) -> bool:
    """Whether another server may be the right one now: after a fail-over this one only reads, or stops."""
    return state_of(error) in _GONE or only_reads(error)


def only_reads(error: BaseException) -> bool:
    """Whether the server was reached and takes no writes. The driver has no code for it while it connects."""
    return state_of(error) == _READ_ONLY or type(error).__name__ == "TargetServerAttributeNotMatched"


def unavailable(cause: BaseException | None) -> StorageUnavailable:
    """A `StorageUnavailable` that carries the cause for the log and says nothing of it to the caller."""
    error = StorageUnavailable("The database is not available.")
    error.__cause__ = cause
    return error


def translated(error: Exception) -> Exception:
    """The error to raise instead; the same one where it is a fault of the program."""
    state = state_of(error)
    if state == _UNIQUE:
        violation = UniqueViolation(_index(error))
        violation.__cause__ = error
        return violation
    if state[:2] == _BAD_VALUES:
        refused = ValueError("the database cannot hold this value")
        refused.__cause__ = error
        return refused
    return unavailable(error) if is_unavailable(error) else error


def advice(error: BaseException | None) -> str:
    """What those who run the service can do about it; empty where the error is not of this engine."""
    if error is None or not is_of_driver(error):
        return ""
    if state_of(error) == _NOT_ALLOWED and "ww_" in str(error):  # a table of ours; in every language it has its name
        return _NOT_THE_OWNER
    if state := _READ_ONLY if only_reads(error) else state_of(error):
        return _POOLER if state in _POOLED else _ADVICE.get(state) or _ADVICE.get(state[:2], _OTHERWISE)
    if _is_of_tls(error):
        otherwise = _NO_TLS if "rejected" in str(error) else _TLS
        return _CERTIFICATES.get(getattr(error, "verify_code", 0), otherwise)
    of_network = isinstance(error, ConnectionError | TimeoutError | socket.gaierror) or not isinstance(error, OSError)
    return _REACH if of_network else ""  # another OSError may be about a file


def reason(error: BaseException) -> str:
    """What an error says, in one line. To mixed up statements the driver adds advice of its own, in many lines.

    That is for those who write programs with it; ours is `advice`.
    """
    text = error.args[0] if state_of(error) in _MIXED_UP and error.args else error
    return " ".join(str(text).split())


def refused_at_start(error: Exception, url: PostgresUrl) -> SettingsError | StorageError:
    """What to say when the first connection could not be made: one line with a hint, and no password in it."""
    state, text = state_of(error), str(error)
    if state.startswith("28"):
        return _fault(f"is refused by the server ({_line(text)})", _ADVICE["28"])
    if state == _NO_DATABASE:
        return _fault(f"names a database that the server does not have ({url.name})", f"createdb {url.name}")
    if _is_of_file(error, text):
        return _fault("names a certificate or key that cannot be read", "look at its sslrootcert, sslcert and sslkey")
    if _is_of_tls(error):
        return _fault(f"is refused for its TLS ({_line(text)})", advice(error))
    if isinstance(error, ValueError):  # of the driver: it may quote what the URL holds
        return _fault("cannot be used by the driver", "look at its sslmode, sslrootcert and hosts")
    return _unreachable(error, url)


def _is_of_tls(error: BaseException) -> bool:
    return isinstance(error, ssl.SSLError) or "SSL" in str(error)


def _is_of_file(error: Exception, text: str) -> bool:
    """Whether a certificate or a key of the URL is missing, may not be read, or is none."""
    if isinstance(error, ssl.SSLError):
        return "_FILE" in text or "PEM" in text or "X509" in text or "KEY_VALUES" in text
    return isinstance(error, FileNotFoundError | PermissionError) or "root certificate file" in text


def too_old(version: str) -> SettingsError:
    """The server is older than what is tested."""
    return _fault(f"names a PostgreSQL {version}", "14 or newer is needed")


def no_unicode(encoding: str, url: PostgresUrl) -> SettingsError:
    """The database cannot hold every name."""
    return _fault(f"names a database in {encoding}", f"make one in UTF-8: createdb -E UTF8 -T template0 {url.name}")


def _unreachable(error: Exception, url: PostgresUrl) -> StorageUnavailable:
    refused = StorageUnavailable(f"The database at {url.place} is not available.")
    refused.__cause__ = error
    return refused


def _fault(message: str, hint: str) -> SettingsError:
    return SettingsError((Fault(SETTING, message, hint),))


def _line(text: str) -> str:
    return " ".join(text.split())[:200]


def _index(error: Exception) -> str:
    """The name of the index. A table that was renamed by a migration has kept its primary key's old name."""
    name, relation = str(getattr(error, "constraint_name", "")), str(getattr(error, "table_name", ""))
    return f"{relation}_pkey" if name.endswith("_pkey") and relation else name
