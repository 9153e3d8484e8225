"""The audit trail over HTTP, for administrators: newest first."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from watchword.errors import FieldError, InvalidInput
from watchword.features.admin.cursors import Cursors
from watchword.features.admin.gate import Gate
from watchword.features.admin.queries import PAGING, filters_of
from watchword.features.admin.views import SOMEONE
from watchword.identity.kernel import Kernel
from watchword.identity.trail import reading
from watchword.identity.trail.reading import Wanted
from watchword.web.route import AccessToken, Call, Reply, Route
from watchword.web.views import instant

_FILTERS = {
    "user": "about or by the user with this id, also a deleted one",
    "event": "what happened, such as `log_in`",
    "outcome": "how it ended, such as `refused`",
    "address": "from this address",
    "request_id": "in this request",
    "since": "not before this time, such as `2026-11-28T09:30:00Z`",
    "until": "before this time",
}


class AuditRecord(msgspec.Struct, frozen=True):
    """A record: what happened, who did it to whom, and from where. `actor_id` is null for a command."""

    id: str
    at: datetime
    event: str
    outcome: str
    actor_id: str | None
    user_id: str | None
    session_id: str | None
    address: str
    agent: str
    request_id: str
    detail: dict[str, str]


class AuditRecords(msgspec.Struct, frozen=True):
    """A page of records; `next_cursor` is null on the last one."""

    items: tuple[AuditRecord, ...]
    next_cursor: str | None


_SHOWN = AuditRecord(
    id="0197f1a2-7c00-7abc-8def-223344556677",
    at=SOMEONE.created_at,
    event="log_in",
    outcome="refused",
    actor_id=None,
    user_id=SOMEONE.id,
    session_id=None,
    address="203.0.113.9",
    agent="Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    request_id="0197f1a2-5b6c-7d8e-9f00-112233445566",
    detail={},
)


class AuditRoutes:
    """Shows the audit trail."""

    def __init__(self, kernel: Kernel, gate: Gate, cursors: Cursors, access: AccessToken) -> None:
        self._database = kernel.database
        self._gate = gate
        self._cursors = cursors
        self._access = access

    def table(self) -> tuple[Route, ...]:
        """Return the route."""
        return (
            Route(method="GET", path="/admin/audit", handler=self.list, access=self._access,
                  summary="Audit records, newest first", answers={200: AuditRecords}, limits=("admin",),
                  query={**_FILTERS, **PAGING}, problems=("invalid_input",),
                  shown={200: AuditRecords((_SHOWN,), None)}),
        )  # fmt: skip

    async def list(self, call: Call) -> Reply:
        """`GET /admin/audit`."""
        filters, cursor, limit = filters_of(call, _FILTERS)
        wanted = _wanted(filters)
        place = self._cursors.read(cursor, "audit", filters)
        await self._gate.admit(call.claims, call.client)
        found = await reading.page(self._database, wanted, limit=limit + 1, place=place, newest_first=True)
        items = tuple(_view(record) for record in found[:limit])
        more = self._cursors.write("audit", filters, items[-1].id) if len(found) > limit else None
        return Reply(AuditRecords(items, more))


def _wanted(filters: Mapping[str, str]) -> Wanted:
    """Read the filters. Raises `InvalidInput`."""
    return Wanted(
        user=filters.get("user", ""),
        event=filters.get("event", ""),
        outcome=filters.get("outcome", ""),
        address=filters.get("address", ""),
        request_id=filters.get("request_id", ""),
        since=_seconds("since", filters["since"]) if "since" in filters else Wanted().since,
        until=_seconds("until", filters["until"]) if "until" in filters else Wanted().until,
    )


def _seconds(name: str, text: str) -> int:
    """Read a time; one without an offset is UTC. A time before 1970 is as good as 1970."""
    try:
        at = datetime.fromisoformat(text)
        return max(0, int((at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()))
    except (ValueError, OverflowError):
        raise InvalidInput(FieldError(name, "time", "Write a time like 2026-11-28T09:30:00Z.")) from None


def _view(record: reading.Record) -> AuditRecord:
    return AuditRecord(
        record.id,
        instant(record.at),
        record.event,
        record.outcome,
        record.actor_id,
        record.user_id,
        record.session_id,
        record.address,
        record.agent,
        record.request_id,
        record.detail,
    )
