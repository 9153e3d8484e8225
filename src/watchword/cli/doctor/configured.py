"""Looks at the settings and the files that they name."""

from __future__ import annotations

import shutil
from pathlib import Path

from watchword.cli.doctor.findings import Seen, failed, passed, skipped, warned
from watchword.cli.doctor.inside import Inside
from watchword.clock import SystemClock
from watchword.hosts import is_loopback
from watchword.platforms import POSIX, mode_of
from watchword.settings.secret_files import STRANGERS, for_owner, is_strangers
from watchword.tokens.legacy import beginning_of

_GIB = 2**30
_LITTLE, _FEW = 100 * 2**20, 2**30
_OTHERS, _GROUP, _WRITABLE = 0o007, 0o070, 0o002
_DAY = 86_400
_OLD_BACKUP = 2 * _DAY
_MOST_FILES = 1000
_SQLITE = b"SQLite format 3\0"
_MANY_PROXIES = 3
_WIDE = {4: 2**16, 6: 2**96}  # addresses of a public network, by version: more than one operator has
_REMOVE_LEGACY = "remove the settings WATCHWORD_LEGACY_..., and forget the old secret: docs/guides/move-in.md"
_SECRET_FILE = "master.secret"  # noqa: S105 - the name of a file


async def settings(inside: Inside) -> Seen:
    """Look where the settings come from, and what they warn of."""
    given = {name: origin for name, origin in inside.loaded.origins.items() if origin != "default"}
    if inside.loaded.warnings:
        told = "; ".join(f"{each.setting} {each.message}" for each in inside.loaded.warnings)
        return warned(told, inside.loaded.warnings[0].hint)
    until = inside.settings.legacy_until
    if until is not None and SystemClock().now() >= beginning_of(until):
        return warned(f"WATCHWORD_LEGACY_UNTIL is over: old tokens have been refused since {until}", _REMOVE_LEGACY)
    return passed(f"{len(given)} are set, from {', '.join(sorted(set(given.values()))) or 'nowhere: all defaults'}")


async def secret_files(inside: Inside) -> Seen:
    """Look who else can read the master secret and the database."""
    if not POSIX:
        return skipped("files have no modes on this system")
    found = inside.settings
    files = [] if found.secret else [found.data_dir / _SECRET_FILE]
    if found.database_path is not None:
        files += [found.database_path, found.database_path.with_name(found.database_path.name + "-wal")]
    there = [each for each in files if each.exists()]
    wrong = [fault for each in there if (fault := _fault(each))]
    folders = {each.parent for each in there}
    wrong += [f"{each} can be written to by everyone" for each in folders if mode_of(each.stat()) & _WRITABLE]
    if wrong:
        strangers = next((each for each in there if is_strangers(each.stat())), None)
        return failed("; ".join(wrong), "" if strangers is None else for_owner(strangers))
    if not found.secret and not files[0].exists():
        return failed(f"there is no master secret: none is set, and {files[0]} is missing",
                      "docs/guides/restore-a-backup.md")  # fmt: skip
    where = "the master secret is a setting" if found.secret else "the master secret is a file"
    return passed(f"{where}; {len(there)} files are their owner's alone")


def _fault(path: Path) -> str:
    status = path.stat()
    mode = mode_of(status)
    if is_strangers(status):
        return f"{path} {STRANGERS}"
    if mode & _OTHERS:
        return f"{path} has mode {mode:04o}: every user of this machine reaches it"
    if mode & _GROUP and not mode_of(path.parent.stat()) & _GROUP:
        return f"{path} has mode {mode:04o}: its group reaches it"
    return ""


async def disk(inside: Inside) -> Seen:
    """Look how much space is left where the data lies."""
    path = inside.settings.database_path
    folder = path.parent if path is not None else inside.settings.data_dir
    if not folder.exists():
        return skipped(f"there is no {folder}")
    usage = shutil.disk_usage(folder)
    text = f"{usage.free / _GIB:.1f} GiB of {usage.total / _GIB:.0f} GiB are free at {folder}"
    if usage.free < _LITTLE:
        return failed(text)
    return warned(text) if usage.free < _FEW else passed(text)


async def backups(inside: Inside) -> Seen:
    """Look for the newest copy of the database."""
    own = inside.settings.database_path
    if own is None:
        return skipped("PostgreSQL is backed up by its own programs, which the doctor cannot see",
                       "docs/guides/postgres.md")  # fmt: skip
    folders = [inside.backups] if inside.backups is not None else [Path.cwd(), own.parent]
    ages = [SystemClock().now() - each.stat().st_mtime for folder in folders for each in _copies(folder, own)]
    where = " and ".join(dict.fromkeys(map(str, folders)))
    if not ages:
        if inside.backups is not None:
            return failed(f"there is none in {where}")
        return skipped(f"none in {where}; say where they are with --backups DIR", "docs/guides/operate.md")
    age = max(min(ages), 0)
    text = f"the newest of {len(ages)} in {where} is {age / _DAY:.1f} days old"
    return warned(text) if age > _OLD_BACKUP else passed(text)


def _copies(folder: Path, own: Path) -> list[Path]:
    """Return the SQLite files in a folder, without the database itself."""
    found = []
    for number, each in enumerate(folder.iterdir() if folder.is_dir() else ()):
        if number >= _MOST_FILES:
            break
        try:
            if each.is_file() and each.resolve() != own.resolve():
                with each.open("rb") as file:
                    found += [each] if file.read(len(_SQLITE)) == _SQLITE else []
        except OSError:
            continue  # another's file is no backup of ours
    return found


async def proxies(inside: Inside) -> Seen:
    """Look which proxies are believed."""
    trusted = inside.settings.trusted_proxies
    if isinstance(trusted, int):
        if trusted > _MANY_PROXIES:
            return warned(f"{trusted} proxies are believed: with fewer in front, a client chooses its own address")
        if trusted == 0 and not inside.settings.is_on_loopback:
            return warned("none is believed: right only if clients connect to this process directly")
        return passed(f"{trusted} in front")
    wide = [str(each) for each in trusted if not each.is_private and each.num_addresses > _WIDE[each.version]]
    if wide:
        return warned(f"{', '.join(wide)} holds strangers too, who then choose their own address")
    return passed(f"those in {', '.join(map(str, trusted))}")


async def metrics_port(inside: Inside) -> Seen:
    """Look who can reach the port for Prometheus."""
    found = inside.settings
    if found.metrics_port is None:
        return passed("no port is open for it")
    if is_loopback(found.metrics_host):
        return passed(f"port {found.metrics_port} on {found.metrics_host}, for this machine only")
    return warned(f"port {found.metrics_port} on {found.metrics_host}: anyone who reaches it reads the numbers")
