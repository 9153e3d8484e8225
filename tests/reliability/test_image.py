"""The image without Docker: its instructions run as they stand, in namespaces of their own.

User 10001 without rights and a file system that refuses to be written, but for the volume and /tmp, are real. Only the
image that ours begins with is missing: this machine's system and this Python stand for it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest
import yaml

from tests.deploy.dockerfile import build_script, command, read

ROOT = Path(__file__).parents[2]
STAGES = read((ROOT / "deploy" / "Dockerfile").read_text("utf-8"))
COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text("utf-8"))["services"]["watchword"]
_PYTHON = Path(sys.base_prefix)

# Registers and logs in, looks at the profile, says what the limits of a container left it.
CLIENT = """
import json, os, sys, urllib.request
def call(path, body=None, token=None):
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:4000" + path, data, headers)) as answer:
        return json.load(answer)
person = {"username": sys.argv[1], "password": "plum-orbit-canvas"}
if sys.argv[2:] == ["new"]:
    call("/register", person)
token = call("/login", person)["access_token"]
assert call("/profile", token=token)["username"] == sys.argv[1]
"""


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """A folder with what the image has under /opt and /var/lib, built by the Dockerfile's own instructions."""
    if os.geteuid() != 0 or any(shutil.which(name) is None for name in ("unshare", "setpriv", "ip")):
        pytest.skip("namespaces need root, unshare, setpriv and ip (Debian: util-linux, iproute2)")
    if not (_PYTHON / "bin" / "python").exists() or str(_PYTHON) == "/usr":
        pytest.skip("needs a Python in a folder of its own, which takes the place of /usr/local")
    folder = Path(mkdtemp(prefix="watchword-image-"))
    folder.chmod(0o755)
    (folder / "opt").mkdir()
    (folder / "lib").mkdir()
    (folder / "build.sh").write_text(build_script(STAGES, ROOT))
    (folder / "client.py").write_text(CLIENT)
    within(folder, f"sh -e {folder}/build.sh", network=True)
    yield folder
    shutil.rmtree(folder)


def within(folder: Path, script: str, *, network: bool = False) -> str:
    """Run a script as root where /usr/local, /opt and /var/lib are the image's; what it printed."""
    mounts = "".join(
        f"mount --bind {place} {target}\n"
        for place, target in ((_PYTHON, "/usr/local"), (folder / "opt", "/opt"), (folder / "lib", "/var/lib"))
    )
    apart = ["unshare", "--mount", "--propagation", "private", *([] if network else ["--net", "--pid", "--fork"])]
    up = "" if network else "ip link set lo up\nmount -t proc proc /proc\n"
    path = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}
    done = subprocess.run(
        [*apart, "sh", "-ec", mounts + up + script],
        env={**os.environ, **path},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def contained(words: list[str]) -> str:
    """A command as the container would run it: user, rights, environment of image and compose file."""
    final = STAGES[-1]
    user, _, group = final.only("USER").rest.partition(":")
    told = {name: value.partition(":-")[2].rstrip("}") if value.startswith("${") else value
            for name, value in COMPOSE["environment"].items()}  # fmt: skip
    stand_in = {"LD_LIBRARY_PATH": "/usr/local/lib"}  # where this Python has moved from, the user cannot look
    environment = [f"{name}={value}" for name, value in {**final.environment, **told, **stand_in}.items()]
    assert COMPOSE["cap_drop"] == ["ALL"]
    assert COMPOSE["security_opt"] == ["no-new-privileges:true"]
    limits = ["--reuid", user, "--regid", group, "--clear-groups", "--no-new-privs", "--bounding-set", "-all"]
    return shlex.join(["setpriv", *limits, "env", "-i", *environment, *words])


# What `read_only`, `tmpfs` and the volume mean. The last line shows that it holds.
SEALED = """
not() { if "$@" 2>/dev/null; then echo "$*: should have failed"; exit 1; fi; }
mount -t tmpfs tmpfs /tmp
mount --bind /var/lib/watchword /var/lib/watchword
for place in / /opt /usr/local /var/lib; do mount -o remount,bind,ro $place; done
cd /var/lib/watchword
for place in /opt/x /usr/local/x /var/lib/x /root/x; do not touch $place; done
"""


def test_the_service_in_its_image(image: Path) -> None:
    """It serves, its health command says 0 and then 1, the volume alone is written to and keeps what was stored."""
    start, health = contained(command(STAGES[-1].only("CMD"))), contained(command(STAGES[-1].only("HEALTHCHECK")))
    client = (image / "client.py").read_text("utf-8")
    asked = contained(["python", "-c", client, "ada"])
    script = f"""{SEALED}
not {health}
{start} > log 2>&1 &
pid=$!
{contained(["watchword", "health", "--wait", "60"])} || {{ cat log; exit 1; }}
{asked} new
{health}
kill -TERM $pid
wait $pid
not {health}
{start} >> log 2>&1 &
pid=$!
{contained(["watchword", "health", "--wait", "60"])}
{asked}
kill -TERM $pid
wait $pid
not grep Traceback log
find . -type f -printf '%U %m %f\\n'
"""
    said = within(image, script)
    assert said.count("ready\n") == 3
    assert "10001 600 master.secret" in said
    assert "10001 600 watchword.db" in said


def test_what_the_image_holds(image: Path) -> None:
    """The three extras, no pip, no source, no test; all of it root's, and the volume's folder the user's own."""
    assert sorted(each.name for each in (image / "opt").iterdir()) == ["watchword"]
    installed = {each.name.partition("-")[0] for each in (image / "opt/watchword/lib").glob("python*/site-packages/*")}
    assert {"watchword", "asyncpg", "redis", "uvicorn"} <= installed
    assert not {"pip", "pytest", "tests"} & installed
    assert {each.stat().st_uid for each in (image / "opt").rglob("*") if not each.is_symlink()} == {0}
    volume = (image / "lib" / "watchword").stat()
    assert (volume.st_uid, volume.st_gid, oct(volume.st_mode)) == (10001, 10001, "0o40700")
