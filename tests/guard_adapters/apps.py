"""The same small API in every framework, guarded by each adapter as its guide says.

    /open           not guarded
    /needs          a caller
    /maybe          an optional caller
    /scoped         the scope orders:write
    /admin          the role admin
    /recent         a log-in within five minutes
    /keys           the scope orders:read, of a token or of an API key
    /group/one      one of a group that is guarded in one line, by the scope orders:read

Each answers `{"user": …}`. Those that take a POST take one at `/needs` as well.
"""
# No `from __future__ import annotations` here: frameworks evaluate annotations, and these name local variables.

import json
import os
from collections.abc import Callable
from typing import Annotated, Any

from watchword.guard import Caller, Guard

MaybeCaller = Caller | None
NEEDS: dict[str, dict[str, Any]] = {
    "/scoped": {"scopes": "orders:write"},
    "/admin": {"roles": "admin"},
    "/recent": {"max_age": 300},
    "/keys": {"scopes": "orders:read", "api_keys": True},
}
"""What the routes of single needs ask for."""
GROUPS: dict[str, dict[str, Any]] = {
    "/needs": {},
    "/maybe": {"optional": True},
    **NEEDS,
    "/group": {"scopes": ["orders:read"]},
}
"""The same API by path prefixes."""


def seen(caller: MaybeCaller) -> dict[str, Any]:
    """What every route answers."""
    return {"user": caller.user_id if caller else None}


def plain_asgi(guard: Guard) -> Any:
    """No framework: middleware by path prefix, one inside the other."""
    from watchword.guard.asgi import GuardMiddleware

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        assert scope["state"].get("caller") == scope["caller"]
        body = json.dumps(seen(scope["caller"])).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    guarded: Any = app
    for prefix, needs in GROUPS.items():
        guarded = GuardMiddleware(guarded, guard, prefix=prefix, **needs)  # type: ignore[arg-type]  # a table
    return guarded


def fastapi(guard: Guard) -> Any:
    """Dependencies, and a router's dependencies."""
    from fastapi import APIRouter, FastAPI

    from watchword.guard.fastapi import FastAPIGuard

    auth = FastAPIGuard(guard, scopes={"orders:write": "Change orders"})
    app = FastAPI(lifespan=auth.lifespan)
    required = Annotated[Caller, auth.required()]

    @app.get("/open")
    async def open_() -> dict[str, Any]:
        return seen(None)

    @app.head("/needs", include_in_schema=False)
    @app.post("/needs")
    @app.get("/needs")
    async def needs(caller: required) -> dict[str, Any]:  # type: ignore[valid-type]
        return seen(caller)

    @app.get("/maybe")
    def maybe(caller: Annotated[MaybeCaller, auth.optional()]) -> dict[str, Any]:
        return seen(caller)

    @app.get("/scoped")
    async def scoped(caller: Annotated[Caller, auth.required(scopes="orders:write")]) -> dict[str, Any]:
        return seen(caller)

    @app.get("/admin")
    async def admin(caller: Annotated[Caller, auth.required(roles="admin")]) -> dict[str, Any]:
        return seen(caller)

    @app.get("/recent")
    async def recent(caller: Annotated[Caller, auth.required(max_age=300)]) -> dict[str, Any]:
        return seen(caller)

    @app.get("/keys")
    async def keys(caller: Annotated[Caller, auth.required(scopes="orders:read", api_keys=True)]) -> dict[str, Any]:
        return seen(caller)

    group = APIRouter(prefix="/group", dependencies=[auth.required(scopes="orders:read")])

    @group.get("/one")
    async def one(caller: required) -> dict[str, Any]:  # type: ignore[valid-type]
        return seen(caller)

    app.include_router(group)
    return app


