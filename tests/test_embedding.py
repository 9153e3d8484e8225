"""The service inside somebody else's application: FastAPI and Starlette, mounted anywhere, with its own lifespan."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI, Header
from fastapi.responses import JSONResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from watchword import Settings, TokenUser, Watchword
from watchword import app as app_module
from watchword.errors import SettingsError, WatchwordError
from watchword.guard import Guard
from watchword.settings.table import SETTINGS

ROOT = Path(__file__).parents[1]
SITE = "http://127.0.0.1:8000"
PASSWORD = "plum-orbit-canvas"
UNLIMITED: dict[str, Any] = {setting.name: "off" for setting in SETTINGS if setting.name.endswith("_limit")}


def auth_at(folder: Path, public_url: str = f"{SITE}/auth", **more: Any) -> Watchword:
    return Watchword(Settings(public_url=public_url, data_dir=folder, **{**UNLIMITED, **more}))


@asynccontextmanager
async def running(app: Any, site: str = SITE, **options: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """The host application with its lifespan, as a server runs it."""
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app=app, client=("127.0.0.1", 50_000), **options)
        async with httpx2.AsyncClient(transport=transport, base_url=site) as client:
            yield client


async def the_whole_way(client: httpx2.AsyncClient, at: str) -> str:
    """Register, log in, profile, refresh, log out under a path; the access token, which is worth nothing by then."""
    name = f"u{secrets.token_hex(6)}"
    body = {"username": name, "password": PASSWORD}
    assert (await client.post(f"{at}/register", json=body)).status_code == 201
    assert (await client.get(f"{at}/")).json()["name"] == "Watchword"
    logged_in = await client.post(f"{at}/login", json=body)
    assert logged_in.status_code == 200, logged_in.text
    assert "Path=/;" in logged_in.headers["set-cookie"] + ";"
    token = logged_in.json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert (await client.get(f"{at}/profile", headers=headers)).json()["username"] == name
    assert (await client.post(f"{at}/refresh")).status_code == 200
    assert (await client.post(f"{at}/logout", headers=headers)).status_code == 204
    refused = await client.get(f"{at}/profile", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (401, "token_revoked")
    return str(token)


async def test_three_lines_in_fastapi(tmp_path: Path) -> None:
    """Its own /auth/register … /auth/logout, and routes of the host guarded without a network."""
    auth = auth_at(tmp_path)
    app = FastAPI(lifespan=auth.lifespan)
    app.mount("/auth", auth)
    guard = Guard.local(auth, issuer=auth.settings.public_url)

    @app.get("/posts")
    async def posts(authorization: str | None = Header(None)) -> Any:
        try:
            return {"user": guard.check(authorization).user_id}
        except WatchwordError as error:
            refusal = guard.refusal(error)
            return JSONResponse({"refused": error.code}, refusal.status)

    @app.get("/threaded")
    def threaded(authorization: str | None = Header(None)) -> Any:
        return {"user": guard.check(authorization).user_id}

    async with running(app) as client:
        await the_whole_way(client, "/auth")
        body = {"username": "ada", "password": PASSWORD}
        user = (await client.post("/auth/register", json=body)).json()["id"]
        token = (await client.post("/auth/login", json=body)).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        for path in ("/posts", "/threaded"):
            assert (await client.get(path, headers=headers)).json() == {"user": user}
        assert (await client.get("/posts")).json() == {"refused": "token_missing"}
        await client.post("/auth/logout", headers=headers)
        answer = await client.get("/posts", headers=headers)
        assert (answer.status_code, answer.json()) == (401, {"refused": "token_revoked"})
        assert (await client.get("/auth/nothing")).json()["code"] == "not_found"
        assert (await client.get("/nothing")).status_code == 404
        assert (await client.get("/auth")).status_code in (307, 404)


async def test_starlette(tmp_path: Path) -> None:
    """As a `Mount`, beside the host's own routes."""
    auth = auth_at(tmp_path)

    async def home(_: Request) -> PlainTextResponse:
        return PlainTextResponse("home")

    app = Starlette(routes=[Route("/", home), Mount("/auth", auth)], lifespan=auth.lifespan)
    async with running(app) as client:
        assert (await client.get("/")).text == "home"
        await the_whole_way(client, "/auth")


