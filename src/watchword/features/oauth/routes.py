"""The token endpoint over HTTP: a form in, RFC 6749's shapes out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Protocol

import msgspec
from msgspec import UNSET, Meta, UnsetType

from watchword import api_keys
from watchword.authorization import likely_token
from watchword.errors import Refused
from watchword.features.oauth.clients import ClientFields, check_client, no_account, not_for_accounts, read_account
from watchword.features.oauth.service import (
    ACCESS_TOKEN,
    CLIENT_CREDENTIALS,
    EXCHANGE,
    JWT,
    PASSWORD,
    REFRESH,
    TokenEndpoint,
)
from watchword.identity.api_keys import Exchanged
from watchword.identity.rights import Asked
from watchword.identity.service_accounts.account import SECRET_PREFIX, Shown
from watchword.identity.sessions.sessions import Tokens
from watchword.web import access
from watchword.web.route import Anyone, Call, Reply, Route, Speech
from watchword.web.views import SOME_ACCESS_TOKEN, SOME_REFRESH_TOKEN, Resource, Scope


class TokenRequest(msgspec.Struct):
    """RFC 6749 sections 4.3.2, 4.4.2 and 6, RFC 7523 section 2.2, RFC 8693 section 2.1, RFC 8707 section 2.

    Unknown fields are ignored, as RFC 6749 section 3.2 asks.
    """

    grant_type: Annotated[
        str, Meta(description="`password`, `refresh_token`, `client_credentials`, or RFC 8693's token exchange.")
    ]
    username: Annotated[str, Meta(description="A username or an e-mail address.")] | UnsetType = UNSET
    password: str | UnsetType = UNSET
    refresh_token: str | UnsetType = UNSET
    retry_key: Annotated[str, Meta(description="128 random bits, base64url: to ask again for a lost answer.")] | (
        UnsetType
    ) = UNSET
    subject_token: (
        Annotated[
            str,
            Meta(description="An API key, a user's token that an API was sent, or one of the application from before."),
        ]
        | UnsetType
    ) = UNSET
    subject_token_type: Annotated[str, Meta(examples=[ACCESS_TOKEN])] | UnsetType = UNSET
    requested_token_type: Annotated[str, Meta(examples=[ACCESS_TOKEN])] | UnsetType = UNSET
    actor_token: str | UnsetType = UNSET
    audience: Annotated[str, Meta(description="Another name for `resource`.")] | UnsetType = UNSET
    scope: Scope | UnsetType = UNSET
    resource: Resource | UnsetType = UNSET
    client_id: str | UnsetType = UNSET
    client_secret: str | UnsetType = UNSET
    client_assertion: str | UnsetType = UNSET
    client_assertion_type: str | UnsetType = UNSET


class TokenAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """RFC 6749 section 5.1, for an exchange also RFC 8693 section 2.2.1. Lifetimes are in seconds.

    `scope` is what was granted, not requested. There is no refresh token for an API key, nor for a service account.
    """

    access_token: str
    token_type: str
    expires_in: int
    refresh_token: str | UnsetType = UNSET
    refresh_expires_in: int | UnsetType = UNSET
    scope: str
    issued_token_type: str | UnsetType = UNSET


_PASSWORD_REQUEST = TokenRequest(grant_type=PASSWORD, username="testuser", password="plum-orbit-canvas")  # noqa: S106
_REFRESH_REQUEST = TokenRequest(grant_type=REFRESH, refresh_token=SOME_REFRESH_TOKEN)
_TOKENS = TokenAnswer(
    access_token=SOME_ACCESS_TOKEN,
    token_type="Bearer",  # noqa: S106 - the name of a kind
    expires_in=900,
    refresh_token=SOME_REFRESH_TOKEN,
    refresh_expires_in=604_800,
    scope="orders:read",
)


_KEY_IN_ADDRESS = (
    "An API key in an address is not read, because addresses end in logs: send it in the body, and rotate this key."
)
_SHOWN_IN_ADDRESS = (
    "A client's secret in an address is not read, because addresses end in logs: send it by Basic or in the body, and "
    "rotate this secret."
)


class TokenRoutes:
    """The routes of `TokenEndpoint`."""

    def __init__(self, endpoint: TokenEndpoint) -> None:
        self._endpoint = endpoint
        self._grants: dict[str, Callable[[Call, TokenRequest], Awaitable[Reply]]] = {
            PASSWORD: self._password,
            REFRESH: self._refresh,
            EXCHANGE: self._exchange,
            CLIENT_CREDENTIALS: self._client_credentials,
        }

    def table(self) -> tuple[Route, ...]:
        """Return the endpoint's routes."""
        example = _PASSWORD_REQUEST if PASSWORD in self._endpoint.grants else _REFRESH_REQUEST
        return (
            Route(method="POST", path="/token", handler=self.token, access=Anyone(), form=TokenRequest,
                  speech=Speech.OAUTH, summary="Tokens for a password, a refresh token or a client",
                  answers={200: TokenAnswer}, example=example, shown={200: _TOKENS},
                  limits=("login", "session", "legacy", "client", "client_proof", "api_key"),
                  problems=("invalid_grant", "invalid_client", "invalid_request", "unsupported_grant_type",
                            "invalid_scope", "invalid_target", "unauthorized_client", "overloaded", "too_many_roles",
                            "origin_refused")),
        )  # fmt: skip

    async def token(self, call: Call) -> Reply:
        """`POST /token`."""
        form: TokenRequest = call.body
        check_address(call)
        if form.grant_type not in self._endpoint.grants:  # before the client is checked: the metadata is public
            known = ", ".join(self._endpoint.grants)
            raise Refused(f"This service knows the grants {known}.", code="unsupported_grant_type")
        return await self._grants[form.grant_type](call, form)

    async def _password(self, call: Call, form: TokenRequest) -> Reply:
        _check_first_party(form, authorization(call))
        asked = self._asked(form)
        # A form needs no preflight: any page could use up its visitors' log-ins.
        call.check_origin()
        username, password = _needed(form.username, "username"), _needed(form.password, PASSWORD)
        return _answer(await self._endpoint.password(username, password, asked=asked, client=call.client))

    async def _refresh(self, call: Call, form: TokenRequest) -> Reply:
        _check_first_party(form, authorization(call))
        asked = self._asked(form)
        presented, retry_key = _needed(form.refresh_token, REFRESH), given(form.retry_key)
        return _answer(await self._endpoint.refresh(presented, asked=asked, client=call.client, retry_key=retry_key))

    async def _exchange(self, call: Call, form: TokenRequest) -> Reply:
        shown = read_account(authorization(call), client_fields(form))
        if shown is not None:
            return await self._exchange_for(shown, call, form)
        if form.subject_token_type == api_keys.TOKEN_TYPE:
            return await self._exchange_key(call, form)
        _check_first_party(form, authorization(call))
        asked = self._asked(form)
        call.check_origin()  # as for a password
        _check_exchange(form)
        subject = _needed(form.subject_token, "subject_token")
        return _answer(await self._endpoint.exchange(subject, asked=asked, client=call.client), ACCESS_TOKEN)

    async def _exchange_key(self, call: Call, form: TokenRequest) -> Reply:
        sent = authorization(call)
        guard_key = None if sent is None else likely_token(sent)
        _check_first_party(form, None if guard_key is not None else sent)
        asked = self._asked(form)
        _check_requested(form)
        key = _needed(form.subject_token, "subject_token")
        found = await self._endpoint.exchange_key(key, asked=asked, client=call.client, guard_key=guard_key)
        return _answer_once(found, ACCESS_TOKEN)

    async def _exchange_for(self, shown: Shown, call: Call, form: TokenRequest) -> Reply:
        if form.subject_token_type not in (ACCESS_TOKEN, JWT):
            raise Refused(f"A client exchanges {ACCESS_TOKEN} or {JWT}.", code="invalid_request")
        _check_requested(form)
        subject, scope = _needed(form.subject_token, "subject_token"), given(form.scope)
        found = await self._endpoint.exchange_for(
            shown, subject, scope=scope, resource=_target_of(form), client=call.client
        )
        return _answer_once(found, ACCESS_TOKEN)

    async def _client_credentials(self, call: Call, form: TokenRequest) -> Reply:
        shown = read_account(authorization(call), client_fields(form))
        if shown is None:
            raise no_account()
        scope, resource = given(form.scope), _target_of(form)
        return _answer_once(
            await self._endpoint.account_token(shown, scope=scope, resource=resource, client=call.client)
        )

    def _asked(self, form: TokenRequest) -> Asked:
        return self._endpoint.asked(given(form.scope), _target_of(form))


