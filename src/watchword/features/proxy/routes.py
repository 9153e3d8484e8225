"""`GET /verify` for nginx `auth_request`, Caddy `forward_auth` and Traefik. No database: the token says it all."""

from __future__ import annotations

import msgspec

from watchword.errors import TokenError
from watchword.tokens.claims import AccessClaims
from watchword.web.forms import decode_form
from watchword.web.route import AccessToken, Call, Header, Reply, Route


class Verified(msgspec.Struct, frozen=True):
    """Who the request comes from; the same is in the headers, which is where a proxy looks."""

    user: str
    roles: tuple[str, ...]
    scopes: tuple[str, ...]


class ProxyRoutes:
    """The one route that proxies ask."""

    def table(self) -> tuple[Route, ...]:
        """Every route of this feature."""
        return (
            Route(method="GET", path="/verify", handler=self.verify, guard=AccessToken(),
                  summary="Whether a request may pass; ?role= and ?scope= ask for more", answers={200: Verified},
                  problems=("role_missing", "scope_missing", "invalid_request"),
                  query={"role": "roles that are needed, separated by spaces", "scope": "scopes that are needed"}),
        )  # fmt: skip

    async def verify(self, call: Call) -> Reply:
        """`GET /verify?role=admin&scope=read`: several are separated by spaces, and each is needed."""
        claims = call.claims
        query = decode_form(call.scope["query_string"], code="invalid_request")
        _require(claims, roles=query.get("role", "").split(), scopes=query.get("scope", "").split())
        roles, scopes = tuple(sorted(claims.roles)), tuple(sorted(claims.scopes))
        return Reply(Verified(claims.sub, roles, scopes), 200, _headers(claims.sub, roles, scopes))


def _require(claims: AccessClaims, *, roles: list[str], scopes: list[str]) -> None:
    if not claims.scopes.issuperset(scopes):
        raise TokenError("The token lacks a scope.", code="scope_missing")
    if not claims.roles.issuperset(roles):
        raise TokenError("The token lacks a role.", code="role_missing")


def _headers(user: str, roles: tuple[str, ...], scopes: tuple[str, ...]) -> tuple[Header, ...]:
    """Always all three: a proxy that copies them then overwrites whatever the client had sent under these names."""
    return (
        (b"x-auth-user", user.encode("ascii")),
        (b"x-auth-roles", " ".join(roles).encode("ascii")),
        (b"x-auth-scopes", " ".join(scopes).encode("ascii")),
    )
