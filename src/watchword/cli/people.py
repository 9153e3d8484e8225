"""The commands that open the database: migrate, and everything about users."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NoReturn, TypeVar

import msgspec

from watchword.app import opened
from watchword.cli.asking import at_terminal
from watchword.cli.exits import MISSING, USAGE, CommandError
from watchword.cli.show import print_record, print_table
from watchword.clock import rfc3339
from watchword.identity import identifiers
from watchword.identity.audit import LOCAL
from watchword.identity.kernel import Kernel
from watchword.identity.users import User
from watchword.settings import Settings
from watchword.storage.opening import is_new, place_of

T = TypeVar("T")  # Python 3.11 has no `def f[T]`

_LONGEST_PASSWORD = 16_384  # bytes: the policy's own limit is lower; this one bounds the reading
_MOST = 1000  # users in one list
_ID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def migrate(settings: Settings) -> None:
    """Open the database, which brings it to this version's schema, and close it."""

    async def nothing(_: Kernel) -> None:
        return None

    made = _is_new(settings)
    with_kernel(settings, nothing, makes=True)
    if made:
        _tell_that_it_is_new(settings)
    print("The database has this version's schema.")


def create(
    settings: Settings,
    *,
    username: str | None,
    email: str | None,
    roles: tuple[str, ...],
    password_stdin: bool,
    makes: bool,
    as_json: bool,
) -> None:
    """Make a user and print it.

    :param makes: make the database as well if there is none.
    """
    if username is None and email is None:
        raise CommandError("give a username, --email, or both", "watchword users create --help", USAGE)
    made = _is_new(settings)
    if made and not makes:
        _miss_database(settings, "; --new-database makes one for this user")
    password = _password_from_stdin() if password_stdin else _password_asked_for()

    async def work(kernel: Kernel) -> User:
        return await kernel.users.create(username=username, email=email, password=password, roles=roles, client=LOCAL)

    user = with_kernel(settings, work, makes=makes)
    if made:
        _tell_that_it_is_new(settings)
    _print_user(user, as_json=as_json)


def _tell_that_it_is_new(settings: Settings) -> None:
    sys.stderr.write(f"hint: the database is a new one, at {place_of(settings)}\n")


def show_list(settings: Settings, *, limit: str, after: str, search: str, as_json: bool) -> None:
    """Print users, and where to go on when there are more."""
    _print_list(settings, _limit(limit), _after(after), search, as_json=as_json)


