"""Sessions over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from watchword.errors import FieldError, InvalidInput, NotFound
from watchword.features.sessions.service import PAGE, OwnSessions
from watchword.identity.sessions.sessions import SessionView
from watchword.web.access import bearer_token
from watchword.web.cookies import RefreshCookie
from watchword.web.forms import decode_form
from watchword.web.route import AccessToken, Browser, Call, Credential, Reply, Route
from watchword.web.views import SOME_ACCESS_TOKEN, instant

_ID_LENGTH = 36


class Refreshed(msgspec.Struct, frozen=True):
    """The next access token; the refresh token is in the cookie. `expires_in` is in seconds."""

    access_token: str
    token_type: str
    expires_in: int


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


_REFRESHED = Refreshed(SOME_ACCESS_TOKEN, "Bearer", 900)
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

    def __init__(self, sessions: OwnSessions, cookie: RefreshCookie) -> None:
        self._sessions = sessions
        self._cookie = cookie

    def table(self) -> tuple[Route, ...]:
        """Return this feature's routes."""
        bearer = AccessToken()
        return (
            Route(method="POST", path="/refresh", handler=self.refresh, access=Browser(),
                  summary="The next access token, from the refresh cookie", answers={200: Refreshed},
                  step=4, shown={200: _REFRESHED},
                  problems=("refresh_token_missing", "refresh_token_invalid", "session_ended", "refresh_superseded",
                            "refresh_token_reused", "cookie_repeated", "too_many_roles")),
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
        """`POST /refresh`."""
        tokens = await self._sessions.refresh(self._cookie.read(call.scope), client=call.client)
        cookie = self._cookie.write(tokens.refresh_token, tokens.refresh_expires_in)
        return Reply(Refreshed(tokens.access_token, "Bearer", tokens.expires_in), 200, (cookie,))

    async def log_out(self, call: Call) -> Reply:
        """`POST /logout`."""
        bearer, presented = bearer_token(call.scope), self._cookie.read(call.scope)
        await self._sessions.log_out(bearer=bearer, presented=presented, client=call.client)
        return Reply(None, 204, (self._cookie.clear(),))

    async def list(self, call: Call) -> Reply:
        """`GET /sessions`."""
        views = await self._sessions.page(call.claims, after=_cursor(call))
        items = tuple(_item(view, call.claims.sid) for view in views)
        return Reply(SessionList(items, items[-1].id if len(items) == PAGE else None))

    async def end(self, call: Call) -> Reply:
        """`DELETE /sessions/{id}`."""
        if not _is_id(call.params["id"]):
            raise NotFound("There is no such session.")
        await self._sessions.end(call.claims, call.params["id"], client=call.client)
        return Reply(None, 204)

    async def end_others(self, call: Call) -> Reply:
        """`DELETE /sessions`."""
        await self._sessions.end_others(call.claims, client=call.client)
        return Reply(None, 204)


def _cursor(call: Call) -> str:
    cursor = decode_form(call.scope["query_string"], code="invalid_request").get("cursor", "")
    if cursor and not _is_id(cursor):
        raise InvalidInput(FieldError("cursor", "cursor", "This is not a cursor that an earlier page gave."))
    return cursor


def _is_id(text: str) -> bool:
    """Return whether text has the form of an id; nothing else reaches the database."""
    return len(text) == _ID_LENGTH and set(text) <= set("0123456789abcdef-")


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
