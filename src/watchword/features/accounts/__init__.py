"""Accounts: register, see, change and close one's own."""

from __future__ import annotations

from watchword.features.accounts.routes import AccountRoutes
from watchword.features.accounts.service import Accounts
from watchword.identity.kernel import Kernel
from watchword.web.cookies import DeviceCookie, SessionCookies
from watchword.web.feature import Feature


def feature(kernel: Kernel, cookie: SessionCookies, device: DeviceCookie) -> Feature:
    """Return what this feature declares."""
    return Feature(
        "accounts",
        AccountRoutes(Accounts(kernel), cookie, device).table(),
        "Make an account; see, change and close your own.",
    )
