"""Makes, finds and changes users: `watchword users`."""

from __future__ import annotations

import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from watchword.cli.asking import at_terminal
from watchword.cli.exits import CODES_HELP, MISSING, USAGE, CommandError
from watchword.cli.loading import STORAGE, load_settings, takes_settings
from watchword.cli.moving.exporting import export_users
from watchword.cli.moving.importing import import_users
from watchword.cli.opening import by_command, is_new, miss_database, tell_that_it_is_new, with_kernel
from watchword.cli.printing import Json, fields, print_json, print_page, print_record, print_table

if TYPE_CHECKING:
    from watchword.identity.kernel import Kernel
    from watchword.identity.users import User

group = typer.Typer(help="Make, find and change users.", epilog=CODES_HELP, no_args_is_help=True)

Who = Annotated[str, typer.Argument(help="Username, e-mail address or id.", metavar="USER")]
Limit = Annotated[str, typer.Option("--limit", help="At most this many, 1 to 1000.", metavar="NUMBER")]
FromStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input instead of asking.")
]

group.command("import", epilog=CODES_HELP)(takes_settings(*STORAGE)(import_users))
group.command("export", epilog=CODES_HELP)(takes_settings(*STORAGE)(export_users))

_LONGEST_PASSWORD = 16_384  # bytes read; the policy's limit is lower
MOST = 1000  # users in one list
_IF_STOLEN = "If the account was taken over, run `watchword users rename` with its owner's address before it goes on."
_ID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE, "claims", "password_hash", "password_policy")
def create(
    *,
    username: Annotated[str | None, typer.Argument(help="Username; or give --email.")] = None,
    email: Annotated[str | None, typer.Option("--email", help="E-mail address.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="What to call them.", metavar="TEXT")] = None,
    role: Annotated[list[str] | None, typer.Option("--role", help="A role; may be given several times.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="The role admin: see WATCHWORD_ADMIN.")] = False,
    password_stdin: FromStdin = False,
    makes: Annotated[
        bool, typer.Option("--new-database", help="Make the database as well if there is none yet.")
    ] = False,
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """Make a user. The password is asked for; it is never an argument, which other users of the machine could see."""
    settings = load_settings(flags).settings
    if username is None and email is None:
        raise CommandError("give a username, --email, or both", "see `watchword users create --help`", USAGE)
    made = is_new(settings)
    if made and not makes:
        miss_database(settings, "; --new-database makes one for this user")
    password = read_password(stdin=password_stdin)

    async def work(kernel: Kernel) -> User:
        from watchword.identity.administrators import ADMIN
        from watchword.identity.audit import LOCAL
        from watchword.identity.granting import unchecked
        from watchword.identity.user_data import UserData, checked_name

        roles = (*(role or ()), *([ADMIN] if admin else ()))
        data = UserData(None if name is None else checked_name(name))
        return await kernel.users.create(
            username=username, email=email, password=password, roles=roles, data=data, client=LOCAL, check=unchecked
        )

    user = with_kernel(settings, work, makes=makes)
    if made:
        tell_that_it_is_new(settings)
    print_user(user, as_json=as_json)


@group.command("list", epilog=CODES_HELP)
@takes_settings(*STORAGE)
def list_users(
    *,
    search: Annotated[str, typer.Option("--search", help="Part of a username or e-mail address.")] = "",
    limit: Limit = "50",
    after: Annotated[str, typer.Option("--after", help="Continue after the user with this id.")] = "",
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """List users in the order in which they were made."""
    settings, most, start = load_settings(flags).settings, limit_of(limit), place_of(after, "user")

    async def work(kernel: Kernel) -> list[User]:
        from watchword.identity.user_list import Wanted, page

        return await page(kernel.database, Wanted(search), after=start, limit=most + 1)

    found = with_kernel(settings, work)
    print_page(found, most, _plain, _show, as_json=as_json)


def _show(users: Sequence[User]) -> None:
    print_table(("id", "username", "e-mail", "roles", "made", "state"), [_row(user) for user in users])


def limit_of(text: str) -> int:
    """Read `--limit`. Raises `CommandError`."""
    if text.isascii() and text.isdigit() and len(text) <= len(str(MOST)) and 1 <= int(text) <= MOST:
        return int(text)
    raise CommandError(f"--limit {text!a} is not a whole number from 1 to {MOST}", "write it like --limit 100", USAGE)


def is_id(text: str) -> bool:
    """Return whether text has the form of an id."""
    return _ID.fullmatch(text) is not None


def place_of(after: str, kind: str) -> str:
    """Read `--after`, the id of the last one that a list has shown, or "". Raises `CommandError`.

    :param kind: what the list shows, as in "the id of a user".
    """
    if after and not is_id(after):
        hint = "give an id that this command shows, such as --after 01890000-0000-7000-8000-000000000000"
        raise CommandError(f"--after {after!a} is not the id of a {kind}", hint, USAGE)
    return after.lower()


def _row(user: User) -> tuple[str, ...]:
    plain = {name: _cell(value) for name, value in _plain(user).items()}
    state = "active" if user.disabled_at is None else "disabled"
    return (*(plain[name] for name in ("id", "username", "email", "roles", "created_at")), state)


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
def show(*, user: Who, as_json: Json = False, flags: dict[str, object]) -> None:
    """Show one user."""

    async def work(kernel: Kernel) -> User:
        return await find_user(kernel, user)

    print_user(with_kernel(load_settings(flags).settings, work), as_json=as_json)


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
def disable(*, user: Who, as_json: Json = False, flags: dict[str, object]) -> None:
    """Disable a user: every session ends and no token is accepted any more."""
    _change(flags, user, lambda kernel, who: by_command(kernel).disable(who), as_json=as_json)


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
def enable(*, user: Who, as_json: Json = False, flags: dict[str, object]) -> None:
    """Let a disabled user log in again. After a theft, first give the account its owner's address (`users rename`)."""
    _change(flags, user, _enabled, as_json=as_json)


async def _enabled(kernel: Kernel, user_id: str) -> User:
    """Enable a user; say where another address can take the account back, which may be its owner's."""
    from watchword.identity.one_time import open_undo

    changed = await by_command(kernel).enable(user_id)
    undo = await open_undo(kernel.database, user_id, now=kernel.clock.now())
    if undo is not None:
        sys.stderr.write(f"hint: the address was {undo.email!a} before. {_IF_STOLEN}\n")
    return changed


def _change(
    flags: dict[str, object], who: str, change: Callable[[Kernel, str], Awaitable[User]], *, as_json: bool
) -> None:
    """Change a user, and print the result."""

    async def work(kernel: Kernel) -> User:
        return await change(kernel, (await find_user(kernel, who)).id)

    print_user(with_kernel(load_settings(flags).settings, work), as_json=as_json)


async def find_user(kernel: Kernel, who: str) -> User:
    """Return the user with this id, username or e-mail address. `id:…`, `username:…` and `external:…` say which.

    An old username may look like an id. What could mean two users is refused, so that no command hits the wrong one.
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
        raise CommandError(f"there is no user {who!a}", "`watchword users list` shows who there is", MISSING)
    return found


async def _by_id(kernel: Kernel, who: str) -> User | None:
    return await kernel.users.find(who)


async def _by_name(kernel: Kernel, who: str) -> User | None:
    from watchword.identity import identifiers

    return await kernel.users.find_by(identifiers.typed(who))


async def _by_external_id(kernel: Kernel, who: str) -> User | None:
    return await kernel.users.find_external(who)


_KINDS = {"id": _by_id, "username": _by_name, "email": _by_name, "external": _by_external_id}


def read_password(*, stdin: bool) -> str:
    """Return a password from standard input, or ask for it. Raises `CommandError`."""
    return _password_from_stdin() if stdin else _password_asked_for()


def _password_from_stdin() -> str:
    line = b"" if sys.stdin is None else sys.stdin.buffer.readline(_LONGEST_PASSWORD)
    try:
        text = line.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise _strange_password("on standard input") from None
    if not text:
        raise CommandError(
            "standard input holds no password", "run `printf '%s' \"$PASSWORD\" | watchword users …`", USAGE
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


def print_user(user: User, *, as_json: bool) -> None:
    """Print a user, without anything secret."""
    plain = _plain(user)
    if as_json:
        print_json(plain)
        return
    print_record([(name, _cell(value)) for name, value in plain.items()])


def _plain(user: User) -> dict[str, object]:
    """Return a user's fields as the HTTP interface does."""
    from watchword.identity.user_data import read_metadata

    plain = {name: value for name, value in fields(user).items() if name != "token_version"}
    return {**plain, "public_metadata": read_metadata(user.public_metadata)}


def _cell(value: object) -> str:
    if value is None or value == {}:
        return ""
    if isinstance(value, dict):
        import msgspec

        return msgspec.json.encode(value).decode()
    return " ".join(str(part) for part in value) if isinstance(value, list | tuple) else str(value)
