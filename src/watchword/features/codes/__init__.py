"""Codes: log in by a code that is sent by e-mail."""

from __future__ import annotations

from watchword.features.codes.routes import CodeRoutes
from watchword.features.codes.service import Codes
from watchword.identity.kernel import Kernel
from watchword.web.cookies import DeviceCookie, SessionCookies
from watchword.web.feature import Feature


def feature(kernel: Kernel, cookie: SessionCookies, device: DeviceCookie) -> Feature:
    """Return what this feature declares."""
    return Feature(
        "codes", CodeRoutes(Codes(kernel), cookie, device).table(), "Log in by a code that is sent by e-mail."
    )
