"""`watchword backup`: a copy of the database, made while the service runs."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from watchword.cli.exits import FAULT, MISSING, Trouble
from watchword.cli.people import print_json
from watchword.identity.master import SECRET_FILE
from watchword.settings import Settings
from watchword.storage.sqlite import SQLite


def backup(settings: Settings, file: Path, *, as_json: bool) -> None:
    """Copy the database to a new file, and say that the master secret has to be kept as well.

    It needs no secret, and changes nothing: the database keeps its schema, also under a newer version of this command.
    """
    source = settings.database_path
    if not source.exists():
        raise Trouble(f"there is no database {source}", "name its place with --data-dir or --database-url", MISSING)
    try:
        size = asyncio.run(_copied(source, file))
    except FileExistsError as error:
        raise Trouble(f"{file} exists already", "give a name that is free: no backup is replaced", FAULT) from error
    if as_json:
        print_json({"file": os.path.abspath(file), "bytes": size})
    else:
        print(f"The database is in {file} ({size} bytes).")
    kept = "WATCHWORD_SECRET" if settings.secret else str(settings.data_dir / SECRET_FILE)
    sys.stderr.write(
        f"hint: without the master secret ({kept}) it is of no use: keep that too, and in another place, "
        "since both together yield everything\n"
    )


async def _copied(source: Path, file: Path) -> int:
    database = await SQLite.open(source)
    try:
        return await database.backup(file)
    finally:
        await database.close()
