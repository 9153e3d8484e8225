"""Writes the page of a run, or of several: `python -m tests.reliability.page FILE… > docs/security/reliability.md`.

Of the quick selection the page has the time only. Where two runs have an experiment, the later file's counts.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_HEAD = """\
# What faults do not break

Real servers are asked, a fault comes, and then three things are compared: a journal of every request and its answer,
the database, and a model of what must be true. `tests/reliability/` holds the experiments. `make reliability` runs
them; `make test` runs the quick ones at a hundredth of the scale. This page is made, not written:

```console
{command}
.venv/bin/python -m tests.reliability.page {files} > docs/security/reliability.md
```

Run on {at}, {cores} cores, {system}, Python {python}, at a load of up to {load}: on a machine that has other work,
bounds of time may fail. {took}

A figure stands before its bound; one without a bound says how much was tried. A scale of 1 means the
numbers that the experiment is named with.
"""
_COLUMNS = "| # | experiment | engine × workers | figures | scale | seconds | |\n|---|---|---|---|---|---|---|\n"


def page(documents: list[dict[str, Any]], files: Sequence[str]) -> str:
    """Return the page for the documents that `--rows` wrote to these files, one of each run."""
    whole = [each for each in documents if not each["quick"]]
    found = {_experiment(row): row for each in whole for row in each["rows"]}
    rows = [found[each] for each in sorted(found)]
    lines = [
        f"| {row['number']} | {row['what']} | {row['engine']} × {row['workers']} | {row['told']} | {row['scale']:g} | "
        f"{row['seconds']:.0f} | {'passed' if row['passed'] else '**failed**'} |\n"
        for row in rows
    ]
    command = "\n".join(each["command"] for each in documents)
    head = _HEAD.format(
        **{
            **whole[-1],
            "load": max(each["load"] for each in whole),
            "command": command,
            "files": " ".join(files),
            "took": _took(documents),
        }
    )
    return head + "\n" + _COLUMNS + "".join(lines)


def _experiment(row: dict[str, Any]) -> tuple[int, str, str, int]:
    return row["number"], row["what"], row["engine"], row["workers"]


def _took(documents: list[dict[str, Any]]) -> str:
    """Say how long that was."""
    seconds = sum(each["seconds"] for each in documents if not each["quick"])
    quick = [f" The quick selection, alone, took {each['seconds']} s." for each in documents if each["quick"]]
    return f"All of it took {seconds:,} s ({seconds / 60:.0f} minutes).{''.join(quick)}"


if __name__ == "__main__":
    print(page([json.loads(Path(file).read_text("utf-8")) for file in sys.argv[1:]], sys.argv[1:]), end="")
