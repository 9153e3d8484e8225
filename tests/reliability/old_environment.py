"""The environment of an old application whose packages do not go with ours: made once, and kept."""

from __future__ import annotations

import fcntl
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.e2e.server import clean_environment
from tests.packaging.environments import empty_environment

HERE = Path(__file__).parent
HOME = HERE / ".venv-peers"
REQUIREMENTS = HERE / "old_fastapi_users.txt"
_INSTALLED = HOME / "requirements.txt"  # what was installed; written last
_PYTHON = HOME / "bin" / "python"


def old_fastapi_users(database_url: str, secret: str) -> dict[str, Any]:
    """Let the old application make its tables, users and tokens; what it prints.

    :param database_url: as SQLAlchemy reads it, with a driver for asyncio.
    """
    _install()
    command = [str(_PYTHON), str(HERE / "old_fastapi_users.py"), database_url, secret]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, env=clean_environment())
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def _install() -> None:
    with (Path(tempfile.gettempdir()) / "watchword-old-environment").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # another process of this run may want it too
        wanted = REQUIREMENTS.read_bytes()
        if _INSTALLED.exists() and _INSTALLED.read_bytes() == wanted:
            return
        empty_environment(HOME)
        options = ["--quiet", "--disable-pip-version-check", "-r", str(REQUIREMENTS)]
        command = [str(_PYTHON), "-m", "pip", "install", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
        _INSTALLED.write_bytes(wanted)
