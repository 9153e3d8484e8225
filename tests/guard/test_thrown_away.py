"""What a statement makes and drops protects nothing, and says so there; what is kept anywhere does not."""

from __future__ import annotations

import asyncio
import functools
from code import InteractiveInterpreter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

import pytest

from watchword.guard import Caller, asgi, wsgi
from watchword.testing import Issuer

ISSUER = Issuer()
GUARD = ISSUER.guard()


async def app(*_: Any) -> None: ...


class Derived(asgi.GuardMiddleware):
    def __init__(self, inner: Any) -> None:
        super().__init__(inner, GUARD, prefix="/api")
        self.name = "derived"


class Kept:
    def __init__(self) -> None:
        self.guard = GUARD

    @functools.cached_property
    def lazily(self) -> Any:
        return GUARD

    @property
    def needs(self) -> Any:
        return GUARD.require()

    def add(self, kind: Callable[..., Any], *given: Any) -> None:
        self.added = kind(*given)


def make() -> Any:
    return GUARD.require()


def dropped() -> dict[str, Callable[[], Any]]:  # noqa: C901  a list
    def helped() -> None:
        make()

    def wrapped() -> None:
        @functools.wraps(make)
        def other() -> Any:
            return make()

        other()

    def over_lines() -> None:
        (
            Kept()
            .lazily.require(
                roles="admin",
            )
        )  # fmt: skip

    def partly() -> None:
        functools.partial(GUARD.require, roles="admin")()

    def conditional() -> None:
        GUARD.require() if GUARD else None

    def in_a_coroutine() -> None:
        async def authorize() -> None:
            GUARD.require()

        async def gathered() -> None:
            await asyncio.gather(authorize())

        asyncio.run(gathered())

    def awaited() -> None:
        async def authorize() -> Any:
            await asyncio.sleep(0)
            return GUARD.require()

        async def outer() -> None:
            await authorize()

        asyncio.run(outer())

    def in_a_thread() -> None:
        def authorize() -> None:
            GUARD.require()

        asyncio.run(asyncio.to_thread(authorize))

    def statement() -> None:
        GUARD.require(roles="admin")

    def asgi_middleware() -> None:
        asgi.GuardMiddleware(app, GUARD)

    def wsgi_middleware() -> None:
        wsgi.GuardMiddleware(app, GUARD)

    def derived() -> None:
        Derived(app)

    def with_a_comma() -> None:
        (GUARD.require(roles="admin"),)

    def in_brackets() -> None:
        [GUARD.require(), 1]

    def protect(inner: Any, *, on: bool = True) -> Any:
        if on:
            inner = asgi.GuardMiddleware(inner, GUARD)
        print(end="")
        return inner

    def by_a_helper_with_a_variable() -> None:
        protect(app)

    def by_a_helper_in_blocks() -> None:
        def protect() -> Any:
            with nullcontext():
                try:
                    return asgi.GuardMiddleware(app, GUARD)
                finally:
                    print(end="")

        protect()

    def in_a_variable_of_the_helper() -> None:
        def protect(app: Any) -> None:
            app = asgi.GuardMiddleware(app, GUARD)

        protect(app)

    def by_and() -> Any:
        return GUARD.require(roles="admin") and GUARD.require()

    def by_or() -> Any:
        found = asgi.GuardMiddleware(app, GUARD) or app
        return found  # noqa: RET504  that is the slip

    def by_and_above() -> None:
        def protect(*, roles: str = "") -> Any:
            return functools.partial(asgi.GuardMiddleware, guard=GUARD) if roles else asgi.GuardMiddleware(app, GUARD)

        @(protect() and protect(roles="admin"))
        def inner(*_: Any) -> None: ...

    def as_a_function() -> None:
        asgi.GuardMiddleware(app, GUARD).as_function()

    def watched() -> None:
        ISSUER.caller("ada").watch()

    def by_not() -> Any:
        return not asgi.GuardMiddleware(app, GUARD)

    made: list[Any] = [
        *(by_and, by_or, by_and_above, by_not, as_a_function, watched),
        with_a_comma,
        in_brackets,
        by_a_helper_with_a_variable,
        by_a_helper_in_blocks,
        in_a_variable_of_the_helper,
    ]
    made += [helped, wrapped, over_lines, partly, conditional, in_a_coroutine, awaited, in_a_thread, statement]
    return {each.__name__: each for each in [*made, asgi_middleware, wsgi_middleware, derived]}


