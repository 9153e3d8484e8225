"""The `watchword` command. This module is all that is imported before it is known which command runs."""

from __future__ import annotations

import sys
from typing import Final

_NO_SERVER = 1
# What the extra `server` installs, by the names that are imported; a test compares them with pyproject.toml.
SERVER_MODULES: Final = frozenset(
    {
        "argon2",
        "bcrypt",
        "dotenv",
        "email_validator",
        "httptools",
        "rich",
        "starlette",
        "structlog",
        "swagger_ui",
        "typer",
        "uvicorn",
        "uvloop",
    }
)


def main() -> None:
    """The console script: runs the command line and exits with its code."""
    try:
        from watchword.cli.program import run

        code = run(sys.argv[1:])
    except ModuleNotFoundError as error:
        # Beside a framework some of them are there and others are not, so any command may find one missing.
        missing = (error.name or "").partition(".")[0]
        if missing not in SERVER_MODULES:
            raise
        code = _explain_missing(missing)
    sys.exit(code)


def _explain_missing(module: str) -> int:
    """The guard is installed without the service: say which command adds it."""
    sys.stderr.write(f"error: the watchword command needs the server's packages ({module} is not installed)\n")
    sys.stderr.write("hint: in your clone of watchword, pip install '.[server]'\n")
    return _NO_SERVER
