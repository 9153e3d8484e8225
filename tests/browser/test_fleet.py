"""A fleet: two APIs, a page in two tabs with a WebSocket, a script with an API key, a job with an account of its own.

What ends a right is heard by all of them. How soon is printed (`pytest -s`); no time is asserted, since a busy machine
would miss it.
"""
# No `from __future__ import annotations` here: FastAPI evaluates annotations, and these name local variables.

import json
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import pytest
from fastapi import FastAPI, WebSocket
from fastapi.middleware.cors import CORSMiddleware
from playwright.sync_api import Browser, Page

from tests.browser.front_end import Person, Site, do, until
from tests.e2e.client import PASSWORD, bearer
from tests.e2e.fixtures import Serve
from tests.e2e.server import UNLIMITED, Server
from tests.guard_adapters.serving import Api, on_uvicorn
from watchword.api_keys import attenuate
from watchword.guard import Caller, Guard, Subprotocol
from watchword.guard.fastapi import FastAPIGuard

pytestmark = [pytest.mark.rare, pytest.mark.timeout(600)]
ORDERS, BILLING = "https://orders.example", "https://billing.example"
AUDIENCES = (ORDERS, BILLING)
APART = {"Connection": "close"}
"""Each request on a connection of its own, which any of the service's workers may take."""
TIMES = 12
"""Enough for each worker to be asked."""
SCOPES = ("--scope", "orders:read", "--scope", "orders:write")
SOCKET = """async ({ url, resource }) => {
    globalThis.parted = null;
    globalThis.socket = new WebSocket(url, ["watchword.bearer", await auth.token({ resource })]);
    socket.onclose = ({ code, reason }) => { globalThis.parted = [code, reason]; };
    await new Promise((done) => { socket.onmessage = done; });
}"""


def application(server: Server, origin: str, audience: str) -> FastAPI:
    """One API: `/read` also for keys and accounts, `/write`, and a WebSocket."""
    auth = FastAPIGuard(Guard(server.url, audience=audience, tokens_from=Subprotocol()))
    app = FastAPI(lifespan=auth.lifespan)
    app.add_middleware(CORSMiddleware, allow_origins=[origin], allow_methods=["*"], allow_headers=["*"])
    reads = auth.required(scopes="orders:read")

    @app.get("/read")
    async def read(caller: Annotated[Caller, auth.required(scopes="orders:read", api_keys=True)]) -> str:
        return caller.user_id

    @app.get("/write")
    async def write(caller: Annotated[Caller, auth.required(scopes="orders:write", api_keys=True)]) -> str:
        return caller.user_id

    @app.websocket("/live")
    async def live(socket: WebSocket, caller: Annotated[Caller, reads]) -> None:
        await socket.accept()
        await socket.send_text(caller.user_id)
        async for text in socket.iter_text():
            await socket.send_text(text)

    return app


class Fleet:
    """The service, its APIs by audience, and what was handed out: names → audience, path and token."""

    def __init__(self, server: Server, apis: dict[str, Api]) -> None:
        self.server = server
        self.apis = apis
        self.held: dict[str, tuple[str, str, str]] = {}

    def run(self, *command: str) -> str:
        """A command beside the service."""
        done = self.server.command(*command)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ask(self, name: str) -> int:
        """The status that a holder's request gets."""
        audience, path, token = self.held[name]
        return self.apis[audience].ask(path, list(bearer(token).items())).status

    def statuses(self) -> dict[str, int]:
        """What everyone gets."""
        return {name: self.ask(name) for name in self.held}

    def hears(self, what: str, **changed: int) -> None:
        """Wait until these are answered so; then, and for some time, no one's answer is another."""
        began = time.monotonic()
        names = {name.replace(" ", "_"): name for name in self.held}
        wanted = {names[name]: status for name, status in changed.items()}
        eventually(lambda: all(self.ask(name) == status for name, status in wanted.items()))
        print(f"{what}: heard everywhere after {time.monotonic() - began:.2f} s")
        expected = dict.fromkeys(self.held, 200) | wanted
        for _ in range(5):
            assert self.statuses() == expected
        for name, status in wanted.items():
            if status != 200:
                del self.held[name]


def eventually(holds: Callable[[], bool]) -> None:
    """Wait; the time limit of the test ends what never comes."""
    while not holds():
        time.sleep(0.01)