def _limit(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= len(str(_MOST)) and 1 <= int(text) <= _MOST:
        return int(text)
    raise CommandError(f"--limit {text!a} is not a whole number from 1 to {_MOST}", "write it like --limit 100", USAGE)


def _after(text: str) -> str:
    if text and not _ID.fullmatch(text):
        hint = "give an id as `watchword users list` shows it, such as --after 01890000-0000-7000-8000-000000000000"
        raise CommandError(f"--after {text!a} is not the id of a user", hint, USAGE)
    return text.lower()


def _print_list(settings: Settings, limit: int, after: str, search: str, *, as_json: bool) -> None:

    async def work(kernel: Kernel) -> list[User]:
        return await kernel.users.page(limit=limit + 1, after=after, search=search)

    found = with_kernel(settings, work)
    page, next_cursor = found[:limit], found[limit - 1].id if len(found) > limit else None
    if as_json:
        print_json({"items": [_plain(user) for user in page], "next_cursor": next_cursor})
        return
    rows = [
        (user.id, user.username or "", user.email or "", " ".join(user.roles), rfc3339(user.created_at), _state(user))
        for user in page
    ]
    print_table(("id", "username", "e-mail", "roles", "made", "state"), rows)
    if next_cursor is not None:
        sys.stderr.write(f"hint: there are more: --after {next_cursor}\n")


def show_one(settings: Settings, who: str, *, as_json: bool) -> None:
    """Print one user."""

    async def work(kernel: Kernel) -> User:
        return await _find(kernel, who)

    _print_user(with_kernel(settings, work), as_json=as_json)


def disable(settings: Settings, who: str, *, as_json: bool) -> None:
    """Disable a user and print what it is now."""

    async def work(kernel: Kernel) -> User:
        return await kernel.users.disable((await _find(kernel, who)).id, client=LOCAL)

    _print_user(with_kernel(settings, work), as_json=as_json)


def enable(settings: Settings, who: str, *, as_json: bool) -> None:
    """Enable a user and print what it is now."""

    async def work(kernel: Kernel) -> User:
        return await kernel.users.enable((await _find(kernel, who)).id, client=LOCAL)

    _print_user(with_kernel(settings, work), as_json=as_json)


def set_roles(settings: Settings, who: str, roles: tuple[str, ...], *, as_json: bool) -> None:
    """Replace a user's roles and print what it is now."""

    async def work(kernel: Kernel) -> User:
        return await kernel.users.set_roles((await _find(kernel, who)).id, roles, client=LOCAL)

    _print_user(with_kernel(settings, work), as_json=as_json)


def with_kernel(
    settings: Settings, work: Callable[[Kernel], Awaitable[T]], *, makes: bool = False, path: Path | None = None
) -> T:
    """Open the database that the settings name, do the work, close it.

    :param makes: make the database if there is none, as the first command of all may have to.
    :param path: another file than the settings name.
    """
    if not makes and path is None:
        require_database(settings)

    async def main() -> T:
        async with opened(settings, serves=False, path=path) as kernel:
            return await work(kernel)

    return asyncio.run(main())


def require_database(settings: Settings) -> None:
    """In the wrong directory there is none: one that was made now, empty, would take anything and say that it is done.

    :raises CommandError: there is no database where the settings say.
    """
    if _is_new(settings):
        _miss_database(settings)


def require_file(settings: Settings, program: str) -> Path:
    """The SQLite file that the settings name.

    :param program: the one of PostgreSQL's own that does this there.
    :raises CommandError: they name PostgreSQL.
    """
    if settings.database_path is None:
        hint = f"use {program}, and keep the master secret in another place: docs/guides/postgres.md"
        raise CommandError("this command is for SQLite; the settings name PostgreSQL", hint, USAGE)
    return settings.database_path


def _is_new(settings: Settings) -> bool:
    return asyncio.run(is_new(settings))


def _miss_database(settings: Settings, otherwise: str = "") -> NoReturn:
    hint = "run this where the service runs, or name the place with --data-dir or --database-url"
    raise CommandError(f"there is no database at {place_of(settings)}", hint + otherwise, MISSING)


async def _find(kernel: Kernel, who: str) -> User:
    """By id, username or e-mail address, whichever it is. `id:…` and `username:…` say which.

    A username of an older version may look like an id. What could mean two users is refused: a command that disables
    must not hit another one than was meant.
    """
    kind, colon, rest = who.strip().partition(":")
    if colon and kind in _KINDS:
        found = await _KINDS[kind](kernel, rest)
    else:
        of_that_id, named = await _by_id(kernel, who.strip()), await _by_name(kernel, who)
        if of_that_id is not None and named is not None and of_that_id.id != named.id:
            hint = f"write id:{of_that_id.id} or username:{named.username}"
            raise CommandError(f"{who!a} is the id of one user and the username of another", hint, USAGE)
        found = of_that_id or named
    if found is None:
        raise CommandError(f"there is no user {who!a}", "watchword users list shows who there is", MISSING)
    return found


async def _by_id(kernel: Kernel, who: str) -> User | None:
    return await kernel.users.find(who)


async def _by_name(kernel: Kernel, who: str) -> User | None:
    return await kernel.users.find_by(identifiers.typed(who))


_KINDS = {"id": _by_id, "username": _by_name, "email": _by_name}


def _password_from_stdin() -> str:
    line = b"" if sys.stdin is None else sys.stdin.buffer.readline(_LONGEST_PASSWORD)
    try:
        text = line.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise _strange_password("on standard input") from None
    if not text:
        raise CommandError(
            "standard input holds no password", "printf '%s' \"$PASSWORD\" | watchword users create …", USAGE
        )
    return text


def _password_asked_for() -> str:
    if not at_terminal():
        raise CommandError("there is no terminal to ask for the password on", "use --password-stdin", USAGE)
    from getpass import getpass

    try:
        first, again = getpass("Password: "), getpass("The same again: ")
        first.encode()
    except UnicodeError:
        raise _strange_password("that was typed") from None
    if first != again:
        raise CommandError("the two passwords differ", "try again", USAGE)
    return first


def _strange_password(where: str) -> CommandError:
    return CommandError(
        f"the password {where} is not UTF-8", "set the terminal or the program before it to UTF-8", USAGE
    )


def _print_user(user: User, *, as_json: bool) -> None:
    plain = _plain(user)
    if as_json:
        print_json(plain)
        return
    print_record([(name, _cell(value)) for name, value in plain.items()])


def _plain(user: User) -> dict[str, object]:
    """A user as the HTTP interface shows one: times as RFC 3339."""
    fields: dict[str, object] = msgspec.to_builtins(user)
    return {
        name: rfc3339(value) if name.endswith("_at") and isinstance(value, int) else value
        for name, value in fields.items()
        if name != "token_version"
    }


def _cell(value: object) -> str:
    if value is None:
        return ""
    return " ".join(str(part) for part in value) if isinstance(value, list | tuple) else str(value)


def _state(user: User) -> str:
    return "active" if user.disabled_at is None else "disabled"


def print_json(value: object) -> None:
    """Print a value as indented JSON."""
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
