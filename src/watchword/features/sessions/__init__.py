"""Sessions: refresh, list, end, log out."""

from __future__ import annotations

from watchword.features.sessions.routes import SessionRoutes
from watchword.features.sessions.service import OwnSessions
from watchword.identity.kernel import Kernel
from watchword.web.cookies import SessionCookies
from watchword.web.feature import Feature


def feature(kernel: Kernel, cookie: SessionCookies) -> Feature:
    """Return what this feature declares."""
    return Feature(
        "sessions",
        SessionRoutes(OwnSessions(kernel), cookie).table(),
        "What follows a log-in: refresh its tokens, list your sessions, end them.",
    )
