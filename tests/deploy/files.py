"""The files of deploy/, read strictly."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DATA = "/var/lib/watchword"
PORT = 4000
USER = 10001


class _Strict(yaml.SafeLoader):
    """YAML in which no key stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        own = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        assert len(own) == len(set(own)), f"a key stands twice: {own}"
        return super().construct_mapping(node, deep)


def documents(path: Path) -> list[dict[str, Any]]:
    """All documents of a YAML file."""
    return [each for each in yaml.load_all(path.read_text("utf-8"), _Strict) if each is not None]


def compose(name: str) -> dict[str, Any]:
    """A compose file."""
    (document,) = documents(DEPLOY / name)
    return document


def every_file() -> list[Path]:
    """All that is in deploy/."""
    return sorted(path for path in DEPLOY.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def settings_named(text: str) -> set[str]:
    """Every WATCHWORD_… in a text."""
    return set(re.findall(r"\bWATCHWORD_[A-Z_]+\b", text))


def unit(path: Path) -> dict[str, list[str]]:
    """A systemd unit: each key with its values in order; a section that is none fails."""
    found: dict[str, list[str]] = {}
    for line in path.read_text("utf-8").splitlines():
        if line in {"[Unit]", "[Service]", "[Install]", ""} or line.startswith("#"):
            continue
        key, equals, value = line.partition("=")
        assert equals == "=", line
        assert re.fullmatch(r"[A-Z][A-Za-z]+", key), line
        found.setdefault(key, []).append(value)
    return found
