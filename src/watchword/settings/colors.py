"""The colours of pages: read as `#rrggbb`, and refused where text in them could not be read (WCAG 2.2, 1.4.3)."""

from __future__ import annotations

import re
from collections.abc import Callable

from watchword.settings.values import Unfit

LIGHT = "#ffffff"
DARK = "#161616"
"""The grounds of the light and of the dark pages. A button has its words in the colour of the ground."""

_LEAST_CONTRAST = 4.5
_LINEAR_BELOW = 0.04045  # of sRGB


def color(ground: str) -> Callable[[str], str]:
    """Read a colour for links and buttons that stands out from a ground by 4.5 to 1."""

    def read(text: str) -> str:
        found = text.strip().lower()
        if not re.fullmatch(r"#[0-9a-f]{6}", found):
            raise Unfit(f"{text[:20]!a} is not a colour", "write it like #0b4f9e")
        ratio = contrast(found, ground)
        if ratio < _LEAST_CONTRAST:
            way = "darker" if ground == LIGHT else "lighter"
            raise Unfit(f"{found} on {ground} is {ratio:.1f} to 1, too faint to read", f"choose a {way} one: 4.5 to 1")
        return found

    return read


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, from 1 to 21."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(text: str) -> float:
    red, green, blue = (_linear(int(text[at : at + 2], 16) / 255) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(part: float) -> float:
    return float(part / 12.92 if part <= _LINEAR_BELOW else ((part + 0.055) / 1.055) ** 2.4)
