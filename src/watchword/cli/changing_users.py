"""Changes, invites and deletes users, and ends their sessions: the rest of `watchword users`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from watchword.cli.asking import Yes, confirm
from watchword.cli.exits import CODES_HELP, FAULT, USAGE, CommandError
from watchword.cli.loading import STORAGE, load_settings, takes_settings
from watchword.cli.mail import MAIL
from watchword.cli.opening import by_command, require_database, with_kernel
from watchword.cli.printing import Json, print_json
from watchword.cli.sessions import show_sessions
from watchword.cli.users import FromStdin, Who, find_user, print_user, read_password

if TYPE_CHECKING:
    from watchword.identity.administration import Invited
    from watchword.identity.kernel import Kernel
    from watchword.identity.users import User
    from watchword.settings import Settings


def add_to(group: typer.Typer) -> None:
    """Add these commands to `watchword users`."""
    for name, command in (
        ("set-password", set_password),
        ("rename", rename),
        ("roles", roles),
        ("sessions", list_sessions),
        ("end-sessions", end_sessions),
        ("delete", delete),
    ):
        group.command(name, epilog=CODES_HELP)(command)


@takes_settings(*STORAGE, "password_hash", "password_policy", *MAIL)
def set_password(
    *,
    user: Who,
    password_stdin: FromStdin = False,
    invite: Annotated[
        bool,
        typer.Option(
            "--invite",
            help="The user chooses the password, and you never know it: the service mails them a link. Nothing "
            "changes before they use it.",
        ),
    ] = False,
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """Set a user's password, which ends every session. With --invite the user sets it, by a link in a mail."""
    if invite and password_stdin:
        raise CommandError("--invite and --password-stdin exclude each other", "give one of the two", USAGE)
    settings = load_settings(flags).settings
    require_database(settings)
    password = None if invite else read_password(stdin=password_stdin)

    async def work(kernel: Kernel) -> tuple[User, Invited | None]:
        found = await find_user(kernel, user)
        if found.disabled_at is not None:
            raise CommandError(f"{user!a} is disabled", "`watchword users enable` comes first", FAULT)
        if password is not None:
            await by_command(kernel).set_password(found, password)
            return found, None
        if not kernel.outbox.enabled:
            hint = "set WATCHWORD_SMTP_URL and WATCHWORD_MAIL_FROM as the service has them"
            raise CommandError("the settings name no mail server, so no link can be sent", hint, FAULT)
        if found.email is None:
            hint = "`watchword users rename USER --email ADDRESS` gives them one"
            raise CommandError(f"{user!a} has no e-mail address", hint, FAULT)
        return found, await by_command(kernel).invite(found)

    changed, invited = with_kernel(settings, work)
    if invited is not None:
        _tell_of_link(changed, invited, settings, as_json=as_json)
    elif as_json:
        print_json({"id": changed.id, "done": "password_set"})
    else:
        print(f"The password of {_named(changed)} is set, and every session has ended.")


def _tell_of_link(user: User, invited: Invited, settings: Settings, *, as_json: bool) -> None:
    """Tell who does what next: nothing has happened to the account yet."""
    if as_json:
        print_json({"id": user.id, "done": "invited", "email": user.email, "expires_in": invited.expires_in})
        return
    name = _named(user)
    until = "the present password and all sessions stay good" if invited.has_password else "the account has no password"
    print(f"The service mails a link to {user.email}, or does so once it is started.")
    print(f"{name} chooses a password there. The link works once, for {_span(invited.expires_in)}; until then {until}.")
    if settings.smtp_url is None:
        hint = "no mail server is set here; a service without one prints the mail in its own terminal"
        sys.stderr.write(f"hint: {hint}\n")


