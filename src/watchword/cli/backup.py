"""`watchword backup`: a copy of the database, made while the service runs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from watchword.cli.exits import FAULT, USAGE, CommandError
from watchword.cli.people import print_json, require_database, require_file
from watchword.errors import SettingsError, StorageError
from watchword.identity.keys import master
from watchword.identity.keys.master import SECRET_FILE, Master
from watchword.settings import Settings
from watchword.storage.sqlite import SQLite
from watchword.storage.sqlite_backup import remove_unfinished


class _Copied(NamedTuple):
    """How large the copy is, and what the database keeps of its master secret, if that can be told."""

    size: int
    known: str | None


def backup(settings: Settings, name: str, *, as_json: bool) -> None:
    """Copy the database to a new file, and say that the master secret has to be kept as well.

    It needs no secret, and changes nothing: the database keeps its schema, also under a newer version of this command.
    """
    source = require_file(settings, "pg_dump")
    require_database(settings)
    file = _place(name)
    signal.signal(signal.SIGTERM, _stop)
    try:
        copied = asyncio.run(_copied(source, file))
    except FileExistsError as error:
        raise CommandError(
            f"{file} exists already", "give a name that is free: no backup is replaced", FAULT
        ) from error
    except OSError as error:  # it names a file that no one typed: the copy has another name until it is complete
        reason = (error.strerror or str(error)).lower()
        raise CommandError(
            f"cannot write {file}: {reason}", "check the path, its owner and free space", FAULT
        ) from error
    if as_json:
        print_json({"file": os.path.abspath(file), "bytes": copied.size})
    else:
        print(f"The database is in {file} ({copied.size} bytes).")
    sys.stderr.write(
        f"hint: without the master secret ({_kept_in(settings, copied.known)}) it is of no use: keep that too, and in "
        "another place, since both together yield everything\n"
    )


def _place(name: str) -> Path:
    """Where the copy is to be. Raises `CommandError` where none can be."""
    if not name:
        raise CommandError("the name of the file is empty", "watchword backup --help", USAGE)
    try:
        name.encode()
    except UnicodeEncodeError:  # SQLite takes no other names
        raise CommandError(f"{name!a} is not UTF-8", "give the file another name", USAGE) from None
    file = Path(name)
    if not file.parent.is_dir():
        raise CommandError(f"there is no directory {file.parent}", "make it first, or give another place", FAULT)
    return file


def _stop(number: int, _frame: FrameType | None) -> None:
    """What is unfinished would stay behind, as large as the database and under a name that begins with a dot."""
    remove_unfinished()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


async def _copied(source: Path, file: Path) -> _Copied:
    database = await SQLite.open(source)
    try:
        size = await database.backup(file)
        with suppress(StorageError):  # a newer schema is copied all the same
            return _Copied(size, await master.known_to(database))
        return _Copied(size, None)
    finally:
        await database.close()


def _kept_in(settings: Settings, known: str | None) -> str:
    """Where the secret is that this database was made with; both places if that cannot be told."""
    file = settings.data_dir / SECRET_FILE
    if known is not None and settings.secret and known in Master(settings.secret).check_values():
        return "WATCHWORD_SECRET"
    with suppress(SettingsError, OSError):
        if known is not None and known in Master((master.load(settings.data_dir),)).check_values():
            return str(file)
    return f"what the service has as WATCHWORD_SECRET, or {file}"
