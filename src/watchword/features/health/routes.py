"""Health over HTTP. Liveness checks nothing: a restart does not repair a database."""

from __future__ import annotations

import msgspec

from watchword.features.health.service import Health
from watchword.web.route import Anyone, Call, Reply, Route


class Alive(msgspec.Struct, frozen=True):
    """The process answers."""

    status: str


class Readiness(msgspec.Struct, frozen=True):
    """`ok` when every check is, else `unavailable`."""

    status: str
    checks: dict[str, bool]


class HealthRoutes:
    """The routes of `Health`."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def table(self) -> tuple[Route, ...]:
        """Return this feature's routes."""
        readiness = {200: Readiness, 503: Readiness}
        parts = ("database", "writes", "migrations", "keys", "revocations")
        shown = {200: Readiness("ok", dict.fromkeys(parts, True)),
                 503: Readiness("unavailable", {part: part != "writes" for part in parts})}  # fmt: skip
        return (
            Route(method="GET", path="/livez", handler=self.live, access=Anyone(), summary="Whether the process lives",
                  answers={200: Alive}, shown={200: Alive("ok")}),
            Route(method="GET", path="/readyz", handler=self.ready, access=Anyone(),
                  summary="Whether requests can be served", answers=readiness, shown=shown),
            Route(method="GET", path="/healthz", handler=self.ready, access=Anyone(),
                  summary="The same as /readyz", answers=readiness, shown=shown),
        )  # fmt: skip

    async def live(self, _: Call) -> Reply:
        """`GET /livez`."""
        return Reply(Alive("ok"))

    async def ready(self, _: Call) -> Reply:
        """`GET /readyz`."""
        checks = await self._health.checks()
        if all(checks.values()):
            return Reply(Readiness("ok", checks))
        return Reply(Readiness("unavailable", checks), 503, ((b"retry-after", b"1"),))
