"""The `watchword` command. This module is all that is imported before it is known which command runs."""

from __future__ import annotations

import sys

_NO_SERVER = 1


def main() -> None:
    """The console script: runs the command line and exits with its code."""
    try:
        from watchword.cli.program import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "watchword":
            raise
        sys.exit(_explain_missing(error.name))
    sys.exit(run(sys.argv[1:]))


def _explain_missing(module: str) -> int:
    """The guard is installed without the service: say which command adds it."""
    sys.stderr.write(f"error: the watchword command needs the server's packages ({module} is not installed)\n")
    sys.stderr.write("hint: pip install 'watchword[server]'\n")
    return _NO_SERVER
