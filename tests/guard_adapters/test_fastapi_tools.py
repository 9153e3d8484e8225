"""FastAPI's own tools around the guard: callers as answers, the OpenAPI document, overrides, other guards."""

# No `from __future__ import annotations` here: FastAPI evaluates annotations, and these name local variables.

from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, FastAPI, Security
from fastapi.security import APIKeyHeader
from fastapi.testclient import TestClient
from openapi_spec_validator import validate
from pydantic import BaseModel

from watchword.guard import Caller, Guard
from watchword.guard.fastapi import FastAPIGuard
from watchword.testing import Issuer

# As the README has it: everything is there when the module is imported, and the service is somewhere else.
auth = FastAPIGuard(Guard("http://127.0.0.1:4000"))
app = FastAPI(lifespan=auth.lifespan)
LoggedIn = Annotated[Caller, auth.required()]


class Envelope(BaseModel):
    caller: Caller
    others: list[Caller] = []


@app.get("/bare")
async def bare(caller: LoggedIn):  # type: ignore[no-untyped-def]
    return caller


@app.get("/annotated")
def annotated(caller: LoggedIn) -> Caller:
    return caller


@app.get("/model", response_model=Caller)
async def model(caller: LoggedIn) -> Any:
    return caller


@app.get("/perhaps")
async def perhaps(caller: Annotated[Caller | None, auth.optional()]) -> Caller | None:
    return caller


@app.get("/inside")
async def inside(caller: LoggedIn) -> dict[str, Any]:
    return {"caller": caller}


@app.get("/listed")
async def listed(caller: LoggedIn) -> list[Caller]:
    return [caller]


@app.get("/enveloped")
async def enveloped(caller: LoggedIn) -> Envelope:
    return Envelope(caller=caller, others=[caller])


@app.get("/claims")
async def claims(caller: LoggedIn):  # type: ignore[no-untyped-def]
    return caller.claims


@app.get("/stream", include_in_schema=False)  # its schema is of OpenAPI 3.2
async def stream(caller: LoggedIn) -> AsyncIterator[Caller]:
    yield caller


admins = APIRouter(prefix="/admin", dependencies=[auth.required(roles="admin")])


@admins.get("/one")
async def one(caller: LoggedIn) -> str:
    return caller.user_id


app.include_router(admins)


@app.get("/open", responses={401: {"description": "never"}})
async def open_() -> str:
    return "in"


@app.get("/own", responses={401: {"description": "mine"}}, dependencies=[auth.required()])
async def own() -> str:
    return "in"


@app.get("/key", dependencies=[auth.optional(), Security(APIKeyHeader(name="X-Key"))])
async def key() -> str:
    return "in"


@app.get("/both", dependencies=[auth.optional(), auth.required()])
async def both() -> str:
    return "in"


@pytest.fixture
def client(watchword_issuer: Issuer) -> Iterator[TestClient]:
    before = auth.guard
    auth.guard = watchword_issuer.guard()
    yield TestClient(app)
    auth.guard = before


def test_a_caller_as_the_answer(client: TestClient, watchword_issuer: Issuer) -> None:
    headers = watchword_issuer.headers("ada", roles=["b", "a"], tenant={"x": [1]})
    whole = watchword_issuer.guard().check(headers["Authorization"]).to_dict()
    for path in ("bare", "annotated", "model", "perhaps"):
        assert client.get(f"/{path}", headers=headers).json() == whole
    assert client.get("/inside", headers=headers).json() == {"caller": whole}
    assert client.get("/listed", headers=headers).json() == [whole]
    assert client.get("/enveloped", headers=headers).json() == {"caller": whole, "others": [whole]}
    assert client.get("/claims", headers=headers).json() == whole["claims"]
    assert client.get("/stream", headers=headers).json() == whole
    assert client.get("/perhaps").json() is None


def operation(path: str) -> Any:
    return app.openapi()["paths"][path]["get"]


def test_the_document_shows_what_a_guard_answers() -> None:
    validate(app.openapi())
    for path in ("/bare", "/perhaps", "/admin/one", "/own", "/both"):
        assert {"401", "403", "200"} <= operation(path)["responses"].keys()
        assert "application/problem+json" in operation(path)["responses"]["403"]["content"]
    assert operation("/own")["responses"]["401"] == {"description": "mine"}
    assert "403" not in operation("/open")["responses"]


def test_the_document_shows_where_no_token_is_needed() -> None:
    assert operation("/perhaps")["security"] == [{}, {"Watchword": []}]
    assert operation("/bare")["security"] == operation("/both")["security"] == [{"Watchword": []}]
    assert {} not in operation("/key")["security"]  # the other scheme's key is needed
    assert "security" not in operation("/open")
    schema = operation("/annotated")["responses"]["200"]["content"]["application/json"]["schema"]
    assert schema["properties"].keys() == {"user_id", "session_id", "roles", "scopes", "expires_at", "claims"}


def test_an_override_by_what_the_route_was_written_with(watchword_issuer: Issuer) -> None:
    """`auth.required()` gives the same whenever it is asked for the same, so that it is the key."""
    ada = watchword_issuer.caller("ada", roles=["admin"])
    client = TestClient(app)
    for same in (auth.required(), auth.required().dependency, LoggedIn.__metadata__[0]):
        app.dependency_overrides[same] = lambda: ada
        try:
            assert client.get("/bare").json()["user_id"] == "ada"
        finally:
            app.dependency_overrides.clear()
    app.dependency_overrides = {auth.required(): lambda: ada, auth.required(roles="admin"): lambda: ada}
    try:
        assert client.get("/admin/one").json() == "ada"
    finally:
        app.dependency_overrides.clear()


def test_another_guard_for_a_while(watchword_issuer: Issuer) -> None:
    real = auth.guard
    with watchword_issuer.trusted_by(auth), TestClient(app) as client:
        assert client.get("/admin/one", headers=watchword_issuer.headers("ada")).status_code == 403
        assert client.get("/admin/one", headers=watchword_issuer.headers("ada", roles=["admin"])).json() == "ada"
        assert client.get("/bare").json()["code"] == "token_missing"
        assert client.get("/bare", headers={"Authorization": f"Bearer {Issuer().token()}"}).status_code == 401
    assert auth.guard is real
    assert real.issuer == "http://127.0.0.1:4000"
    assert real._follower is not None


def test_nothing_else_of_it_can_be_changed() -> None:
    with pytest.raises(AttributeError):
        auth.required = None  # type: ignore[misc, assignment]
    with pytest.raises(TypeError, match="takes a Guard"):
        auth.guard = auth  # type: ignore[assignment, misc]