@takes_settings(*STORAGE, "claims")
def rename(
    *,
    user: Who,
    username: Annotated[str | None, typer.Argument(help="The new username.", metavar="NAME")] = None,
    email: Annotated[str | None, typer.Option("--email", help="The new e-mail address; it is unconfirmed.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="What to call them.", metavar="TEXT")] = None,
    no_name: Annotated[bool, typer.Option("--no-name", help="Remove what to call them.")] = False,
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """Change a user's username, e-mail address, or name. The id stays."""
    if username is None and email is None and name is None and not no_name:
        said = "give a new username, --email, --name or --no-name"
        raise CommandError(said, "see `watchword users rename --help`", USAGE)
    if name is not None and no_name:
        raise CommandError("--name and --no-name exclude each other", "give one of the two", USAGE)

    async def work(kernel: Kernel) -> User:
        from msgspec import UNSET

        called = None if no_name else UNSET if name is None else name
        found = await find_user(kernel, user)
        return await by_command(kernel).rename(found, username=username, email=email, name=called)

    print_user(with_kernel(load_settings(flags).settings, work), as_json=as_json)


Roles = Annotated[list[str] | None, typer.Option(metavar="ROLE", help="May be given several times.")]


@takes_settings(*STORAGE)
def roles(
    *,
    user: Who,
    add: Roles = None,
    remove: Roles = None,
    exactly: Annotated[
        list[str] | None, typer.Option("--set", metavar="ROLE", help="Exactly these; may be given several times.")
    ] = None,
    none: Annotated[bool, typer.Option("--none", help="Take every role away.")] = False,
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """Give roles and take them away, such as `watchword users roles ada --add admin`. Earlier tokens are refused."""
    added, removed = frozenset(add or ()), frozenset(remove or ())
    _require_one_way(added, removed, exactly, none=none)

    def change(held: frozenset[str]) -> frozenset[str]:
        return frozenset(exactly or ()) if none or exactly else (held | added) - removed

    async def work(kernel: Kernel) -> User:
        return await by_command(kernel).change_roles((await find_user(kernel, user)).id, change)

    print_user(with_kernel(load_settings(flags).settings, work), as_json=as_json)


def _require_one_way(added: frozenset[str], removed: frozenset[str], exactly: list[str] | None, *, none: bool) -> None:
    ways = (bool(added or removed), bool(exactly), none)
    if sum(ways) == 1 and not added & removed:
        return
    both = " ".join(map(ascii, sorted(added & removed)))
    if both:
        raise CommandError(f"{both} is to be added and removed", "give each role once", USAGE)
    said = "say which roles" if not any(ways) else "--add and --remove, --set, and --none exclude each other"
    raise CommandError(said, "such as --add editor --remove author, --set admin, or --none", USAGE)


@takes_settings(*STORAGE)
def list_sessions(*, user: Who, as_json: Json = False, flags: dict[str, object]) -> None:
    """List a user's live sessions."""
    show_sessions(load_settings(flags).settings, user=user, as_json=as_json)


@takes_settings(*STORAGE)
def end_sessions(*, user: Who, yes: Yes = False, as_json: Json = False, flags: dict[str, object]) -> None:
    """End every session of a user, who may log in again."""
    settings = load_settings(flags).settings
    require_database(settings)
    confirm(f"This logs {user!a} out everywhere. Go on?", yes=yes)

    async def work(kernel: Kernel) -> tuple[User, int]:
        found = await find_user(kernel, user)
        return found, await by_command(kernel).end_sessions(found)

    found, count = with_kernel(settings, work)
    if as_json:
        print_json({"id": found.id, "ended": count})
    else:
        print(f"Sessions of {_named(found)} ended: {count}.")


@takes_settings(*STORAGE)
def delete(*, user: Who, yes: Yes = False, as_json: Json = False, flags: dict[str, object]) -> None:
    """Delete a user for ever. Audit records stay, without where they came from."""
    settings = load_settings(flags).settings
    require_database(settings)
    confirm(f"This deletes the user {user!a} for ever. Go on?", yes=yes)

    async def work(kernel: Kernel) -> User:
        found = await find_user(kernel, user)
        await by_command(kernel).delete(found)
        return found

    deleted = with_kernel(settings, work)
    if as_json:
        print_json({"id": deleted.id, "done": "deleted"})
    else:
        print(f"{_named(deleted)} is deleted (id {deleted.id}, which is never given again).")


def _span(seconds: int) -> str:
    """Return a duration for people: `30 minutes`, `3 days`."""
    days = seconds // 86_400
    return f"{days} days" if days else f"{seconds // 60} minutes"


def _named(user: User) -> str:
    return user.username or user.email or user.id