def starlette(guard: Guard) -> Any:
    """Middleware of routes and mounts."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Mount, Route

    from watchword.guard.starlette import guarded

    async def answer(request: Request) -> JSONResponse:
        return JSONResponse(seen(getattr(request.state, "caller", None)))

    def answer_in_a_thread(request: Request) -> JSONResponse:
        return JSONResponse(seen(request.state.caller))

    return Starlette(
        routes=[
            Route("/open", answer),
            Route("/needs", answer, methods=["GET", "POST"], middleware=[guarded(guard)]),
            Route("/maybe", answer_in_a_thread, middleware=[guarded(guard, optional=True)]),
            Route("/scoped", answer, middleware=[guarded(guard, scopes="orders:write")]),
            Route("/admin", answer, middleware=[guarded(guard, roles="admin")]),
            Route("/recent", answer, middleware=[guarded(guard, max_age=300)]),
            Route("/keys", answer, middleware=[guarded(guard, scopes="orders:read", api_keys=True)]),
            Mount("/group", routes=[Route("/one", answer)], middleware=[guarded(guard, scopes="orders:read")]),
        ]
    )


def litestar(guard: Guard) -> Any:
    """Litestar's guards, with the plugin."""
    from litestar import Litestar, Router, get, route
    from litestar.di import NamedDependency
    from litestar.enums import HttpMethod

    from watchword.guard.litestar import LitestarGuard

    auth = LitestarGuard(guard)

    @get("/open")
    async def open_() -> dict[str, Any]:
        return seen(None)

    @route(
        "/needs",
        http_method=[HttpMethod.GET, HttpMethod.POST, HttpMethod.HEAD],
        guards=[auth.required()],
        status_code=200,
    )
    async def needs(caller: NamedDependency[Caller]) -> dict[str, Any]:
        return seen(caller)

    @get("/maybe", guards=[auth.optional()], sync_to_thread=True)
    def maybe(caller: NamedDependency[MaybeCaller]) -> dict[str, Any]:
        return seen(caller)

    @get("/scoped", guards=[auth.required(scopes="orders:write")])
    async def scoped(caller: NamedDependency[Caller]) -> dict[str, Any]:
        return seen(caller)

    @get("/admin", guards=[auth.required(roles="admin")])
    async def admin(caller: NamedDependency[Caller]) -> dict[str, Any]:
        return seen(caller)

    @get("/recent", guards=[auth.required(max_age=300)])
    async def recent(caller: NamedDependency[Caller]) -> dict[str, Any]:
        return seen(caller)

    @get("/keys", guards=[auth.required(scopes="orders:read", api_keys=True)])
    async def keys(caller: NamedDependency[Caller]) -> dict[str, Any]:
        return seen(caller)

    @get("/one")
    async def one(caller: NamedDependency[Caller]) -> dict[str, Any]:
        return seen(caller)

    group = Router("/group", route_handlers=[one], guards=[auth.required(scopes="orders:read")])
    return Litestar([open_, needs, maybe, scoped, admin, recent, keys, group], plugins=[auth])


def flask(guard: Guard) -> Any:
    """Decorators, and a whole blueprint."""
    from flask import Blueprint, Flask

    from watchword.guard.flask import FlaskGuard, current_caller, find_caller

    app, group, auth = Flask(__name__), Blueprint("group", __name__, url_prefix="/group"), FlaskGuard(guard)

    @app.get("/open")
    def open_() -> dict[str, Any]:
        return seen(find_caller())

    @app.route("/needs", methods=["GET", "POST"])
    @auth.required()
    def needs() -> dict[str, Any]:
        return seen(current_caller)

    @app.get("/maybe")
    @auth.optional()
    def maybe() -> dict[str, Any]:
        return seen(find_caller())

    for path, asked in NEEDS.items():
        app.add_url_rule(path, path, auth.required(**asked)(lambda: seen(current_caller)))  # type: ignore[arg-type]

    @group.get("/one")
    def one() -> dict[str, Any]:
        return seen(current_caller)

    auth.protect(group, scopes="orders:read")
    app.register_blueprint(group)
    return app