def kid(token: str) -> str:
    """Which key has signed a token."""
    head = token.split(".", maxsplit=1)[0]
    return str(json.loads(urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"])


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


@pytest.fixture
def fleet(serve: Serve, site: Site) -> Iterator[Fleet]:
    scopes = "*=orders:read,clerk=orders:write"
    server = serve("--workers", "2", **UNLIMITED, WATCHWORD_ALLOWED_ORIGINS=site.origin, WATCHWORD_SCOPES=scopes)
    with ExitStack() as stack:
        apps = {audience: application(server, site.origin, audience) for audience in AUDIENCES}
        apis = {name: stack.enter_context(on_uvicorn(app, ws="wsproto", lifespan="on")) for name, app in apps.items()}
        yield Fleet(server, apis)


@pytest.fixture
def tabs(chromium: Browser, site: Site, fleet: Fleet) -> Iterator[list[Page]]:
    """Two tabs of one browser, whose page calls both APIs."""
    context = chromium.new_context()
    person = Person(context, site, f"http://localhost:{fleet.server.port}")
    apis = [{"origin": origin_of(api), "resource": audience} for audience, api in fleet.apis.items()]
    yield [person.tab(apis=apis), person.tab(apis=apis)]
    context.close()


def origin_of(api: Api) -> str:
    return f"http://localhost:{api.port}"


def test_everyone_hears_of_what_ends_a_right(fleet: Fleet, tabs: list[Page]) -> None:
    """⚑ A role that is taken away, a new signing key and a revoked one, a revoked API key, an account, a log-out."""
    one, two = tabs
    for audience in AUDIENCES:
        fleet.run("apis", "create", audience[8:].partition(".")[0], "--audience", audience, *SCOPES)
    made = dict(line.split("=", 1) for line in fleet.run("clients", "create", "nightly", "--scope", "orders:read",
                                                         "--api", "orders").split() if "=" in line)  # fmt: skip
    with fleet.server.client(headers=APART) as client:
        ada = client.register()["username"]
        fleet.run("users", "roles", ada, "--add", "clerk")
        form = {"grant_type": "password", "username": ada, "password": PASSWORD}
        asked = [form | {"resource": audience} for audience in AUDIENCES] * TIMES
        eventually(lambda: all(client.post("/token", data=each).is_success for each in asked))
        of_ada = client.post("/token", data=form).json()["access_token"]
        key = client.post("/api-keys", json={"name": "nightly"}, headers=bearer(of_ada)).json()
        job = {"grant_type": "client_credentials", **made, "resource": ORDERS}
        eventually(lambda: client.post("/token", data=job).is_success)
        of_job = client.post("/token", data=job).json()["access_token"]
    weak = attenuate(key["key"], scopes=["orders:read"], expires_in=3600, resource=ORDERS)
    do(one, "auth.logIn(given)", {"username": ada, "password": PASSWORD})
    until(two, "auth.state === 'in'")

    def hold_page() -> None:
        """The page's tokens, and a WebSocket in the first tab."""
        for name, audience in (("page at orders", ORDERS), ("page at billing", BILLING)):
            fleet.held[name] = (audience, "/read", do(one, "auth.token(given)", {"resource": audience}))
        live = {"url": f"ws://localhost:{fleet.apis[ORDERS].port}/live", "resource": ORDERS}
        one.evaluate(SOCKET, live)

    def works(tab: Page, path: str) -> list[int]:
        """What the page itself gets at both APIs; it refreshes by itself."""
        return [do(tab, "auth.fetch(given).then(({ status }) => status)", f"{origin_of(api)}{path}")
                for api in fleet.apis.values()]  # fmt: skip

    hold_page()
    fleet.held |= {
        "page writes": (BILLING, "/write", fleet.held["page at billing"][2]),
        "key at orders": (ORDERS, "/read", key["key"]),
        "key at billing": (BILLING, "/read", key["key"]),
        "key writes": (BILLING, "/write", key["key"]),
        "weak key": (ORDERS, "/read", weak),
        "job": (ORDERS, "/read", of_job),
    }
    fleet.hears("the start")
    # ⚑ Confused deputy: what is for one API opens no other, and a weakened key no more than it says.
    for token in (fleet.held["page at orders"][2], of_job, weak):
        assert fleet.apis[BILLING].ask("/read", list(bearer(token).items())).status == 401
    assert fleet.apis[ORDERS].ask("/write", list(bearer(weak).items())).status == 403
    assert works(one, "/write") == works(two, "/write") == [200, 200]

    fleet.run("users", "roles", ada, "--remove", "clerk")
    fleet.hears("a role", page_at_orders=401, page_at_billing=401, page_writes=401, key_writes=403)
    until(one, "parted !== null")
    assert do(one, "parted") == [4401, "token_revoked"]
    assert works(one, "/read") == works(two, "/read") == [200, 200]
    assert works(one, "/write") == works(two, "/write") == [403, 403]
    hold_page()

    former = kid(of_ada)
    fleet.run("keys", "rotate", "--yes")
    with fleet.server.client(headers=APART) as client:

        def signed_anew(audience: str) -> str | None:
            token = str(client.post("/token", data=form | {"resource": audience}).json()["access_token"])
            return None if kid(token) == former else token

        eventually(lambda: all(signed_anew(ORDERS) for _ in range(TIMES)))  # by both workers
        for name, audience in (("new at orders", ORDERS), ("new at billing", BILLING)):
            fleet.held[name] = (audience, "/read", str(signed_anew(audience)))
        fleet.hears(
            "a new signing key", new_at_orders=200, new_at_billing=200
        )  # and what the former has signed is good
        fleet.run("keys", "revoke", former, "--yes")
        fleet.hears("a revoked signing key", page_at_orders=401, page_at_billing=401, job=401)
        until(one, "parted !== null")
        assert do(one, "parted") == [4401, "token_revoked"]
        assert works(one, "/read") == works(two, "/read") == [200, 200]  # no one was logged out
        hold_page()
        eventually(lambda: kid(client.post("/token", data=job).json()["access_token"]) != former)
        fleet.held["job"] = (ORDERS, "/read", client.post("/token", data=job).json()["access_token"])

        fleet.run("api-keys", "revoke", key["about"]["id"], "--yes")
        fleet.hears("an API key", key_at_orders=401, key_at_billing=401, weak_key=401)

        fleet.run("clients", "disable", "nightly", "--yes")
        fleet.hears("a service account", job=401)
        eventually(lambda: all(client.post("/token", data=job).status_code == 401 for _ in range(TIMES)))

    do(two, "auth.logOut()")
    fleet.hears("a log-out", page_at_orders=401, page_at_billing=401)  # other sessions of ada's go on
    until(one, "parted !== null && auth.state === 'out'")
    assert do(one, "parted") == [4401, "token_revoked"]
    assert [each["kind"] for each in works(one, "/read")] == ["LoggedOut", "LoggedOut"]  # type: ignore[index]
    assert fleet.statuses() == {"new at orders": 200, "new at billing": 200}
