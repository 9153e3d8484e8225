"""Servers that fork or switch in their own way: a guard that ran before the fork hears of revocations after it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.guard.service import Service
from tests.guard_adapters.serving import ROOT, Api, as_process
from tests.guard_adapters.test_scenarios import bearer
from watchword.guard import Guard
from watchword.platforms import forks_unseen, threads_stand_still

PROGRAM = "tests.guard_adapters.program"
UWSGI = (
    *(PROGRAM, str(Path(sys.executable).with_name("pyuwsgi")), "--http-socket", "127.0.0.1:{port}", "--processes", "2"),
    *("--module", "tests.guard_adapters.hosted", "--master", "--disable-logging", "--need-app", "--die-on-term"),
)
GEVENT = (
    *("gunicorn", "--bind", "127.0.0.1:{port}", "--log-level", "critical", "--workers", "2", "--graceful-timeout", "1"),
    *("--worker-class", "gevent", "tests.guard_adapters.hosted"),
)
HOSTS = {
    "uwsgi": UWSGI,
    "uwsgi, each worker loads": (*UWSGI, "--lazy-apps"),
    "gevent": GEVENT,
    "gevent, loaded before the fork": (*GEVENT, "--preload"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="uWSGI's wheels are for Linux")
@pytest.mark.parametrize("host", HOSTS)
def test_what_is_revoked_is_refused_by_every_worker(host: str, issuer: Service, tmp_path: Path) -> None:
    session = str(uuid.uuid4())
    token = bearer(issuer.token(user_id="ada", session_id=session))
    with as_process(tmp_path, *HOSTS[host], issuer=issuer.url, audience="orders") as api:
        asked(api, token, 200)
        issuer.revoke("session", session)
        time.sleep(1)
        asked(api, token, 401)


def asked(api: Api, token: Any, status: int) -> None:
    """Ask often enough to meet each worker."""
    assert {api.ask("/needs", token).status for _ in range(12)} == {status}


LATE = """
import os, sys
from tests.guard_adapters import hosted
from gevent import monkey
monkey.patch_all()
from gevent.pywsgi import WSGIServer
WSGIServer(("127.0.0.1", int(sys.argv[1])), hosted.application, log=None).serve_forever()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="gevent is tried on POSIX")
@pytest.mark.parametrize("patched", ["first", "last", "never"])
def test_gevent_in_one_process(patched: str, issuer: Service, tmp_path: Path) -> None:
    """Threads as greenlets, threads beside greenlets, and a guard that began before they were exchanged."""
    patch = "from gevent import monkey\nmonkey.patch_all()\n"
    code = {"first": patch + LATE, "last": LATE, "never": LATE.replace("monkey.patch_all()", "")}[patched]
    (tmp_path / "serve_it.py").write_text(code, "utf-8")
    session = str(uuid.uuid4())
    token = bearer(issuer.token(user_id="ada", session_id=session))
    command = (PROGRAM, sys.executable, str(tmp_path / "serve_it.py"), "{port}")
    with as_process(tmp_path, *command, issuer=issuer.url, audience="orders") as api:
        asked(api, token, 200)
        issuer.revoke("session", session)
        time.sleep(1)
        asked(api, token, 401)


# As each uWSGI names its version and the options that were written.
@pytest.mark.parametrize(
    ("version", "options", "stands_still"),
    [
        (b"2.0.22", {"processes": b"2"}, True),
        (b"2.0.26", {}, True),
        (b"2.0.22", {"enable-threads": True}, False),
        (b"2.0.22", {"threads": b"2"}, False),
        (b"2.0.27", {}, False),
        (b"2.0.31", {"processes": b"2"}, False),
        (b"2.1.0", {}, False),
    ],
)
def test_an_old_uWSGI_without_threads_is_told_of(
    monkeypatch: pytest.MonkeyPatch, version: bytes, options: dict[str, Any], stands_still: bool
) -> None:
    """When the guard is made, which is when the application is loaded; it would be deaf between requests."""
    monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace(version=version, opt=options))  # type: ignore[arg-type]
    assert forks_unseen()
    assert threads_stand_still() is stands_still
    if stands_still:
        with pytest.raises(RuntimeError, match=r"runs no threads between requests.*--enable-threads.*background=False"):
            Guard("https://auth.example")
    else:
        Guard("https://auth.example")
    assert Guard("https://auth.example", background=False)


def test_elsewhere_nothing_is_said() -> None:
    assert not forks_unseen()
    assert not threads_stand_still()


UNSEEN = """
import ctypes, os, sys, types
sys.modules["uwsgi"] = types.SimpleNamespace(version=b"2.0.31", opt={})
from tests.guard.test_following import code
from watchword.guard import Guard
guard = Guard(sys.argv[1], audience="orders", background=sys.argv[3] == "True")
assert guard.wait_until_ready(10) and code(guard, sys.argv[2]) == "ok"
fork = ctypes.PyDLL(None).fork  # Python's own hooks are not run
child = fork()
if not child:
    sys.stdout.write(f"{code(guard, sys.argv[2])} {guard._follower._process == os.getpid()}")
    sys.stdout.flush()
    os._exit(0)
os.waitpid(child, 0)
os._exit(0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forks as uWSGI does")
@pytest.mark.parametrize("background", [True, False])
def test_a_fork_that_Python_does_not_see(background: bool, issuer: Service) -> None:
    """The child starts anew, though the threads that it inherits seem to be alive."""
    command = [sys.executable, "-c", UNSEEN, issuer.url, issuer.token(), str(background)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert (done.stdout, "Traceback" in done.stderr) == ("ok True", False), done.stderr


FORKED = """
import os, sys
from tests.guard.test_following import code
from watchword.guard import Guard
guard = Guard(sys.argv[1], audience="orders")
assert guard.wait_until_ready(10) and code(guard, sys.argv[2]) == "ok"
if os.fork():
    os.wait()
    os._exit(0)
print("forked", flush=True)
sys.stdin.readline()
print(code(guard, sys.argv[2]), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_does_not_rely_on_the_list_of_the_fork(issuer: Service) -> None:
    """What was revoked after the fork, before its first request."""
    session = str(uuid.uuid4())
    command = [sys.executable, "-c", FORKED, issuer.url, issuer.token(session_id=session)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin
        assert child.stdout
        assert child.stdout.readline() == "forked\n"
        issuer.revoke("session", session)
        print(file=child.stdin, flush=True)
        assert child.stdout.readline() == "token_revoked\n"


def test_a_process_that_can_start_no_thread_says_so(
    issuer: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: Any) -> None:
        raise RuntimeError("can't start new thread")

    guard = issuer.guard()
    monkeypatch.setattr("threading.Thread.start", refuse)
    with pytest.raises(Exception, match="cannot check access tokens yet"):
        guard.check("Bearer x.y.z")
    assert "where there are none, make it with background=False" in caplog.text
