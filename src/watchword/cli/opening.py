"""Opens the settings' database for a command."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

from watchword.cli.exits import MISSING, USAGE, CommandError
from watchword.settings import Settings

if TYPE_CHECKING:  # the kernel's libraries load slowly
    from watchword.identity.administration import Administration
    from watchword.identity.kernel import Kernel

T = TypeVar("T")  # Python 3.11 has no `def f[T]`


def with_kernel(
    settings: Settings, work: Callable[[Kernel], Awaitable[T]], *, makes: bool = False, path: Path | None = None
) -> T:
    """Open the database, do the work, close it.

    :param makes: whether to make the database if there is none.
    :param path: another file than the settings name.
    """
    import asyncio

    from watchword.opening import opened

    if not makes and path is None:
        require_database(settings)

    async def main() -> T:
        async with opened(settings, serves=False, path=path) as kernel:
            return await work(kernel)

    return asyncio.run(main())


def require_database(settings: Settings) -> None:
    """Refuse to go on without a database. A new one in a wrong directory would accept every command.

    :raises CommandError: there is no database where the settings say.
    """
    if is_new(settings):
        miss_database(settings)


def require_file(settings: Settings, program: str) -> Path:
    """Return the settings' SQLite file.

    :param program: what does this work for PostgreSQL.
    :raises CommandError: the settings name PostgreSQL.
    """
    if settings.database_path is None:
        hint = f"use {program}, and keep the master secret in another place: docs/guides/postgres.md"
        raise CommandError("this command is for SQLite; the settings name PostgreSQL", hint, USAGE)
    return settings.database_path


def is_new(settings: Settings) -> bool:
    """Tell whether Watchword has not yet been in the settings' database."""
    import asyncio

    from watchword.storage import opening

    return asyncio.run(opening.is_new(settings))


def miss_database(settings: Settings, otherwise: str = "") -> NoReturn:
    """Raise `CommandError`: there is no database. `otherwise` ends the hint."""
    hint = "run this where the service runs, or name the place with --data-dir or --database-url"
    raise CommandError(f"there is no database at {_place(settings)}", hint + otherwise, MISSING)


def tell_that_it_is_new(settings: Settings) -> None:
    """Print where a database was made: it may be the wrong place."""
    sys.stderr.write(f"hint: the database is a new one, at {_place(settings)}\n")


def _place(settings: Settings) -> str:
    from watchword.storage.opening import place_of

    return place_of(settings)


def by_command(kernel: Kernel) -> Administration:
    """Return what an operator may do, recorded as done by a command."""
    from watchword.identity.administration import Administration, unchecked
    from watchword.identity.audit import LOCAL

    return Administration(kernel, client=LOCAL, check=unchecked)
