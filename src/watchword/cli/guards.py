"""Makes, lists and revokes keys of APIs: `watchword guards`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from watchword.cli.asking import Yes, confirm
from watchword.cli.exits import CODES_HELP, MISSING, CommandError
from watchword.cli.loading import STORAGE, load_settings, takes_settings
from watchword.cli.opening import require_database, with_kernel
from watchword.cli.printing import Json, fields, print_json, print_table
from watchword.errors import NotFound

if TYPE_CHECKING:
    from watchword.identity.guard_keys import GuardKey
    from watchword.identity.kernel import Kernel

group = typer.Typer(help="Keys of the APIs that verify tokens.", epilog=CODES_HELP, no_args_is_help=True)


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
def create(
    *,
    name: Annotated[str, typer.Argument(help="Name of the API that will hold the key.")],
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """Make a guard key and print it, once. The API sends it to follow revocations and to introspect."""

    async def work(kernel: Kernel) -> tuple[GuardKey, str]:
        from watchword.identity.audit import LOCAL

        return await kernel.guard_keys.create(name, client=LOCAL)

    key, secret = with_kernel(load_settings(flags).settings, work)
    if as_json:
        print_json({**fields(key), "key": secret})
        return
    print(secret)  # alone on stdout, for a pipe
    sys.stderr.write(f"hint: this is the key of {name}; it is not shown again\n")


@group.command("list", epilog=CODES_HELP)
@takes_settings(*STORAGE)
def list_guards(*, as_json: Json = False, flags: dict[str, object]) -> None:
    """List guard keys: names and times, never the keys."""

    async def work(kernel: Kernel) -> list[GuardKey]:
        return await kernel.guard_keys.all()

    keys = [fields(key) for key in with_kernel(load_settings(flags).settings, work)]
    if as_json:
        print_json({"items": keys})
        return
    names = ("name", "created_at", "last_used_at", "revoked_at")
    print_table(
        ("name", "made", "last used", "revoked"), [tuple(str(key[name] or "") for name in names) for key in keys]
    )


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
def revoke(
    *,
    name: Annotated[str, typer.Argument(help="Name of the API. Its key is refused from now on.")],
    yes: Yes = False,
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """Refuse a guard key from now on."""
    settings = load_settings(flags).settings
    require_database(settings)
    confirm(f"This refuses the guard key of {name!a} for ever. Go on?", yes=yes)

    async def work(kernel: Kernel) -> GuardKey:
        from watchword.identity.audit import LOCAL

        try:
            return await kernel.guard_keys.revoke(name, client=LOCAL)
        except NotFound as error:
            missing = f"there is no guard key {name!a} in use"
            raise CommandError(missing, "`watchword guards list` shows which there are", MISSING) from error

    key = with_kernel(settings, work)
    if as_json:
        print_json(fields(key))
        return
    print(f"The guard key of {key.name} is refused from now on.")
