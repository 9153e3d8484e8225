"""A million users of another system, taken in by the command, on both engines. No password is hashed."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import bcrypt

from bench import needs
from bench.drivers import Settings
from bench.measures.alternate import Runs
from bench.postgres_server import postgres
from bench.report import Bar, Outcome
from bench.servers import KEPT, WATCHWORD, BenchError

USERS, QUICK_USERS = 1_000_000, 20_000
LEAST = {"sqlite": 10_000, "postgres": 6_000}
"""Users per second."""

_STEP, _PRIME = 7_368_787, 15_485_863


def measure(settings: Settings) -> Outcome:
    """Run `watchword users import` once on each engine, on all cores."""
    needs.service()
    outcome, count = Outcome("imports"), QUICK_USERS if settings.rounds <= 2 else USERS
    for engine, least in LEAST.items():
        with tempfile.TemporaryDirectory(prefix="watchword-bench-") as folder, _database(engine) as extra:
            run = _run(Path(folder), count, extra)
        outcome.runs.extend(_rows(engine, run))
        outcome.bars.append(Bar(f"{engine}, users/s", run["users/s"], least, unit="/s"))
        outcome.figures[f"{engine}, CPU µs each"] = run["CPU µs each"]
    outcome.figures["users"] = count
    return outcome


def _rows(engine: str, run: dict[str, float]) -> Runs:
    return [{"side": engine} | run]


@contextmanager
def _database(engine: str) -> Iterator[dict[str, str]]:
    """Yield the settings of an empty database."""
    if engine == "sqlite":
        yield {}
        return
    with postgres() as server:
        yield {"WATCHWORD_DATABASE_URL": server.url(), "WATCHWORD_SECRET": secrets.token_urlsafe(32)}


def _run(folder: Path, count: int, extra: Mapping[str, str]) -> dict[str, float]:
    """Migrate and import; return what it took, the start of the process included."""
    _write(folder / "users.jsonl", count)
    _command(folder, extra, "migrate")
    began, before = time.perf_counter(), os.times()
    told = json.loads(_command(folder, extra, "users", "import", "users.jsonl", "--json"))
    seconds, after = time.perf_counter() - began, os.times()
    if told["imported"] != count:
        raise BenchError(f"{told['imported']:,} of {count:,} users were imported")
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return {"users/s": count / seconds, "CPU µs each": 1e6 * spent / count, "seconds": seconds}


def _command(folder: Path, extra: Mapping[str, str], *arguments: str) -> str:
    environment = {name: os.environ[name] for name in KEPT if name in os.environ} | dict(extra)
    done = subprocess.run(
        [WATCHWORD, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchError(f"watchword {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout


def _write(path: Path, count: int) -> None:
    """Write users as an application would export them: its ids rise, names are in no order."""
    password_hash = bcrypt.hashpw(b"plum-orbit-canvas", bcrypt.gensalt(10)).decode()
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            name = f"reader.{number * _STEP % _PRIME}"
            line = {
                "external_id": number,
                "username": name,
                "email": f"{name}@example.org",
                "email_verified": True,
                "roles": ["reader"],
                "created_at": "2024-05-31T12:00:00Z",
                "password_hash": password_hash,
            }
            file.write(json.dumps(line) + "\n")
