"""What other applications' tables and exports hold: one function for each kind of application."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from watchword.cli.exits import MISSING, CommandError
from watchword.cli.moving.lines import Entry
from watchword.errors import InvalidInput
from watchword.identity.administrators import ADMIN
from watchword.identity.arrivals import Record, Refused
from watchword.identity.user_data import checked_name
from watchword.settings.scopes import LONGEST_ROLE
from watchword.storage.foreign import Foreign, Table

_NOT_IN_A_ROLE = re.compile(r"[^A-Za-z0-9_.:-]+")
_HEX_UUID = re.compile(r"([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})")
_MILLISECONDS = 100_000_000_000  # a number above that is no second before the year 5138

Row = Mapping[str, Any]


class Preset(NamedTuple):
    """A kind of application with a database.

    :param table: its usual table of users.
    :param needed: columns of that table that must be there.
    :param optional: columns that some versions lack.
    :param record: row, roles from elsewhere → what it says.
    :param expressions: further columns, as SQL; `{table}` stands for the table.
    """

    table: str
    needed: tuple[str, ...]
    optional: tuple[str, ...]
    record: Callable[[Row, Iterable[str]], Record]
    expressions: Mapping[str, str] = {}


async def entries(database: Foreign, preset: Preset, table: str) -> AsyncIterator[Entry]:
    """Yield the users of an application. Raises `CommandError` when its table is another."""
    there = await database.columns(table)
    missing = [name for name in preset.needed if name not in there]
    if missing:
        message = f"the table {table} has no column {missing[0]}" if there else f"there is no table {table}"
        raise CommandError(message, "name the table of users with --table", MISSING)
    columns = {name: f'"{name}"' for name in (*preset.needed, *preset.optional) if name in there}
    columns |= {name: text.format(table=table) for name, text in preset.expressions.items()}
    groups = await _groups(database, table)
    number = 0
    async for row in database.rows(Table(table, columns)):
        number += 1
        yield Entry(number, number, preset.record(row, groups.get(row["id"], ())))


async def _groups(database: Foreign, table: str) -> dict[Any, list[str]]:
    """Return user → names of Django's groups; nothing where there are no such tables."""
    member = await database.columns(f"{table}_groups")
    users = sorted(name for name in member if name.endswith("_id") and name != "group_id")
    if "group_id" not in member or not users or not await database.columns("auth_group"):
        return {}
    names = {row["id"]: row["name"] async for row in database.rows(Table("auth_group", {"id": "id", "name": "name"}))}
    found: dict[Any, list[str]] = {}
    async for row in database.rows(Table(f"{table}_groups", {"user": f'"{users[0]}"', "group": "group_id"})):
        found.setdefault(row["user"], []).append(names[row["group"]])
    return found


def _django(row: Row, groups: Iterable[str]) -> Record:
    password = row["password"] or ""
    flags = [name for name, column in (("admin", "is_superuser"), ("staff", "is_staff")) if row.get(column)]
    return Record(
        external_id=_id(row["id"]),
        username=row.get("username") or None,
        email=row.get("email") or None,
        roles=_roles([*flags, *groups]),
        created_at=_time(row.get("date_joined")),
        last_login_at=_time(row.get("last_login")),
        disabled=not row.get("is_active", True),
        name=_called(row.get("first_name"), row.get("last_name")),
        password_hash=None if password.startswith("!") else password,  # Django's mark: no password can match
    )


def _fastapi_users(row: Row, _groups: Iterable[str]) -> Record:
    return Record(
        external_id=_id(row["id"]),
        email=row["email"],
        email_verified=bool(row["is_verified"]),
        roles=("admin",) if row["is_superuser"] else (),
        disabled=not row["is_active"],
        password_hash=row["hashed_password"],
    )


def _better_auth(row: Row, _groups: Iterable[str]) -> Record:
    return Record(
        external_id=_id(row["id"]),
        username=row.get("username") or None,
        email=row["email"],
        email_verified=bool(row["emailVerified"]),
        roles=_roles((row.get("role") or "").split(",")),
        created_at=_time(row["createdAt"]),
        disabled=bool(row.get("banned")),
        name=_called(row.get("name")),
        password_hash=row["password"],
    )


