"""An import beside a running service: those who register, log in and refresh meanwhile are answered."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import Any

import bcrypt

from tests.cli.conftest import COMMAND, Serve, environment, port, serve
from tests.e2e.server import UNLIMITED

__all__ = ["port", "serve"]

COUNT = 30_000
PASSWORD = "plum-orbit-canvas"


def post(url: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_people_register_and_log_in_during_an_import(serve: Serve, tmp_path: Path) -> None:
    """Two processes write one file: every answer is a good one, and everyone is in afterwards.

    The first imported user logs in while others are still being imported.
    """
    service = serve(**UNLIMITED)
    made = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    with (tmp_path / "users.jsonl").open("w", encoding="utf-8") as file:
        for number in range(COUNT):
            file.write(json.dumps({"external_id": number, "username": f"user{number}", "password_hash": made}) + "\n")
    statuses, of_imported, slowest, joined = [], [], 0.0, 0
    command = [*COMMAND, "users", "import", "users.jsonl", "--json"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            joined += 1
            name = f"newcomer{joined}"
            for path, body in [("/register", {"username": name}), ("/login", {"username": name})]:
                began = perf_counter()
                status, _ = post(service.url + path, {**body, "password": PASSWORD})
                slowest = max(slowest, perf_counter() - began)
                statuses.append(status)
            status, _ = post(service.url + "/login", {"username": "user0", "password": PASSWORD})
            if process.poll() is None:
                of_imported.append(status)
        assert process.stdout is not None
        told = json.loads(process.stdout.read())
    print(f"{joined} people beside {COUNT} imported ones; the slowest answer took {slowest:.2f} s")
    assert joined > 1
    assert set(statuses) == {200, 201}
    assert of_imported[-1] == 200  # until the first batch is stored, there is no such user
    assert set(of_imported) <= {401, 200}
    assert (told["imported"], told["refused"]) == (COUNT, 0)
    with closing(sqlite3.connect(tmp_path / "watchword-data" / "watchword.db")) as connection:
        assert connection.execute("SELECT COUNT(*) FROM ww_users").fetchone() == (COUNT + joined,)
