"""`watchword backup`: what it refuses and what it leaves alone. That it holds everything: tests/e2e/test_backup.py."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest

from tests.cli.conftest import Run


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


@pytest.mark.parametrize(("file", "code"), [("nowhere/file", 1), ("", 1), (".", 1)])
def test_places_where_no_backup_can_be(run: Run, tmp_path: Path, file: str, code: int) -> None:
    """Said in one line, and nothing is left behind."""
    assert run("migrate").code == 0
    ended = run("backup", file)
    assert ended.code == code, ended
    assert ended.err.startswith("error: ")
    assert "Traceback" not in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["watchword-data"]


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
