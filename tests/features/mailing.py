"""The service with a real mail server beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.features.api import Api, served
from tests.mail.mailbox import Mailbox, receiving


@asynccontextmanager
async def mailing(folder: Path, **given: Any) -> AsyncIterator[tuple[Api, Mailbox]]:
    """The service on this data directory, and the mailbox of everyone."""
    with receiving() as box:
        sender = {"smtp_url": box.url, "mail_from": "Example <no-reply@example.com>"}
        async with served(folder, **sender, **given) as api:
            yield api, box


async def deliver(api: Api) -> int:
    """One turn of the background work that sends mail."""
    assert api.kernel.post is not None
    return await api.kernel.post.turn()
