"""Activity over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from watchword.features.activity.service import OwnActivity
from watchword.identity.trail.reading import Deed
from watchword.web.cursors import cursor_of
from watchword.web.route import AccessToken, Call, Reply, Route
from watchword.web.views import instant


class ActivityItem(msgspec.Struct, frozen=True):
    """Something that happened: what, when, how it ended, from where, and in which session if in one.

    `address` and `agent` are empty where another user did it.
    """

    id: str
    at: datetime
    event: str
    outcome: str
    address: str
    agent: str
    session_id: str | None


class ActivityList(msgspec.Struct, frozen=True):
    """A page of activity, newest first; `next_cursor` is null on the last one."""

    items: tuple[ActivityItem, ...]
    next_cursor: str | None


_SOME = ActivityItem(
    id="0197f1a2-7c00-7abc-8def-334455667788",
    at=datetime(2026, 11, 28, 10, 15, tzinfo=UTC),
    event="log_in",
    outcome="ok",
    address="203.0.113.9",
    agent="Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    session_id="0197f1a2-7c00-7abc-8def-223344556677",
)


class ActivityRoutes:
    """The routes of `OwnActivity`."""

    def __init__(self, activity: OwnActivity) -> None:
        self._activity = activity

    def table(self) -> tuple[Route, ...]:
        """Return this feature's routes."""
        return (
            Route(method="GET", path="/profile/activity", handler=self.list, access=AccessToken(),
                  summary="What happened to the caller's account", answers={200: ActivityList},
                  problems=("invalid_input",), query={"cursor": "`next_cursor` of the page before"},
                  shown={200: ActivityList((_SOME,), None)}),
        )  # fmt: skip

    async def list(self, call: Call) -> Reply:
        """`GET /profile/activity`."""
        found, cursor = await self._activity.page(call.claims, before=cursor_of(call))
        return Reply(ActivityList(tuple(map(_item, found)), cursor))


def _item(deed: Deed) -> ActivityItem:
    return ActivityItem(deed.id, instant(deed.at), deed.event, deed.outcome, deed.address, deed.agent, deed.session_id)
