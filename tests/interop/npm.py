"""Node packages and scripts: `npm ci` once for each folder and lock file, scripts that speak JSON."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NPM_SECONDS = 600
SCRIPT_SECONDS = 120


def install(folder: Path) -> None:
    """Put the packages of a folder's lock file into its `node_modules`, unless they are there already."""
    for command in ("node", "npm"):
        if shutil.which(command) is None:
            pytest.skip(f"{command} is missing: Node.js 20 or newer with npm")
    with _alone(folder):
        _install(folder)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes of this run away: two that install into one folder spoil it."""
    import fcntl

    name = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    with (Path(tempfile.gettempdir()) / f"watchword-npm-{name}").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _install(folder: Path) -> None:
    stamp = folder / "node_modules" / ".installed"
    lock = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text("utf-8") == lock:
        return
    done = subprocess.run(["npm", "ci"], cwd=folder, capture_output=True, text=True, timeout=NPM_SECONDS, check=False)
    assert done.returncode == 0, f"npm ci failed in {folder.name}:\n{done.stderr}"
    stamp.write_text(lock, "utf-8")


def run(script: Path, given: object) -> Any:
    """Run a script with JSON on its standard input; the JSON that it prints."""
    command = ["node", script.name]
    done = subprocess.run(
        command,
        cwd=script.parent,
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=SCRIPT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
