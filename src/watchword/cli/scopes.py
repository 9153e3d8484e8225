"""Says which scopes each role gives: `watchword scopes`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watchword.cli.exits import CODES_HELP, USAGE, CommandError
from watchword.cli.loading import STORAGE, load_settings, takes_settings
from watchword.cli.opening import with_kernel
from watchword.cli.printing import Json, print_json, print_table

if TYPE_CHECKING:
    from watchword.identity.granting import Scopes
    from watchword.identity.kernel import Kernel

group = typer.Typer(help="Which scopes each role gives.", epilog=CODES_HELP, no_args_is_help=True)

Role = Annotated[str, typer.Argument(help="A role; `*` (quoted for the shell) stands for every user.")]
Several = Annotated[list[str], typer.Argument(help="Scopes.", metavar="SCOPE...")]
MaybeNone = Annotated[list[str] | None, typer.Argument(help="Scopes; none takes all away.", metavar="[SCOPE...]")]


@group.command("list", epilog=CODES_HELP)
@takes_settings(*STORAGE)
def list_scopes(*, as_json: Json = False, flags: dict[str, object]) -> None:
    """List roles with their scopes."""

    async def work(kernel: Kernel) -> list[tuple[str, Scopes]]:
        return sorted(kernel.rights.table.by_role.items())

    found = with_kernel(load_settings(flags).settings, work)
    if as_json:
        print_json({"items": [_plain(role, scopes) for role, scopes in found]})
        return
    print_table(("role", "scopes"), [(role, " ".join(sorted(scopes))) for role, scopes in found])


@group.command("set", epilog=CODES_HELP)
@takes_settings(*STORAGE)
def set_scopes(*, role: Role, scopes: MaybeNone = None, as_json: Json = False, flags: dict[str, object]) -> None:
    """Give a role exactly these scopes. Tokens that hold what it loses are refused within a second."""
    _check_quoted("set", role, scopes or ())
    _change(role, lambda _: frozenset(scopes or ()), flags, as_json=as_json)


@group.command("add", epilog=CODES_HELP)
@takes_settings(*STORAGE)
def add(*, role: Role, scopes: Several, as_json: Json = False, flags: dict[str, object]) -> None:
    """Give a role more scopes. Its users have them with their next refresh."""
    _check_quoted("add", role, scopes)
    _change(role, lambda held: held | frozenset(scopes), flags, as_json=as_json)


@group.command("remove", epilog=CODES_HELP)
@takes_settings(*STORAGE)
def remove(*, role: Role, scopes: Several, as_json: Json = False, flags: dict[str, object]) -> None:
    """Take scopes from a role. Tokens that hold them are refused within a second."""
    _check_quoted("remove", role, scopes)
    missing: list[str] = []

    def change(held: Scopes) -> Scopes:
        missing[:] = sorted(set(scopes) - held)
        return held - frozenset(scopes)

    _change(role, change, flags, as_json=as_json, gives=False)
    if missing:
        sys.stderr.write(f"hint: {role} did not give {' '.join(missing)}: of that there was nothing to remove\n")


def _check_quoted(command: str, role: str, scopes: Collection[str]) -> None:
    """Refuse what the shell makes of a `*` without quotes: the name of every file here, and what follows it.

    :raises CommandError:
    """
    try:
        here = {each.name for each in Path.cwd().iterdir() if not each.name.startswith(".")}
    except OSError:
        return
    if not here or not here <= {role, *scopes}:
        return
    meant = " ".join(["watchword scopes", command, "'*'", *(each for each in scopes if each not in here)])
    hint = f"put it in quotes: {meant}\n      if you do mean a role called {role}, run this in another directory"
    raise CommandError("the shell has put the names of the files here in place of *", hint, USAGE)


def _change(
    role: str, change: Callable[[Scopes], Scopes], flags: dict[str, object], *, as_json: bool, gives: bool = True
) -> None:
    async def work(kernel: Kernel) -> tuple[Scopes, bool]:
        from watchword.errors import StorageError
        from watchword.identity.audit import LOCAL
        from watchword.identity.granting import Operation, unchecked
        from watchword.identity.roles import has_no_holder
        from watchword.settings.scopes import EVERY_USER

        scopes = await kernel.granting.set_scopes(role, change, Operation(LOCAL, None, unchecked))
        unheld = False
        if gives and scopes and role != EVERY_USER:
            with suppress(StorageError):  # the change is stored
                unheld = await has_no_holder(kernel.database, role)
        return scopes, unheld

    scopes, unheld = with_kernel(load_settings(flags).settings, work)
    if unheld:
        sys.stderr.write(f"hint: no user has the role {role} yet\n")
    if as_json:
        print_json(_plain(role, scopes))
        return
    print(f"{role}\t{' '.join(sorted(scopes))}".rstrip())


def _plain(role: str, scopes: Scopes) -> dict[str, object]:
    return {"role": role, "scopes": sorted(scopes)}
