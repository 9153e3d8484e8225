"""Introspection and revocation over HTTP: forms in, RFC 6749's shapes out."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from watchword.features.oauth.clients import read_account, read_credentials
from watchword.features.oauth.inspection import Introspection, TokenInspection
from watchword.features.oauth.routes import authorization, check_address, client_fields, given
from watchword.identity.issuing import FIRST_PARTY
from watchword.identity.service_accounts.account import Account
from watchword.web.route import Anyone, Call, Credential, Reply, Route, Speech
from watchword.web.views import SOME_ACCESS_TOKEN, SOME_USER


class TokenToInspect(msgspec.Struct):
    """RFC 7009 section 2.1 and RFC 7662 section 2.1. The hint is ignored: tokens name their kind."""

    token: Annotated[str, Meta(description="An access token or a refresh token.")]
    token_type_hint: str | UnsetType = UNSET
    client_id: str | UnsetType = UNSET
    client_secret: str | UnsetType = UNSET
    client_assertion: str | UnsetType = UNSET
    client_assertion_type: str | UnsetType = UNSET


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
                  speech=Speech.OAUTH, summary="What a token is worth now; needs a guard key or a client",
                  answers={200: Introspection}, credential=Credential.GUARD_KEY, example=_TOKEN,
                  shown={200: _ACTIVE}, limits=("client", "client_proof", "inspection"),
                  problems=("invalid_client", "invalid_request")),
            Route(method="POST", path="/revoke", handler=self.revoke, access=Anyone(), form=TokenToInspect,
                  speech=Speech.OAUTH, summary="End the session behind a token", answers={200: None},
                  credential=Credential.GUARD_KEY, example=_OWN_TOKEN, limits=("client", "client_proof", "inspection"),
                  problems=("invalid_client", "invalid_request", "unauthorized_client", "unsupported_token_type")),
        )  # fmt: skip

    async def introspect(self, call: Call) -> Reply:
        """`POST /introspect`."""
        form: TokenToInspect = call.body
        account = await self._account(call, form)
        if account is not None:
            return Reply(await self._inspection.introspect_for(account, form.token))
        await self._admit(call, form, public=False)
        return Reply(await self._inspection.introspect(form.token))

    async def revoke(self, call: Call) -> Reply:
        """`POST /revoke`: 200 also for an unknown or revoked token."""
        form: TokenToInspect = call.body
        account = await self._account(call, form)
        guarded = account is None and await self._admit(call, form, public=True)
        if account is not None or guarded:
            done = await self._inspection.revoke_for(account, form.token)
            if done or account is not None:
                return Reply()
        await self._inspection.revoke(form.token, client=call.client)
        return Reply()

    async def _account(self, call: Call, form: TokenToInspect) -> Account | None:
        check_address(call)
        shown = read_account(authorization(call), client_fields(form))
        return None if shown is None else await self._inspection.prove(shown, client=call.client)

    async def _admit(self, call: Call, form: TokenToInspect, *, public: bool) -> bool:
        """Admit a guard or the public client; tell whether it is a guard."""
        shown = read_credentials(authorization(call), given(form.client_id), given(form.client_secret))
        await self._inspection.admit(shown, public=public)
        return shown.guard_key is not None
