"""Introspection and revocation over HTTP: forms in, RFC 6749's shapes out."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from watchword.features.oauth.clients import read_credentials
from watchword.features.oauth.inspection import Introspection, TokenInspection
from watchword.features.oauth.routes import authorization, given
from watchword.identity.issuing import FIRST_PARTY
from watchword.web.route import Anyone, Call, Credential, Reply, Route, Speech
from watchword.web.views import SOME_ACCESS_TOKEN, SOME_USER


class TokenToInspect(msgspec.Struct):
    """RFC 7009 section 2.1 and RFC 7662 section 2.1. The hint is ignored: tokens name their kind."""

    token: Annotated[str, Meta(description="An access token or a refresh token.")]
    token_type_hint: str | UnsetType = UNSET
    client_id: str | UnsetType = UNSET
    client_secret: str | UnsetType = UNSET


_TOKEN = TokenToInspect(token=SOME_ACCESS_TOKEN)
_OWN_TOKEN = TokenToInspect(token=SOME_ACCESS_TOKEN, client_id=FIRST_PARTY)
_ACTIVE = Introspection(
    active=True, client_id=FIRST_PARTY, username=SOME_USER.username, token_type="Bearer", exp=1_795_859_100,  # noqa: S106
    iat=1_795_858_200, sub=SOME_USER.id, aud=("https://auth.example.com",), iss="https://auth.example.com",
)  # fmt: skip


class InspectionRoutes:
    """The routes of `TokenInspection`."""

    def __init__(self, inspection: TokenInspection) -> None:
        self._inspection = inspection

    def table(self) -> tuple[Route, ...]:
        """Return both endpoints."""
        return (
            Route(method="POST", path="/introspect", handler=self.introspect, access=Anyone(), form=TokenToInspect,
                  speech=Speech.OAUTH, summary="What a token is worth now; needs a guard key",
                  answers={200: Introspection}, credential=Credential.GUARD_KEY, example=_TOKEN,
                  shown={200: _ACTIVE}, problems=("invalid_client", "invalid_request")),
            Route(method="POST", path="/revoke", handler=self.revoke, access=Anyone(), form=TokenToInspect,
                  speech=Speech.OAUTH, summary="End the session behind a token", answers={200: None},
                  credential=Credential.GUARD_KEY, example=_OWN_TOKEN, problems=("invalid_client", "invalid_request")),
        )  # fmt: skip

    async def introspect(self, call: Call) -> Reply:
        """`POST /introspect`."""
        form: TokenToInspect = call.body
        await self._admit(call, form, public=False)
        return Reply(await self._inspection.introspect(form.token))

    async def revoke(self, call: Call) -> Reply:
        """`POST /revoke`: 200 also for an unknown or revoked token."""
        form: TokenToInspect = call.body
        await self._admit(call, form, public=True)
        await self._inspection.revoke(form.token, client=call.client)
        return Reply()

    async def _admit(self, call: Call, form: TokenToInspect, *, public: bool) -> None:
        shown = read_credentials(authorization(call), given(form.client_id), given(form.client_secret))
        await self._inspection.admit(shown, public=public)
