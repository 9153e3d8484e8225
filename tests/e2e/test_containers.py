"""Where containers run: other users, mounted secrets, volumes of a group, a file system that is read-only. As root."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.server import COMMAND, free_port

pytestmark = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="only root can give files to other users, and setpriv be one: run as root, apt-get install util-linux",
)
SECRET = "Rz8dMNeWv0-1cPjgB2nJm4XqTkYhLsUa9vE3wOi7xQ0"
US, OTHER, GROUP = 65534, 65533, 20011  # no name, no home
REFUSED = 78
RARE = partial(pytest.param, marks=pytest.mark.rare)
"""What `make test` shows in another combination."""


class Ended(NamedTuple):
    """How a start went: the exit status (0 also when it was ready and then stopped), and what it said."""

    code: int
    said: str


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that other users can reach, with a data directory of ours in it."""
    folder = Path(tempfile.mkdtemp(prefix="ww-"))
    folder.chmod(0o755)
    data = folder / "data"
    data.mkdir(mode=0o700)
    os.chown(data, US, US)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def started(place: Path, *, user: int = US, before: tuple[str, ...] = (), **settings: str) -> Ended:
    """Start the service as a user, wait until it is ready or has ended, and stop it."""
    port = free_port()
    # Neither HOME nor anything else: what a container gives to a user id without a name.
    environ = {"PATH": "/usr/bin:/bin", "WATCHWORD_DATA_DIR": str(place / "data"), **settings}
    command = [*before, *become(user), str(COMMAND), "serve", "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=place, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    deadline = time.monotonic() + 60
    while process.poll() is None and not ready(port):
        assert time.monotonic() < deadline, "neither ready nor ended"
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    return Ended(process.returncode, said)


def become(user: int) -> tuple[str, ...]:
    """The command that continues as a user. It may read what it likes: the interpreter may lie in root's home."""
    read = ("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search")
    return ("setpriv", "--reuid", str(user), "--regid", str(user), "--groups", str(GROUP), *read)


def ready(port: int) -> bool:
    """Whether it serves."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (HTTPException, OSError):
        return False
    finally:
        connection.close()


def secret_at(path: Path, mode: int, owner: int = 0) -> Path:
    """A secret file."""
    path.write_text(SECRET + "\n")
    os.chown(path, owner, GROUP)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o444, RARE(0o644), RARE(0o440), 0o640])
def test_a_secret_as_it_is_mounted(place: Path, mode: int) -> None:
    """Kubernetes: behind the two symbolic links of `..data`; Docker: 0444. Warned about when all can read it."""
    (place / "..2026").mkdir()
    secret_at(place / "..2026" / "secret", mode)
    (place / "..data").symlink_to("..2026")
    (place / "secret").symlink_to("..data/secret")
    ended = started(place, WATCHWORD_SECRET_FILE=str(place / "secret"))
    assert ended.code == 0, ended.said
    assert ("can be read by every user" in ended.said) == bool(mode & 0o004), ended.said
    assert SECRET not in ended.said


@pytest.mark.parametrize(("mode", "owner"), [(0o400, OTHER), (0o644, OTHER), (0o666, 0), (0o646, US)])
def test_a_secret_that_others_can_replace(place: Path, mode: int, owner: int) -> None:
    """Refused for root as for others, with the command that sets it right."""
    path = secret_at(place / "secret", mode, owner)
    ended = started(place, user=0 if mode == 0o400 else US, WATCHWORD_SECRET_FILE=str(path))
    assert ended.code == REFUSED, ended.said
    assert "chown" in ended.said or "chmod 600" in ended.said


def test_a_volume_of_a_group(place: Path) -> None:
    """With `fsGroup` a kubelet gives everything to a group and lets it in, at every start. We close what we can."""
    data = place / "data"
    assert started(place).code == 0
    os.chown(data, 0, GROUP)
    data.chmod(0o2770)
    for each in data.iterdir():
        os.chown(each, US, GROUP)
        each.chmod(0o660)
    ended = started(place)
    assert ended.code == 0, ended.said
    assert "shared with group" in ended.said


def test_a_copy_that_a_group_can_read_is_closed(place: Path) -> None:
    """In a directory of ours nobody else decided it."""
    data = place / "data"
    assert started(place).code == 0
    for name in ("watchword.db", "master.secret"):
        (data / name).chmod(0o660)
    ended = started(place)
    assert ended.code == 0, ended.said
    assert {(data / name).stat().st_mode & 0o777 for name in ("watchword.db", "master.secret")} == {0o600}


@pytest.mark.parametrize("mode", [0o777, 0o1777, RARE(0o2777), RARE(0o702)])
def test_a_data_directory_that_everybody_may_write_to(place: Path, mode: int) -> None:
    """Refused, also for root."""
    data = place / "data"
    data.chmod(mode)
    for user in (US, 0):
        ended = started(place, user=user)
        assert ended.code == REFUSED, ended.said
        assert "chmod o-w" in ended.said
    assert [each.name for each in data.iterdir()] == []


def test_below_a_directory_that_everybody_may_write_to(place: Path) -> None:
    """A directory made by us is ours alone."""
    data = place / "data"
    data.chmod(0o1777)
    assert started(place, WATCHWORD_DATA_DIR=str(data / "watchword")).code == 0
    outside = f"sqlite:///{data / 'other.db'}"
    ended = started(place, WATCHWORD_DATA_DIR=str(data / "watchword"), WATCHWORD_DATABASE_URL=outside,
                    WATCHWORD_SECRET=SECRET)  # fmt: skip
    assert ended.code == REFUSED, ended.said


@pytest.mark.parametrize(
    ("user", "name"),
    [(US, "watchword.db"), (0, "master.secret"), RARE(US, "master.secret"), RARE(0, "watchword.db")],
)
def test_a_file_of_another_user(place: Path, name: str, user: int) -> None:
    """Its owner could read and replace it."""
    assert started(place, user=user).code == 0
    os.chown(place / "data" / name, OTHER, GROUP)
    (place / "data" / name).chmod(0o660)
    os.chown(place / "data", user, GROUP)
    ended = started(place, user=user)
    assert ended.code == REFUSED, ended.said
    assert f"chown {user}" in ended.said


def test_a_command_of_root(place: Path) -> None:
    """Root is told to become the user of the service, and never only to take its files away from it."""
    assert started(place).code == 0
    ended = started(place, user=0)
    assert ended.code == REFUSED
    name = Path(place / "data").owner()
    assert f"sudo -u {name} …; only where" in ended.said
    command = [str(COMMAND), "doctor", "--inside", "--json"]
    environ = {"PATH": "/usr/bin:/bin", "WATCHWORD_DATA_DIR": str(place / "data")}
    done = subprocess.run(command, cwd=place, env=environ, capture_output=True, text=True, check=False)
    fixes = {each["check"]: each["fix"] for each in json.loads(done.stdout)["items"]}
    assert "sudo -u" in fixes["files"]
    assert fixes["signing key"].startswith("run this as the user who owns it")


def test_a_file_system_that_is_read_only(place: Path) -> None:
    """Only the data directory can be written to; there is no /tmp; mounted secrets of another user are warned about."""
    shell = shutil.which("unshare")
    if shell is None or subprocess.run([shell, "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("only root in a machine that allows mount namespaces can run `unshare -m` (util-linux)")
    path = secret_at(place / "secret", 0o444, OTHER)
    script = (
        'set -e; mount --make-rprivate /; place="$1"; shift; mount --bind "$place" "$place"; '
        'mount --bind "$place/data" "$place/data"; mount -o remount,bind,ro "$place"; mount -o remount,bind,ro /; '
        'exec "$@"'
    )
    before = (shell, "-m", "sh", "-c", script, "sh", str(place))
    ended = started(place, before=before, WATCHWORD_SECRET_FILE=str(path), TMPDIR="/nowhere")
    assert ended.code == 0, ended.said
    assert "read-only" in ended.said
