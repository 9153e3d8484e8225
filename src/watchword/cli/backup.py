"""Copies the database while the service runs: `watchword backup`."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Annotated, NamedTuple

import typer

from watchword.cli.exits import FAULT, USAGE, CommandError
from watchword.cli.loading import STORAGE, load_settings, takes_settings
from watchword.cli.opening import require_database, require_file
from watchword.cli.printing import Json, print_json
from watchword.errors import SettingsError, StorageError
from watchword.settings import Settings


class _Copied(NamedTuple):
    """Holds the copy's bytes, and the check value of its master secret, if known."""

    size: int
    known: str | None


@takes_settings(*STORAGE)
def backup(
    *,
    file: Annotated[str, typer.Argument(help="The file to make; it must not exist.", metavar="FILE")],
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """Copy the database to a new file, while the service runs. The master secret is not in it: keep it elsewhere."""
    # It needs no secret and changes nothing, not even an older schema.
    settings = load_settings(flags).settings
    source = require_file(settings, "pg_dump")
    require_database(settings)
    place = _place(file)
    copied = _copy(source, place)
    if as_json:
        print_json({"file": os.path.abspath(place), "bytes": copied.size})
    else:
        print(f"The database is in {place} ({copied.size} bytes).")
    sys.stderr.write(
        f"hint: without the master secret ({_kept_in(settings, copied.known)}) it is of no use: keep that too, and in "
        "another place, since both together yield everything\n"
    )


def _copy(source: Path, file: Path) -> _Copied:
    import asyncio

    signal.signal(signal.SIGTERM, _stop)
    try:
        return asyncio.run(_copied(source, file))
    except FileExistsError as error:
        raise CommandError(
            f"{file} exists already", "give a name that is free: no backup is replaced", FAULT
        ) from error
    except OSError as error:  # it names an unfinished file, which no one typed
        reason = (error.strerror or str(error)).lower()
        raise CommandError(
            f"cannot write {file}: {reason}", "check the path, its owner and free space", FAULT
        ) from error


def _place(name: str) -> Path:
    """Return the copy's path. :raises CommandError: it cannot be written there."""
    if not name:
        raise CommandError("the name of the file is empty", "see `watchword backup --help`", USAGE)
    try:
        name.encode()
    except UnicodeEncodeError:  # SQLite takes only UTF-8
        raise CommandError(f"{name!a} is not UTF-8", "give the file another name", USAGE) from None
    file = Path(name)
    if not file.parent.is_dir():
        raise CommandError(f"there is no directory {file.parent}", "make it first, or give another place", FAULT)
    return file


def _stop(number: int, _frame: FrameType | None) -> None:
    """Remove the unfinished copy, which would stay as a large hidden file."""
    from watchword.storage.sqlite_backup import remove_unfinished

    remove_unfinished()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


async def _copied(source: Path, file: Path) -> _Copied:
    from watchword.identity.keys import master
    from watchword.storage.sqlite import SQLite

    database = await SQLite.open(source)
    try:
        size = await database.backup(file)
        with suppress(StorageError):  # a newer schema is copied too
            return _Copied(size, await master.known_to(database))
        return _Copied(size, None)
    finally:
        await database.close()


def _kept_in(settings: Settings, known: str | None) -> str:
    """Return where the database's master secret is; both places if that is unknown."""
    from watchword.identity.keys import master
    from watchword.identity.keys.master import SECRET_FILE, Master

    file = settings.data_dir / SECRET_FILE
    if known is not None and settings.secret and known in Master(settings.secret).check_values():
        return "WATCHWORD_SECRET"
    with suppress(SettingsError, OSError):
        if known is not None and known in Master((master.load(settings.data_dir),)).check_values():
            return str(file)
    return f"what the service has as WATCHWORD_SECRET, or {file}"