PRESETS: Mapping[str, Preset] = {
    "django": Preset(
        "auth_user",
        ("id", "password"),
        (
            "username",
            "email",
            "is_superuser",
            "is_staff",
            "is_active",
            "date_joined",
            "last_login",
            "first_name",
            "last_name",
        ),
        _django,
    ),
    "fastapi-users": Preset(
        "user", ("id", "email", "hashed_password", "is_active", "is_superuser", "is_verified"), (), _fastapi_users
    ),
    "better-auth": Preset(
        "user",
        ("id", "email", "emailVerified", "createdAt"),
        ("username", "role", "banned", "name"),
        _better_auth,
        {
            "password": '(SELECT MAX(a."password") FROM "account" AS a'
            ' WHERE a."userId" = "{table}"."id" AND a."providerId" = \'credential\')'
        },
    ),
}


def read_mongoose(line: bytes) -> Record:
    """Return what a document of `mongoexport` says, with the field names of the tutorials.

    Raises `Refused`, and what msgspec raises.
    """
    document = msgspec.json.decode(line)
    if not isinstance(document, dict):
        raise Refused("no JSON object; run mongoexport without --jsonArray")
    found = {name.lower(): _unwrapped(value) for name, value in document.items()}
    flags = [name for name in ("admin", "isadmin") if found.get(name) is True]
    roles = [*_names(found.get("roles")), *_names(found.get("role")), *("admin" for _ in flags[:1])]
    verified = any(found.get(name) is True for name in ("verified", "isverified", "emailverified"))
    return Record(
        external_id=_text("_id", found.get("_id")),
        username=_text("username", found.get("username") or found.get("user")),
        email=_text("email", found.get("email")),
        email_verified=verified,
        roles=_roles(roles),
        created_at=_time(found.get("createdat")),
        disabled=found.get("active") is False or found.get("isactive") is False,
        name=_called(found.get("name")),
        password_hash=_text("password", found.get("password") or found.get("passwordhash")),
    )


def _unwrapped(value: Any) -> Any:
    """Return what stands in `{"$oid": …}`, `{"$date": …}`, `{"$numberLong": …}`."""
    while isinstance(value, dict) and len(value) == 1 and next(iter(value)).startswith("$"):
        ((name, value),) = value.items()
        if name in {"$numberLong", "$numberInt"}:
            return int(value)
    return value


def _names(value: Any) -> list[str]:
    """Return roles from `["user"]`, `"user"`, or `{"User": 2001, "Admin": null}`."""
    if isinstance(value, dict):
        return [name for name, given in value.items() if given]
    if isinstance(value, list):
        return [name for each in value for name in _names(each)]
    return [value] if isinstance(value, str) else []


def _text(name: str, value: Any) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise Refused(f"{name} is no text")
    return str(value)


def _called(*parts: Any) -> str | None:
    """Return a person's name, or None for what is none: no one stays behind for it."""
    text = " ".join(part for part in parts if isinstance(part, str) and part)
    with suppress(InvalidInput):
        return checked_name(text)
    return None


def _id(value: Any) -> str:
    """Return an id as the application writes it into its tokens: UUIDs with hyphens."""
    text = str(value)
    found = _HEX_UUID.fullmatch(text)
    return text if found is None else "-".join(found.groups())


def _roles(names: Iterable[str]) -> tuple[str, ...]:
    """Return roles: a group “Content editors” becomes `Content-editors`."""
    named = [(name.strip(), _NOT_IN_A_ROLE.sub("-", name.strip()).strip("-")[:LONGEST_ROLE]) for name in names]
    # No other name becomes the administrator's role.
    return tuple(dict.fromkeys(slug for name, slug in named if slug and (slug != ADMIN or name == ADMIN)))


def _time(value: Any) -> str | int | None:
    """Return a time that `Record` takes, from what drivers return: times, text, seconds or milliseconds."""
    if isinstance(value, datetime):
        return int((value if value.tzinfo is not None else value.replace(tzinfo=UTC)).timestamp())
    if isinstance(value, int | float):
        return int(value / 1000 if value > _MILLISECONDS else value)
    return value if isinstance(value, str) else None
