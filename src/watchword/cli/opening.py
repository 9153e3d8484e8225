"""Opens the settings' database for a command."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

from watchword.cli.exits import MISSING, CommandError
from watchword.settings import Settings

if TYPE_CHECKING:  # the kernel's libraries load slowly
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
    if not settings.database_path.exists():
        miss_database(settings)


def miss_database(settings: Settings, otherwise: str = "") -> NoReturn:
    """Raise `CommandError`: there is no database. `otherwise` ends the hint."""
    hint = "run this where the service runs, or name the place with --data-dir or --database-url"
    raise CommandError(f"there is no database at {settings.database_path}", hint + otherwise, MISSING)


def tell_that_it_is_new(settings: Settings) -> None:
    """Print where a database was made: it may be the wrong place."""
    sys.stderr.write(f"hint: the database is a new one, at {settings.database_path}\n")