def kept() -> dict[str, Callable[[], Any]]:  # noqa: C901  a list
    def in_containers() -> None:
        found: list[Any] = [GUARD.require() for _ in range(2)]
        found.extend(map(Derived, [app]))
        found.extend(GUARD.require() for _ in range(2))
        found.append(GUARD.require())
        {}.setdefault("needs", GUARD.require())

    def cached() -> None:
        needs = functools.cache(make)
        needs()

    def cached_in_an_object() -> None:
        _ = Kept().needs
        Kept().needs  # noqa: B018

    def derived() -> None:
        found = Derived(app)
        found.__init__(app)  # type: ignore[misc]

    def by_a_framework() -> None:
        Kept().add(asgi.GuardMiddleware, app, GUARD)
        Kept().add(Derived, app)

    def in_a_task() -> None:
        async def authorize() -> Any:
            return make()

        async def outer() -> None:
            task = asyncio.create_task(authorize())
            _ = await task

        asyncio.run(authorize())
        asyncio.run(outer())

    def in_threads() -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(make).result()

    def by_helpers() -> None:
        def if_there_is(inner: Any, guard: Any) -> Any:
            if guard is not None:
                inner = asgi.GuardMiddleware(inner, guard)
            return inner

        def registered(inner: Any) -> Any:
            inner = asgi.GuardMiddleware(inner, GUARD)
            found.append(inner)
            return inner

        def kept_elsewhere(into: dict[str, Any], inner: Any) -> Any:
            inner = asgi.GuardMiddleware(inner, GUARD)
            into["app"] = inner
            return inner

        def nested(inner: Any) -> Any:
            for _ in range(2):
                inner = asgi.GuardMiddleware(inner, GUARD)
            return lambda: inner

        def by_name(inner: Any) -> Any:
            inner = asgi.GuardMiddleware(inner, GUARD)
            return locals()["inner"]

        found: list[Any] = [if_there_is(app, GUARD)]
        registered(app)
        kept_elsewhere({}, app)
        nested(app)
        by_name(app)

    def watches() -> None:
        caller = ISSUER.caller("ada")
        with caller.watch() as watch:
            assert watch.caller is caller
        found = [caller.watch().begin(), caller.watch()]
        found.extend(map(Caller.watch, [caller]))
        found[0].leave()
        asgi.GuardMiddleware(app, GUARD).as_function().__name__  # noqa: B018

    def in_variables() -> None:
        if (needs := GUARD.require()) is None:
            raise AssertionError
        if (found := asgi.GuardMiddleware(app, GUARD)) and found.app is not app:
            raise AssertionError
        chosen = asgi.GuardMiddleware(app, GUARD) if needs is not None else app
        chosen = chosen if chosen is None else found
        assert chosen
        pair = GUARD.require(), needs
        _ = GUARD.require()
        assert needs == pair[0]

    def at_a_prompt() -> None:
        said, failed = StringIO(), StringIO()
        with redirect_stdout(said), redirect_stderr(failed):
            InteractiveInterpreter({"guard": GUARD}).runsource("guard.require()")
        assert (failed.getvalue(), said.getvalue()[:12]) == ("", "Requirement(")

    made: list[Any] = [by_helpers, in_variables, watches]
    made += [in_containers, cached, cached_in_an_object, derived, by_a_framework, in_a_task, in_threads, at_a_prompt]
    return {each.__name__: each for each in made}


@pytest.mark.parametrize("name", dropped())
def test_what_a_statement_drops_is_refused_there(name: str) -> None:
    with pytest.raises(RuntimeError, match=r"returns is thrown away here, so it protects nothing"):
        dropped()[name]()


@pytest.mark.parametrize("name", kept())
def test_what_is_kept_is_not_refused(name: str) -> None:
    kept()[name]()
