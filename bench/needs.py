"""What the bench needs, and how to get what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from bench.servers import EXPRESS, ROOT, WATCHWORD, BenchError


def service() -> None:
    """Raise unless `watchword serve` can be started."""
    if not WATCHWORD.exists():
        raise BenchError(
            "the service is not installed in this environment\nhint: make serve, or pip install -e '.[server]'"
        )


def express() -> None:
    """Raise unless the Express application can be started; its packages are fetched when they are not there."""
    for command in ("node", "npm"):
        if not shutil.which(command):
            raise BenchError(
                f"{command} is missing\nhint: Node.js 20 or newer with npm; on Debian: apt-get install nodejs npm"
            )
    fetch(EXPRESS)


def fetch(directory: Path) -> None:
    """Fetch the packages of a Node peer when they are not there, or not all."""
    lock, installed = directory / "package-lock.json", directory / "node_modules" / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return
    print(f"fetching the packages of {directory.relative_to(ROOT)} (npm ci) …", file=sys.stderr, flush=True)
    environment = os.environ | _headers()
    command = ["npm", "ci"]
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"npm ci failed in {directory.relative_to(ROOT)}:\n{done.stderr.strip()}")


def _headers() -> dict[str, str]:
    """Build native packages from the headers that lie beside Node, if they do: nothing else is fetched for it then."""
    prefix = Path(shutil.which("node") or "").resolve().parent.parent
    if not (prefix / "include" / "node" / "node.h").exists():
        return {}
    return {"npm_config_nodedir": str(prefix), "npm_config_build_from_source": "true"}


def missing() -> list[str]:
    """Return one line for each thing that is missing, with the way to get it."""
    lines = []
    if sys.platform != "linux":
        lines.append("the bench reads /proc and pins processes to cores: it runs on Linux only")
    if not shutil.which("wrk"):
        lines.append("wrk is missing, our own generator takes its place; on Debian: apt-get install wrk")
    if not shutil.which("node"):
        lines.append("node is missing, the Express peer cannot run; Node.js 20 or newer with npm")
    if find_spec("uvloop") is None:
        lines.append("uvloop is missing: pip install -e '.[server]'")
    return lines
