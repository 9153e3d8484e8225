"""The unit's walls, held against what the service really asks of the kernel: strace writes it down."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import httpx2
import pytest

from tests.deploy.files import DEPLOY, unit
from tests.e2e.client import Client, bearer
from tests.e2e.server import COMMAND, clean_environment, free_port

UNIT = unit(DEPLOY / "watchword.service")
_CALL = re.compile(r"^\d+ +(?:<\.\.\. )?(\w+)(?:\(| resumed)", re.MULTILINE)
_FAMILY = re.compile(r"\bsocket\((AF_\w+)")


def members(group: str) -> set[str]:
    """The system calls of a group of systemd's, those of the groups in it as well."""
    told = subprocess.run(
        ["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True, timeout=60
    )
    names = {line.strip() for line in told.stdout.splitlines()[1:] if line.strip() and not line.strip().startswith("#")}
    inner = {name for name in names if name.startswith("@")}
    return (names - inner).union(*(members(name) for name in inner))


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What two workers and the commands beside them ask for, from the start to the end."""
    if shutil.which("strace") is None or shutil.which("systemd-analyze") is None:
        pytest.skip("strace or systemd-analyze is missing: apt-get install strace systemd")
    folder, port = tmp_path_factory.mktemp("traced"), free_port()
    told = {**clean_environment(), "WATCHWORD_PORT": str(port)}
    strace = ["strace", "-f", "-qq", "-s", "1", "-o"]

    def command(name: str, *words: str) -> None:
        traced = [*strace, str(folder / name), str(COMMAND), *words]
        done = subprocess.run(traced, cwd=folder, env=told, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr

    service = subprocess.Popen(
        [*strace, str(folder / "serve"), str(COMMAND), "serve", "--workers", "2"], cwd=folder, env=told,
        start_new_session=True,
    )  # fmt: skip
    try:
        command("health", "health", "--wait", "100")
        with Client(f"http://127.0.0.1:{port}") as client:
            token = client.newcomer()
            assert client.get("/profile", headers=bearer(token)).status_code == 200
            assert client.post("/refresh", json={}).status_code == 200
            assert client.post("/logout", headers=bearer(token)).status_code == 204
        command("backup", "backup", "copy.db")
        (pid,) = Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text("ascii").split()
        stopped(int(pid), port)
        assert service.wait(timeout=60) == 0
    finally:
        if service.poll() is None:
            service.kill()
    return "\n".join((folder / name).read_text("utf-8", "replace") for name in ("serve", "health", "backup"))


def stopped(pid: int, port: int) -> None:
    """Stop it as systemd does, and wait until nothing answers."""
    subprocess.run(["kill", f"-{signal.SIGTERM.value}", str(pid)], check=True)
    give_up_at = time.monotonic() + 60
    while time.monotonic() < give_up_at:
        try:
            httpx2.get(f"http://127.0.0.1:{port}/livez", timeout=5)
        except httpx2.HTTPError:
            return
        time.sleep(0.05)
    raise AssertionError("it does not stop")


def test_system_calls(trace: str) -> None:
    """Each is one that `SystemCallFilter=` lets through."""
    allowed, refused = UNIT["SystemCallFilter"]
    assert refused.startswith("~")
    let = members(allowed).difference(*(members(name) for name in refused[1:].split()))
    asked = set(_CALL.findall(trace)) - ({"fchown"} if os.geteuid() == 0 else set())  # SQLite asks for it as root only
    assert {"accept4", "fdatasync", "execve"} & asked, "nothing was seen"
    assert asked <= let, asked - let


def test_address_families(trace: str) -> None:
    """Those that the unit names. The resolver also tries AF_NETLINK, and does without."""
    seen = set(_FAMILY.findall(trace))
    assert "AF_INET" in seen
    assert seen <= {*UNIT["RestrictAddressFamilies"][0].split(), "AF_NETLINK"}


def test_no_memory_is_written_and_executed(trace: str) -> None:
    """`MemoryDenyWriteExecute=` refuses what JIT compilers do; the service does none of it."""
    assert UNIT["MemoryDenyWriteExecute"] == ["yes"]
    for line in trace.splitlines():
        assert not ("mmap(" in line and "PROT_WRITE" in line and "PROT_EXEC" in line), line
        assert not (("mprotect(" in line or "shmat(" in line) and "EXEC" in line), line
