"""What the bench needs, and how to get what is missing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec

from bench.servers import EXPRESS, WATCHWORD, BenchError


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
    if not (EXPRESS / "node_modules" / ".package-lock.json").exists():
        print("fetching the packages of bench/peers/express (npm ci) …", file=sys.stderr, flush=True)
        done = subprocess.run(["npm", "ci"], cwd=EXPRESS, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"npm ci failed in bench/peers/express:\n{done.stderr.strip()}")


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
