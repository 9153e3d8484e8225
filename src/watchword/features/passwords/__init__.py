"""Passwords: log in with one, change it."""

from __future__ import annotations

from watchword.features.passwords.routes import PasswordRoutes
from watchword.features.passwords.service import Passwords
from watchword.identity.kernel import Kernel
from watchword.web.cookies import RefreshCookie
from watchword.web.feature import Feature


def feature(kernel: Kernel, cookie: RefreshCookie) -> Feature:
    """Return what this feature declares."""
    return Feature(
        "passwords", PasswordRoutes(Passwords(kernel), cookie).table(), "Log in with a password, and change your own."
    )
