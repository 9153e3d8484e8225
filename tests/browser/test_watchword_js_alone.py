"""`clients/js/watchword.js` in Node.js, beside a service and an API whose answers are made up."""

from __future__ import annotations

from tests.browser.test_watchword_js_slips import run

API = "https://api.example"
# From here on the service answers as `refreshing` says, a day has passed, and each request is noted as the API sees it.
OLD = """
const awake = setInterval(() => {}, 1000);
const asked = [];
const made = (sub) => `${part({})}.${part({ sub, sid: sub, iat: 2 })}.x`;
const renewed = (sub) => Response.json({ access_token: made(sub), expires_in: 900 });
let refreshing = async () => renewed("u");
let answering = ({ referrerPolicy: policy, referrer }) => Response.json({ policy, referrer });
globalThis.fetch = async (input, init) => {
    const request = new Request(input, init);
    const { pathname } = new URL(request.url);
    asked.push(`${request.method} ${pathname}`);
    return pathname === "/refresh" ? refreshing() : answering(request);
};
const now = Date.now;
Date.now = () => now() + 86_400_000;
"""
END = "clearInterval(awake);"


def test_who_no_longer_wants_an_answer_does_not_wait() -> None:
    """⚑ An aborted request waited for a refresh that hung, twenty seconds, and then failed as if the network had."""
    found = run(
        OLD
        + """
        refreshing = () => new Promise(() => {});
        const over = AbortSignal.abort();
        const told = [await said(() => auth.fetch(given.api, { signal: over })), asked.length];
        const control = new AbortController();
        const waiting = said(() => auth.fetch(given.api, { signal: control.signal }));
        while (asked.length === 0) await new Promise((done) => setTimeout(done, 1));
        control.abort();
        told.push(await waiting, asked);
        console.log(JSON.stringify(told));
        """
        + END,
        api=f"{API}/orders",
        apis=[API],
    )
    assert [found[0].partition(":")[0], found[2].partition(":")[0]] == ["AbortError"] * 2
    assert (found[1], found[3]) == (0, ["POST /refresh"])


def test_an_answer_that_is_no_longer_wanted_is_not_asked_for_again() -> None:
    """The refresh after a refusal hangs; the one who gave up is told so."""
    found = run(
        OLD
        + """
        await auth.token();
        refreshing = () => new Promise(() => {});
        answering = () => Response.json({ code: "token_revoked" }, { status: 401 });
        const control = new AbortController();
        const waiting = said(() => auth.fetch(given.api, { signal: control.signal }));
        while (asked.length < 3) await new Promise((done) => setTimeout(done, 1));
        control.abort();
        console.log(JSON.stringify(await waiting));
        """
        + END,
        api=f"{API}/orders",
        apis=[API],
    )
    assert found.startswith("AbortError")


def test_the_page_is_named_as_the_caller_says() -> None:
    """⚑ `no-referrer` was lost on the way, so the API saw the page's address."""
    found = run(
        OLD
        + """
        const told = [];
        for (const said of [{}, { referrerPolicy: "no-referrer" }, { referrer: "" }])
            told.push(await (await auth.fetch(given.api, said)).json());
        console.log(JSON.stringify(told));
        """
        + END,
        api=f"{API}/orders",
        apis=[API],
    )
    assert [each["policy"] for each in found] == ["", "no-referrer", ""]
    assert [each["referrer"] for each in found] == ["about:client", "about:client", ""]


def test_what_something_before_the_service_says_ends_no_session() -> None:
    """⚑ A proxy's own 401, as it asks for a password of its own, logged the user out in all tabs."""
    found = run(
        OLD
        + """
        const told = [];
        for (const status of [401, 403, 407, 404]) {
            refreshing = async () => new Response("<h1>Authorization Required</h1>", { status });
            const other = new Watchword({ url: given.url });
            told.push(await said(() => other.token()), other.state);
            other.close();
        }
        refreshing = async () => Response.json({ code: "session_ended", detail: "It has." }, { status: 401 });
        told.push(await said(() => auth.token()), auth.state);
        console.log(JSON.stringify(told));
        """
        + END
    )
    assert found[:-2:2] == [f"Unavailable: The service answered {status}." for status in (401, 403, 407, 404)]
    assert set(found[1:-2:2]) == {"unknown"}
    assert found[-2:] == ["LoggedOut: It has.", "out"]


def test_nothing_is_asked_as_someone_who_logged_in_elsewhere() -> None:
    """⚑ On the service's own pages, say: the form that Ada had filled in was sent as Bob's."""
    found = run(
        OLD
        + """
        refreshing = async () => renewed("bob");
        const told = [await said(() => auth.fetch(given.api, { method: "POST", body: "Ada's" })), asked];
        told.push(auth.session.userId, (await auth.fetch(given.api)).status);
        console.log(JSON.stringify(told));
        """
        + END,
        api=f"{API}/orders",
        apis=[API],
    )
    assert found[0] == "LoggedOut: Someone else has logged in meanwhile."
    assert found[1][:1] == ["POST /refresh"]
    assert (found[2:], "POST /orders" in found[1]) == (["bob", 200], False)


def test_an_API_whose_clock_is_ahead_costs_no_refresh_each_time() -> None:
    """⚑ For it every token is over: each request refreshed. An older token may be, so another is asked for once."""
    found = run(
        OLD
        + """
        let time = Date.now();
        Date.now = () => time;
        performance.now = () => time;
        answering = () => Response.json({ code: "token_expired" }, { status: 401 });
        const told = [];
        for (const later of [0, 1000, 1000, 60_000, 1000]) {
            time += later;
            told.push((await auth.fetch(given.api)).status, asked.filter((each) => each === "POST /refresh").length);
        }
        console.log(JSON.stringify(told));
        """
        + END,
        api=f"{API}/orders",
        apis=[API],
    )
    assert found[::2] == [401] * 5
    assert found[1::2] == [1, 1, 1, 2, 2]


def test_it_works_where_the_browser_keeps_no_data_of_a_site() -> None:
    """Its storage and its locks are closed then; no one could log in."""
    found = run(
        OLD
        + """
        const closed = async () => { throw new DOMException("Access is denied.", "SecurityError"); };
        const navigator = { locks: { request: closed, query: closed } };
        Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true });
        const other = new Watchword({ url: given.url });
        const told = [await other.start(), await said(() => other.logOut())];
        other.close();
        console.log(JSON.stringify(told));
        """
        + END
    )
    assert found == ["in", "nothing"]


def test_what_is_closed_while_it_waits_sets_no_timer() -> None:
    """An answer that came afterwards began it all again: it refreshed for ever, unseen."""
    found = run(
        OLD
        + """
        let answer;
        refreshing = () => new Promise((done) => { answer = done; });
        const waiting = auth.token();
        while (!answer) await new Promise((done) => setTimeout(done, 1));
        auth.close();
        let timers = 0;
        const real = globalThis.setTimeout;
        globalThis.setTimeout = (...given) => { timers += 1; return real(...given); };
        answer(renewed("u"));
        await waiting;
        console.log(JSON.stringify([timers, asked.length]));
        """
        + END
    )
    assert found == [0, 1]