@pytest.mark.parametrize(("path", "at"), [("/", ""), ("", ""), ("/", "/auth"), ("/api/v1/auth", "/api/v1/auth")])
async def test_wherever_it_is_mounted(tmp_path: Path, path: str, at: str) -> None:
    """At the root without a path; at the root with the public URL's path; deeper. The host's routes come first."""
    auth = auth_at(tmp_path, f"{SITE}{at}")
    app = FastAPI(lifespan=auth.lifespan, openapi_url="/openapi.json" if at else None)  # at the root /docs is ours

    @app.get("/mine")
    async def mine() -> str:
        return "mine"

    app.mount(path, auth)
    async with running(app) as client:
        assert (await client.get("/mine")).json() == "mine"
        await the_whole_way(client, at)
        metadata = (await client.get(f"{at}/.well-known/oauth-authorization-server")).json()
        assert metadata["issuer"] == f"{SITE}{at}"
        for name in ("jwks_uri", "token_endpoint", "revocation_endpoint", "introspection_endpoint"):
            method = "GET" if name == "jwks_uri" else "POST"
            assert (await client.request(method, metadata[name])).status_code != 404, name
        if path in ("", "/"):
            inserted = await client.get(f"/.well-known/oauth-authorization-server{at}")
            assert inserted.json() == metadata
        problem = (await client.get(f"{at}/profile")).json()["type"]
        assert problem.startswith(f"{SITE}{at}/problems/")
        assert (await client.get(problem)).status_code == 200
        page = await client.get(f"{at}/docs")
        assert page.status_code == 200
        for asset in re.findall(r'(?:src|href)="([^"]+)"', page.text):
            assert (await client.get(str(httpx2.URL(f"{SITE}{at}/docs").join(asset)))).status_code == 200, asset


async def test_mounts_within_mounts(tmp_path: Path) -> None:
    """An application in an application in an application."""
    auth = auth_at(tmp_path, f"{SITE}/a/b/auth")
    inner = Starlette(routes=[Mount("/auth", auth)])
    middle = FastAPI()
    middle.mount("/b", inner)
    app = FastAPI(lifespan=auth.lifespan)
    app.mount("/a", middle)
    async with running(app) as client:
        await the_whole_way(client, "/a/b/auth")


@pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated")  # and still in use
@pytest.mark.parametrize("how", ["server", "framework"])
async def test_behind_a_proxy_that_takes_a_path_away(tmp_path: Path, how: str) -> None:
    """`uvicorn --root-path /v1` puts it back into the path; `FastAPI(root_path="/v1")` only names it."""
    auth = auth_at(tmp_path, f"{SITE}/v1/auth")
    app = FastAPI(lifespan=auth.lifespan, root_path="/v1" if how == "framework" else "")
    app.mount("/auth", auth)
    if how == "server":
        async with running(app, root_path="/v1") as client:
            await the_whole_way(client, "/v1/auth")
    else:
        async with running(app) as client:  # the proxy has taken /v1 away
            await the_whole_way(client, "/auth")
        async with running(app) as client:  # and this one has not
            await the_whole_way(client, "/v1/auth")


async def test_the_proxy_takes_the_whole_path_away(tmp_path: Path) -> None:
    """Mounted at the root of an application that its proxy shows at /auth: WATCHWORD_PATH_PREFIX says so."""
    auth = auth_at(
        tmp_path, "https://example.com/auth", path_prefix="/", trusted_proxies=1, secret=secrets.token_urlsafe(32)
    )
    app = Starlette(routes=[Mount("/", auth)], lifespan=auth.lifespan)
    async with running(app, site="https://example.com") as client:
        await the_whole_way(client, "")
        metadata = (await client.get("/.well-known/openid-configuration")).json()
        assert metadata["token_endpoint"] == "https://example.com/auth/token"


