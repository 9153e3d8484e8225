"""Requests that wait for an event: they end when their client hangs up."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from watchword.web.bodies import ClientGone
from watchword.web.route import Call, Receive

T = TypeVar("T")


async def unless_gone(call: Call, work: Coroutine[Any, Any, T]) -> T:
    """Return the work's result; cancel it when the client hangs up. For routes without a body.

    :raises ClientGone: no one is left to answer.
    """
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_until_gone(call.receive))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        return working.result()
    finally:
        working.cancel()
        gone.cancel()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
