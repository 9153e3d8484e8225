"""`watchword restore`: a backup takes the database's place, and everything issued since it was made is refused."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from watchword.cli.asking import confirm
from watchword.cli.exits import FAULT, MISSING, CommandError
from watchword.cli.people import print_json, require_file
from watchword.cli.restored_backup import plain, print_done, refuse_what_was_issued
from watchword.clock import SystemClock, rfc3339
from watchword.identity.restoring import Restored
from watchword.settings import Settings
from watchword.storage.sqlite_lock import InUse, alone, held_by_sqlite
from watchword.storage.sqlite_restore import Unusable, prepared, put_in_place

_NOTHING = "nothing was changed"


def restore(settings: Settings, name: str, *, yes: bool, as_json: bool) -> None:
    """Put the backup in place of the database that the settings name, which no process may have open."""
    path = Path(os.path.realpath(require_file(settings, "pg_restore, then watchword db restored")))
    file = _backup(name, path)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(path):
        pass  # ask only where it can be done
    confirm(_question(file, path), yes=yes)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop as Ctrl-C does, which removes the copy
    with _alone(path), _usable(file, path) as copy:
        done = refuse_what_was_issued(settings, copy)  # before it is in place: no service ever starts without
        _uninterrupted()
        former = put_in_place(copy, path, f"{path.name}.{rfc3339(SystemClock().now()).replace(':', '')}")
    _say(done, path, former, as_json=as_json)


def _backup(name: str, path: Path) -> Path:
    file = Path(name)
    if not name or not file.exists():
        raise CommandError(f"there is no file {name!a}", "give the file that `watchword backup` made", MISSING)
    if not file.is_file():
        raise CommandError(f"{file} is not a file", "give the file that `watchword backup` made", FAULT)
    if path.exists() and file.samefile(path):
        raise CommandError(f"{file} is the database itself", "give the file that `watchword backup` made", FAULT)
    with file.open("rb"):
        pass  # raises what `explain` says, before anything is asked
    if held_by_sqlite(file):
        hint = "copy it with `watchword backup`, or end the program that uses it"
        raise CommandError(f"{file} is in use as a database; {_NOTHING}", hint, FAULT)
    return file


def _question(file: Path, path: Path) -> str:
    kept = f"{path} is kept beside it under another name" if path.exists() else f"There is no {path} yet"
    return f"{file} takes the place of the database. {kept}. All users log in again. Go on?"


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    try:
        with alone(path):
            yield
    except InUse:
        hint = "stop the service and every other `watchword` command on it, wait until they have ended, and try again"
        raise CommandError(f"{path} is in use by another process; {_NOTHING}", hint, FAULT) from None


@contextmanager
def _usable(file: Path, path: Path) -> Iterator[Path]:
    try:
        with prepared(file, path) as copy:
            yield copy
    except Unusable as error:
        hint = "take another backup"
        raise CommandError(f"{file} cannot be restored: {error}; {_NOTHING}", hint, FAULT) from error


def _uninterrupted() -> None:
    """What comes now takes a moment, and its outcome is to be told."""
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
