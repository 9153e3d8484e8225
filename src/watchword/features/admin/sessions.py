"""Sessions over HTTP, for administrators."""

from __future__ import annotations

from datetime import datetime

import msgspec

from watchword.errors import NotFound
from watchword.features.admin.cursors import Cursors
from watchword.features.admin.gate import Gate
from watchword.features.admin.queries import PAGING, filters_of
from watchword.features.admin.service import UserAdministration
from watchword.features.admin.views import SOMEONE
from watchword.identity.kernel import Kernel
from watchword.identity.sessions.sessions import MAX_SESSIONS
from watchword.storage.database import Row
from watchword.web.cursors import is_id
from watchword.web.route import AccessToken, Call, Reply, Route
from watchword.web.views import instant

_FILTERS = {"user": "only those of the user with this id"}


class AdminSession(msgspec.Struct, frozen=True):
    """A live session: whose, where it was used last, and when. The id is no credential."""

    id: str
    user_id: str
    username: str | None
    email: str | None
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    address: str
    agent: str

    @classmethod
    def of(cls, row: Row) -> AdminSession:
        """Return the view of a row of `Administration.live_sessions`."""
        return cls(
            row["id"],
            row["user_id"],
            row["username"],
            row["email"],
            instant(row["created_at"]),
            instant(row["rotated_at"]),
            instant(row["idle_expires_at"]),
            row["address"],
            row["agent"],
        )


class AdminSessions(msgspec.Struct, frozen=True):
    """A page of sessions; `next_cursor` is null on the last one."""

    items: tuple[AdminSession, ...]
    next_cursor: str | None


_SHOWN = AdminSession(
    id="0197f1a2-7c00-7abc-8def-223344556677",
    user_id=SOMEONE.id,
    username=SOMEONE.username,
    email=SOMEONE.email,
    created_at=SOMEONE.created_at,
    last_used_at=SOMEONE.created_at,
    expires_at=SOMEONE.created_at.replace(month=12, day=5),
    address="203.0.113.9",
    agent="Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
)


class SessionRoutes:
    """Lists and ends the sessions of anyone."""

    def __init__(
        self, kernel: Kernel, gate: Gate, users: UserAdministration, cursors: Cursors, access: AccessToken
    ) -> None:
        self._sessions = kernel.sessions
        self._gate = gate
        self._users = users
        self._cursors = cursors
        self._access = access

    def table(self) -> tuple[Route, ...]:
        """Return the routes of sessions."""
        may, of_one, shown = self._access, "/admin/users/{id}/sessions", {200: AdminSessions((_SHOWN,), None)}
        return (
            Route(method="GET", path=of_one, handler=self.list_of_one, access=may, summary="The sessions of a user",
                  answers={200: AdminSessions}, limits=("admin",), problems=("not_found",), shown=shown),
            Route(method="DELETE", path=of_one, handler=self.end_all, access=may,
                  summary="End every session of a user", answers={204: None}, limits=("admin",),
                  problems=("not_found",)),
            Route(method="GET", path="/admin/sessions", handler=self.list, access=may,
                  summary="Live sessions, oldest first", answers={200: AdminSessions}, limits=("admin",),
                  query={**_FILTERS, **PAGING}, problems=("invalid_input",), shown=shown),
            Route(method="DELETE", path="/admin/sessions/{id}", handler=self.end, access=may,
                  summary="End a session", answers={204: None}, limits=("admin",), problems=("not_found",)),
        )  # fmt: skip

    async def list(self, call: Call) -> Reply:
        """`GET /admin/sessions`."""
        filters, cursor, limit = filters_of(call, _FILTERS)
        after = self._cursors.read(cursor, "sessions", filters)
        may = await self._gate.open(call.claims, call.client)
        rows = await may.live_sessions(user_id=filters.get("user", ""), after=after, limit=limit + 1)
        items = tuple(AdminSession.of(row) for row in rows[:limit])
        more = self._cursors.write("sessions", filters, items[-1].id) if len(rows) > limit else None
        return Reply(AdminSessions(items, more))

    async def list_of_one(self, call: Call) -> Reply:
        """`GET /admin/users/{id}/sessions`: all of them, since a user has a hundred at most."""
        user = await self._users.show(call.claims, call.params["id"], client=call.client)
        found = await self._sessions.page(user.id, limit=MAX_SESSIONS)
        items = tuple(
            AdminSession(
                one.id,
                user.id,
                user.username,
                user.email,
                instant(one.created_at),
                instant(one.last_used_at),
                instant(one.expires_at),
                one.address,
                one.agent,
            )
            for one in found
        )
        return Reply(AdminSessions(items, None))

    async def end(self, call: Call) -> Reply:
        """`DELETE /admin/sessions/{id}`."""
        may = await self._gate.open(call.claims, call.client)
        if not is_id(call.params["id"]):
            raise NotFound("There is no such session.")
        await may.end_session(call.params["id"])
        return Reply(None, 204)

    async def end_all(self, call: Call) -> Reply:
        """`DELETE /admin/users/{id}/sessions`."""
        user_id = call.params["id"]
        may = await self._gate.open(call.claims, call.client, target=user_id)
        await may.end_sessions(await self._users.find(user_id))
        return Reply(None, 204)
