"""Runs the `watchword` command. Only this module is imported first."""

from __future__ import annotations

import sys
from typing import Final

_NO_SERVER = 1
# The modules of the extra `server`; a test compares them with pyproject.toml.
SERVER_MODULES: Final = frozenset(
    {
        "aiosmtplib",
        "argon2",
        "bcrypt",
        "dotenv",
        "email_validator",
        "httptools",
        "jinja2",
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
    """Run the command line and exit with its code."""
    from watchword.platforms import fill_standard_streams

    fill_standard_streams()  # before anything opens a file
    try:
        from watchword.cli.program import run

        code = run(sys.argv[1:])
    except ModuleNotFoundError as error:
        # A framework may have installed some of them, so any command may find one missing.
        missing = (error.name or "").partition(".")[0]
        if missing not in SERVER_MODULES:
            raise
        code = _explain_missing(missing)
    sys.exit(code)


def _explain_missing(module: str) -> int:
    """Say how to add the service where only the guard is installed."""
    from watchword.cli.exits import complain

    complain(
        f"the watchword command needs the server's packages ({module} is not installed)",
        "in your clone of watchword, pip install -e '.[server]'",
    )
    return _NO_SERVER
