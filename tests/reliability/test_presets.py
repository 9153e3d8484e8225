"""Other applications' users: their real tables, their own hashes, and a log-in at our service afterwards."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run, database, environment, run
from tests.identity.scenes import HOME
from tests.interop import npm
from tests.postgres import Databases
from tests.reliability.old_environment import old_fastapi_users
from watchword.errors import Unauthenticated
from watchword.features.passwords.service import Passwords
from watchword.opening import opened
from watchword.settings import Settings

__all__ = ["database", "run"]  # fixtures

PASSWORD = "plum-orbit-canvas"
SECRET = "Vb8uK2pQx9Zr4TnW7cYdVn3sLq6wHe5mVb8u"
NODE = Path(__file__).with_name("node")


def log_in(folder: Path, name: str, password: str = PASSWORD) -> tuple[dict[str, Any], str]:
    """The user as our service sees them, and the `sub` of the access token."""

    async def main() -> tuple[dict[str, Any], str]:
        async with opened(Settings(data_dir=folder / "watchword-data")) as kernel:
            found = await Passwords(kernel).log_in(name, password, client=HOME, replacing=None)
            user = {each: getattr(found.user, each) for each in ("id", "external_id", "roles", "email", "created_at")}
            user["verified"] = found.user.email_verified_at is not None
            return user, kernel.verifier.verify(found.tokens.access_token).sub

    return asyncio.run(main())


def reasons(folder: Path) -> list[str]:
    return [json.loads(line)["reason"] for line in (folder / "refused-users.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture
def old_database(engine: str, tmp_path: Path, postgres: Callable[[int], Databases]) -> Iterator[str]:
    """The URL of an empty database of its own: what stands in it is not of Watchword, and no other test may meet it."""
    if engine == "sqlite":
        yield f"sqlite:///{tmp_path / 'old.db'}"
        return
    databases = postgres(16)
    url = asyncio.run(databases.make())
    yield url
    asyncio.run(databases.drop(url))


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
@pytest.mark.usefixtures("database")
def test_djangos_users_log_in(run: Run, tmp_path: Path, old_database: str) -> None:
    """Django itself makes tables, users and hashes. Of two names that differ in capitals, the second is refused."""
    made = [sys.executable, str(Path(__file__).with_name("old_django.py")), old_database]
    subprocess.run(made, check=True, env=environment(), timeout=120)
    done = run("users", "import", "-", "--from", "django", "--keep-ids", stdin=old_database)
    assert (done.code, done.out) == (1, "imported 6, already in 0, refused 1\n")
    assert reasons(tmp_path) == ["the username is that of user 5, external id 5"]
    user, sub = log_in(tmp_path, "ada+old@example.org")
    assert (sub, user["id"], user["external_id"]) == ("1", "1", "1")
    assert user["roles"] == ("Content-editors", "admin", "staff")
    assert user["created_at"] > 1_700_000_000
    for name in ("by.scrypt", "by.argon2", "by.bcrypt_sha256"):
        assert log_in(tmp_path, name)[0]["email"] is None
    for name in ("Bert", "off"):
        with pytest.raises(Unauthenticated):
            log_in(tmp_path, name)
    again = run("users", "import", old_database, "--from", "django", "--keep-ids")
    assert again.out == "imported 0, already in 6, refused 1\n"


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
@pytest.mark.usefixtures("database")
def test_the_users_of_fastapi_users_log_in(run: Run, tmp_path: Path, old_database: str) -> None:
    """Both of its hashes: Argon2 of today, and bcrypt of before. The UUID is the `sub` as it was."""
    driver = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
    scheme, _, rest = old_database.partition(":")
    old = old_fastapi_users(f"{driver[scheme]}:{rest}", SECRET)
    done = run("users", "import", old_database, "--from", "fastapi-users", "--keep-ids")
    assert (done.code, done.out) == (0, "imported 2, already in 0, refused 0\n")
    assert "administrators of this service too: ada+old@example.com\n" in done.err
    user, sub = log_in(tmp_path, "ada+old@example.com")
    assert (sub, user["roles"], user["verified"]) == (old["id"], ("admin",), True)
    assert log_in(tmp_path, "bert@example.com")[0]["verified"] is False


@pytest.mark.parametrize(
    ("engine", "plugins"),
    [("sqlite", True), ("postgres", True), ("sqlite", False)],
    ids=["sqlite", "postgres", "plain"],
)
@pytest.mark.usefixtures("database")
def test_the_users_of_better_auth_log_in(run: Run, tmp_path: Path, old_database: str, plugins: bool) -> None:
    """It makes tables and users itself; a user who came by GitHub only has no password. Roles come with a plugin."""
    npm.install(NODE)
    given = {"database": old_database.removeprefix("sqlite:///"), "password": PASSWORD, "plugins": plugins}
    old = npm.run(NODE / "old_better_auth.mjs", given)
    done = run("users", "import", old_database, "--from", "better-auth")
    assert (done.code, done.out) == (0, "imported 3, already in 0, refused 0\n"), done.err
    for name in ("ada@example.com", "ada.l") if plugins else ("ada@example.com",):
        user, sub = log_in(tmp_path, name)
        roles = ("admin", "editor") if plugins else ()
        assert (user["external_id"], user["roles"], user["verified"]) == (old["ada"], roles, True)
        assert sub == user["id"] != old["ada"]
        assert user["created_at"] == int(datetime.fromisoformat(old["created"]).timestamp())
    for name in ("bert@example.com", *(["carl@example.com"] if plugins else [])):
        with pytest.raises(Unauthenticated):
            log_in(tmp_path, name)
    assert plugins or log_in(tmp_path, "carl@example.com")[0]["verified"] is False


@pytest.mark.usefixtures("database")
def test_the_documents_of_a_mongoose_tutorial_log_in(run: Run, tmp_path: Path) -> None:
    """Documents that mongoose has made, in both forms of Extended JSON, and what no model lets through."""
    npm.install(NODE)
    made: list[str] = npm.run(NODE / "old_mongoose.mjs", {"password": PASSWORD})
    stored = json.loads(made[0])["password"]
    worthless: list[Any] = [
        {"_id": 8, "username": "dora", "password": "in plain text"},
        {"_id": 9, "username": {"$gt": ""}, "password": stored},
        {"_id": {"$oid": "x", "y": 1}, "username": "emil"},
        {"createdAt": {"$numberLong": "soon"}, "username": "fred"},
        [],
    ]
    (tmp_path / "users.json").write_text("\n".join([*made, *map(json.dumps, worthless)]) + "\n", "utf-8")
    done = run("users", "import", "users.json", "--from", "mongoose", "--keep-ids")
    assert (done.code, done.out) == (1, "imported 3, already in 0, refused 5\n"), done.err
    assert "in plain text" not in (tmp_path / "refused-users.jsonl").read_text("utf-8")
    user, sub = log_in(tmp_path, "ada@EXAMPLE.com")
    assert (sub, user["roles"]) == ("64b7f0c2a1b2c3d4e5f60718", ("Admin", "User"))
    user, _ = log_in(tmp_path, "bert")
    assert (user["roles"], user["created_at"]) == (("admin", "user"), 1689776306)
    with pytest.raises(Unauthenticated):
        log_in(tmp_path, "carl@example.com")
