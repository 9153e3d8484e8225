"""Users with the hashes of bcrypt are imported by the command, and log in at the service."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

import bcrypt
import pytest

from tests.cli.conftest import COMMAND, Serve, environment

PASSWORD = "plum-orbit-canvas"
PREFIXES = ("$2a$", "$2b$", "$2y$")
COST = 10


def log_in(url: str, name: str, password: str = PASSWORD) -> int:
    """The status of a log-in."""
    body = json.dumps({"username": name, "password": password}).encode()
    request = urllib.request.Request(url + "/login", body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def stored(folder: Path, name: str) -> str:
    """The password hash of a user."""
    with closing(sqlite3.connect(folder / "watchword-data" / "watchword.db")) as rows:
        (found,) = rows.execute("SELECT password_hash FROM ww_users WHERE username = ?", [name]).fetchone()
    return str(found)


def hashed(prefix: str) -> str:
    """A real hash. The three prefixes name one algorithm; only PHP and others that are not Python write `$2y$`."""
    return prefix + bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(COST)).decode().removeprefix("$2b$")


@pytest.mark.parametrize("count", [600, pytest.param(100_000, marks=pytest.mark.rare)])
@pytest.mark.usefixtures("database")
def test_imported_users_log_in(serve: Serve, tmp_path: Path, count: int) -> None:
    """One of each prefix: with the password alone, before and after the hash is replaced by ours."""
    hashes = [hashed(prefix) for prefix in PREFIXES]
    with (tmp_path / "users.jsonl").open("w", encoding="utf-8") as file:
        for number in range(count):
            line = {"external_id": number, "username": f"user{number}", "password_hash": hashes[number % len(hashes)]}
            file.write(json.dumps(line) + "\n")
    command = [*COMMAND, "users", "import", "users.jsonl", "--json"]  # without the patience of `run`
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["imported"] == count
    service = serve()
    last = count - count % len(hashes)
    for place, prefix in enumerate(PREFIXES):
        name = f"user{last - len(hashes) + place}"
        assert f"{prefix}{COST}$" in stored(tmp_path, name)
        assert log_in(service.url, name, "velvet-anchor-ripple") == 401
        assert f"{prefix}{COST}$" in stored(tmp_path, name), "a wrong password replaced the hash"
        assert log_in(service.url, name) == 200
        assert stored(tmp_path, name).startswith("$argon2id$")
        assert log_in(service.url, name) == 200
    assert f"{PREFIXES[0]}{COST}$" in stored(tmp_path, "user0"), "someone else's hash was replaced"
