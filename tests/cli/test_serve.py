"""`watchword serve` as a real process: what it says, how it stops, how it refuses."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests import forked
from tests.cli.conftest import Run, Serve, environment
from watchword.cli.serving.banner import banner, program
from watchword.settings import load

ROOT = Path(__file__).parents[2]
JWT_SECRET = "Rz8dMNeWv0-1cPjgB2nJm4XqTkYhLsUa9vE3wOi7xQ0"


def test_with_nothing_set(serve: Serve, tmp_path: Path) -> None:
    """SQLite in ./watchword-data, closed to others; the banner says where it is and how to get a first token."""
    service = serve()
    assert service.get("/livez") == 200
    assert service.get("/readyz") == 200
    data = tmp_path / "watchword-data"
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    ended = service.stop()
    assert ended.code == 0
    assert f"running at {service.url}" in ended.out
    assert f"{service.url}/docs" in ended.out
    assert f"curl -s {service.url}/register" in ended.out
    assert f"curl -s {service.url}/login" in ended.out
    assert "HS256" not in ended.out


@pytest.mark.parametrize(
    ("how", "workers"),
    [
        (signal.SIGTERM, "2"),
        (signal.SIGINT, "1"),
        pytest.param(signal.SIGTERM, "1", marks=pytest.mark.rare),
        pytest.param(signal.SIGINT, "2", marks=pytest.mark.rare),
    ],
)
def test_stops_when_asked(serve: Serve, how: signal.Signals, workers: str) -> None:
    """Both signals end it with code 0 and without a word of complaint."""
    ended = serve("--workers", workers).stop(how)
    assert (ended.code, ended.err) == (0, "")


def test_the_data_is_there_after_a_restart(serve: Serve, run: Run) -> None:
    """Keys and secret are made once."""
    first = serve()
    assert first.stop().code == 0
    again = serve()
    assert again.get("/readyz") == 200
    assert again.stop().code == 0


def test_a_prefix(serve: Serve) -> None:
    """Everything stands under the prefix, and the banner knows."""
    service = serve("--path-prefix", "/api", prefix="/api")
    assert service.get("/livez") == 200
    ended = service.stop()
    assert f"{service.url}/register" in ended.out


def test_hs256_says_what_it_means(serve: Serve) -> None:
    """Whoever can verify can also forge, and the banner says so."""
    ended = serve(WATCHWORD_JWT_SECRET=JWT_SECRET).stop()
    assert ended.code == 0
    assert "can also forge" in ended.out
    assert JWT_SECRET not in ended.out + ended.err


def test_json_when_asked_for(serve: Serve) -> None:
    """With JSON logs asked for, the banner is a line of JSON too."""
    ended = serve("--log-format", "json").stop()
    (line,) = ended.out.splitlines()
    assert json.loads(line)["event"] == "started"


def test_the_banners_user_is_that_of_the_readme(serve: Serve, tmp_path: Path) -> None:
    """So that either may be followed first: the commands of both, in the order of the banner and then the README."""
    url = serve().url
    shown = banner(load({"public_url": url}, {}, tmp_path))
    readme = (ROOT / "README.md").read_text("utf-8").replace("http://127.0.0.1:4000", url)
    registering, by_banner = re.findall(r"curl -s \S+/(?:register|login) .*\\\n.*'$", shown, re.MULTILINE)
    (by_readme,) = re.findall(r"curl -s \S+/login .*\\\n.*'(?= \|)", readme)
    again = re.findall(r"curl -s \S+/register .*\\\n.*'$", readme, re.MULTILINE)
    statuses = []
    for command in (registering, *again, by_banner, by_readme):
        line = f"{command} -o /dev/null -w '%{{http_code}}'"
        done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True)
        statuses.append(done.stdout)
    assert statuses == ["201", "409", "200", "200"]


def test_closed_registration_names_the_other_way(serve: Serve, tmp_path: Path) -> None:
    """The banner shows only what works."""
    ended = serve("--registration", "closed").stop()
    assert "/register" not in ended.out
    again = f"{sys.executable} -m watchword.cli"
    here = tmp_path / "watchword-data"
    assert f"    {again} users create ada --email ada@example.com --data-dir {here}\n" in ended.out


def test_the_banner_names_the_program_as_it_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`.venv/bin/watchword` after `make serve`; the bare name only where a shell finds this very program by it."""
    script = tmp_path / "my venv" / "watchword"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\n")
    script.chmod(0o700)
    monkeypatch.setattr(sys, "argv", [str(script)])
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert program() == f"'{script}'"
    monkeypatch.setenv("PATH", str(script.parent))
    assert program() == "watchword"
    other = tmp_path / "watchword"
    other.write_text("#!/bin/sh\n")
    monkeypatch.setattr(sys, "argv", [str(other)])
    assert program() == str(other)


