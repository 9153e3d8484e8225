"""Lists and revokes users' API keys: `watchword api-keys`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from watchword.cli.asking import Yes, confirm
from watchword.cli.exits import CODES_HELP, MISSING, USAGE, CommandError
from watchword.cli.loading import STORAGE, load_settings, takes_settings
from watchword.cli.opening import require_database, with_kernel
from watchword.cli.printing import Json, print_json, print_page, print_table
from watchword.cli.users import Limit, find_user, is_id, limit_of, place_of
from watchword.errors import NotFound

if TYPE_CHECKING:
    from watchword.identity.api_keys import KeyRecord
    from watchword.identity.kernel import Kernel

group = typer.Typer(help="API keys of users: look at them, revoke them.", epilog=CODES_HELP, no_args_is_help=True)


@group.command("list", epilog=CODES_HELP)
@takes_settings(*STORAGE)
def list_keys(
    *,
    user: Annotated[str, typer.Option("--user", help="Username, e-mail address or id: only this user's.")] = "",
    limit: Limit = "50",
    after: Annotated[str, typer.Option("--after", help="Continue after the key with this id.")] = "",
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """List API keys, oldest first, without their secrets."""
    most = limit_of(limit)
    place = place_of(after, "key")

    async def work(kernel: Kernel) -> list[KeyRecord]:
        user_id = (await find_user(kernel, user)).id if user else ""
        return await kernel.api_keys.page(user_id=user_id, after=place, limit=most + 1)

    found = with_kernel(load_settings(flags).settings, work)
    print_page(found, most, _plain, _show, as_json=as_json)


def _show(keys: Sequence[KeyRecord]) -> None:
    shown = ("id", "user_id", "name", "scope", "expires_at", "last_used_at")
    rows = [[_plain(key)[name] or "" for name in shown] for key in keys]
    print_table(("id", "user", "name", "scopes", "expires", "last used"), rows)


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
def revoke(
    *,
    key: Annotated[str, typer.Argument(help="The key's id, as `api-keys list` shows it.", metavar="ID")],
    yes: Yes = False,
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """Revoke an API key: it, the weaker keys made of it, and their tokens are refused within a second."""
    settings = load_settings(flags).settings
    require_database(settings)
    if not is_id(key):
        # Not shown: it may be the key itself.
        raise CommandError("this is not the id of a key", "give one that `watchword api-keys list` shows", USAGE)
    confirm(f"This revokes the API key {key!a}. Go on?", yes=yes)

    async def work(kernel: Kernel) -> KeyRecord:
        from watchword.identity.administration import unchecked
        from watchword.identity.audit import LOCAL

        try:
            return await kernel.api_keys.revoke_any(key.lower(), check=unchecked, client=LOCAL)
        except NotFound as error:
            hint = "`watchword api-keys list` shows which there are"
            raise CommandError(f"there is no API key {key!a}", hint, MISSING) from error

    found = with_kernel(settings, work)
    if as_json:
        print_json(_plain(found) | {"done": "revoked"})
    else:
        print("The API key is revoked.")


def _plain(key: KeyRecord) -> dict[str, str | None]:
    from watchword.clock import rfc3339

    return {
        "id": key.id,
        "user_id": key.user_id,
        "name": key.name,
        "scope": " ".join(key.scopes),
        "created_at": rfc3339(key.created_at),
        "expires_at": rfc3339(key.expires_at),
        "last_used_at": None if key.last_used_at is None else rfc3339(key.last_used_at),
        "replaced_by": key.replaced_by,
    }
