"""The token of a request that a proxy asks about: from its header, or where the proxy says so from the access cookie.

The proxy says what was asked of it: `X-Forwarded-Method` and `X-Forwarded-Uri`, as Caddy and Traefik do by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from watchword.authorization import only_token
from watchword.browsers import AccessCookieRule
from watchword.errors import Refused, TokenError
from watchword.settings import Settings
from watchword.tokens.claims import AccessClaims
from watchword.web.access import bearer_token
from watchword.web.forms import decode_form
from watchword.web.route import Call, Scope

Verify = Callable[[str], AccessClaims]

PLACE = "from"
COOKIE = "cookie"
_METHOD = "x-forwarded-method"
_URI = "x-forwarded-uri"


class ForwardedTokens:
    """Finds them.

    :param settings: whether there is such a cookie, whose it is, and where people log in.
    """

    def __init__(self, settings: Settings) -> None:
        log_in = f"{settings.public_url.rstrip('/')}/account/login" if settings.pages else None
        self._rule = AccessCookieRule(settings.public_url, log_in) if settings.access_cookie else None

    def admission(self, verify: Verify) -> Callable[[Call, Mapping[bytes, bytes]], None]:
        """Return the check of a route that proxies ask.

        It raises TokenError, with the way to the log-in page if the proxy protects pages; Forbidden (`origin_refused`);
        Refused for two tokens, or where a cookie is asked for that is not set here, or the proxy does not say enough.
        """

        def admit(call: Call, _: Mapping[bytes, bytes]) -> None:
            try:
                call.caller = verify(self._find(call.scope))
            except TokenError as error:
                self._lead(error, call.scope)
                raise

        return admit

    def _find(self, scope: Scope) -> str:
        found = [bearer_token(scope)]
        if asks_for_cookie(scope):
            found.append(self._required().token(_Forwarded(scope)))
        return only_token([each for each in found if each is not None])

    def _lead(self, error: TokenError, scope: Scope) -> None:
        if self._rule is not None and asks_for_cookie(scope) and bearer_token(scope) is None:
            error.log_in = self._rule.way_to_log_in(_Forwarded(scope), error.code) or ""

    def _required(self) -> AccessCookieRule:
        if self._rule is None:
            raise Refused("This service sets no access cookie: WATCHWORD_ACCESS_COOKIE is off.", code="invalid_request")
        return self._rule


def asks_for_cookie(scope: Scope) -> bool:
    """Tell whether the proxy wants the cookie to count. What it misspells is refused by `/verify` itself."""
    return decode_form(scope["query_string"], code="invalid_request").get(PLACE) == COOKIE


class _Forwarded:
    """Is the request that the proxy got (`browsers.Sent`)."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    @property
    def method(self) -> str:
        """Return the method that was asked for; nothing for a WebSocket. :raises Refused: the proxy does not say it."""
        said = self.values(_METHOD)
        if len(said) != 1 or not said[0].isalpha():
            raise Refused("With from=cookie the proxy says the method, in X-Forwarded-Method.", code="invalid_request")
        # Proxies leave `Upgrade` out.
        return "" if self.values("sec-websocket-key") or self.values("upgrade") else said[0].decode().upper()

    def values(self, name: str) -> list[bytes]:
        """Return all values of a header."""
        return [value for key, value in self._scope["headers"] if key == name.encode()]

    def target(self) -> str:
        """Return path and query that were asked for, or nothing."""
        said = self.values(_URI)
        return said[0].decode("latin-1") if len(said) == 1 else ""
