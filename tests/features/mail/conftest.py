"""Fixtures: the service and everyone's mailbox, on each engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.features.api import Api
from tests.features.mailing import mailing
from tests.identity.conftest import SECRET
from tests.mail.mailbox import Mailbox
from tests.postgres import Databases


@pytest.fixture(params=["sqlite", "postgres"])
def located(request: pytest.FixtureRequest, postgres: Callable[[int], Databases]) -> Iterator[dict[str, str]]:
    """The settings that say where this test's database is."""
    if request.param == "sqlite":
        yield {}
        return
    with postgres(18).lent() as url:
        yield {"database_url": url, "secret": SECRET}


@pytest.fixture
async def both(tmp_path: Path, located: dict[str, str]) -> AsyncIterator[tuple[Api, Mailbox]]:
    """The service, which asks for no confirmation before a log-in, and everyone's mailbox."""
    async with mailing(tmp_path, email_verification="optional", **located) as pair:
        yield pair