@pytest.mark.parametrize(
    ("origin", "site", "status"),
    [
        (SITE, None, 200),
        ("http://localhost:8000", None, 200),
        ("http://127.0.0.1:8001", None, 403),
        ("https://evil.example", None, 403),
        ("null", None, 403),
        (None, "same-origin", 200),
        (None, "cross-site", 403),
        (None, None, 200),
        ("https://app.example", None, 200),
    ],
)
async def test_F3_F5_the_origin_rule_holds_when_mounted(
    tmp_path: Path, origin: str | None, site: str | None, status: int
) -> None:
    """The public URL's origin and the allowed ones, whatever the host application allows its own routes."""
    auth = auth_at(tmp_path, allowed_origins="https://app.example")
    app = FastAPI(lifespan=auth.lifespan)
    app.mount("/auth", auth)
    sent = {"Origin": origin, "Sec-Fetch-Site": site}
    headers = {name: value for name, value in sent.items() if value is not None}
    async with running(app) as client:
        body = {"username": "ada", "password": PASSWORD}
        await client.post("/auth/register", json=body)
        answer = await client.post("/auth/login", json=body, headers=headers)
        assert answer.status_code == status
        assert ("set-cookie" in answer.headers) is (status == 200)


async def test_F1_the_cookie_over_https(tmp_path: Path) -> None:
    """`__Host-` wants Path=/ also where we are mounted below: the name binds it to the host, not to us."""
    auth = auth_at(tmp_path, "https://example.com/auth", trusted_proxies=1)
    app = FastAPI(lifespan=auth.lifespan)
    app.mount("/auth", auth)
    async with running(app, site="https://example.com") as client:
        body = {"username": "ada", "password": PASSWORD}
        await client.post("/auth/register", json=body)
        cookie = (await client.post("/auth/login", json=body)).headers["set-cookie"]
        assert cookie.startswith("__Host-watchword_refresh=")
        assert {"Secure", "HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
        assert (await client.post("/auth/refresh")).status_code == 200


async def test_inside_a_lifespan_that_there_is_already(tmp_path: Path) -> None:
    """`async with auth.lifespan(app)` around its `yield`; a second start after the end is a fresh one."""
    events: list[str] = []
    auth = auth_at(tmp_path)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        events.append("up")
        async with auth.lifespan(app):
            yield {"own": "state"}
        events.append("down")

    app = FastAPI(lifespan=lifespan)
    app.mount("/auth", auth)
    for _ in range(2):
        async with running(app) as client:
            await the_whole_way(client, "/auth")
    assert events == ["up", "down"] * 2


async def test_two_in_one_process(tmp_path: Path) -> None:
    """Two databases, two issuers: neither takes the other's tokens, and both run at once."""
    customers, staff = auth_at(tmp_path / "a", f"{SITE}/auth"), auth_at(tmp_path / "b", f"{SITE}/staff")

    @asynccontextmanager
    async def both(app: FastAPI) -> AsyncIterator[None]:
        async with customers.lifespan(app), staff.lifespan(app):
            yield

    app = FastAPI(lifespan=both)
    app.mount("/auth", customers)
    app.mount("/staff", staff)
    async with running(app) as client:
        body = {"username": "ada", "password": PASSWORD}
        await client.post("/auth/register", json=body)
        token = (await client.post("/auth/login", json=body)).json()["access_token"]
        assert (await client.post("/staff/login", json=body)).status_code == 401
        refused = await client.get("/staff/profile", headers={"Authorization": f"Bearer {token}"})
        assert (refused.status_code, refused.json()["code"]) == (401, "token_invalid")
        assert (await client.get("/auth/profile", headers={"Authorization": f"Bearer {token}"})).status_code == 200
        await the_whole_way(client, "/auth")
        await the_whole_way(client, "/staff")


async def test_not_started(tmp_path: Path) -> None:
    """Mounted, and its lifespan forgotten: an error that says what to do, from the service and from a local guard."""
    auth = auth_at(tmp_path)
    app = FastAPI()
    app.mount("/auth", auth)
    async with running(app) as client:
        with pytest.raises(RuntimeError, match="pass its `lifespan` to your application"):
            await client.get("/auth/livez")
    with pytest.raises(RuntimeError, match="has not been started"):
        Guard.local(auth).verify("a.b.c")
    assert os.listdir(tmp_path) == [], "nothing was made by mounting it"


async def test_started_twice(tmp_path: Path) -> None:
    """One object, one lifespan at a time: the second would close the first one's database under it."""
    auth = auth_at(tmp_path)
    async with auth.lifespan():
        with pytest.raises(RuntimeError, match="started already"):
            async with auth.lifespan():
                pass
        transport = httpx2.ASGITransport(app=auth)
        async with httpx2.AsyncClient(transport=transport, base_url=SITE) as client:
            assert (await client.get("/auth/livez")).status_code == 200
    async with auth.lifespan():
        pass


async def test_started_twice_at_once(tmp_path: Path) -> None:
    """⚑ Two lifespans begin before either has opened anything: one serves, the other hears of it."""
    auth = auth_at(tmp_path)
    serving, done = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with auth.lifespan():
            serving.set()
            await done.wait()

    tasks = [asyncio.create_task(live()) for _ in range(2)]
    await serving.wait()
    done.set()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(str(each) for each in ended) == ["None", app_module._STARTED]


async def test_a_start_that_failed_can_be_tried_again(tmp_path: Path) -> None:
    """The flag of the first does not stay up."""
    auth = auth_at(tmp_path / "file" / "data")
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="WATCHWORD_DATA_DIR"):
        async with auth.lifespan():
            pass
    (tmp_path / "file").unlink()
    async with auth.lifespan():
        pass


