"""Where a log-in leads (`?next=`): a path here, or an address of an allowed origin. Anything else is no destination."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import quote

from watchword.browsers import LONGEST_PATH, is_local_path


class Destination(NamedTuple):
    """What `Location` says, and the origin that it leads to; none for a path here."""

    location: str
    origin: str = ""


def destination(text: str, allowed: tuple[str, ...]) -> Destination | None:
    """Return where `next` leads.

    :param allowed: `WATCHWORD_ALLOWED_ORIGINS`. An address is one of them byte for byte, then a path or nothing.
    """
    if not text or len(text) > LONGEST_PATH:
        return None
    if is_local_path(text):
        return Destination(text)
    for origin in allowed:
        rest = text.removeprefix(origin)
        if rest != text and (not rest or is_local_path(rest)):
            return Destination(text, origin)
    return None


def carrying(leads_to: Destination | None) -> dict[str, Any]:
    """Return what a page on the way to a log-in is shown: where it leads, and the origin that its policy names."""
    location, origin = leads_to or Destination("")
    return {"next": location, "leads_to": origin}


def carried(text: str) -> str:
    """Return the query that carries a destination on to the next page."""
    return f"?next={quote(text, safe='')}" if text else ""
