"""The secrets that two guides make: what they tell to paste is pasted, also in a wrong folder and twice."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import yaml

from tests.deploy.files import DEPLOY, ROOT, USER, documents
from tests.e2e.server import COMMAND
from tests.postgres import Databases
from watchword.settings import Settings
from watchword.storage.migrate import status
from watchword.storage.postgres import Postgres

PAGE = (ROOT / "docs" / "guides" / "deploy.md").read_text("utf-8")
ON_POSTGRES = (ROOT / "docs" / "guides" / "postgres.md").read_text("utf-8")
COMPOSE, KUBERNETES = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
AFTERWARDS = 'printf "%s %s\\n" "$PWD" "$(umask)"\n'
FILES = {"watchword_secret", "postgres_password", "pgpass"}
URL = "postgresql://watchword:a-password@db.internal/watchword?sslmode=verify-full&sslrootcert=system"


def paste(text: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Paste lines into an open shell, which goes on after those that fail; then ask it where it is."""
    environment = {**os.environ, **more}
    before = f"umask 022\ncd {folder}\n"
    return subprocess.run(
        ["bash", "--noprofile", "--norc"], env=environment, input=before + text + AFTERWARDS, capture_output=True,
        text=True, check=False, timeout=60,
    )  # fmt: skip


def seen(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder with its mode and content."""
    return {str(path.relative_to(folder)): (path.stat().st_mode, path.read_bytes())
            for path in folder.rglob("*") if path.is_file()}  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user: run the tests as root")
def test_the_secrets_of_compose(tmp_path: Path) -> None:
    """They make files that the service takes, for its user alone, and the two passwords are one. Twice is once."""
    (tmp_path / "deploy").mkdir()
    assert paste(COMPOSE, tmp_path).stdout == f"{tmp_path} 0022\n", "the shell is where it was"
    before = seen(tmp_path)
    assert paste(COMPOSE, tmp_path).stdout == f"{tmp_path} 0022\n"
    assert seen(tmp_path) == before
    made = {path.name: path for path in (tmp_path / "deploy" / "secrets").iterdir()}
    assert set(made) == FILES
    assert {name: (path.stat().st_uid, oct(path.stat().st_mode)) for name, path in made.items()} == {
        "watchword_secret": (USER, "0o100400"),
        "pgpass": (USER, "0o100400"),
        "postgres_password": (0, "0o100400"),
    }
    (secret,) = Settings(secret=made["watchword_secret"].read_text("ascii")).secret or ()
    assert len(secret) == 32
    password = made["postgres_password"].read_text("ascii")
    assert made["pgpass"].read_text("ascii") == f"postgres:5432:watchword:watchword:{password}\n"


@pytest.mark.parametrize("text", [COMPOSE, KUBERNETES], ids=["compose", "kubernetes"])
def test_in_a_wrong_folder_nothing_happens(text: str, tmp_path: Path) -> None:
    """There is no deploy/ there: no file is made or changed, and the shell stays."""
    (tmp_path / "notes.txt").write_text("mine")
    before = seen(tmp_path)
    done = paste(text, tmp_path, EDITOR="false")
    assert "deploy/secrets" in done.stderr
    assert done.stdout == f"{tmp_path} 0022\n"
    assert seen(tmp_path) == before


def test_the_secrets_of_kubernetes(tmp_path: Path) -> None:
    """Two files that are closed to others, with the names of the Secret's keys; twice changes nothing."""
    (tmp_path / "deploy").mkdir()
    programs = tmp_path / "bin"
    programs.mkdir()
    # `docker run --rm IMAGE watchword secret`
    program(programs / "docker", 'test "$1 $2" = "run --rm" && shift 3 && exec "$@"')
    program(programs / "editor", f"printf '%s\\n' '{URL}' > \"$1\"")
    told = {"PATH": f"{programs}:{COMMAND.parent}:{os.environ['PATH']}", "EDITOR": str(programs / "editor")}
    assert paste(KUBERNETES, tmp_path, **told).stdout == f"{tmp_path} 0022\n"
    made = seen(tmp_path / "deploy" / "secrets")
    (example,) = documents(DEPLOY / "kubernetes" / "secret.example.yaml")
    assert set(made) == set(example["stringData"])
    assert {oct(mode) for mode, _ in made.values()} == {"0o100600"}
    settings = Settings(secret=made["secret"][1].decode(), database_url=made["database-url"][1].decode())
    assert settings.database_url == URL, "the end of the line, which comes along, is not part of it"
    paste(KUBERNETES, tmp_path, **told)
    assert seen(tmp_path / "deploy" / "secrets") == made
    (command,) = re.findall(r"^(kubectl .* create secret (?:.*\\\n)+.*)$", PAGE, re.MULTILINE)
    assert "--from-literal" not in PAGE + (DEPLOY / "kubernetes" / "secret.example.yaml").read_text("utf-8")
    if shutil.which("kubectl") is None:
        return
    done = subprocess.run(
        f"{command} --dry-run=client --output yaml", shell=True, cwd=tmp_path, capture_output=True, text=True,
        check=True, timeout=60,
    )  # fmt: skip
    assert set(yaml.safe_load(done.stdout)["data"]) == set(made)


@pytest.fixture
async def database(postgres: Callable[[int], Databases]) -> AsyncIterator[str]:
    url = await postgres(18).make()
    yield url
    await postgres(18).drop(url)


async def test_the_secrets_of_postgresql(database: str, tmp_path: Path) -> None:
    """Two files that are closed to others, by which the service finds its database; no variable has the password."""
    (block,) = re.findall(r"```sh\n(\(.*?)```", ON_POSTGRES, re.DOTALL)
    editor = tmp_path / "editor"
    program(editor, f"printf '%s\\n' '{database}' > \"$1\"")
    told = {"PATH": f"{COMMAND.parent}:{os.environ['PATH']}", "EDITOR": str(editor)}
    asked = "watchword migrate && env | grep '^WATCHWORD_'\n"
    done = await asyncio.to_thread(paste, block + asked, tmp_path, **told)
    assert "error" not in done.stderr, done.stderr
    variables = sorted(line for line in done.stdout.splitlines() if line.startswith("WATCHWORD_"))
    files = [Path(line.partition("=")[2]) for line in variables]
    assert [path.parent for path in files] == [tmp_path, tmp_path]
    assert {oct(path.stat().st_mode) for path in files} == {"0o100600"}
    before = seen(tmp_path)
    assert await asyncio.to_thread(paste, block, tmp_path, **told)
    assert seen(tmp_path) == before
    assert not re.search(r"export [A-Z_]*='?postgresql://[^/]*:", ON_POSTGRES)
    found = await Postgres.open(database)
    assert (await status(found)).version > 0
    await found.close()


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
