"""What the hosts' own documentation shows: the Authorize button with the right address, and which routes need what."""

# No `from __future__ import annotations` here: frameworks evaluate annotations, and these name local variables.

from typing import Annotated, Any

import pytest
from openapi_spec_validator import validate

from tests.guard_adapters import apps, in_process
from watchword.guard import Caller, Guard
from watchword.guard.fastapi import FastAPIGuard, RequestRefused
from watchword.testing import Issuer

ISSUER = Issuer("https://auth.example/base")
TOKEN_URL = "https://auth.example/base/token"


def document(name: str, guard: Guard) -> Any:
    app = apps.ASGI[name](guard)
    # In FastAPI a second scheme is a second dependency, so it is there only when asked for; see below.
    return app.openapi() if name == "fastapi" else app.openapi_schema.to_schema()


@pytest.mark.parametrize("name", ["fastapi", "litestar"])
def test_the_document(name: str) -> None:
    shown = document(name, ISSUER.guard())
    validate(shown)
    schemes = shown["components"]["securitySchemes"]
    flow = schemes["Watchword"]["flows"]["password"]
    assert schemes["Watchword"]["type"] == "oauth2"
    assert flow["tokenUrl"] == flow["refreshUrl"] == TOKEN_URL
    assert set(flow["scopes"]) == {"orders:read", "orders:write"}
    assert name == "fastapi" or schemes["AccessToken"]["scheme"] == "bearer"
    needed = {path: item["get"].get("security") for path, item in shown["paths"].items()}
    assert needed["/open"] is None
    assert {"Watchword": []} in needed["/needs"]
    assert {"Watchword": ["orders:write"]} in needed["/scoped"]
    assert {"Watchword": ["orders:read"]} in needed["/group/one"]
    assert all(name == "fastapi" or {"AccessToken": []} in needed[path] for path in needed if path != "/open")


async def test_a_field_to_paste_a_token_into() -> None:
    from fastapi import FastAPI

    app = FastAPI()
    auth = FastAPIGuard(ISSUER.guard(), paste=True)

    @app.get("/")
    async def route(caller: Annotated[Caller, auth.required()]) -> str:
        return caller.user_id

    shown = app.openapi()
    assert shown["components"]["securitySchemes"]["AccessToken"]["scheme"] == "bearer"
    assert shown["paths"]["/"]["get"]["security"] == [{"Watchword": []}, {"AccessToken": []}]
    assert (await ask(app, "/")).code == "token_missing"
    assert (await ask(app, "/", ISSUER.token("ada"))).body == b'"ada"'


def test_litestar_shows_that_a_caller_is_optional() -> None:
    shown = document("litestar", ISSUER.guard())["paths"]
    assert {} in shown["/maybe"]["get"]["security"]
    assert {} not in shown["/needs"]["get"]["security"]


async def test_litestars_own_names_for_a_caller() -> None:
    from litestar import Litestar, Request, get

    from watchword.guard.litestar import LitestarGuard

    auth = LitestarGuard(ISSUER.guard())

    @get("/", guards=[auth.required()])
    async def route(request: Request[Caller, Caller, Any]) -> str:
        assert request.user is request.auth
        return request.user.user_id

    assert (await ask(Litestar([route], plugins=[auth]), "/", ISSUER.token("ada"))).body == b"ada"


def test_scopes_have_descriptions_where_given() -> None:
    scopes = document("fastapi", ISSUER.guard())["components"]["securitySchemes"]["Watchword"]["flows"]["password"]
    assert scopes["scopes"] == {"orders:write": "Change orders", "orders:read": ""}


async def ask(app: Any, path: str, token: str = "") -> in_process.Answer:
    values = [f"Bearer {token}".encode()] if token else []
    return in_process.answer_of(await in_process.ask_asgi(app, in_process.http_scope(path, values)))


async def test_scopes_asked_for_around_a_dependency_are_checked_and_not_just_shown() -> None:
    """FastAPI's idiom: `Security(current_user, scopes=[…])`, with our dependency inside of `current_user`."""
    from fastapi import FastAPI, Security

    auth = FastAPIGuard(ISSUER.guard())
    app = FastAPI()

    async def current_user(caller: Annotated[Caller, auth.required(scopes="a")]) -> str:
        return caller.user_id

    @app.get("/")
    async def route(user: Annotated[str, Security(current_user, scopes=["b"])]) -> str:
        return user

    @app.get("/bare")
    async def bare(caller: Annotated[Any, Security(auth.required(scopes="a").dependency, scopes=["b"])]) -> str:
        return str(caller.user_id)

    for path in ("/", "/bare"):
        refused = await ask(app, path, ISSUER.token(scopes=["a"]))
        assert (refused.status, refused.code) == (403, "scope_missing")
        assert 'scope="a b"' in refused.headers["www-authenticate"]
        assert (await ask(app, path, ISSUER.token(scopes=["a", "b"]))).status == 200
    assert {"Watchword": ["b", "a"]} in app.openapi()["paths"]["/"]["get"]["security"]


async def test_a_host_may_answer_refusals_its_own_way() -> None:
    from fastapi import FastAPI
    from fastapi.responses import JSONResponse

    app = FastAPI()
    auth = FastAPIGuard(ISSUER.guard())

    @app.get("/")
    async def route(caller: Annotated[Caller, auth.required()]) -> None: ...

    async def own(_: Any, error: RequestRefused) -> JSONResponse:
        return JSONResponse({"mine": error.refusal.code}, error.status_code, error.headers)

    app.add_exception_handler(RequestRefused, own)  # type: ignore[arg-type]
    answer = await ask(app, "/")
    assert (answer.status, answer.body) == (401, b'{"mine":"token_missing"}')
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("mounted", [False, True])
async def test_nothing_has_to_be_registered(mounted: bool) -> None:
    """Not on the application, and not on one that is mounted in it; other errors are FastAPI's own."""
    from fastapi import FastAPI, HTTPException

    inner = FastAPI()
    auth = FastAPIGuard(ISSUER.guard())

    @inner.get("/x")
    async def route(caller: Annotated[Any, auth.required()]) -> None:
        raise HTTPException(418, "tea")

    app, path = inner, "/x"
    if mounted:
        app = FastAPI()
        app.mount("/in", inner)
        path = "/in/x"
    assert (await ask(app, path)).code == "token_missing"
    tea = await ask(app, path, ISSUER.token())
    assert (tea.status, tea.body) == (418, b'{"detail":"tea"}')


def test_without_the_shortcut_status_and_challenge_are_right_all_the_same() -> None:
    """Were the key in the scope to go away, FastAPI's handler for HTTPException would answer."""
    refusal = ISSUER.guard().refusal(RequestError())
    error = RequestRefused(refusal)
    assert error.status_code == 401
    assert error.headers is not None
    assert error.headers["www-authenticate"].startswith("Bearer")
    assert "content-length" not in error.headers


def RequestError() -> Any:
    from watchword.authorization import missing

    return missing()


def test_another_token_address_for_a_service_mounted_in_the_host() -> None:
    auth = FastAPIGuard(ISSUER.guard(), token_url="/auth/token")
    assert auth.required().dependency.model.flows.password.tokenUrl == "/auth/token"