async def test_settings_are_faulty_at_once_and_the_environment_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong value is refused where it is written; what the environment says is the standing service's business."""
    with pytest.raises(SettingsError):
        auth_at(tmp_path, "http://example.com/auth")
    monkeypatch.setenv("WATCHWORD_ALGORITHM", "RS256")
    monkeypatch.setenv("DATABASE_URL", "sqlite:////nowhere/at/all.db")
    auth = auth_at(tmp_path)
    assert (auth.settings.algorithm, auth.settings.database_path.parent) == ("ES256", tmp_path)


async def test_the_feed_of_a_mounted_service(tmp_path: Path) -> None:
    """A guard elsewhere follows it under the mount; it is let go when the service stops."""
    auth = auth_at(tmp_path)
    app = FastAPI(lifespan=auth.lifespan)
    app.mount("/auth", auth)
    async with running(app) as client:
        page = (await client.get("/auth/revocations")).json()
        await the_whole_way(client, "/auth")
        after = (await client.get("/auth/revocations", params={"after": page["cursor"]})).json()
        assert [entry["kind"] for entry in after["entries"]] == ["session"]
        auth.stop_waiting()
        answer = await client.get("/auth/revocations", params={"after": after["cursor"]}, timeout=60)
        assert answer.json()["entries"] == []


