"""Our directory and who else can reach it: refused where we made it, warned about where the platform decides."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile

from watchword.errors import Fault, SettingsError
from watchword.platforms import POSIX, user
from watchword.settings.secret_files import STRANGERS, for_owner, is_strangers

_GROUP, _OTHERS, _ALL = stat.S_IRWXG, stat.S_IRWXO, stat.S_IRWXG | stat.S_IRWXO
# The standard library's log: commands set up none, and its last resort is stderr.
_log = logging.getLogger("watchword.files")


def make_folder(folder: Path, variable: str, *, tries_writing: bool) -> None:
    """Make a directory for its owner alone, unless it is there.

    :raises SettingsError: `variable` with a hint: it cannot be made, or not be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if tries_writing:
            with NamedTemporaryFile(dir=folder, prefix=".writable-"):
                pass
    except OSError as error:
        message = f"{folder} cannot be written to: {(error.strerror or str(error)).lower()}"
        raise SettingsError((Fault(variable, message, "choose another directory, or change its owner"),)) from error


def check_folder(folder: Path, variable: str) -> None:
    """Refuse a world-writable directory, sticky or not: a planted SQLite log would be replayed.

    :raises SettingsError: `variable` with a hint.
    """
    if not POSIX or not folder.stat().st_mode & stat.S_IWOTH:
        return
    message = f"{folder} can be written to by every user of this machine"
    hint = f"run: chmod o-w {folder}, or give a directory below it that is not there yet: {folder / 'watchword'}"
    _refuse_or_warn(folder, Fault(variable, message, hint))


def check_file(path: Path, variable: str, holds: str) -> None:
    """Refuse a file that others can reach; remove group bits, except on a shared volume.

    :param holds: its contents, for the message.
    :raises SettingsError: `variable` with a hint.
    """
    found = path.stat()
    if not POSIX:
        return
    if is_strangers(found):
        raise SettingsError((Fault(variable, f"{path} {STRANGERS}", for_owner(path)),))
    if found.st_mode & _OTHERS:
        message = f"{path} can be read by other users, and {holds}"
        _refuse_or_warn(path.parent, Fault(variable, message, f"run: chmod 600 {path}"))
    elif found.st_mode & _GROUP:
        _close_to_group(path, found)


def _close_to_group(path: Path, found: os.stat_result) -> None:
    """Remove group bits that a copy brought. On an `fsGroup` volume a kubelet sets them at every start."""
    folder = path.parent.stat()
    shared = folder.st_mode & (stat.S_ISGID | stat.S_IWGRP) or folder.st_uid != user()
    if not shared and found.st_uid == user():
        try:
            path.chmod(stat.S_IMODE(found.st_mode) & ~_ALL)
        except OSError:
            pass  # a volume with fixed modes
        else:
            _log.warning("%s was open to group %d, and is closed to it now", path, found.st_gid)
            return
    _log.warning("%s is shared with group %d, as its volume decides", path, found.st_gid)


def _refuse_or_warn(folder: Path, fault: Fault) -> None:
    """Refuse; on a file system without modes, where no one can correct them, warn."""
    if _keeps_modes(folder):
        raise SettingsError((fault,))
    _log.warning("%s; the file system of %s knows no modes", fault.message, folder)


def _keeps_modes(folder: Path) -> bool:
    try:
        with TemporaryFile(dir=folder) as file:  # made for its owner alone
            return not os.fstat(file.fileno()).st_mode & _ALL
    except OSError:
        return True
