"""Guides that build on each other, typed one after the other against one service: none is in another's way."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.client import PASSWORD, bearer
from tests.e2e.fixtures import Serve
from tests.e2e.server import COMMAND, Server, clean_environment
from tests.e2e.test_transcript import SHOWN_AT

DOCS = Path(__file__).parents[2] / "docs"
# `watchword clients create` and what an answer of the service calls it, beside the variable of the guides.
_KEPT = {
    "CLIENT_ID": re.compile(r"^client_id=(\S+)", re.MULTILINE),
    "CLIENT_SECRET": re.compile(r"^client_secret=(\S+)", re.MULTILINE),
    "KEY": re.compile(r'"key":"(wwk_[^"]+)"'),
    "ACCESS": re.compile(r"^ACCESS=(\S+)", re.MULTILINE),
    "ID": re.compile(r"^ID=(\S+)", re.MULTILINE),
}


def blocks(page: str) -> list[str]:
    """What a page tells to type."""
    return re.findall(r"```bash\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL)


class Reader:
    """Types blocks in a folder, and keeps what they print in the variables that later ones use."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self._folder = folder
        path = f"{COMMAND.parent}:{os.environ['PATH']}"
        self.variables = {**clean_environment(), "PATH": path, "WATCHWORD_DATA_DIR": str(server.data)}

    def types(self, block: str) -> str:
        """What a block prints; nothing in it may fail, and no answer may refuse."""
        kept = 'printf "\\n%s\\n" "ACCESS=${ACCESS-}" "ID=${ID-}"'
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eu", "-o", "pipefail"], cwd=self._folder, env=self.variables,
            input=f"{block.replace(SHOWN_AT, self.server.origin)}\n{kept}\n", capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (block, done.stdout, done.stderr)
        assert '"error"' not in done.stdout, (block, done.stdout)
        assert "/problems/" not in done.stdout, (block, done.stdout)
        found = {name: pattern.search(done.stdout) for name, pattern in _KEPT.items()}
        self.variables |= {name: match[1] for name, match in found.items() if match}
        return done.stdout

    def log_in(self, **more: str) -> None:
        """Put a token into `TOKEN`, as the pages say in words."""
        with self.server.client() as client:
            form = {"grant_type": "password", "username": "ada", "password": PASSWORD, **more}
            self.variables["TOKEN"] = client.post("/token", data=form).json()["access_token"]


@pytest.fixture
def reader(serve: Serve, tmp_path: Path) -> Reader:
    """At the service of the first five minutes, with `ada` in it."""
    server = serve(WATCHWORD_ADMIN="on")
    with server.client() as client:
        given = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
        assert client.post("/register", json=given).status_code == 201
    return Reader(server, tmp_path)


def test_rights(reader: Reader) -> None:
    """Scopes, several APIs, service accounts, token exchange, API keys: what a page sets up lets the next one work."""
    for page in ("guides/scopes.md", "guides/several-apis.md", "guides/service-accounts.md"):
        for block in blocks(page):
            reader.types(block.replace("clients disable nightly", "clients disable nightly --yes"))  # it asks
    own = [line for line in reader.server.command("apis", "list").stdout.splitlines() if reader.server.url in line]
    assert not own, "what limits every token would be in the way of each later page"
    register, exchange = blocks("guides/token-exchange.md")
    reader.types(register)
    reader.log_in(resource="https://shop.example")
    assert json.loads(reader.types(exchange).splitlines()[0])["scope"] == "pay"
    reader.log_in()
    for block in blocks("features/api_keys.md"):
        reader.types(block)
    assert reader.variables["KEY"].startswith("wwk_")


def test_api_keys_are_the_first_page(reader: Reader) -> None:
    """On a fresh service: what the page needs it sets up itself."""
    for block in blocks("features/api_keys.md"):
        reader.types(block)
    assert reader.variables["KEY"].startswith("wwk_")


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is missing: apt-get install jq")
def test_administration(reader: Reader) -> None:
    """From the log-in to the revoked keys; the account that is closed and opened again is the one that was invited."""
    assert reader.server.command("users", "roles", "ada", "--add", "admin").returncode == 0
    _serve, _first, *rest = blocks("guides/administer.md")
    for block in rest:
        reader.types(block)
    with reader.server.client() as client:
        refused = client.get("/admin/users", headers=bearer(reader.variables["ACCESS"]))
    assert refused.json()["code"] == "token_revoked", "the last block revoked every key"
    shown = json.loads(reader.server.command("users", "show", reader.variables["ID"], "--json").stdout)
    assert (shown["email"], shown["disabled_at"]) == ("grace@example.com", None)
