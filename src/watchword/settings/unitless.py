"""Doubts a number without a unit: `WATCHWORD_ACCESS_LIFETIME=15` is seconds, where minutes were meant."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from watchword.settings.row import Setting
from watchword.settings.values import MINUTE, Limit, Unfit

_ALONE = re.compile(r"(?:[0-9]+/)?([0-9]+)")
# Minutes, hours and days are written in small numbers; 900 and 3600 are seconds, as in other libraries.
_BELOW = 10 * MINUTE
_PART_OF_USUAL = 10


def doubt(setting: Setting[Any], text: str, value: Any) -> Unfit | None:
    """Return a warning where a number without a unit makes less than a tenth of the default, and under ten minutes.

    :param text: what was written, for a duration or a limit; others are never doubted.
    :param value: what was read.
    """
    alone = _ALONE.fullmatch(text.strip())
    if alone is None or not isinstance(value, timedelta | Limit):
        return None
    seconds, usual = _seconds(value), _seconds(setting.read(setting.default))
    if not 0 < seconds < min(_BELOW, usual / _PART_OF_USUAL):
        return None
    return Unfit(
        f"is {text.strip()} without a unit: that is {seconds} s, and the default {setting.default}",
        f"write {text.strip()}s to keep it, or m for minutes, h for hours, d for days",
    )


def _seconds(value: Any) -> int:
    return int((value.window if isinstance(value, Limit) else value).total_seconds())
