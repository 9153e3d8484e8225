"""The pictures of the guides can be made, show something, and are those that the guides show.

`pytest tests/browser/test_screenshots.py --pictures docs/assets` makes those of the repository.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.mailing import box, serving
from tests.browser.screenshots import take_all
from tests.e2e.fixtures import Serve
from tests.mail.mailbox import Mailbox

__all__ = ["box"]  # a fixture
pytestmark = pytest.mark.timeout(600)
DOCS = Path(__file__).parents[2] / "docs"
LARGEST = 60 * 1024


def values(picture: bytes) -> int:
    """How many different bytes stand in the lines of a PNG: a blank one has a handful."""
    at, lines = 8, b""
    while at < len(picture):
        size, kind = int.from_bytes(picture[at : at + 4]), picture[at + 4 : at + 8]
        lines += picture[at + 8 : at + 8 + size] if kind == b"IDAT" else b""
        at += 12 + size
    return len(set(zlib.decompress(lines)))


@pytest.mark.rare
def test_every_picture_of_the_guides(
    chromium: Browser, serve: Serve, box: Mailbox, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """Each is one that a guide shows, is small enough for a repository, and is not blank."""
    folder = pytestconfig.getoption("--pictures", default=None) or tmp_path
    server = serving(serve, box, WATCHWORD_ADMIN="on", WATCHWORD_PAGES_NAME="Example")
    take_all(chromium, server, box, folder)
    page = chromium.new_page(viewport={"width": 390, "height": 700})
    blank = values(page.screenshot())
    page.close()
    made = {path.name: path.read_bytes() for path in folder.glob("*.png")}
    assert {name for name, picture in made.items() if values(picture) <= 4 * blank or len(picture) > LARGEST} == set()
    assert set(made) == shown()


def shown() -> set[str]:
    """The pictures that the guides show."""
    texts = (path.read_text("utf-8") for path in DOCS.rglob("*.md"))
    return {name for text in texts for name in re.findall(r"assets/([\w-]+\.png)", text)}


def test_what_guides_show_is_there() -> None:
    """No picture is missing, and none is left over."""
    assert shown() == {path.name for path in (DOCS / "assets").glob("*.png")}