def _check_first_party(form: TokenRequest, sent: str | None) -> None:
    """Refuse any client but the product's own. Raises `Refused` (`invalid_client`).

    :param sent: the Authorization header.
    """
    if form.client_assertion is not UNSET:
        raise not_for_accounts()
    check_client(sent, given(form.client_id), given(form.client_secret))


def _answer(tokens: Tokens, issued: str | UnsetType = UNSET) -> Reply:
    return Reply(
        TokenAnswer(
            access_token=tokens.access_token,
            token_type="Bearer",  # noqa: S106 - the name of a kind
            expires_in=tokens.expires_in,
            refresh_token=tokens.refresh_token,
            refresh_expires_in=tokens.refresh_expires_in,
            scope=tokens.scope,
            issued_token_type=issued,
        )
    )


def _answer_once(found: Exchanged, issued: str | UnsetType = UNSET) -> Reply:
    return Reply(
        TokenAnswer(
            access_token=found.access_token,
            token_type="Bearer",  # noqa: S106 - the name of a kind
            expires_in=found.expires_in,
            scope=found.scope,
            issued_token_type=issued,
        )
    )


def _check_exchange(form: TokenRequest) -> None:
    """Refuse what an exchange cannot do. Raises `Refused` (`invalid_request`)."""
    if form.subject_token_type not in (ACCESS_TOKEN, JWT):
        kinds = f"{ACCESS_TOKEN}, {JWT} or {api_keys.TOKEN_TYPE}"
        raise Refused(f"The parameter subject_token_type must be {kinds}.", code="invalid_request")
    _check_requested(form)


