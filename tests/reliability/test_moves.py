"""The four guides to move: the old application makes users and tokens, the users move, and everyone stays logged in.

What a guide tells to run and to set is read from the guide.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from tests.e2e.fixtures import serve
from tests.e2e.server import COMMAND, Server, clean_environment
from tests.interop import npm
from tests.reliability import old_environment
from tests.tutorials.reading import claims
from watchword.errors import TokenError
from watchword.guard import Guard

__all__ = ["serve"]

ROOT = Path(__file__).parents[2]
NODE = Path(__file__).with_name("node")
SECRET = "Vb8uK2pQx9Zr4TnW7cYdVn3sLq6wHe5mVb8u"
PASSWORD = "plum-orbit-canvas"
UNTIL = (datetime.now(UTC) + timedelta(days=30)).date().isoformat()
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS = "urn:ietf:params:oauth:token-type:access_token"


class Old(NamedTuple):
    """What the old application leaves behind: a token, what else it signs, the user's id there, what logs them in."""

    access: str
    others: tuple[str, ...]
    id: str
    name: str


def script(name: str, database: Path) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__).with_name(name)), str(database), SECRET]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120, env=clean_environment())
    return dict(json.loads(done.stdout))


def old_django(folder: Path) -> Old:
    said = script("old_simplejwt.py", folder / "db.sqlite3")
    return Old(said["access"], (said["refresh"],), str(said["id"]), "ada")


def old_flask(folder: Path) -> Old:
    said = script("old_flask.py", folder / "app.db")
    return Old(said["access"], (said["refresh"],), str(said["id"]), "ada")


def old_express(folder: Path) -> Old:
    """Its own mongoose, bcryptjs and jsonwebtoken; there is no MongoDB, so the script writes what mongoexport would."""
    npm.install(NODE)
    person = {"username": "ada", "email": "Ada@example.com", "password": PASSWORD}
    said = npm.run(NODE / "old_express.mjs", {"secret": SECRET, **person})
    (folder / "users.json").write_text(said["exported"] + "\n")
    return Old(said["access"], (), said["id"], "ada")


def old_fastapi_users(folder: Path) -> Old:
    said = old_environment.old_fastapi_users(f"sqlite+aiosqlite:///{folder / 'app.db'}", SECRET)
    return Old(said["access"], (said["reset"], said["verify"]), said["id"], "ada+old@example.com")


MOVES = {
    "express": old_express,
    "django-simplejwt": old_django,
    "fastapi-users": old_fastapi_users,
    "flask-jwt-extended": old_flask,
}


def blocks(name: str, kind: str) -> list[str]:
    text = (ROOT / "docs" / "guides" / f"from-{name}.md").read_text("utf-8")
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


def export_and_import(name: str, folder: Path) -> None:
    """The guide's first commands, as they stand, in the service's folder; there is no MongoDB to export from."""
    lines = [line for line in blocks(name, "sh")[0].splitlines() if line and "mongoexport" not in line]
    service = folder / "service"
    service.mkdir()
    if (exported := folder / "users.json").exists():
        exported.rename(service / exported.name)
    environment = clean_environment() | {"WATCHWORD_DATA_DIR": str(folder / "data")}
    environment["PATH"] = f"{COMMAND.parent}:{environment.get('PATH', '')}"
    for program in blocks(name, "python")[:-1]:
        (service / "export_users.py").write_text(program.replace("/srv/app/", f"{folder}/"))
    for line in lines:
        shell = ["/bin/sh", "-c", line.replace("/srv/app/", f"{folder}/")]
        done = subprocess.run(
            shell, cwd=service, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)


def settings_of(name: str) -> dict[str, str]:
    """The guide's settings, with a secret and a day."""
    found = dict(re.findall(r"^(WATCHWORD_LEGACY_\w+)=(\S+)", blocks(name, "ini")[0], re.MULTILINE))
    assert found.keys() >= {"WATCHWORD_LEGACY_JWT_SECRET", "WATCHWORD_LEGACY_SUBJECT", "WATCHWORD_LEGACY_UNTIL"}
    return found | {"WATCHWORD_LEGACY_JWT_SECRET": SECRET, "WATCHWORD_LEGACY_UNTIL": UNTIL}


def guard_of(name: str, server: Server) -> Guard:
    """The guide's guard, with another service, secret and day."""
    code = blocks(name, "python")[-1]
    code = code.replace("https://auth.example.com", server.url).replace('os.environ["OLD_JWT_SECRET"]', "SECRET")
    code = code.replace('os.environ["GUARD_KEY"]', "KEY")
    code = re.sub(r'until="[0-9-]+"', f'until="{UNTIL}"', code)
    key = server.command("guards", "create", "app").stdout.strip()
    assert key.startswith("wwg_")
    names: dict[str, Any] = {"SECRET": SECRET, "KEY": key}
    exec(compile(code, f"from-{name}.md", "exec"), names)
    guard = names["guard"]
    assert isinstance(guard, Guard)
    return guard


@pytest.mark.parametrize("name", MOVES)
def test_a_move_logs_no_one_out(name: str, tmp_path: Path, serve: Any) -> None:
    """The old token goes on, becomes a session once, the password works; a disabled user is out; nothing is guessed."""
    old = MOVES[name](tmp_path)
    export_and_import(name, tmp_path)
    server: Server = serve(folder=tmp_path, **settings_of(name))
    guard = guard_of(name, server)
    try:
        assert guard.wait_until_ready()
        assert guard.verify(old.access).user_id == old.id
        for other in old.others:
            with pytest.raises(TokenError):
                guard.verify(other)
            assert _exchanged(server, other).status_code == 400
        said = _exchanged(server, old.access).json()
        assert guard.verify(said["access_token"]).user_id == old.id
        form = {"grant_type": "refresh_token", "refresh_token": said["refresh_token"]}
        assert httpx2.post(f"{server.url}/token", data=form).status_code == 200
        form = {"grant_type": "password", "username": old.name, "password": PASSWORD}
        assert claims(httpx2.post(f"{server.url}/token", data=form).json()["access_token"])["sub"] == old.id
        _disable(tmp_path, old.id)
        _until_refused(guard, old.access)
        assert _exchanged(server, old.access).status_code == 400
    finally:
        guard.stop()


def test_it_is_switched_off(tmp_path: Path, serve: Any) -> None:
    """A day that is over: the service starts, says what to remove, and refuses."""
    old = old_fastapi_users(tmp_path)
    export_and_import("fastapi-users", tmp_path)
    given = settings_of("fastapi-users") | {"WATCHWORD_LEGACY_UNTIL": "2026-01-31"}
    server: Server = serve(folder=tmp_path, **given)
    answer = _exchanged(server, old.access)
    assert (answer.status_code, "since 2026-01-31" in answer.json()["error_description"]) == (400, True)
    assert "WATCHWORD_LEGACY_UNTIL is over" in server.log()


def _exchanged(server: Server, token: str) -> httpx2.Response:
    form = {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": ACCESS}
    return httpx2.post(f"{server.url}/token", data=form)


def _disable(folder: Path, user: str) -> None:
    command = [str(COMMAND), "users", "disable", user, "--data-dir", str(folder / "data")]
    done = subprocess.run(command, cwd=folder, env=clean_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _until_refused(guard: Guard, token: str) -> None:
    def judged() -> str:
        try:
            return guard.verify(token).user_id
        except TokenError as error:
            return error.code

    ends = time.monotonic() + 20
    while judged() != "token_revoked":
        assert time.monotonic() < ends, "the old token of a disabled user is still accepted"
        time.sleep(0.1)
