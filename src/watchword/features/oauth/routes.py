"""The token endpoint over HTTP: a form in, RFC 6749's shapes out."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from watchword.errors import Refused
from watchword.features.oauth.clients import check_client
from watchword.features.oauth.service import PASSWORD, REFRESH, TokenEndpoint
from watchword.web import access
from watchword.web.route import Anyone, Call, Reply, Route, Speech
from watchword.web.views import SOME_ACCESS_TOKEN, SOME_REFRESH_TOKEN


class TokenRequest(msgspec.Struct):
    """RFC 6749 sections 4.3.2 and 6. Unknown fields are ignored, as section 3.2 asks."""

    grant_type: Annotated[str, Meta(description="`password` or `refresh_token`.")]
    username: Annotated[str, Meta(description="A username or an e-mail address.")] | UnsetType = UNSET
    password: str | UnsetType = UNSET
    refresh_token: str | UnsetType = UNSET
    scope: str | UnsetType = UNSET
    client_id: str | UnsetType = UNSET
    client_secret: str | UnsetType = UNSET


class TokenAnswer(msgspec.Struct, frozen=True):
    """RFC 6749 section 5.1. Lifetimes are in seconds; `scope` is what was granted, not requested."""

    access_token: str
    token_type: str
    expires_in: int
    refresh_token: str
    refresh_expires_in: int
    scope: str


_PASSWORD_REQUEST = TokenRequest(grant_type=PASSWORD, username="testuser", password="plum-orbit-canvas")  # noqa: S106
_REFRESH_REQUEST = TokenRequest(grant_type=REFRESH, refresh_token=SOME_REFRESH_TOKEN)
_TOKENS = TokenAnswer(SOME_ACCESS_TOKEN, "Bearer", 900, SOME_REFRESH_TOKEN, 604_800, "")


class TokenRoutes:
    """The routes of `TokenEndpoint`."""

    def __init__(self, endpoint: TokenEndpoint) -> None:
        self._endpoint = endpoint

    def table(self) -> tuple[Route, ...]:
        """Return the endpoint's routes."""
        example = _PASSWORD_REQUEST if PASSWORD in self._endpoint.grants else _REFRESH_REQUEST
        return (
            Route(method="POST", path="/token", handler=self.token, access=Anyone(), form=TokenRequest,
                  speech=Speech.OAUTH, summary="Tokens for a password or a refresh token", answers={200: TokenAnswer},
                  example=example, shown={200: _TOKENS}, limits=("login", "session"),
                  problems=("invalid_grant", "invalid_client", "invalid_request", "unsupported_grant_type",
                            "overloaded", "too_many_roles", "origin_refused")),
        )  # fmt: skip

    async def token(self, call: Call) -> Reply:
        """`POST /token`."""
        form: TokenRequest = call.body
        check_client(authorization(call), given(form.client_id), given(form.client_secret))
        if form.grant_type not in self._endpoint.grants:
            known = ", ".join(self._endpoint.grants)
            raise Refused(f"This service knows the grants {known}.", code="unsupported_grant_type")
        if form.grant_type == REFRESH:
            tokens = await self._endpoint.refresh(_needed(form.refresh_token, REFRESH), client=call.client)
        else:
            # A form needs no preflight: any page could use up its visitors' log-ins.
            call.check_origin()
            username, password = _needed(form.username, "username"), _needed(form.password, PASSWORD)
            tokens = await self._endpoint.password(username, password, client=call.client)
        return Reply(
            TokenAnswer(
                tokens.access_token,
                "Bearer",
                tokens.expires_in,
                tokens.refresh_token,
                tokens.refresh_expires_in,
                tokens.scope,
            )
        )


def authorization(call: Call) -> str | None:
    """Return the Authorization header, or None. Raises `Refused` (`invalid_request`) for two."""
    value = access.authorization(call.scope)
    return None if value is None else value.decode("latin-1")


def _needed(value: str | UnsetType, name: str) -> str:
    if value is UNSET or not value:
        raise Refused(f"The parameter {name} is missing.", code="invalid_request")
    return value


def given(value: str | UnsetType) -> str | None:
    """Return a form's field, or None."""
    return None if value is UNSET else value