def quart(guard: Guard) -> Any:
    """Decorators, and a whole blueprint."""
    from quart import Blueprint, Quart

    from watchword.guard.quart import QuartGuard, current_caller, find_caller

    app, group, auth = Quart(__name__), Blueprint("group", __name__, url_prefix="/group"), QuartGuard(guard)

    @app.get("/open")
    async def open_() -> dict[str, Any]:
        return seen(find_caller())

    @app.route("/needs", methods=["GET", "POST"])
    @auth.required()
    async def needs() -> dict[str, Any]:
        return seen(current_caller)

    @app.get("/maybe")
    @auth.optional()
    def maybe() -> dict[str, Any]:
        return seen(find_caller())

    for path, asked in NEEDS.items():
        app.add_url_rule(path, path, auth.required(**asked)(lambda: seen(current_caller)))  # type: ignore[arg-type]

    @group.get("/one")
    async def one() -> dict[str, Any]:
        return seen(current_caller)

    auth.protect(group, scopes="orders:read")
    app.register_blueprint(group)
    return app


def aiohttp(guard: Guard) -> Any:
    """Decorators, and a whole sub-application."""
    from aiohttp import web

    from watchword.guard.aiohttp import AiohttpGuard, find_caller

    app, group, auth, routes = web.Application(), web.Application(), AiohttpGuard(guard), web.RouteTableDef()

    @routes.get("/open")
    async def answer(request: web.Request) -> web.Response:
        return web.json_response(seen(find_caller(request)))

    @routes.view("/needs")
    class Needs(web.View):
        @auth.required()
        async def get(self) -> web.Response:
            return await answer(self.request)

        post = head = get

    app.add_routes(routes)
    app.router.add_get("/maybe", auth.optional()(answer))
    for path, asked in NEEDS.items():
        app.router.add_get(path, auth.required(**asked)(answer))  # type: ignore[arg-type]
    group.router.add_get("/one", answer)
    auth.protect(group, scopes="orders:read")
    app.add_subapp("/group", group)
    return app


def plain_wsgi(guard: Guard) -> Any:
    """No framework: middleware by path prefix, one inside the other."""
    from watchword.guard.wsgi import GuardMiddleware, find_caller

    def app(environ: Any, start_response: Any) -> Any:
        body = json.dumps(seen(find_caller(environ))).encode()
        start_response("200 OK", [("content-type", "application/json"), ("content-length", str(len(body)))])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    guarded: Any = app
    for prefix, needs in GROUPS.items():
        guarded = GuardMiddleware(guarded, guard, prefix=prefix, **needs)  # type: ignore[arg-type]  # a table
    return guarded


def django_wsgi(guard: Guard | None = None) -> Any:
    """Django under WSGI."""
    from tests.guard_adapters import django_site

    return django_site.wsgi(guard)


def django_asgi(guard: Guard | None = None) -> Any:
    """Django under ASGI."""
    from tests.guard_adapters import django_site

    return django_site.asgi(guard)


def channels_asgi() -> Any:
    """Consumers of Channels, in Django's process."""
    from tests.guard_adapters import django_site

    django_site.configure()
    from tests.guard_adapters import channels_app

    return channels_app.application()


def guard_from_environment() -> Guard:
    """For processes of their own: the guard of the issuer that the test has put into the environment."""
    return Guard(os.environ["TEST_ISSUER"], audience=os.environ["TEST_AUDIENCE"])


def flask_process() -> Any:
    """What gunicorn imports."""
    return flask(guard_from_environment())


ASGI: dict[str, Callable[[Guard], Any]] = {
    "asgi": plain_asgi,
    "fastapi": fastapi,
    "starlette": starlette,
    "litestar": litestar,
    "quart": quart,
}
WSGI: dict[str, Callable[[Guard], Any]] = {
    "wsgi": plain_wsgi,
    "flask": flask,
    "django": django_wsgi,
}
"""In one process, by `in_process`. Django's `/drf` is another adapter."""
