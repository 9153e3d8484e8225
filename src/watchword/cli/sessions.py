"""Lists and ends sessions: `watchword sessions`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from watchword.cli.asking import Yes, confirm
from watchword.cli.exits import CODES_HELP, MISSING, CommandError
from watchword.cli.loading import STORAGE, load_settings, takes_settings
from watchword.cli.opening import by_command, require_database, with_kernel
from watchword.cli.printing import Json, print_json, print_page, print_table
from watchword.cli.users import MOST, Limit, find_user, limit_of, place_of
from watchword.errors import NotFound
from watchword.settings import Settings

if TYPE_CHECKING:
    from watchword.identity.kernel import Kernel
    from watchword.storage.database import Row

group = typer.Typer(help="Look at sessions, end them.", epilog=CODES_HELP, no_args_is_help=True)


@group.command("list", epilog=CODES_HELP)
@takes_settings(*STORAGE)
def list_sessions(
    *,
    user: Annotated[str, typer.Option("--user", help="Username, e-mail address or id: only this user's.")] = "",
    limit: Limit = "50",
    after: Annotated[str, typer.Option("--after", help="Continue after the session with this id.")] = "",
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """List live sessions, oldest first."""
    most = limit_of(limit)
    place = place_of(after, "session")
    show_sessions(load_settings(flags).settings, user=user, most=most, after=place, as_json=as_json)


def show_sessions(settings: Settings, *, user: str, as_json: bool, most: int = MOST, after: str = "") -> None:
    """Print live sessions of a user, or of all."""

    async def work(kernel: Kernel) -> list[Row]:
        user_id = (await find_user(kernel, user)).id if user else ""
        return await by_command(kernel).live_sessions(user_id=user_id, after=after, limit=most + 1)

    found = with_kernel(settings, work)
    print_page(found, most, _plain, _show, as_json=as_json)


def _show(sessions: Sequence[Row]) -> None:
    print_table(("id", "user", "begun", "last used", "address", "agent"), [_row(_plain(each)) for each in sessions])


def _plain(row: Row) -> dict[str, str | None]:
    from watchword.clock import rfc3339

    return {
        "id": row["id"],
        "user_id": row["user_id"],
        "user": row["username"] or row["email"],
        "created_at": rfc3339(row["created_at"]),
        "last_used_at": rfc3339(row["rotated_at"]),
        "expires_at": rfc3339(row["idle_expires_at"]),
        "address": row["address"],
        "agent": row["agent"],
    }


def _row(session: dict[str, str | None]) -> tuple[str, ...]:
    user = session["user"] or session["user_id"] or ""
    return str(session["id"]), user, *(str(session[n]) for n in ("created_at", "last_used_at", "address", "agent"))


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
def end(
    *,
    session: Annotated[str, typer.Argument(help="The session's id, as `sessions list` shows it.", metavar="ID")],
    yes: Yes = False,
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """End a session: its refresh token and its access tokens are refused."""
    settings = load_settings(flags).settings
    require_database(settings)
    confirm(f"This ends the session {session!a}. Go on?", yes=yes)

    async def work(kernel: Kernel) -> str:
        try:
            return await by_command(kernel).end_session(session.lower())
        except NotFound as error:
            hint = "`watchword sessions list` shows which there are"
            raise CommandError(f"there is no live session {session!a}", hint, MISSING) from error

    user_id = with_kernel(settings, work)
    if as_json:
        print_json({"id": session.lower(), "user_id": user_id, "done": "ended"})
    else:
        print("The session has ended.")
