"""Runs what `make reliability` runs: `python -m tests.reliability [what pytest is given]`.

First come tests of all folders that are marked `rare`, then those of this folder that have no bounds of time, beside
each other; last the others, one by one. With arguments only this folder's tests run.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from tests.reliability import rows

HERE: Final = Path(__file__).parent
RESULT: Final = Path("build/reliability.json")
_BESIDE: Final = ("-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder")
_NOTHING_FOUND: Final = 5


def main(given: list[str]) -> int:
    """Run everything, and write the rows; 0: all passed, 1: something failed, 5: there was nothing to run."""
    began, found, load = time.time(), list[rows.Row](), 0.0
    codes = [] if given else [_pytest("tests", "--ignore", str(HERE), "-m", "rare", *_BESIDE)]
    for only, beside in (("together", _BESIDE), ("alone", ())):
        part = RESULT.with_stem(f"reliability-{only}")
        part.unlink(missing_ok=True)
        codes.append(_pytest(str(HERE), "--timeout", "900", *beside, "--only", only, "--rows", str(part), *given))
        if part.exists():
            document = json.loads(part.read_text("utf-8"))
            found += [rows.Row.of(row) for row in document["rows"]]
            load = max(load, document["load"])
    command = f'make reliability ARGS="{shlex.join(given)}"' if given else "make reliability"
    rows.write(RESULT, rows.as_json(found, command=command, seconds=time.time() - began, quick=False, load=load))
    print("\n".join(["", *rows.table(found)]))
    if set(codes) == {_NOTHING_FOUND}:
        return _NOTHING_FOUND
    return int(not set(codes) <= {0, _NOTHING_FOUND})


def _pytest(*given: str) -> int:
    print("\n$ pytest", shlex.join(given), flush=True)
    return subprocess.call([sys.executable, "-m", "pytest", "-q", *given])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
