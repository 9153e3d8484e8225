"""What a check has to ask is asked, whatever becomes of the check: nothing is under way for ever, and retries pass."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.guard.conftest import MakeGuard
from tests.guard.key_desk import KeyDesk
from tests.guard.service import Service
from tests.guard.test_api_keys import code_of, desk_of, through
from watchword import api_keys
from watchword.errors import TokenError
from watchword.guard import Guard, Unready
from watchword.guard.following.exchange import Answer
from watchword.guard.following.key_exchange import MOST_AT_ONCE
from watchword.ids import new_id

Check = Callable[[], Awaitable[Any]]


def made_up() -> str:
    return f"Bearer {api_keys.make(new_id()).text}"


async def cancelled_by_a_time_out(check: Check) -> None:
    await asyncio.wait_for(check(), 0)


async def cancelled_in_a_gathering(check: Check) -> None:
    async def handle() -> None:
        await asyncio.gather(check())

    task = asyncio.create_task(handle())
    await asyncio.sleep(0)
    task.cancel()
    await task


async def cancelled_by_its_group(check: Any) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(check())
        raise ValueError


async def not_awaited(check: Check) -> None:
    task = asyncio.ensure_future(check())
    await asyncio.sleep(0)
    await task


async def soon(ask: Callable[[], Awaitable[Any]]) -> Any:
    """Ask again and again, as a client does that is answered 503."""
    for _ in range(200):
        try:
            return await ask()
        except Unready:
            await asyncio.sleep(0.02)
    raise AssertionError("it is refused for ever")


@pytest.mark.parametrize(
    "drop", [cancelled_by_a_time_out, cancelled_in_a_gathering, cancelled_by_its_group, not_awaited]
)
async def test_checks_that_are_dropped_keep_no_other_key_out(
    drop: Callable[[Check], Awaitable[None]], service: Service, guarded: MakeGuard
) -> None:
    desk, guard = KeyDesk(service), guarded()
    for _ in range(MOST_AT_ONCE + 1):
        shown = made_up()
        with pytest.raises((TimeoutError, asyncio.CancelledError, ExceptionGroup, Unready)):
            await drop(lambda shown=shown: guard.check_async(shown, api_keys=True))  # type: ignore[misc]
    good = f"Bearer {desk.make('read')}"
    assert (await soon(lambda: guard.check_async(good, api_keys=True))).user_id == "ada"


def test_an_exchange_that_nobody_begins_has_no_place() -> None:
    desk = desk_of(lambda: Answer(400, {}, b"{}", 0.0), [0.0])
    for _ in range(MOST_AT_ONCE + 1):
        exchanging = desk.exchange(api_keys.make(new_id()).text)
        next(exchanging)
        exchanging.close()
    assert code_of(lambda: through(desk.exchange(api_keys.make(new_id()).text))) == "token_invalid"


@pytest.mark.parametrize("background", [True, False])
async def test_where_nobody_visibly_waits_the_next_request_passes(
    background: bool, service: Service, guarded: MakeGuard
) -> None:
    desk, guard = KeyDesk(service), guarded(ready=background, background=background)
    good = f"Bearer {desk.make('read')}"
    bad = made_up()

    async def ask(shown: str) -> Any:
        task = asyncio.ensure_future(guard.check_async(shown, api_keys=True))
        await asyncio.sleep(0)
        return await task

    with pytest.raises(Unready):
        await ask(good)
    assert (await soon(lambda: ask(good))).user_id == "ada"
    assert code_of(lambda: guard.check(bad, api_keys=True)) == "token_invalid"
    with pytest.raises(TokenError):
        await soon(lambda: ask(bad))


async def test_without_a_background_the_next_token_passes(service: Service, guarded: MakeGuard) -> None:
    guard, shown = guarded(ready=False, background=False), f"Bearer {service.token(user_id='ada')}"

    async def ask() -> Any:
        caller: Any = guard.check_async(shown)
        await asyncio.sleep(0)
        return await caller

    with pytest.raises(Unready):
        await ask()
    assert (await soon(ask)).user_id == "ada"


async def test_where_a_thread_could_not_be_started_the_next_request_asks(
    service: Service, guarded: MakeGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard: Guard = guarded(ready=False, background=False)
    shown = f"Bearer {service.token(user_id='ada')}"

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError, match="can't start"):
            await guard.check_async(shown)
    assert (await guard.check_async(shown)).user_id == "ada"
