"""Pages for people: log in, by a code too, register, forgotten password, the account. Made of features' services."""

from __future__ import annotations

from watchword.identity.kernel import Kernel
from watchword.pages.account import AccountPages
from watchword.pages.answering import Answers
from watchword.pages.codes import CodePages
from watchword.pages.entrance import Entrance
from watchword.web.cookies import DeviceCookie, SessionCookies
from watchword.web.feature import Feature
from watchword.web.pages.layout import Look


def feature(kernel: Kernel, cookie: SessionCookies, device: DeviceCookie, look: Look) -> Feature:
    """Return the pages, or none where they are off."""
    if not kernel.settings.pages:
        return Feature("pages", ())
    answers = Answers(kernel, cookie, device, look)
    parts = (Entrance(kernel, answers), CodePages(kernel, answers), AccountPages(kernel, answers))
    return Feature("pages", tuple(route for part in parts for route in part.table()))
