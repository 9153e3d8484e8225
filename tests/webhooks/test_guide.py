"""The receiver of the guide, run as it stands: it takes what the service signs, and nothing else."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.postgres import free_port
from tests.webhooks.test_signing_and_urls import AT, BODY, ID, SECRET, SIGNATURE
from watchword.identity.webhooks import events
from watchword.webhooks import signing
from watchword.webhooks.sending import HttpSender
from watchword.webhooks.urls import Target

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "webhooks.md").read_text("utf-8")
(PROGRAM,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
Read = Callable[..., Any]


@pytest.fixture
def read_event() -> Read:
    """The guide's function."""
    names: dict[str, Any] = {"__name__": "receiver"}
    exec(compile(PROGRAM, "receiver.py", "exec"), names)
    found: Read = names["read_event"]
    return found


def signed(body: bytes, *secrets: bytes, at: int | None = None) -> dict[str, str]:
    """Headers of a request that is made now."""
    return dict(signing.headers(secrets, event_id="evt_1", at=int(time.time()) if at is None else at, body=body))


def test_it_reads_the_published_vector(read_event: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of the time at which that was signed."""
    headers = {"webhook-id": ID, "webhook-timestamp": str(AT), "webhook-signature": SIGNATURE}
    assert read_event(headers, BODY, SECRET) is None, "it is old"
    monkeypatch.setattr(time, "time", lambda: AT + 299)
    assert read_event(headers, BODY, SECRET) == {"test": 2432232314}
    monkeypatch.setattr(time, "time", lambda: AT - 301)
    assert read_event(headers, BODY, SECRET) is None


def test_it_takes_either_secret_while_one_is_replaced(read_event: Read) -> None:
    """And neither a third nor anything that was changed or left out."""
    old, new, other = (signing.make_secret() for _ in range(3))
    headers, body = signed(b'{"type":"x"}', new, old), b'{"type":"x"}'
    for secret in (old, new):
        assert read_event(headers, body, signing.shown(secret)) == {"type": "x"}
    assert read_event(headers, body, signing.shown(other)) is None
    assert read_event(headers, body + b" ", signing.shown(new)) is None
    for name, value in (("webhook-id", "evt_2"), ("webhook-timestamp", "x"), ("webhook-signature", "v2,é v1 v1,")):
        assert read_event({**headers, name: value}, body, signing.shown(new)) is None
    for name in headers:
        assert read_event({k: v for k, v in headers.items() if k != name}, body, signing.shown(new)) is None


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[str, bytes, Path]]:
    """The program in a process of its own: its URL, its secret, what it prints."""
    secret, port, out = signing.make_secret(), free_port(), tmp_path / "out"
    (tmp_path / "receiver.py").write_text(PROGRAM, "utf-8")
    environment = {**os.environ, "HOOK_SECRET": signing.shown(secret), "HOOK_PORT": str(port)}
    with out.open("wb") as file:
        process = subprocess.Popen([sys.executable, "receiver.py"], cwd=tmp_path, env=environment, stdout=file)
        try:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    assert process.poll() is None
                    time.sleep(0.02)
            yield f"http://127.0.0.1:{port}/", secret, out
        finally:
            process.kill()
            process.wait()


NONE = ("", "whsec_", "whsec_MfKQ", SECRET.removeprefix("whsec_"), SECRET[:-1], f"{SECRET}\n", signing.shown(b"x" * 23))


@pytest.mark.parametrize("secret", NONE)
def test_what_anyone_could_sign_with_is_no_secret(read_event: Read, secret: str) -> None:
    """⚑ A command that failed leaves an empty one: an event signed with the empty key was taken."""
    body = b'{"type":"x"}'
    with pytest.raises(ValueError, match="HOOK_SECRET"):
        read_event(signed(body, b""), body, secret)


@pytest.mark.parametrize("secret", [None, "", "whsec_"])
def test_it_does_not_start_without_a_secret(tmp_path: Path, secret: str | None) -> None:
    """It says which one it needs."""
    (tmp_path / "receiver.py").write_text(PROGRAM, "utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "HOOK_SECRET"}
    environment |= {"HOOK_PORT": str(free_port())} | ({} if secret is None else {"HOOK_SECRET": secret})
    ran = subprocess.run(
        [sys.executable, "receiver.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 1
    assert "HOOK_SECRET is not the secret that `watchword webhooks add` printed" in ran.stderr


def test_the_shell_hides_no_failure() -> None:
    """`export X=$(…)` is well when the command is not; an assignment is not."""
    for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL):
        assert not re.search(r"^\s*export \w+=\$\(", block, re.MULTILINE)


async def test_it_runs(running: tuple[str, bytes, Path]) -> None:
    """It prints an event once, however often it comes, and refuses what is not signed by its secret."""
    url, secret, out = running
    body = events.body("user.deleted", AT, {"user_id": "u"})
    sender, target = HttpSender(), Target(url, private=True)
    for _ in range(2):
        assert not (await sender.send(target, list(signed(body, secret).items()), body)).fault
    forged = list(signed(body, signing.make_secret()).items())
    assert (await sender.send(target, forged, body)).fault == "it answered 400"
    assert out.read_text("utf-8") == "user.deleted {'user_id': 'u'}\n"


def test_the_guide_names_what_there_is() -> None:
    """Every type of event, and every bound."""
    table = GUIDE.partition("## What is in it")[2].partition("## ")[0]
    named = {
        kind for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for kind in re.findall(r"`([\w.]+)`", row)
    }
    assert named == {*events.TYPES}