def test_workers_get_their_flags(serve: Serve, port: int, tmp_path: Path) -> None:
    """What was given on the command line reaches every worker, a secret from a file too."""
    secret = tmp_path / "jwt"
    secret.write_text(JWT_SECRET)
    secret.chmod(0o600)
    service = serve("--workers", "2", "--data-dir", "elsewhere", "--jwt-secret-file", "jwt", "--docs", "off")
    assert service.get("/docs") == 404
    assert (tmp_path / "elsewhere").is_dir()
    assert not (tmp_path / "watchword-data").exists()
    command_lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK)]
    assert not any(JWT_SECRET.encode() in line for line in command_lines)
    assert service.stop().code == 0


def test_a_taken_port(run: Run, port: int) -> None:
    """One clear line and a hint, no traceback, nothing left behind."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        ended = run("serve", "--port", str(port))
    assert ended.code == 1
    assert ended.err.splitlines() == [
        f"error: cannot listen on 127.0.0.1 port {port}: address already in use",
        "hint: stop what runs there, or choose another port with --port",
    ]


def test_an_unwritable_data_directory(run: Run, port: int, tmp_path: Path) -> None:
    """Whether it cannot be made or cannot be written to. (A file in its place stops root as well.)"""
    (tmp_path / "file").touch()
    for place in ("file", "file/below"):
        ended = run("serve", "--port", str(port), "--data-dir", place)
        assert ended.code == 78
        assert ended.err.startswith(f"error: WATCHWORD_DATA_DIR {tmp_path / place} cannot be written to: ")
        assert "hint: choose another directory" in ended.err
        assert "Traceback" not in ended.err


def test_a_secret_that_everybody_can_replace(run: Run, port: int, tmp_path: Path) -> None:
    """Refused with the command that closes it (J12), given or made."""
    secret = tmp_path / "secret"
    secret.write_text(JWT_SECRET)
    secret.chmod(0o666)
    ended = run("serve", "--port", str(port), "--secret-file", "secret")
    assert ended.code == 78
    assert ended.err.startswith("error: WATCHWORD_SECRET_FILE")
    assert "hint: chmod 600 secret" in ended.err
    assert JWT_SECRET not in ended.err


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_database_that_is_none(run: Run, port: int, tmp_path: Path, workers: str) -> None:
    """What is found only when the service starts is explained in the same way, with the driver's reason."""
    (tmp_path / "watchword-data").mkdir()
    database = tmp_path / "watchword-data" / "watchword.db"
    database.write_text("this is no database")
    database.chmod(0o600)
    ended = run("serve", "--port", str(port), "--workers", workers)
    assert ended.code == 1
    assert "file is not a database" in ended.err
    assert ended.err.count("error:") == ended.err.count("hint:") == 1
    assert "Traceback" not in ended.err
    assert ended.out == ""


def test_another_master_secret(serve: Serve, run: Run, port: int) -> None:
    """A database made under another secret is not opened."""
    serve().stop()
    ended = run("serve", "--port", str(port), WATCHWORD_SECRET=run("secret").out.strip())
    assert ended.code == 78
    assert "another master secret" in ended.err
    assert "Traceback" not in ended.err


def test_the_journal_is_told_that_a_start_failed(port: int, tmp_path: Path) -> None:
    """Under systemd each line of a fault is an error, and each of a warning is one, as lines of the log are."""
    with (tmp_path / "journal").open("w+b") as err, socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        there = os.fstat(err.fileno())
        given = environment(JOURNAL_STREAM=f"{there.st_dev}:{there.st_ino}", WATCHWORD_METRICS_HOST="127.0.0.1")
        started = ("serve", "--port", str(port))
        assert forked.start(started, folder=tmp_path, environment=given, stdout=err, stderr=err).wait(60) == 1
        err.seek(0)
        lines = err.read().decode().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["<4>warning", "<4>hint", "<3>error", "<3>hint"], lines


def test_all_faults_of_the_settings(run: Run) -> None:
    """Each with a hint, before anything is opened."""
    ended = run("serve", "--host", "0.0.0.0", "--port", "x", WATCHWORD_JWT_SECRET="secret", WATCHWORD_PROT="1")
    assert ended.code == 78
    assert ended.err.count("error: ") == ended.err.count("hint: ") == 4
    assert "hint: did you mean WATCHWORD_PORT?" in ended.err
    assert "hint: make one with: watchword secret" in ended.err


def test_a_known_jwt_secret(run: Run, port: int) -> None:
    """A secret that tutorials print is refused although it is long enough (J12)."""
    ended = run("serve", "--port", str(port), WATCHWORD_JWT_SECRET="your-256-bit-secret-your-256-bit-secret")
    assert ended.code == 78
    assert "watchword secret" in ended.err


def test_the_banner_shows_a_path_that_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short below this directory, in full elsewhere: nobody counts `../../..`."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for given, shown in (("data", "data"), (str(tmp_path / "data"), str(tmp_path / "data"))):
        assert f"  Data                {shown}\n" in banner(load({"data_dir": given}, {}, tmp_path / "here"))