async def test_a_websocket_is_declined(tmp_path: Path) -> None:
    """We speak http only."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    auth = auth_at(tmp_path)
    async with auth.lifespan():
        await auth({"type": "websocket", "path": "/auth", "headers": []}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


# The guide -----------------------------------------------------------------------------------------------------------


def _snippets() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "guides" / "embed.md").read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("number", range(len(_snippets())))
async def test_the_guide_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Each snippet of the guide, run as it stands in an empty directory: the whole way, and its guarded route."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(_snippets()[number], f"embed.md #{number}", "exec"), names)
    auth: Watchword = names["auth"]
    at = auth.settings.path_prefix
    async with running(names["app"]) as client:
        token = await the_whole_way(client, at)
        answer = await client.get("/posts", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401
        assert answer.json()["code"] == "token_revoked"
        body = {"username": "ada", "password": PASSWORD}
        await client.post(f"{at}/register", json=body)
        token = (await client.post(f"{at}/login", json=body)).json()["access_token"]
        assert (await client.get("/posts", headers={"Authorization": f"Bearer {token}"})).status_code == 200
        assert (await client.get("/posts")).json()["code"] == "token_missing"


def test_importing_the_guard_costs_nothing_of_the_service() -> None:
    """`watchword.guard` and `from watchword import __version__` load no server, no driver, no framework."""
    program = (
        "import sys, watchword, watchword.guard\n"
        "watchword.__version__\n"
        "print([name for name in ('starlette', 'uvicorn', 'sqlite3', 'argon2', 'structlog', 'fastapi') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


async def test_claims_by_a_function_of_the_application(tmp_path: Path) -> None:
    """The owner's routes see them; an error of it is a 500 and no token, and the next log-in works again."""
    broken = False

    def claims(user: TokenUser) -> dict[str, object]:
        if broken:
            raise KeyError("tenant")
        return {"name": user.name, "staff": "staff" in user.roles}

    auth = Watchword(Settings(public_url=f"{SITE}/auth", data_dir=tmp_path, **UNLIMITED), claims=claims)
    guard = Guard.local(auth, issuer=auth.settings.public_url)

    async def hello(request: Request) -> PlainTextResponse:
        caller = guard.check(request.headers.get("Authorization"))
        return PlainTextResponse(f"Welcome, {caller.claim('name', str)} {caller.claim('staff', bool)}")

    app = Starlette(routes=[Mount("/auth", auth), Route("/hello", hello)], lifespan=auth.lifespan)
    async with running(app) as client:
        body = {"username": "ada", "password": PASSWORD}
        assert (await client.post("/auth/register", json={**body, "name": "Ada"})).status_code == 201
        token = (await client.post("/auth/login", json=body)).json()["access_token"]
        assert (await client.get("/hello", headers={"Authorization": f"Bearer {token}"})).text == "Welcome, Ada False"
        broken = True
        for path in ("/auth/login", "/auth/refresh"):
            failed = await client.post(path, json=body if path == "/auth/login" else None)
            assert (failed.status_code, failed.json()["code"]) == (500, "internal_error"), path
            assert "access_token" not in failed.text
            assert "tenant" not in failed.text
        form = {"grant_type": "password", **body}
        assert (await client.post("/auth/token", data=form)).json()["error"] == "server_error"
        broken = False
        assert (await client.post("/auth/refresh")).status_code == 200
        assert (await client.post("/auth/login", json=body)).status_code == 200


@pytest.mark.parametrize("wrong", [{}, {"secret": "hidden"}, "http://hidden", "", Settings, 0], ids=repr)
def test_only_settings_are_settings(wrong: Any) -> None:
    """⚑ An empty dict was taken for the defaults."""
    with pytest.raises(TypeError, match=r"write Watchword\(Settings\(") as caught:
        Watchword(wrong)
    assert "hidden" not in str(caught.value)


def test_settings_have_names() -> None:
    with pytest.raises(TypeError, match=r"write Settings\(public_url="):
        Settings("http://x")  # type: ignore[arg-type,misc]


def test_a_function_for_claims_that_cannot_be_asked_is_refused_at_once(tmp_path: Path) -> None:
    """An asynchronous one, none at all, and one beside the setting."""

    async def later(_: TokenUser) -> dict[str, object]:
        return {}

    settings = Settings(public_url=f"{SITE}/auth", data_dir=tmp_path)
    for wrong in (later, "tenant=name", {"tenant": "acme"}):
        with pytest.raises(TypeError, match="plain function"):
            Watchword(settings, claims=wrong)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="beside claims="):
        Watchword(Settings(public_url=f"{SITE}/auth", data_dir=tmp_path, claims="name=name"), claims=lambda _: {})
