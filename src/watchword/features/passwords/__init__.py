"""Passwords: log in with one, change it."""

from __future__ import annotations

from watchword.features.passwords.routes import PasswordRoutes
from watchword.features.passwords.service import Passwords
from watchword.identity.kernel import Kernel
from watchword.web.cookies import DeviceCookie, SessionCookies
from watchword.web.feature import Feature


def feature(kernel: Kernel, cookie: SessionCookies, device: DeviceCookie) -> Feature:
    """Return what this feature declares."""
    return Feature(
        "passwords",
        PasswordRoutes(Passwords(kernel), cookie, device).table(),
        "Log in with a password, and change your own.",
    )
