"""Leads browsers to the log-in page, and notices one that comes back without what it was sent for.

Each redirect leaves a cookie of ten seconds, which says how often this path was led away. A browser that keeps no
cookies, or a clock that is wrong, then ends at the refusal and not in a loop.
"""

from __future__ import annotations

from hashlib import sha256
from http import HTTPStatus
from typing import Final

from watchword.browsers import AccessCookieRule, Sent, cookie_in, is_secure, returning_cookie
from watchword.errors import Refused
from watchword.guard.refusals import Refusal

MOST: Final = 3
"""Redirects of one path, each within so many seconds of the one before."""
WITHIN: Final = 10

_NO_COOKIE: Final = (
    "guard: a browser came back from the log-in page %d times without the cookie %s. Start the service with "
    "WATCHWORD_ACCESS_COOKIE=on, and serve your pages from its host: browsers send cookies to the host that set them."
)


class Returns:
    """Answers refused requests for pages."""

    def __init__(self, rule: AccessCookieRule) -> None:
        self._rule = rule
        self._name = returning_cookie(rule)
        flags = "; Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if is_secure(self._name) else "")
        self._flags = flags
        self._logged = False

    def answer(self, refusal: Refusal, sent: Sent) -> Refusal:
        """Return the way to the log-in page, or the refusal where that would not help."""
        way = self._rule.way_to_log_in(sent, refusal.code)
        if way is None:
            return refusal
        path = sha256(sent.target().partition("?")[0].encode("utf-8", "replace")).hexdigest()[:16]
        before = self._times(sent, path)
        if before >= MOST:
            if refusal.code == "token_missing":
                self._say_why()
            return refusal._replace(headers=(*refusal.headers, ("set-cookie", self._set("", 0))))
        headers = (
            ("location", way),
            ("content-type", "text/plain; charset=utf-8"),
            ("content-length", "0"),
            ("cache-control", "no-store"),
            ("set-cookie", self._set(f"{path}.{before + 1}", WITHIN)),
        )
        return Refusal(HTTPStatus.SEE_OTHER, headers, b"", refusal.code)

    def _say_why(self) -> None:
        """Log once what is missing, most likely. The count is the browser's word, so a stranger can cause this line."""
        if self._logged:
            return
        self._logged = True
        import logging  # slow to import

        logging.getLogger("watchword.guard").warning(_NO_COOKIE, MOST, self._rule.name)

    def _set(self, value: str, seconds: int) -> str:
        return f"{self._name}={value}; Max-Age={seconds}{self._flags}"

    def _times(self, sent: Sent, path: str) -> int:
        """Return how often this browser says to have been led away from a path."""
        try:
            said = cookie_in(sent.values("cookie"), self._name.encode()) or ""
        except Refused:
            return MOST
        known, _, times = said.partition(".")
        if known != path:
            return 0
        return int(times) if times in {"1", "2", "3"} else MOST
