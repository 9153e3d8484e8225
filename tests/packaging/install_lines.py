"""The lines by which a page tells a reader to install Watchword."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
CLONE = "/path/to/the/clone"
OURS = (
    ".",
    ".[server]",
    ".[server,postgres]",
    ".[server,redis]",
    ".[server,metrics]",
    ".[server,otel]",
    CLONE,
    f"{CLONE}[server]",
)
_LINE = re.compile(r"\bpip install ([^`\n\\]+)")
_WHERE = ("*.md", "docs/**/*.md", "examples/**/*.md", "examples/**/*.py", "examples/**/*.js", "src/**/*.py")


def every_line() -> list[str]:
    """What follows `pip install` in pages, examples and messages; each once."""
    paths = (path for where in _WHERE for path in ROOT.glob(where) if "node_modules" not in path.parts)
    texts = (path.read_text("utf-8") for path in paths)
    return sorted({line.strip().rstrip('",') for text in texts for line in _LINE.findall(text)})  # of messages in code


def requirements(line: str) -> list[str]:
    """The packages of a line, without quotes and options."""
    return [word.strip("'\"(),") for word in line.split() if not word.startswith("-")]


def of_watchword() -> list[str]:
    """Each distinct line that installs Watchword."""
    return [line for line in every_line() if set(requirements(line)) & set(OURS)]
