"""The environment of the Python peers, `bench/.venv-peers`: made on request, apart from the project's own."""

from __future__ import annotations

import subprocess
import sys
import venv

from bench.servers import ROOT, BenchError

HOME = ROOT / "bench" / ".venv-peers"
PYTHON = HOME / "bin" / "python"
REQUIREMENTS = ROOT / "bench" / "peers" / "requirements.txt"
HINT = "python -m bench --peers makes it (pip install -r bench/peers/requirements.txt into bench/.venv-peers)"
_INSTALLED = HOME / "requirements.txt"  # what was installed; written last


def require() -> None:
    """Raise unless the environment is there and is the one that the requirements describe."""
    if not _INSTALLED.exists():
        raise BenchError(f"the Python peers are not installed\nhint: {HINT}")
    if _INSTALLED.read_bytes() != REQUIREMENTS.read_bytes():
        raise BenchError(f"the Python peers are not those of bench/peers/requirements.txt any more\nhint: {HINT}")


def install() -> None:
    """Make the environment, or bring it up to date. Nothing is done when it is as it should be."""
    if _INSTALLED.exists() and _INSTALLED.read_bytes() == REQUIREMENTS.read_bytes():
        return
    print("installing the Python peers into bench/.venv-peers …", file=sys.stderr, flush=True)
    venv.create(HOME, with_pip=True, clear=True)
    (HOME / ".gitignore").write_text("*\n")
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(REQUIREMENTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"the Python peers could not be installed:\n{done.stderr.strip()}")
    _INSTALLED.write_bytes(REQUIREMENTS.read_bytes())
