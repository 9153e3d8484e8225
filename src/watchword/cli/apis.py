"""Registers, lists, changes and deletes APIs that tokens are issued for: `watchword apis`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from watchword.cli.asking import Yes, confirm
from watchword.cli.exits import CODES_HELP, MISSING, USAGE, CommandError, sentence
from watchword.cli.loading import STORAGE, load_settings, takes_settings
from watchword.cli.opening import require_database, with_kernel
from watchword.cli.printing import Json, print_json, print_table
from watchword.errors import Conflict, NotFound

if TYPE_CHECKING:
    from watchword.identity.granting import Operation
    from watchword.identity.kernel import Kernel
    from watchword.identity.rights import Api

group = typer.Typer(help="APIs that have an audience of their own.", epilog=CODES_HELP, no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The API's name.")]
Audience = Annotated[
    str, typer.Option("--audience", help="Its audience, which a client names as resource.", metavar="URL")
]
Known = Annotated[list[str] | None, typer.Option("--scope", help="A scope that it knows; may be given several times.")]


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
def create(
    *, name: Name, audience: Audience, scope: Known = None, as_json: Json = False, flags: dict[str, object]
) -> None:
    """Register an API. A log-in or refresh that names its audience gets a token for it alone."""

    async def work(kernel: Kernel, by: Operation) -> Api:
        return await kernel.granting.create_api(name, audience, frozenset(scope or ()), by)

    _print(_run(name, work, flags), as_json=as_json)


@group.command("list", epilog=CODES_HELP)
@takes_settings(*STORAGE)
def list_apis(*, as_json: Json = False, flags: dict[str, object]) -> None:
    """List APIs: name, audience, scopes."""

    async def work(kernel: Kernel) -> list[Api]:
        return sorted(kernel.rights.table.apis.values(), key=lambda api: api.name)

    found = with_kernel(load_settings(flags).settings, work)
    if as_json:
        print_json({"items": [_plain(api) for api in found]})
        return
    print_table(("name", "audience", "scopes"), [_row(api) for api in found])


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
def change(
    *,
    name: Name,
    audience: Annotated[
        str | None,
        typer.Option("--audience", help="Its new audience. Tokens for the former are refused.", metavar="URL"),
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help="All scopes that it knows, in place of those from before; '' for none."),
    ] = None,
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """Change an API's audience or scopes. Tokens with what it loses are refused within a second; sessions go on."""
    if audience is None and scope is None:
        raise CommandError("there is nothing to change", "give --audience or --scope", USAGE)

    async def work(kernel: Kernel, by: Operation) -> Api:
        return await kernel.granting.change_api(
            name,
            audience=audience,
            change=lambda held: held if scope is None else frozenset(filter(None, scope)),
            by=by,
        )

    _print(_run(name, work, flags), as_json=as_json)


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
def delete(*, name: Name, yes: Yes = False, as_json: Json = False, flags: dict[str, object]) -> None:
    """Delete an API: its tokens are refused within a second, and its sessions are over."""
    require_database(load_settings(flags).settings)
    confirm(f"This refuses all tokens for the API {name!a}, and ends its sessions. Go on?", yes=yes)

    async def work(kernel: Kernel, by: Operation) -> Api:
        return await kernel.granting.delete_api(name, by)

    found = _run(name, work, flags)
    if as_json:
        print_json(_plain(found))
        return
    print(f"The API {found.name} is no more.")


def _run(name: str, work: Callable[[Kernel, Operation], Awaitable[Api]], flags: dict[str, object]) -> Api:
    async def working(kernel: Kernel) -> Api:
        from watchword.identity.audit import LOCAL
        from watchword.identity.granting import Operation, unchecked

        try:
            return await work(kernel, Operation(LOCAL, None, unchecked))
        except NotFound as error:
            hint = "`watchword apis list` shows which there are"
            raise CommandError(f"there is no API {name!a}", hint, MISSING) from error
        except Conflict as error:
            hint = "`watchword apis list` shows which there are, and `watchword apis change` changes one"
            raise CommandError(sentence(error), hint) from error

    return with_kernel(load_settings(flags).settings, working)


def _print(api: Api, *, as_json: bool) -> None:
    if as_json:
        print_json(_plain(api))
        return
    print("\t".join(_row(api)).rstrip())


def _plain(api: Api) -> dict[str, object]:
    return {"id": api.id, "name": api.name, "audience": api.audience, "scopes": sorted(api.scopes or ())}


def _row(api: Api) -> tuple[str, str, str]:
    return api.name, api.audience, " ".join(sorted(api.scopes or ()))
