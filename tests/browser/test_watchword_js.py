"""`clients/js/watchword.js` in Chromium: tabs, lost answers, log-out, and whom the token is sent to."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tests.browser.front_end import (
    MODULE,
    Person,
    World,
    a_day_passes,
    account,
    ada,
    api_of_its_own,
    do,
    ended,
    lose_an_answer,
    start,
    until,
    wait_for,
    world,
)  # fmt: skip
from tests.guard_adapters.serving import on_uvicorn
from watchword import __version__

__all__ = ["ada", "world"]
pytestmark = pytest.mark.timeout(300)


def test_register_log_in_ask_log_out(world: World, ada: Person) -> None:
    """The whole way, in one tab; nothing that opens anything is left in storage."""
    tab = ada.tab()
    given = account(world.server)
    assert do(tab, "auth.start()") == "out"
    wrong = do(tab, "auth.logIn({ ...given, password: 'not this one' })", given)
    assert (wrong["kind"], wrong["code"]) == ("Refused", "invalid_credentials")
    refused = do(tab, "auth.register({ username: given, password: 'short' })", "ada-two")
    assert (refused["kind"], refused["errors"][0]["field"]) == ("Refused", "password")
    user = do(tab, "auth.logIn(given)", given)
    assert user["username"] == given["username"]
    assert do(tab, "auth.session.userId") == user["id"]
    assert do(tab, "auth.call('GET', '/profile')")["id"] == user["id"]
    stored = tab.evaluate("() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])")
    assert "eyJ" not in stored
    assert "wwr_" not in stored
    assert do(tab, "auth.logOut()") is None
    assert do(tab, "auth.token()")["kind"] == "LoggedOut"
    assert do(tab, "seen") == [
        ["change", "out", "refresh_token_missing"], ["change", "in", None], ["change", "out", "logged_out"],
    ]  # fmt: skip


def test_two_tabs_refresh_once(world: World, ada: Person) -> None:
    """A new tab gets the token of the other; when both wake up with a stale one, one of them refreshes for both."""
    one, given = ada.tab(), account(world.server)
    do(one, "auth.logIn(given)", given)
    two = ada.tab()
    assert do(two, "auth.start()") == "in"
    assert ada.refreshes() == 0
    assert do(two, "auth.token()") == do(one, "auth.token()")
    for tab in (one, two):  # a day passes
        a_day_passes(tab)
    for tab in (one, two):
        start(tab, "auth.token()")
    tokens = [ended(tab) for tab in (one, two)]
    assert ada.refreshes() == 1
    until(one, "auth.state === 'in'")
    assert tokens[0] == tokens[1]
    assert do(one, "seen") == [["change", "in", None]]  # a refresh changes nothing that anyone sees


def test_tabs_follow_a_log_out_and_a_log_in(world: World, ada: Person) -> None:
    """Both at once, and the service hears of it."""
    one, two = ada.tab(), ada.tab()
    first, second = account(world.server), account(world.server)
    do(one, "auth.logIn(given)", first)
    until(two, "auth.state === 'in'")
    token = do(two, "auth.token()")
    do(two, "auth.logOut()")
    until(one, "auth.state === 'out'")
    with world.server.client() as client:
        assert client.get("/profile", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    user = do(one, "auth.logIn(given)", second)
    until(two, "auth.state === 'in'")
    assert do(two, "auth.session.userId") == user["id"]


def test_a_lost_answer_costs_nothing(world: World, ada: Person) -> None:
    """Later than the grace the tab is still logged in, by itself."""
    tab = ada.tab(timeout=2)
    lose_an_answer(world, tab)
    session = do(tab, "auth.session.sessionId")
    world.proxy.mend()
    until(tab, "seen.some(([kind]) => kind === 'recovered')")
    assert do(tab, "[auth.state, auth.session.sessionId]") == ["in", session]
    assert do(tab, "auth.call('GET', '/profile')")["username"]


def test_the_token_goes_to_the_named_apis_only(world: World, ada: Person) -> None:
    """Not to another origin, named or by a redirect; a header that the caller set stays as it is."""
    tab = ada.tab(apis=[world.api])
    user = do(tab, "auth.logIn(given)", account(world.server))
    asked = "auth.fetch(given).then((answer) => answer.json())"
    assert do(tab, asked, f"{world.api}/orders") == {"orders of": user["id"], "body": ""}
    do(tab, asked, f"{world.foreign}/anyone")
    own = "auth.fetch(given, { headers: { Authorization: 'Basic eDp5' } }).then((answer) => answer.json())"
    do(tab, own, f"{world.api}/anyone")
    for where in ("abroad", "here"):
        refused = do(tab, "auth.fetch(given)", f"{world.api}/moved/{where}")
        assert (refused["kind"], refused["code"]) == ("Refused", "redirected")
    paths = [(path, None if shown is None else shown.split()[0]) for path, shown, _ in world.heard]
    assert paths == [
        ("/orders", "Bearer"), ("/anyone", None), ("/anyone", "Basic"),
        ("/moved/abroad", "Bearer"), ("/moved/here", "Bearer"),
    ]  # fmt: skip


ORDERS = "https://orders.example"
CLAIMS = "JSON.parse(atob((await auth.token(given)).split('.')[1].replace(/-/g, '+').replace(/_/g, '/')))"


def test_an_API_of_its_own_gets_its_own_token(world: World, ada: Person) -> None:
    """⚑ For its audience, with the scopes that were named; asked for once, for all tabs; gone with the log-out."""
    for command in (
        ("scopes", "add", "*", "orders:read", "orders:write"),
        ("apis", "create", "orders", "--audience", ORDERS, "--scope", "orders:read", "--scope", "orders:write"),
    ):
        assert world.server.command(*command).returncode == 0
    given = account(world.server)
    form = {"grant_type": "password", **given, "resource": ORDERS, "scope": "orders:write"}
    with world.server.client() as client:
        wait_for(lambda: client.post("/token", data=form).status_code == 200)
    with on_uvicorn(api_of_its_own(world.server, world.site.origin, ORDERS)) as running:
        origin = f"http://localhost:{running.port}"
        api = {"origin": origin, "resource": ORDERS, "scope": "orders:read"}
        one, two = ada.tab(apis=[api, world.api]), ada.tab(apis=[api])
        do(one, "auth.logIn(given)", given)
        until(two, "auth.state === 'in'")
        asked = "auth.fetch(given).then((answer) => answer.json())"
        assert do(one, asked, f"{origin}/orders") == ["orders:read"]
        assert do(one, asked, f"{world.api}/orders")["orders of"] == do(one, "auth.session.userId")
        assert do(two, asked, f"{origin}/orders") == ["orders:read"]
        assert ada.refreshes() == 1
        refused = do(ada.tab(apis=[origin]), asked, f"{origin}/orders")
        assert refused["code"] == "token_invalid"  # the session's own token
        a_day_passes(two)
        assert do(two, asked, f"{origin}/orders") == ["orders:read"]
        assert ada.refreshes() == 2
    wide, own = do(one, CLAIMS, {"resource": ORDERS}), do(one, CLAIMS)
    assert (wide["aud"], wide["scope"], wide["sid"]) == (ORDERS, "orders:read orders:write", own["sid"])
    assert own["aud"] == world.server.url
    for wanted, code in (({"scope": "nothing:here"}, "invalid_scope"), ({"resource": "https://x"}, "invalid_target")):
        refused = do(one, "auth.token(given)", wanted)
        assert (refused["kind"], refused["code"]) == ("Refused", code)
    for slip in ({"scopes": "orders:read"}, {"scope": ""}, {"resource": None}):
        assert do(one, "auth.token(given)", slip)["kind"] == "TypeError"
    assert do(one, "auth.state") == do(two, "auth.state") == "in"
    do(one, "auth.logOut()")
    until(two, "auth.state === 'out'")
    assert do(two, "auth.token(given)", {"resource": ORDERS})["kind"] == "LoggedOut"
    limited = account(world.server)
    do(one, "auth.logIn(given)", limited | {"scope": "orders:read"})
    assert do(one, "auth.session.scopes") == ["orders:read"]
    assert do(one, "auth.token(given)", {"scope": "orders:write"})["code"] == "invalid_scope"
    assert do(one, CLAIMS, {"resource": ORDERS})["scope"] == "orders:read"


def test_nothing_is_asked_again_as_someone_else(world: World, ada: Person) -> None:
    """While a refusal is under way another tab logs in as someone else: the request is not theirs."""
    one, two = ada.tab(apis=[world.api]), ada.tab()
    do(one, "auth.logIn(given)", account(world.server))
    one.evaluate(
        """(url) => {
            const real = globalThis.fetch;
            globalThis.fetch = async (input, init) => {
                if (input.url !== url) return real(input, init);
                await new Promise((done) => auth.addEventListener("change", done, { once: true }));
                const headers = { "Content-Type": "application/problem+json" };
                return new Response('{"code": "token_revoked"}', { status: 401, headers });
            };
        }""",
        f"{world.api}/orders",
    )
    one.evaluate("url => { globalThis.running = caught(() => auth.fetch(url, { method: 'POST', body: 'x' })); }",
                 f"{world.api}/orders")  # fmt: skip
    other = do(two, "auth.logIn(given)", account(world.server))
    said = ended(one)
    assert (said["kind"], said["code"]) == ("LoggedOut", "user_changed")
    assert do(one, "auth.session.userId") == other["id"]
    assert world.heard == []


def test_it_loads_where_there_is_no_browser() -> None:
    """A server that renders pages may import it; so may a test of yours. It asks for nothing that is not there."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is missing: apt-get install nodejs")
    code = """import { LoggedOut, Unavailable, Watchword } from "./watchword.js";
        const auth = new Watchword({ url: "http://127.0.0.1:9", timeout: 1 });
        auth.addEventListener("trouble", ({ detail }) => console.log(detail.error.code, detail.retryIn > 0));
        await auth.start().catch((error) => console.log(error instanceof Unavailable, auth.state));
        auth.close();"""
    command, where = [node, "--input-type=module", "-e", code], MODULE.parent
    ran = subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.stdout.split(), ran.stderr) == (["offline", "true", "true", "unknown"], "")


def test_it_has_the_version_of_the_service() -> None:
    """Package and service are released together; npm finds the files that are there."""
    described = json.loads((MODULE.parent / "package.json").read_text("utf-8"))
    assert described["version"] == __version__
    assert {path.name for path in MODULE.parent.iterdir()} == {*described["files"], "package.json"}
    assert (MODULE.parent / described["exports"]["."]["default"]) == MODULE
