"""`GET /verify` for nginx `auth_request`, Caddy `forward_auth` and Traefik, without the database."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import msgspec

from watchword.errors import Refused
from watchword.tokens.needs import Needs
from watchword.web.forms import decode_form
from watchword.web.forwarded import COOKIE, PLACE
from watchword.web.route import AccessToken, Call, Header, Reply, Route
from watchword.web.views import SOME_USER

_NONE: Final[frozenset[str]] = frozenset()
_COOKIE: Final = frozenset({COOKIE})
_NEEDS: Final = {"role": "roles that are needed, separated by spaces", "scope": "scopes that are needed"}
_QUERY: Final = {**_NEEDS, PLACE: f"`{COOKIE}`: the access cookie counts as well, for pages"}


class Verified(msgspec.Struct, frozen=True):
    """The request's user. Proxies read the same from the headers."""

    user: str
    roles: tuple[str, ...]
    scopes: tuple[str, ...]


class ProxyRoutes:
    """The one route that proxies ask."""

    def table(self) -> tuple[Route, ...]:
        """Return this feature's routes."""
        may = AccessToken(or_cookie=True, narrowed=True)
        get = Route(method="GET", path="/verify", handler=self.verify, access=may,
                    summary="Whether a request may pass; ?role= and ?scope= ask for more", answers={200: Verified},
                    shown={200: Verified(SOME_USER.id, ("admin",), ())},
                    problems=("role_missing", "scope_missing", "invalid_request", "origin_refused", "cookie_repeated"),
                    query=_QUERY)  # fmt: skip
        # A proxy may use the original request's method, and takes any 2xx for a yes.
        return get, replace(get, method="*", documented=False)

    async def verify(self, call: Call) -> Reply:
        """`GET /verify?role=admin&scope=read`: several are separated by spaces; each is needed."""
        claims = call.claims
        asked = _asked(call.scope["query_string"])
        Needs(asked.get("role", _NONE), asked.get("scope", _NONE)).check(claims)
        roles, scopes = tuple(sorted(claims.roles)), tuple(sorted(claims.scopes))
        return Reply(Verified(claims.sub, roles, scopes), 200, _headers(claims.sub, roles, scopes))


def _asked(query: bytes) -> dict[str, frozenset[str]]:
    """The names that a query asks for. What is misspelt or empty would ask for nothing, and so let everyone pass."""
    asked = {name: frozenset(value.split()) for name, value in decode_form(query, code="invalid_request").items()}
    if not asked.keys() <= _QUERY.keys() or asked.get(PLACE, _COOKIE) != _COOKIE:
        raise Refused("Only `role`, `scope` and `from=cookie` can be asked for.", code="invalid_request")
    sent = query.count(b"&") + 1 if query else 0
    if len(asked) < sent or not all(asked.values()):  # decode_form omits empty values
        raise Refused("A parameter has no value.", code="invalid_request")
    return asked


def _headers(user: str, roles: tuple[str, ...], scopes: tuple[str, ...]) -> tuple[Header, ...]:
    """Return always all three: a proxy that copies them overwrites a client's forgeries."""
    return (
        (b"x-auth-user", user.encode("ascii")),
        (b"x-auth-roles", " ".join(roles).encode("ascii")),
        (b"x-auth-scopes", " ".join(scopes).encode("ascii")),
    )