def _target_of(form: TokenRequest) -> str | None:
    """Return which API is meant: `resource` (RFC 8707), or `audience` (RFC 8693, and what others call it).

    Raises `Refused` (`invalid_target`) for two.
    """
    named = {each for each in (given(form.resource), given(form.audience)) if each}
    if len(named) > 1:
        raise Refused("One token is for one API: resource and audience name two.", code="invalid_target")
    return next(iter(named), None)


def _check_requested(form: TokenRequest) -> None:
    if form.requested_token_type not in (UNSET, ACCESS_TOKEN):
        raise Refused("Only access tokens are issued.", code="invalid_request")
    if form.actor_token is not UNSET:
        raise Refused("The client itself is who acts. Leave actor_token out.", code="invalid_request")


class HasClient(Protocol):
    """A form with a client's fields."""

    client_id: str | UnsetType
    client_secret: str | UnsetType
    client_assertion: str | UnsetType
    client_assertion_type: str | UnsetType


def client_fields(form: HasClient) -> ClientFields:
    """Return what a form says of its client."""
    return ClientFields(
        given(form.client_id),
        given(form.client_secret),
        given(form.client_assertion),
        given(form.client_assertion_type),
    )


def check_address(call: Call) -> None:
    """Refuse a secret in the query, which is never read. Raises `Refused` (`invalid_request`)."""
    query = call.scope["query_string"].decode("latin-1")
    if api_keys.in_address(query):
        raise Refused(_KEY_IN_ADDRESS, code="invalid_request")
    if SECRET_PREFIX in query:
        raise Refused(_SHOWN_IN_ADDRESS, code="invalid_request")


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
