"""The README's transcript, run as a reader would: each command in a shell, each answer as it is shown there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.fixtures import Serve

ROOT = Path(__file__).parents[2]
SHOWN_AT = "http://127.0.0.1:4000"
_BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
# What differs each time: ids, tokens (cut short with … in the text), times.
_MASKS = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"), "<id>"),
    (re.compile(r"eyJ[A-Za-z0-9_.-]*…?"), "<token>"),
    (re.compile(r"wwr_[A-Za-z0-9_-]*…?"), "<refresh token>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "<time>"),
)


class Step(NamedTuple):
    """A command, and what the page shows below it."""

    command: str
    shown: str


def steps(page: Path) -> list[Step]:
    """The commands of the page's console blocks: `$ ` begins one, a backslash continues it."""
    found: list[Step] = []
    for block in _BLOCK.findall(page.read_text("utf-8")):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = part.splitlines()
            length = next(index for index, line in enumerate(lines, 1) if not line.endswith("\\"))
            found.append(Step("\n".join(lines[:length]), "\n".join(lines[length:]).strip()))
    return found


def masked(text: str) -> str:
    """The text with what differs each time replaced by its kind."""
    for pattern, kind in _MASKS:
        text = pattern.sub(kind, text)
    return text.strip()


@pytest.mark.parametrize("page", ["README.md", "docs/start.md"])
def test_the_transcript_shows_what_happens(serve: Serve, tmp_path: Path, page: str) -> None:
    """One shell from the first command to the last, against a fresh service; every answer is the one on the page."""
    server = serve()
    expected = steps(ROOT / page)
    assert len(expected) >= 5
    mark = "--- end of step ---"
    script = "".join(f"{step.command}\necho; echo '{mark}'\n" for step in expected).replace(SHOWN_AT, server.origin)
    command = ["bash", "--noprofile", "--norc", "-u"]
    ran = subprocess.run(command, input=script, cwd=tmp_path, capture_output=True, text=True, timeout=250, check=False)
    assert ran.stderr == ""
    assert list(tmp_path.iterdir()) == [], "live tokens were left where the reader works"
    answers = ran.stdout.replace(server.origin, SHOWN_AT).split(mark)
    assert answers.pop().strip() == ""
    for step, answer in zip(expected, answers, strict=True):
        assert masked(answer) == masked(step.shown), step.command
