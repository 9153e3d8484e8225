"""Makes, finds and changes users: `watchword users`."""

from __future__ import annotations

import re
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from watchword.cli.asking import at_terminal
from watchword.cli.exits import CODES_HELP, MISSING, USAGE, CommandError
from watchword.cli.loading import STORAGE, load_settings, takes_settings
from watchword.cli.opening import is_new, miss_database, tell_that_it_is_new, with_kernel
from watchword.cli.printing import Json, fields, print_json, print_record, print_table

if TYPE_CHECKING:
    from watchword.identity.kernel import Kernel
    from watchword.identity.users import User

group = typer.Typer(help="Make, find and change users.", epilog=CODES_HELP, no_args_is_help=True)

Who = Annotated[str, typer.Argument(help="Username, e-mail address or id.", metavar="USER")]

_LONGEST_PASSWORD = 16_384  # bytes read; the policy's limit is lower
_MOST = 1000  # users in one list
_ID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE, "password_hash", "password_policy")
def create(
    *,
    username: Annotated[str | None, typer.Argument(help="Username; or give --email.")] = None,
    email: Annotated[str | None, typer.Option("--email", help="E-mail address.")] = None,
    role: Annotated[list[str] | None, typer.Option("--role", help="A role; may be given several times.")] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input instead of asking.")
    ] = False,
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
    password = _password_from_stdin() if password_stdin else _password_asked_for()

    async def work(kernel: Kernel) -> User:
        from watchword.identity.audit import LOCAL

        return await kernel.users.create(
            username=username, email=email, password=password, roles=tuple(role or ()), client=LOCAL
        )

    user = with_kernel(settings, work, makes=makes)
    if made:
        tell_that_it_is_new(settings)
    _print(user, as_json=as_json)


@group.command("list", epilog=CODES_HELP)
@takes_settings(*STORAGE)
def list_users(
    *,
    search: Annotated[str, typer.Option("--search", help="Part of a username or e-mail address.")] = "",
    limit: Annotated[str, typer.Option("--limit", help="At most this many, 1 to 1000.", metavar="NUMBER")] = "50",
    after: Annotated[str, typer.Option("--after", help="Continue after the user with this id.")] = "",
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """List users in the order in which they were made."""
    settings, most, start = load_settings(flags).settings, _limit(limit), _after(after)

    async def work(kernel: Kernel) -> list[User]:
        return await kernel.users.page(limit=most + 1, after=start, search=search)

    found = with_kernel(settings, work)
    page, next_cursor = found[:most], found[most - 1].id if len(found) > most else None
    if as_json:
        print_json({"items": [_plain(user) for user in page], "next_cursor": next_cursor})
        return
    print_table(("id", "username", "e-mail", "roles", "made", "state"), [_row(user) for user in page])
    if next_cursor is not None:
        sys.stderr.write(f"hint: there are more: --after {next_cursor}\n")


def _limit(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= len(str(_MOST)) and 1 <= int(text) <= _MOST:
        return int(text)
    raise CommandError(f"--limit {text!a} is not a whole number from 1 to {_MOST}", "write it like --limit 100", USAGE)


def _after(text: str) -> str:
    if text and not _ID.fullmatch(text):
        hint = "give an id as `watchword users list` shows it, such as --after 01890000-0000-7000-8000-000000000000"
        raise CommandError(f"--after {text!a} is not the id of a user", hint, USAGE)
    return text.lower()


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

    _print(with_kernel(load_settings(flags).settings, work), as_json=as_json)


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
def disable(*, user: Who, as_json: Json = False, flags: dict[str, object]) -> None:
    """Disable a user: every session ends and no token is accepted any more."""
    from watchword.identity.audit import LOCAL

    _change(flags, user, lambda kernel, who: kernel.users.disable(who, client=LOCAL), as_json=as_json)


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
def enable(*, user: Who, as_json: Json = False, flags: dict[str, object]) -> None:
    """Let a disabled user log in again."""
    from watchword.identity.audit import LOCAL

    _change(flags, user, lambda kernel, who: kernel.users.enable(who, client=LOCAL), as_json=as_json)


@group.command("set-role", epilog=CODES_HELP)
@takes_settings(*STORAGE)
def set_role(
    *,
    user: Who,
    roles: Annotated[list[str] | None, typer.Argument(help="The roles the user has from now on.")] = None,
    none: Annotated[bool, typer.Option("--none", help="Take every role away.")] = False,
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """Give a user exactly these roles, such as `watchword users set-role ada admin`."""
    from watchword.identity.audit import LOCAL

    if roles and none:
        given = " ".join(ascii(role) for role in roles)
        hint = "give the roles that the user is to have, or --none to take every role away"
        raise CommandError(f"both roles ({given}) and --none are given", hint, USAGE)
    if not roles and not none:
        raise CommandError("say which roles, or --none", "see `watchword users set-role --help`", USAGE)
    exactly = tuple(roles or ())
    _change(
        flags, user, lambda kernel, user_id: kernel.users.set_roles(user_id, exactly, client=LOCAL), as_json=as_json
    )


def _change(
    flags: dict[str, object], who: str, change: Callable[[Kernel, str], Awaitable[User]], *, as_json: bool
) -> None:
    """Change a user, and print the result."""

    async def work(kernel: Kernel) -> User:
        return await change(kernel, (await find_user(kernel, who)).id)

    _print(with_kernel(load_settings(flags).settings, work), as_json=as_json)


async def find_user(kernel: Kernel, who: str) -> User:
    """Return the user with this id, username or e-mail address. `id:…` and `username:…` say which.

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


_KINDS = {"id": _by_id, "username": _by_name, "email": _by_name}


def _password_from_stdin() -> str:
    line = b"" if sys.stdin is None else sys.stdin.buffer.readline(_LONGEST_PASSWORD)
    try:
        text = line.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise _strange_password("on standard input") from None
    if not text:
        raise CommandError(
            "standard input holds no password", "run `printf '%s' \"$PASSWORD\" | watchword users create …`", USAGE
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


def _print(user: User, *, as_json: bool) -> None:
    plain = _plain(user)
    if as_json:
        print_json(plain)
        return
    print_record([(name, _cell(value)) for name, value in plain.items()])


def _plain(user: User) -> dict[str, object]:
    """Return a user's fields as the HTTP interface does."""
    return {name: value for name, value in fields(user).items() if name != "token_version"}


def _cell(value: object) -> str:
    if value is None:
        return ""
    return " ".join(str(part) for part in value) if isinstance(value, list | tuple) else str(value)
