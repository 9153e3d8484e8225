"""The configurations of the guides, with this test's ports and folders in place of those that the guides name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

GUIDES = Path(__file__).parents[2] / "docs" / "guides"


@dataclass(frozen=True)
class Places:
    """Where things are in this run: ports on loopback, and the static site."""

    proxy: int
    service: int
    application: int
    site: Path


def configuration(guide: str, language: str, places: Places) -> str:
    """The guide's only block in a language. Each name in it is replaced, and must be there to be replaced."""
    (text,) = re.findall(rf"```{language}\n(.*?)```", (GUIDES / guide).read_text("utf-8"), re.DOTALL)
    for shown, actual in (
        ("127.0.0.1:4000", f"127.0.0.1:{places.service}"),
        ("127.0.0.1:8000", f"127.0.0.1:{places.application}"),
        ("/srv/site", str(places.site)),
    ):
        assert shown in text, f"{guide} does not say {shown}"
        text = text.replace(shown, actual)
    assert re.search(r"listen 127\.0\.0\.1:|^\tbind 127\.0\.0\.1$", text, re.MULTILINE), f"{guide} tries on loopback"
    listening = re.compile(r"(listen 127\.0\.0\.1:|^:)8080\b", re.MULTILINE)
    text, replaced = listening.subn(lambda found: f"{found[1]}{places.proxy}", text)
    assert replaced == 1, f"{guide} listens on port 8080, once"
    return text
