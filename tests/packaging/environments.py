"""Empty environments to install into, made as a reader makes them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path


def empty_environment(folder: Path) -> Path:
    """Make a virtual environment that holds pip only. Return its folder of programs."""
    made = subprocess.run([sys.executable, "-m", "venv", folder], capture_output=True, text=True, check=False)
    if made.returncode:  # Debian's Python makes none without python3-venv; uv does
        uv = shutil.which("uv")
        if uv is None:
            raise RuntimeError(made.stdout + made.stderr)
        subprocess.run([uv, "venv", "--quiet", "--clear", "--seed", "--python", sys.executable, folder], check=True)
    return folder / ("Scripts" if sys.platform == "win32" else "bin")


def run(programs: Path, *command: str | Path, cwd: Path) -> str:
    """Run a program of an environment and return what it prints; an exit code other than 0 is an error."""
    done = subprocess.run([programs / command[0], *command[1:]], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command}\n{done.stdout}{done.stderr}")
    return done.stdout
