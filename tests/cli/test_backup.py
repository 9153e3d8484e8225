"""`watchword backup`: what it refuses and what it leaves alone. That it holds everything: tests/e2e/test_backup.py."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run, environment


def test_a_backup_replaces_nothing(run: Run, tmp_path: Path) -> None:
    """Neither a file nor a link that leads nowhere; what was there stays as it was."""
    assert run("migrate").code == 0
    (tmp_path / "file").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("file", "link"):
        ended = run("backup", name)
        assert ended.code == 1
        assert ended.err == (f"error: {name} exists already\nhint: give a name that is free: no backup is replaced\n")
    assert (tmp_path / "file").read_text() == "precious"
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("file", "code", "said"),
    [
        ("nowhere/file", 1, "there is no directory nowhere"),
        ("watchword-data/watchword.db/file", 1, "there is no directory watchword-data/watchword.db"),
        ("", 2, "the name of the file is empty"),
        (".", 1, ". exists already"),
        ("\udcff.db", 2, "'\\udcff.db' is not UTF-8"),
        pytest.param("x" * 250, 1, f"cannot write {'x' * 250}: file name too long", id="too-long"),
    ],
)
def test_places_where_no_backup_can_be(run: Run, tmp_path: Path, file: str, code: int, said: str) -> None:
    """Said in one line, of what was typed, and nothing is left behind."""
    assert run("migrate").code == 0
    ended = run("backup", file)
    assert ended.code == code, ended
    assert ended.err.startswith(f"error: {said}\nhint: ")
    assert ended.err.count("\n") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["watchword-data"]


def test_a_backup_that_is_told_to_stop_leaves_nothing_behind(run: Run, tmp_path: Path) -> None:
    """⚑ SIGTERM, as a service manager sends it, in the middle: no half of a copy, as large as the database."""
    assert run("migrate").code == 0
    ended = subprocess.run(
        [sys.executable, "-c", _STOPPED],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (-signal.SIGTERM, "begun\n"), ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["watchword-data"]


_STOPPED = """
import os, signal, time
from pathlib import Path
from watchword.cli import main
from watchword.storage import sqlite_backup

def in_the_middle(*_):
    assert [path for path in Path().iterdir() if path.name.startswith(".file.")]
    print("begun", flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(10)

sqlite_backup.sync_file = in_the_middle
import sys
sys.argv = ["watchword", "backup", "file"]
main()
"""


def test_the_secret_that_is_to_be_kept_is_the_databases(run: Run, tmp_path: Path) -> None:
    """⚑ The place is named where it can be told; never a file that does not exist, or belongs to something else."""
    assert run("migrate").code == 0
    file = tmp_path / "watchword-data" / "master.secret"
    kept = file.read_text()
    assert f"the master secret ({file}) it" in run("backup", "1").err
    assert "the master secret (WATCHWORD_SECRET) it" in run("backup", "2", WATCHWORD_SECRET=kept.strip()).err
    both = f"the master secret (what the service has as WATCHWORD_SECRET, or {file}) it"
    file.unlink()
    assert both in run("backup", "3").err
    other = run("secret").out
    file.write_text(other)
    file.chmod(0o600)
    assert both in run("backup", "4").err
    assert both in run("backup", "5", WATCHWORD_SECRET=other.strip()).err
    assert file.read_text() == other


def test_without_a_database_there_is_none(run: Run, tmp_path: Path) -> None:
    """Code 3; in particular no empty database is made and then backed up."""
    ended = run("backup", "file")
    assert (ended.code, "there is no database" in ended.err) == (3, True)
    assert list(tmp_path.iterdir()) == []


def test_a_backup_changes_nothing(run: Run, tmp_path: Path) -> None:
    """An older schema stays as it is, so that a backup can be made before a new version migrates."""
    assert run("migrate").code == 0
    database = tmp_path / "watchword-data" / "watchword.db"
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("DELETE FROM ww_schema WHERE version = (SELECT max(version) FROM ww_schema)")
        versions = connection.execute("SELECT version FROM ww_schema").fetchall()
    (tmp_path / "watchword-data" / "master.secret").unlink()
    done = run("backup", "file", "--json")
    assert done.code == 0, done.err
    file = tmp_path / "file"
    assert json.loads(done.out) == {"file": str(file), "bytes": file.stat().st_size}
    for each in (database, file):
        with contextlib.closing(sqlite3.connect(each)) as connection:
            assert connection.execute("SELECT version FROM ww_schema").fetchall() == versions
    assert not (tmp_path / "watchword-data" / "master.secret").exists()
