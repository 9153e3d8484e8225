"""Administrators of the service in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from tests.e2e.client import PASSWORD
from tests.features.api import Api, served
from tests.identity.scenes import HOME
from watchword.identity.granting import unchecked
from watchword.identity.users import User


class Admin:
    """One administrator, logged in."""

    def __init__(self, desk: Api, user: User, token: str) -> None:
        self.desk = desk
        self.user = user
        self.token = token

    async def __call__(self, method: str, path: str, body: object = None, **options: Any) -> httpx2.Response:
        """Send a request as this administrator."""
        sent = options if body is None else {"json": body, **options}
        return await self.desk.as_bearer(method, path, self.token, **sent)


async def person(api: Api, name: str, *roles: str) -> User:
    """A user with these roles."""
    return await api.kernel.users.create(
        username=name, email=f"{name}@example.org", password=PASSWORD, roles=roles, client=HOME, check=unchecked
    )


async def admin(api: Api, name: str = "root") -> Admin:
    """An administrator who has just logged in, in a browser of their own."""
    user, desk = await person(api, name, "admin"), api.elsewhere(agent="desk")
    return Admin(desk, user, await desk.log_in(name))


@asynccontextmanager
async def administered(folder: Path, **given: Any) -> AsyncIterator[tuple[Api, Admin]]:
    """The service and its administrator."""
    async with served(folder, **given) as api:
        yield api, await admin(api)


async def actors(api: Api, event: str) -> list[tuple[str | None, str | None]]:
    """Who did it to whom, by the audit trail."""
    rows = await api.kernel.database.scan(
        "SELECT actor_id, user_id FROM ww_audit WHERE event = :event ORDER BY id", event=event
    )
    return [(row["actor_id"], row["user_id"]) for row in rows]
