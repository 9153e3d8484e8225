"""Sessions over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from watchword.errors import NotFound, Refused
from watchword.features.sessions.service import PAGE, OwnSessions
from watchword.identity.sessions.sessions import SessionView
from watchword.web.access import bearer_token
from watchword.web.cookies import SessionCookies
from watchword.web.cursors import cursor_of, is_id
from watchword.web.forms import decode_form
from watchword.web.route import AccessToken, Browser, Call, Credential, Reply, Route
from watchword.web.views import SOME_ACCESS_TOKEN, instant


class RefreshRequest(msgspec.Struct, frozen=True):
    """What may come with the cookie."""

    retry_key: Annotated[str, Meta(description="128 random bits, base64url: to ask again for a lost answer.")] | (
        UnsetType
    ) = UNSET


class Refreshed(msgspec.Struct, frozen=True):
    """The next access token; the refresh token is in the cookie. `expires_in` is in seconds. `scope` is what it has."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str


class SessionItem(msgspec.Struct, frozen=True):
    """A session: where it was used last, when, and whether it is the one that asks."""

    id: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    address: str
    agent: str
    current: bool


class SessionList(msgspec.Struct, frozen=True):
    """A page of sessions; `next_cursor` is null on the last one."""

    items: tuple[SessionItem, ...]
    next_cursor: str | None


_NARROWED = {
    "scope": "scopes for this access token alone, separated by spaces; no more than the session was given",
    "resource": "the audience of the API that it is for",
}
_REFRESHED = Refreshed(SOME_ACCESS_TOKEN, "Bearer", 900, "orders:read")
_SESSION = SessionItem(
    id="0197f1a2-7c00-7abc-8def-223344556677",
    created_at=datetime(2026, 11, 28, 9, 30, tzinfo=UTC),
    last_used_at=datetime(2026, 11, 28, 10, 15, tzinfo=UTC),
    expires_at=datetime(2026, 12, 5, 10, 15, tzinfo=UTC),
    address="203.0.113.9",
    agent="Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    current=True,
)


class SessionRoutes:
    """The routes of `OwnSessions`."""

    def __init__(self, sessions: OwnSessions, cookie: SessionCookies) -> None:
        self._sessions = sessions
        self._cookie = cookie

    def table(self) -> tuple[Route, ...]:
        """Return this feature's routes."""
        bearer = AccessToken()
        return (
            Route(method="POST", path="/refresh", handler=self.refresh, access=Browser(),
                  summary="The next access token, from the refresh cookie", answers={200: Refreshed},
                  body=RefreshRequest, may_be_empty=True, example=RefreshRequest(),
                  step=4, shown={200: _REFRESHED}, query=_NARROWED,
                  problems=("refresh_token_missing", "refresh_token_invalid", "session_ended", "refresh_superseded",
                            "refresh_token_reused", "cookie_repeated", "too_many_roles", "invalid_scope",
                            "invalid_target", "invalid_request")),
            Route(method="POST", path="/logout", handler=self.log_out, access=Browser(),
                  summary="End this session; works with an expired access token", answers={204: None},
                  step=5, credential=Credential.ACCESS_TOKEN,
                  problems=("token_malformed", "token_invalid", "cookie_repeated")),
            Route(method="GET", path="/sessions", handler=self.list, access=bearer,
                  summary="The caller's sessions", answers={200: SessionList}, problems=("invalid_input",),
                  query={"cursor": "`next_cursor` of the page before"},
                  step=6, shown={200: SessionList((_SESSION,), None)}),
            Route(method="DELETE", path="/sessions", handler=self.end_others, access=bearer,
                  summary="End all other sessions", answers={204: None}, step=7),
            Route(method="DELETE", path="/sessions/{id}", handler=self.end, access=bearer,
                  summary="End one session of the list", answers={204: None}, step=8,
                  problems=("not_found",)),
        )  # fmt: skip

    async def refresh(self, call: Call) -> Reply:
        """`POST /refresh?scope=…&resource=…`: both narrow this one access token."""
        asked = _asked(call.scope["query_string"])
        sent: RefreshRequest | None = call.body
        tokens = await self._sessions.refresh(
            self._cookie.read(call.scope),
            scope=asked.get("scope"),
            resource=asked.get("resource"),
            client=call.client,
            retry_key=None if sent is None or sent.retry_key is UNSET else sent.retry_key,
        )
        refreshed = Refreshed(tokens.access_token, "Bearer", tokens.expires_in, tokens.scope)
        return Reply(refreshed, 200, self._cookie.write(tokens, narrowed=bool(asked)))

    async def log_out(self, call: Call) -> Reply:
        """`POST /logout`."""
        bearer, presented = bearer_token(call.scope), self._cookie.read(call.scope)
        await self._sessions.log_out(bearer=bearer, presented=presented, client=call.client)
        return Reply(None, 204, self._cookie.clear())

    async def list(self, call: Call) -> Reply:
        """`GET /sessions`."""
        views = await self._sessions.page(call.claims, after=cursor_of(call))
        items = tuple(_item(view, call.claims.sid) for view in views)
        return Reply(SessionList(items, items[-1].id if len(items) == PAGE else None))

    async def end(self, call: Call) -> Reply:
        """`DELETE /sessions/{id}`."""
        if not is_id(call.params["id"]):
            raise NotFound("There is no such session.")
        await self._sessions.end(call.claims, call.params["id"], client=call.client)
        return Reply(None, 204)

    async def end_others(self, call: Call) -> Reply:
        """`DELETE /sessions`."""
        await self._sessions.end_others(call.claims, client=call.client)
        return Reply(None, 204)


def _asked(query: bytes) -> dict[str, str]:
    """Return what a query asks for. What is misspelt would ask for nothing, and so for a token with all there is."""
    asked = decode_form(query, code="invalid_request")
    if not asked.keys() <= _NARROWED.keys():
        raise Refused("Only `scope` and `resource` can be asked for.", code="invalid_request")
    return asked


def _item(view: SessionView, current: str | None) -> SessionItem:
    return SessionItem(
        view.id,
        instant(view.created_at),
        instant(view.last_used_at),
        instant(view.expires_at),
        view.address,
        view.agent,
        view.id == current,
    )
