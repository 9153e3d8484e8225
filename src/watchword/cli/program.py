"""The commands and their flags. What each does lives in a module of its own, imported when the command runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from watchword.cli import upkeep
from watchword.cli.exits import CODES_HELP, INTERRUPTED, OK, USAGE, complain, explain
from watchword.cli.loading import STORAGE, load_settings, takes_settings

app = typer.Typer(
    name="watchword",
    help="Watchword: authentication for Python APIs.",
    epilog=CODES_HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # its tracebacks print local variables, and some of those are secrets
    context_settings={"help_option_names": ["-h", "--help"]},
)
users = typer.Typer(help="Make, find and change users.", epilog=CODES_HELP, no_args_is_help=True)
app.add_typer(users, name="users")
guards = typer.Typer(help="Keys of the APIs that verify tokens.", epilog=CODES_HELP, no_args_is_help=True)
app.add_typer(guards, name="guards")
app.add_typer(upkeep.keys, name="keys")
app.add_typer(upkeep.secret, name="secret")
app.add_typer(upkeep.db, name="db")

Yes = upkeep.Yes
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Who = Annotated[str, typer.Argument(help="Username, e-mail address or id.", metavar="USER")]


def run(arguments: list[str]) -> int:
    """Run the command line; answers the exit code."""
    for argument in arguments:
        if not _is_text(argument):
            complain(f"{argument!a} is not UTF-8", "write names and values in UTF-8, and give such a file another name")
            return USAGE
    try:
        code = app(arguments, prog_name="watchword", standalone_mode=False)
    except typer.Abort:
        complain("stopped before anything was done")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - `explain` raises again what it does not know
        # Typer's parser is part of typer and does not export its errors; they are known by what they can do.
        if hasattr(error, "format_message"):
            return _misused(error)
        return explain(error)
    return code if isinstance(code, int) else OK


def _is_text(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:  # bytes that the shell passed on as they were
        return False
    return True


def _misused(error: Any) -> int:
    message = error.format_message().strip().rstrip(".")
    if not message:  # no command was given: the help has been printed
        return USAGE
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "watchword"
    complain(f"{message[0].lower()}{message[1:]}" if message[0].isupper() else message, f"{path} --help")
    return USAGE


@app.command(epilog=CODES_HELP)
@takes_settings()
def serve(*, flags: dict[str, object]) -> None:
    """Run the service. With nothing set: SQLite in ./watchword-data, http://127.0.0.1:4000."""
    from watchword.cli.serve import serve as start

    start(load_settings(flags), flags)


@app.command(epilog=CODES_HELP)
@takes_settings()
def settings(*, as_json: Json = False, flags: dict[str, object]) -> None:
    """Show every setting, its value (secrets masked) and where it came from."""
    from watchword.cli.show import show_settings

    show_settings(load_settings(flags), as_json=as_json)


@app.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
def migrate(*, flags: dict[str, object]) -> None:
    """Bring the database to this version's schema; does nothing when it is there already."""
    from watchword.cli.people import migrate as bring_up

    bring_up(load_settings(flags).settings)


@app.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
def backup(
    *,
    file: Annotated[str, typer.Argument(help="The file to make; it must not exist.", metavar="FILE")],
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """Copy the database to a new file, while the service runs. The master secret is not in it: keep it elsewhere."""
    from watchword.cli.backup import backup as copy

    copy(load_settings(flags).settings, file, as_json=as_json)


@app.command(epilog=CODES_HELP)
@takes_settings(*STORAGE, "jwt_secret")
def restore(
    *,
    file: Annotated[str, typer.Argument(help="A backup, as `watchword backup` makes it.", metavar="FILE")],
    yes: Yes = False,
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """Put a backup in the database's place and keep the former one. Stop the service first. All users log in again."""
    from watchword.cli.restore import restore as put_back

    put_back(load_settings(flags).settings, file, yes=yes, as_json=as_json)


@app.command(epilog=CODES_HELP)
def version() -> None:
    """Print the version."""
    from watchword.cli.show import version_text

    typer.echo(version_text())


@users.command(epilog=CODES_HELP)
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
    from watchword.cli import people

    loaded = load_settings(flags)
    people.create(
        loaded.settings,
        username=username,
        email=email,
        roles=tuple(role or ()),
        password_stdin=password_stdin,
        makes=makes,
        as_json=as_json,
    )


@users.command("list", epilog=CODES_HELP)
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
    from watchword.cli import people

    people.show_list(load_settings(flags).settings, limit=limit, after=after, search=search, as_json=as_json)


@users.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
def show(*, user: Who, as_json: Json = False, flags: dict[str, object]) -> None:
    """Show one user."""
    from watchword.cli import people

    people.show_one(load_settings(flags).settings, user, as_json=as_json)


@users.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
def disable(*, user: Who, as_json: Json = False, flags: dict[str, object]) -> None:
    """Disable a user: every session ends and no token is accepted any more."""
    from watchword.cli import people

    people.disable(load_settings(flags).settings, user, as_json=as_json)


@users.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
def enable(*, user: Who, as_json: Json = False, flags: dict[str, object]) -> None:
    """Let a disabled user log in again."""
    from watchword.cli import people

    people.enable(load_settings(flags).settings, user, as_json=as_json)


@users.command("set-role", epilog=CODES_HELP)
@takes_settings(*STORAGE)
def set_role(
    *,
    user: Who,
    roles: Annotated[list[str] | None, typer.Argument(help="The roles the user has from now on.")] = None,
    none: Annotated[bool, typer.Option("--none", help="Take every role away.")] = False,
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """Give a user exactly these roles, such as: watchword users set-role ada admin."""
    from watchword.cli import people
    from watchword.cli.exits import CommandError

    if roles and none:
        given = " ".join(ascii(role) for role in roles)
        hint = "give the roles that the user is to have, or --none to take every role away"
        raise CommandError(f"both roles ({given}) and --none are given", hint, USAGE)
    if not roles and not none:
        raise CommandError("say which roles, or --none", "watchword users set-role --help", USAGE)
    people.set_roles(load_settings(flags).settings, user, tuple(roles or ()), as_json=as_json)


@guards.command("create", epilog=CODES_HELP)
@takes_settings(*STORAGE)
def create_guard(
    *,
    name: Annotated[str, typer.Argument(help="Name of the API that will hold the key.")],
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """Make a guard key and print it, once. The API sends it to follow revocations and to introspect."""
    from watchword.cli import guards as keys

    keys.create(load_settings(flags).settings, name, as_json=as_json)


@guards.command("list", epilog=CODES_HELP)
@takes_settings(*STORAGE)
def list_guards(*, as_json: Json = False, flags: dict[str, object]) -> None:
    """List guard keys: names and times, never the keys."""
    from watchword.cli import guards as keys

    keys.show_list(load_settings(flags).settings, as_json=as_json)


@guards.command("revoke", epilog=CODES_HELP)
@takes_settings(*STORAGE)
def revoke_guard(
    *,
    name: Annotated[str, typer.Argument(help="Name of the API whose key is refused from now on.")],
    yes: Yes = False,
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """Refuse a guard key from now on."""
    from watchword.cli import guards as keys

    keys.revoke(load_settings(flags).settings, name, yes=yes, as_json=as_json)
