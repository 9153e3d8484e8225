"""The URL of a PostgreSQL database: read into its parts, so that what is wrong with it is told without quoting it.

A URL may hold a password. No message of this module repeats any part of one but the names of its parameters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode

from watchword.settings.values import Unfit

SCHEMES = frozenset({"postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg", "postgresql+psycopg2"})
FORM = "postgresql://user:password@host:5432/database"
CONNECTIONS = 10
"""Connections of one process, unless the URL says `pool_size`."""

_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_ATTRIBUTES = ("read-write", "primary", "any")
_DRIVER = ("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "target_session_attrs")
_OWN = ("pgbouncer", "pool_size", "host", "application_name")
_MOST_CONNECTIONS = 200
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%25[\w.-]+)?\]|[^:\[\]@/]+)(?::([0-9]{1,5}))?")
_HIGHEST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """Where the database is and how it is reached.

    :param dsns: for the driver, one for each host; without the parameters that are ours.
    :param place: for people: the hosts and the name of the database.
    :param pgbouncer: True, False, or None where the URL says nothing of it.
    :param connections: the most that one process opens.
    :param trusts_system: the server's certificate is checked against the authorities that this system trusts.
    """

    dsns: tuple[str, ...] = field(repr=False)
    place: str
    name: str
    application: str
    pgbouncer: bool | None
    connections: int
    trusts_system: bool


def is_postgres(url: str) -> bool:
    """Whether a URL means a PostgreSQL database, however well it is written."""
    scheme, separator, _ = url.partition("://")
    return bool(separator) and scheme.lower() in SCHEMES


def read(url: str) -> PostgresUrl:
    """The parts of a URL. Raises `Unfit`."""
    rest = url.partition("://")[2]
    if "#" in rest:
        raise Unfit("has a # in it, which ends a URL", "write # in a password as %23")
    address, _, query = rest.partition("?")
    options = _options(query)
    credentials, at, location = address.rpartition("@")
    hosts, _, path = location.partition("/")
    name = unquote(path)
    if "/" in credentials:
        raise Unfit("has a / before the host", "write / in a password as %2F")
    if not name or "/" in name or "\0" in name:
        raise Unfit("names no database", f"write {FORM}")
    if options.get("host", "").startswith("/"):  # the directory of a Unix socket
        hosts = quote(options["host"], safe="") + (hosts if hosts.startswith(":") else "")
    places = _hosts(hosts)
    if len(places) > 1:
        options.setdefault("target_session_attrs", "read-write")  # the others are standbys
    driver = {key: options[key] for key in _DRIVER if key in options}
    trusts_system = _trusts_system(driver)
    user, colon, password = credentials.partition(":")
    signed = _quoted(user) + (":" + _quoted(password) if colon else "") + at
    tail = f"?{urlencode(driver)}" if driver else ""
    return PostgresUrl(
        dsns=tuple(f"postgresql://{signed}{each}/{quote(name, safe='')}{tail}" for each in places or [""]),
        place=f"{unquote(','.join(places)) or 'this machine'}, database {name}",
        name=name,
        application=options.get("application_name", "watchword"),
        pgbouncer=_switch(options.get("pgbouncer")),
        connections=_connections(options.get("pool_size", str(CONNECTIONS))),
        trusts_system=trusts_system,
    )


def _quoted(text: str) -> str:
    return quote(unquote(text), safe="")


def _options(query: str) -> dict[str, str]:
    options = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in _DRIVER + _OWN:
            shown = key[:40] if re.fullmatch(r"[A-Za-z_]+", key) else "a parameter"
            raise Unfit(f"has {shown}, which Watchword does not know", f"known are: {', '.join(_DRIVER + _OWN)}")
        if key in options:
            raise Unfit(f"has {key} twice", "say it once")
        options[key] = value
    for key, allowed in (("sslmode", _MODES), ("target_session_attrs", _ATTRIBUTES)):
        if options.get(key, allowed[0]) not in allowed:
            raise Unfit(f"has another {key} than can be used", f"choose from: {', '.join(allowed)}")
    return options


def _hosts(text: str) -> list[str]:
    found = []
    for each in text.split(",") if text else []:
        match = _HOST.fullmatch(each) if not each.startswith(":") else _HOST.fullmatch(f"localhost{each}")
        if match is None or not 0 < int(match[2] or "5432") <= _HIGHEST_PORT:
            raise Unfit("names a host or port that is none", f"write {FORM}; @ and : in a password as %40 and %3A")
        found.append(match[0])
    return found


def _trusts_system(driver: dict[str, str]) -> bool:
    """`sslrootcert=system`, as libpq has it since 16: the system's authorities, and nothing less than verify-full."""
    if driver.get("sslrootcert") != "system":
        return False
    if driver.get("sslmode", "verify-full") != "verify-full":
        raise Unfit("has sslrootcert=system with a weaker sslmode", "leave out sslmode, or write sslmode=verify-full")
    if own := sorted(driver.keys() & {"sslcert", "sslkey", "sslcrl"}):
        hint = "name the file of the system's authorities, such as /etc/ssl/certs/ca-certificates.crt"
        raise Unfit(f"has sslrootcert=system together with {own[0]}", hint)
    driver.pop("sslrootcert")
    driver.pop("sslmode", None)
    return True


def _switch(text: str | None) -> bool | None:
    if text is None:
        return None
    if text not in {"true", "false"}:
        raise Unfit("has a pgbouncer that is neither true nor false", "write pgbouncer=true, or leave it out")
    return text == "true"


def _connections(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= _MOST_CONNECTIONS:
        raise Unfit("has a pool_size that is no number", f"give a whole number from 1 to {_MOST_CONNECTIONS}")
    return int(text)
