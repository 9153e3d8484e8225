"""Where `await` is forgotten a check has refused already; what is not called or not begun is neither true nor false."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import logging
import pickle
import re
from asyncio import base_tasks
from collections.abc import Callable, Coroutine
from inspect import signature
from typing import Any

import anyio
import pytest
from asgiref.sync import async_to_sync

from tests.guard.service import KEYS, Service
from watchword.errors import TokenError
from watchword.guard import Caller, Guard, Unready
from watchword.guard.sent import AsgiSent
from watchword.testing import Issuer

ISSUER = Issuer()
GUARD = ISSUER.guard()
NEEDS = GUARD.require(roles="admin")
GOOD = f"Bearer {ISSUER.token('ada', roles=['admin'])}"


def sent(header: str | None) -> AsgiSent:
    headers = [] if header is None else [(b"authorization", header.encode())]
    return AsgiSent({"type": "http", "headers": headers, "method": "GET", "path": "/", "query_string": b""})


CHECKS: dict[str, Callable[[str | None], Coroutine[Any, Any, Any]]] = {
    "check": lambda shown: GUARD.check_async(shown, roles="admin"),
    "verify": lambda shown: GUARD.verify_async((shown or "").removeprefix("Bearer "), roles="admin"),
    "needs": NEEDS.check_async,
    "needs optional": NEEDS.check_optional_async,
    "admit": lambda shown: NEEDS.admit_async(sent(shown)),
    "admit optional": lambda shown: NEEDS.admit_optional_async(sent(shown)),
    "find": lambda shown: NEEDS.find_async(shown, sent(shown), optional=False),
}


@pytest.mark.parametrize("name", CHECKS)
def test_a_bad_caller_is_refused_before_anything_is_awaited(name: str) -> None:
    for shown in (None, "Bearer x", f"Bearer {ISSUER.token('eve')}", f"Bearer {ISSUER.expired_token()}"):
        if shown is None and "optional" in name:
            assert asyncio.run(CHECKS[name](shown)) is None
            continue
        with pytest.raises(TokenError):
            _ = CHECKS[name](shown)
    assert asyncio.run(CHECKS[name](GOOD)).user_id == "ada"


@pytest.mark.parametrize("name", CHECKS)
async def test_what_is_not_awaited_is_neither_true_nor_a_caller(name: str) -> None:
    asking = CHECKS[name](GOOD)
    for use in (bool, lambda it: not it, lambda it: it.user_id, lambda it: it.has_role("admin")):
        with pytest.raises((TypeError, AttributeError), match=r"`await` is missing"):
            use(asking)
    assert asyncio.iscoroutine(asking)
    assert [(await each).user_id for each in (asking, asyncio.create_task(CHECKS[name](GOOD)))] == ["ada"] * 2


async def test_asyncio_describes_the_task_of_a_check() -> None:
    """Since Python 3.12 it asks the coroutine for its truth; `asyncio.run` failed."""
    task = asyncio.create_task(GUARD.check_async(GOOD))
    assert "Asking" in repr(task)
    assert eval("True if task._coro else False", vars(base_tasks), {"task": task})
    assert (await task).user_id == "ada"


def forgotten(guard: Guard) -> dict[str, Callable[[str], Any]]:  # noqa: C901  a list
    """Code that forgets to await."""

    def dropped(shown: str) -> str:
        guard.check_async(shown)  # type: ignore[unused-coroutine]
        return "in"

    def kept(shown: str) -> str:
        caller: Any = guard.check_async(shown)
        return "in" if caller is not None else "out"

    def kept_elsewhere(shown: str) -> str:
        dropped.caller = guard.require().check_async(shown)  # type: ignore[attr-defined]
        return "in"

    def yielded(shown: str) -> Any:
        def dependency() -> Any:
            yield guard.check_async(shown)

        return next(dependency())

    async def returned(shown: str) -> Any:
        return guard.require().check_optional_async(shown)

    def returned_by_a_helper(shown: str) -> str:
        def helper() -> Any:
            return guard.check_async(shown)

        helper()
        return "in"

    def note(*given: Any, **named: Any) -> None:
        """Do something with what was to be awaited."""

    async def note_later(*given: Any) -> None:
        note(*given)

    def passed(shown: str) -> str:
        note(guard.check_async(shown))
        return "in"

    async def passed_to_a_coroutine(shown: str) -> Any:
        await note_later(guard.check_async(shown))
        await asyncio.gather(note_later(guard.check_async(shown)))

    async def spread(shown: str) -> Any:
        await note_later(*map(guard.check_async, [shown]))
        await note_later(*(guard.check_async(each) for each in [shown]))

    def listed(shown: str) -> str:
        _ = [guard.check_async(shown)], {"caller": guard.check_async(shown)}
        return "in"

    def comprehended(shown: str) -> str:
        _ = [guard.check_async(each) for each in [shown]]
        return "in"

    def formatted(shown: str) -> str:
        return f"in {guard.check_async(shown)}"

    def set_as_an_attribute(shown: str) -> str:
        setattr(note, "caller", guard.check_async(shown))  # noqa: B010
        return "in"

    def logged(shown: str) -> str:
        logging.getLogger("test").info("caller %s", guard.check_async(shown))
        return "in"

    def compared(shown: str) -> str:
        return "in" if guard.check_async(shown) is not None else "out"

    def named(shown: str) -> str:
        if (caller := guard.check_async(shown)) is not None:
            note(caller)
        return "in"

    async def a_task_of_its_own(shown: str) -> Any:
        task = asyncio.create_task(guard.check_async(shown))
        note(task)

    async def in_a_thread(shown: str) -> Any:
        await asyncio.to_thread(guard.check_async, shown)

    def from_a_thread(shown: str) -> str:
        asyncio.run_coroutine_threadsafe(guard.check_async(shown), asyncio.get_running_loop())
        return "in"

    def dropped_in_a_block(shown: str) -> str:
        def helper() -> Any:
            with contextlib.nullcontext(), contextlib.nullcontext():
                return guard.check_async(shown)

        helper()
        return "in"

    def list_kept(shown: str) -> str:
        checks = [guard.check_async(shown), other()]
        note(*checks)
        return "in"

    def list_returned(shown: str) -> None:
        def helper() -> Any:
            checks = [guard.check_async(shown)]
            return checks  # noqa: RET504

        asyncio.run(helper())

    async def list_waited_for(shown: str) -> Any:
        checks: Any = [guard.check_async(shown), other()]
        await note_later(*checks)

    async def task_awaited_at_times(shown: str) -> Any:
        task = asyncio.create_task(guard.check_async(shown))
        if not shown:
            await task

    async def awaited_unless_something_fails(shown: str) -> Any:
        with contextlib.suppress(ValueError):
            task = asyncio.create_task(guard.check_async(shown))
            int("no number")
            await task

    async def another_is_awaited(shown: str) -> Any:
        task, caller = asyncio.create_task(other()), guard.check_async(shown)
        await task
        note(caller)

    async def asked_whether_it_is_there(shown: str) -> Any:
        await asyncio.wait_for(note_later(guard.check_async(shown) is None), 9)

    async def waited_for_and_not_looked_at(shown: str) -> Any:
        await asyncio.wait([asyncio.create_task(guard.check_async(shown))])

    async def completed_and_not_looked_at(shown: str) -> Any:
        for _ in asyncio.as_completed([guard.check_async(shown)]):
            pass

    async def sliced(shown: str) -> Any:
        checks: Any = [guard.check_async(shown), other()]
        await asyncio.gather(*checks[1:])

    async def only_a_condition(shown: str) -> Any:
        await asyncio.gather(*[other() for _ in shown[:1] if guard.check_async(shown) is not None])

    async def used_before_it_is_awaited(shown: str) -> Any:
        await asyncio.gather(*[note_later(guard.check_async(each)) for each in [shown]])

    made: list[Any] = [sliced, only_a_condition, used_before_it_is_awaited]
    made += [dropped, kept, kept_elsewhere, yielded, returned, returned_by_a_helper, passed, passed_to_a_coroutine]
    made += [spread, listed, comprehended, formatted, set_as_an_attribute, logged, compared, named]
    made += [
        from_a_thread,
        dropped_in_a_block,
        list_kept,
        list_returned,
        list_waited_for,
        task_awaited_at_times,
        in_a_thread,
    ]
    made += [waited_for_and_not_looked_at, completed_and_not_looked_at]
    made += [awaited_unless_something_fails, another_is_awaited, asked_whether_it_is_there, a_task_of_its_own]
    return {each.__name__: each for each in made}


async def other() -> None: ...


@pytest.mark.parametrize("name", forgotten(GUARD))
async def test_what_would_have_to_wait_is_refused_where_nobody_waits(name: str, service: Service) -> None:
    """Anyone can make a guard wait, by a token that names an unknown key."""
    guard = service.guard(revocations=False)
    service.misbehave[KEYS] = lambda handler: None  # it never gets a key

    async def ask() -> None:
        found = forgotten(guard)[name](f"Bearer {service.token()}")
        assert asyncio.iscoroutine(found)
        await found

    with pytest.raises(Unready):
        await ask()
    guard.stop()


@pytest.mark.filterwarnings("ignore:async_to_sync was passed a non-async-marked callable")
async def test_what_has_to_wait_may_be_awaited_in_every_form(service: Service) -> None:  # noqa: C901  a list
    shown = f"Bearer {service.token(user_id='ada')}"

    def helper(guard: Guard) -> Any:
        return guard.check_async(shown)

    async def direct(guard: Guard) -> Any:
        return await guard.check_async(shown)

    async def grouped(guard: Guard) -> Any:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(guard.check_async(shown), name="check")
        return await task

    def in_blocks(guard: Guard) -> Any:
        with contextlib.nullcontext(), contextlib.nullcontext():
            return guard.check_async(shown)

    async def kept(guard: Guard) -> Any:
        caller = guard.check_async(shown)
        return await caller

    async def kept_by_a_condition(guard: Guard) -> Any:
        if shown:
            caller = guard.check_async(shown)
        else:
            caller = guard.check_async(None)
        return await caller

    async def kept_before_another(guard: Guard) -> Any:
        after = other()
        caller = guard.check_async(shown)
        return (await asyncio.gather(caller, after))[0]

    async def named(guard: Guard) -> Any:
        return await (caller := guard.check_async(shown)) or caller

    def with_an_end(guard: Guard) -> Any:
        try:
            return guard.check_async(shown)
        finally:
            int("1")

    async def comprehended(guard: Guard) -> Any:
        checks = [guard.check_async(each) for each in [shown]]
        return await asyncio.gather(*checks)

    async def rewritten(guard: Guard) -> Any:
        assert (await asyncio.wait_for(guard.check_async(shown), 9 if shown else None)).user_id == "ada"
        return await guard.check_async(shown)

    async def task_kept(guard: Guard) -> Any:
        task = asyncio.create_task(guard.check_async(shown))
        return await asyncio.wait_for(task, 9)

    async def list_kept(guard: Guard) -> Any:
        checks: Any = [other(), guard.check_async(shown), other()]
        return (await asyncio.gather(*checks))[1]

    async def from_a_thread(guard: Guard) -> Any:
        loop = asyncio.get_running_loop()
        return await asyncio.to_thread(
            lambda: asyncio.run_coroutine_threadsafe(guard.check_async(shown), loop).result(9)
        )

    async def by_asgiref(guard: Guard) -> Any:
        return await asyncio.to_thread(async_to_sync(guard.check_async), shown)

    async def in_a_group_of_anyio(guard: Guard) -> Any:
        async with anyio.create_task_group() as group:
            group.start_soon(guard.check_async, shown)
        return await guard.check_async(shown)

    for ask in (
        direct,
        helper,
        lambda guard: asyncio.wait_for(guard.check_async(shown), 9),
        lambda guard: asyncio.create_task(guard.check_async(shown)),
        lambda guard: asyncio.gather(*(guard.check_async(shown) for _ in range(2))),
        lambda guard: asyncio.gather(*[guard.check_async(shown)]),
        lambda guard: asyncio.gather(*map(guard.check_async, [shown])),
        lambda guard: asyncio.gather(guard.check_async(shown), *[guard.check_async(shown)], return_exceptions=True),
        lambda guard: asyncio.wait_for(fut=guard.check_async(shown), timeout=9),
        lambda guard: asyncio.shield(asyncio.ensure_future(guard.check_async(shown))),
        lambda guard: asyncio.get_running_loop().create_task(guard.check_async(shown)),
        lambda guard: functools.partial(guard.check_async, shown)(),
        lambda guard: asyncio.to_thread(lambda: asyncio.run(guard.check_async(shown))),
        lambda guard: asyncio.to_thread(lambda: asyncio.run(guard.check_async(shown), debug=False)),
        grouped,
        in_blocks,
        with_an_end,
        comprehended,
        rewritten,
        kept,
        kept_by_a_condition,
        kept_before_another,
        named,
        task_kept,
        list_kept,
        from_a_thread,
        by_asgiref,
        in_a_group_of_anyio,
    ):
        guard = service.guard(revocations=False)
        found = await ask(guard)
        assert {each.user_id for each in (found if isinstance(found, list) else [found])} == {"ada"}
        guard.stop()


# Questions -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "written"),
    [("has_role", '("admin")'), ("has_scope", '("orders:read")'), ("claim", '("tenant", str)'), ("watch", "()")],
)
def test_a_question_that_is_not_asked_is_neither_true_nor_false(name: str, written: str) -> None:
    """What it says to write can be written so."""
    caller = ISSUER.caller("ada")

    def entered(it: Any) -> None:
        with it:
            raise AssertionError("it was entered")

    for use in (bool, lambda it: not it, lambda it: any([it]), lambda it: it.over, entered):
        said = rf"{name} is a method, .* write `\.{name}{re.escape(written)}`"
        with pytest.raises((TypeError, AttributeError), match=said):
            use(getattr(caller, name))
    signature(getattr(Caller, name)).bind(caller, *eval(f"[{written.strip('()')}]"))
    assert not hasattr(caller.has_role, "over")


def test_a_question_that_is_asked_is_answered() -> None:
    caller = GUARD.check(GOOD)
    assert caller.has_role("admin")
    assert not caller.has_role(role="owner")
    assert Caller.has_role(caller, "admin")
    assert list(filter(caller.has_role, ["owner", "admin"])) == ["admin"]
    assert Caller.has_scope.__doc__ == "Return whether the token has a scope."
    assert pickle.loads(pickle.dumps(caller)) == copy.deepcopy(caller) == caller
    assert pickle.loads(pickle.dumps(caller)).has_role("admin")


def test_a_watch_is_neither_true_nor_false() -> None:
    caller = GUARD.check(GOOD)
    for use in (bool, lambda it: not it):
        with pytest.raises(TypeError, match=r"write `with caller\.watch\(\) as watch:`"):
            use(caller.watch())
    for name in ("code", "over"):
        with pytest.raises(RuntimeError, match=r"write `with caller\.watch\(\) as watch:`"):
            getattr(caller.watch(), name)
    with caller.watch() as watch:
        assert (watch.over, watch.code) == (False, None)
