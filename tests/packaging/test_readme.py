"""The commands of the README's first page that no other test runs: `make serve`, and `uvicorn` on the saved snippet."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tests.e2e.server import START_SECONDS, STOP_SECONDS, Server, clean_environment, free_port
from tests.packaging.install_lines import ROOT

README = (ROOT / "README.md").read_text("utf-8")


@contextmanager
def started(*command: str | Path, folder: Path, url: str) -> Iterator[None]:
    """A process that answers at `url`, until the block ends."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=clean_environment(), stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not answers(url):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def answers(url: str) -> bool:
    """Whether someone answers there."""
    try:
        return httpx2.get(url, timeout=60).status_code < 500
    except httpx2.HTTPError:
        return False


def test_make_serve_passes_options_on(tmp_path: Path) -> None:
    """The documented line, with another port and directory, in the environment that the tests run in."""
    (options,) = re.findall(r'`make serve ARGS="([^"]+)"`', README)
    port = free_port()
    given = options.replace("4100", str(port)).replace("DIR", str(tmp_path / "data"))
    installed = [f"VENV={sys.prefix}", "-o", f"{sys.prefix}/.server-installed"]
    command = ("make", "-C", str(ROOT), *installed, "serve", f"ARGS={given}")
    with started(*command, folder=tmp_path, url=f"http://127.0.0.1:{port}/readyz"):
        assert (tmp_path / "data" / "watchword.db").exists()


def test_the_snippet_starts_as_told(server: Server, tmp_path: Path) -> None:
    """Saved under the name and started with the command of the page, against a running service."""
    ((file, command),) = re.findall(r"Save it as `([^`]+)`, .* run `([^`]+)`", README)
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / file).write_text(code.replace("http://127.0.0.1:4000", server.url))
    port = free_port()
    program, *rest = command.replace("8000", str(port)).split()
    url = f"http://127.0.0.1:{port}/posts"
    with started(Path(sys.executable).with_name(program), *rest, folder=tmp_path, url=url):
        assert httpx2.get(url).json()["code"] == "token_missing"


def test_the_order_of_the_readme() -> None:
    """What it is, how it runs, how it protects a route, and when it is the wrong choice, before all else."""
    assert "revoke" in README.split("\n\n")[1]
    assert re.findall(r"^## (.*)$", README, re.MULTILINE)[:4] == [
        "Install and run", "Protect a route", "When to use something else", "From register to log-out"
    ]  # fmt: skip
