"""Whether a request is for a page, as browsers ask for one, or for JSON."""

from __future__ import annotations


def prefers_page(accept: bytes) -> bool:
    """Tell whether `Accept` ranks `text/html` above `application/json` (RFC 9110 section 12.5.1); a tie is a no."""
    ranked = dict(_ranges(accept.decode("latin-1").lower()))
    anything = ranked.get("*/*", 0.0)
    page = ranked.get("text/html", ranked.get("text/*", anything))
    return page > ranked.get("application/json", ranked.get("application/*", anything))


def _ranges(accept: str) -> list[tuple[str, float]]:
    """Return each media range with its quality; what cannot be read counts as 0."""
    found = []
    for each in accept.split(","):
        kind, *parameters = (part.strip() for part in each.split(";"))
        qualities = [part.removeprefix("q=") for part in parameters if part.startswith("q=")]
        found.append((kind, _quality(qualities[0]) if qualities else 1.0))
    return found


def _quality(text: str) -> float:
    whole, _, rest = text.partition(".")
    if whole in ("0", "1") and len(rest) <= 3 and (not rest or (rest.isascii() and rest.isdigit())):  # noqa: PLR2004
        return float(text)
    return 0.0
