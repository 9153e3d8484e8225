"""Replaces the database by a backup and refuses everything issued: `watchword restore`."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watchword.cli.asking import Yes, confirm
from watchword.cli.db import plain, print_done, refuse_what_was_issued
from watchword.cli.exits import FAULT, MISSING, CommandError
from watchword.cli.loading import STORAGE, load_settings, takes_settings
from watchword.cli.opening import require_file
from watchword.cli.printing import Json, print_json

if TYPE_CHECKING:
    from watchword.identity.restoring import Restored

_NOTHING = "nothing was changed"


@takes_settings(*STORAGE, "jwt_secret")
def restore(
    *,
    file: Annotated[str, typer.Argument(help="A backup, as `watchword backup` makes it.", metavar="FILE")],
    yes: Yes = False,
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """Put a backup in the database's place and keep the former one. Stop the service first. All users log in again."""
    from watchword.clock import SystemClock, rfc3339
    from watchword.settings.private_files import make_folder
    from watchword.storage.sqlite_restore import put_in_place

    settings = load_settings(flags).settings
    path = Path(os.path.realpath(require_file(settings, "pg_restore, then watchword db restored")))
    source = _backup(file, path)
    make_folder(path.parent, "WATCHWORD_DATABASE_URL", tries_writing=True)
    with _alone(path):
        pass  # ask only where it is possible
    confirm(_question(source, path), yes=yes)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, which removes the copy
    with _alone(path), _usable(source, path) as copy:
        done = refuse_what_was_issued(settings, copy)  # before a service can start with it
        _uninterrupted()
        former = put_in_place(copy, path, f"{path.name}.{rfc3339(SystemClock().now()).replace(':', '')}")
    _say(done, path, former, as_json=as_json)


def _backup(name: str, path: Path) -> Path:
    from watchword.storage.sqlite_lock import held_by_sqlite

    file = Path(name)
    if not name or not file.exists():
        raise CommandError(f"there is no file {name!a}", "give the file that `watchword backup` made", MISSING)
    if not file.is_file():
        raise CommandError(f"{file} is not a file", "give the file that `watchword backup` made", FAULT)
    if path.exists() and file.samefile(path):
        raise CommandError(f"{file} is the database itself", "give the file that `watchword backup` made", FAULT)
    with file.open("rb"):
        pass  # raises before anything is asked
    if held_by_sqlite(file):
        hint = "copy it with `watchword backup`, or end the program that uses it"
        raise CommandError(f"{file} is in use as a database; {_NOTHING}", hint, FAULT)
    return file


def _question(file: Path, path: Path) -> str:
    kept = f"{path} is kept beside it under another name" if path.exists() else f"There is no {path} yet"
    return f"{file} takes the place of the database. {kept}. All users log in again. Go on?"


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    from watchword.storage.sqlite_lock import InUse, alone

    try:
        with alone(path):
            yield
    except InUse:
        hint = "stop the service and every other `watchword` command on it, wait until they have ended, and try again"
        raise CommandError(f"{path} is in use by another process; {_NOTHING}", hint, FAULT) from None


@contextmanager
def _usable(file: Path, path: Path) -> Iterator[Path]:
    from watchword.storage.sqlite_restore import Unusable, prepared

    try:
        with prepared(file, path) as copy:
            yield copy
    except Unusable as error:
        hint = "take another backup"
        raise CommandError(f"{file} cannot be restored: {error}; {_NOTHING}", hint, FAULT) from error


def _uninterrupted() -> None:
    """Ignore signals for the last moment: its outcome must be printed."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)


def _say(done: Restored, path: Path, former: Path | None, *, as_json: bool) -> None:
    if as_json:
        print_json({"database": str(path), "former": None if former is None else str(former), **plain(done)})
        return
    print(f"The backup is in place at {path}.")
    if former is not None:
        print(f"The database before it is kept as {former}: remove it when you no longer need it.")
    print_done(done)
