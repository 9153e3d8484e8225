"""One table of requests to guards that read more places, through every adapter; and the attacks on each place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Protocol
from urllib.parse import unquote

import pytest

from tests.guard_adapters import apps, in_process
from tests.guard_adapters.serving import Answer, on_wsgiref
from tests.guard_adapters.test_scenarios import Headers, Scenario, bearer, nothing, said
from watchword.guard import AccessCookie, Guard, OtherHeader
from watchword.testing import Issuer

ISSUER = Issuer("https://shop.test/auth", audience="orders")
PLACES = (AccessCookie(), OtherHeader("X-Access-Token"))
NAME = "__Host-watchword_access"
LOG_IN = "https://shop.test/auth/account/login"
PLAIN = 'Bearer realm="watchword"'
REVOKED = "0197f1a2-5b6c-7d8e-9f00-112233445566"
ISSUER.revoke_session(REVOKED)

OURS = ("Origin", "https://shop.test")
PAGE = ("Sec-Fetch-Mode", "navigate")
SCRIPT = ("Sec-Fetch-Mode", "cors")


class Asks(Protocol):
    """An application of one adapter."""

    def ask(self, path: str, headers: Any = (), method: str = "GET") -> Answer: ...


class Tokens:
    """What a scenario puts into its headers."""

    def good(self, **given: Any) -> str:
        return ISSUER.token(**({"user_id": "ada"} | given))

    def expired(self) -> str:
        return ISSUER.expired_token("ada")

    def revoked(self) -> str:
        return self.good(session_id=REVOKED)


def cookie(token: str, *more: tuple[str, str]) -> Headers:
    return [("Cookie", f"theme=dark; {NAME}={token}; lang=de"), *more]


def site(name: str) -> tuple[str, str]:
    return "Sec-Fetch-Site", name


def other(token: str) -> Headers:
    return [("X-Access-Token", f"Bearer {token}")]


EXPIRED = said("invalid_token", "The access token expired.")
MALFORMED = said("invalid_token", "The access token is malformed.")
HEADER = said("invalid_request", "The Authorization header is malformed.")
NOT_OURS = (403, "origin_refused")

# fmt: off
COOKIE = [
    Scenario("nothing sent", "/needs", nothing, 401, "token_missing", PLAIN),
    Scenario("nothing sent, nothing needed", "/open", nothing, 200, nobody=True),
    Scenario("nobody where one may be", "/maybe", nothing, 200, nobody=True),
    Scenario("the header, as ever", "/needs", lambda t: bearer(t.good()), 200),
    Scenario("a cookie", "/needs", lambda t: cookie(t.good()), 200),
    Scenario("a cookie where one may be", "/maybe", lambda t: cookie(t.good()), 200),
    Scenario("a cookie with the scope", "/scoped", lambda t: cookie(t.good(scopes=["orders:write"])), 200),
    Scenario("a cookie without the role", "/admin", lambda t: cookie(t.good(), PAGE), 403, "role_missing",
             said("insufficient_scope", "The token's user lacks a role.")),
    Scenario("in a group", "/group/one", lambda t: cookie(t.good(scopes=["orders:read"])), 200),
    Scenario("another scheme beside the cookie", "/needs", lambda t: [("Authorization", "Basic Og=="),
             *cookie(t.good())], 200),
    Scenario("the cookie of another host's name", "/needs", lambda t: [("Cookie", f"watchword_access={t.good()}")],
             401, "token_missing", PLAIN),
    Scenario("a name that begins alike", "/needs", lambda t: [("Cookie", f"{NAME}x={t.good()}")], 401,
             "token_missing", PLAIN),
    Scenario("token in the query", "/needs?access_token=x", nothing, 401, "token_missing", PLAIN),
    Scenario("rubbish in the cookie", "/needs", lambda _: cookie("x"), 401, "token_malformed", MALFORMED),
    Scenario("9000 letters in the cookie", "/needs", lambda _: cookie("a" * 9000), 401, "token_malformed", MALFORMED),
    Scenario("bytes in the cookie", "/needs", lambda _: [("Cookie", NAME.encode() + b"=\xff\xfe")], 401,
             "token_malformed", MALFORMED),
    Scenario("expired, asked by a script", "/needs", lambda t: cookie(t.expired(), SCRIPT), 401, "token_expired",
             EXPIRED),
    Scenario("expired where one may be", "/maybe", lambda t: cookie(t.expired(), SCRIPT), 401, "token_expired",
             EXPIRED),
    # Two at once
    Scenario("two cookies of the name", "/needs", lambda t: [("Cookie", f"{NAME}={t.good()}; {NAME}=x")], 400,
             "cookie_repeated"),
    Scenario("two cookies, where one may be", "/maybe", lambda t: [("Cookie", f"{NAME}=x; {NAME}={t.good()}")], 400,
             "cookie_repeated"),
    Scenario("cookie and header", "/needs", lambda t: [*bearer(t.good()), *cookie(t.good())], 400, "invalid_request"),
    Scenario("cookie and other header", "/needs", lambda t: [*other(t.good()), *cookie(t.good())], 400,
             "invalid_request"),
    Scenario("both headers", "/needs", lambda t: [*bearer(t.good()), *other(t.good())], 400, "invalid_request"),
    Scenario("both headers, where one may be", "/maybe", lambda t: [*bearer(t.good()), *other("x")], 400,
             "invalid_request"),
    Scenario("two Authorization headers and a cookie", "/needs",
             lambda t: [*bearer(t.good()), *bearer(t.good()), *cookie(t.good())], 400, "invalid_request"),
    # CSRF
    Scenario("a form of ours", "/needs", lambda t: cookie(t.good(), OURS, site("same-origin"), PAGE), 200,
             method="POST"),
    Scenario("a form of ours, in an older browser", "/needs", lambda t: cookie(t.good(), OURS), 200, method="POST"),
    Scenario("a form of ours without a referrer", "/needs",
             lambda t: cookie(t.good(), ("Origin", "null"), site("same-origin")), 200, method="POST"),
    Scenario("no proof at all", "/needs", lambda t: cookie(t.good()), *NOT_OURS, method="POST"),
    Scenario("a form from elsewhere", "/needs",
             lambda t: cookie(t.good(), ("Origin", "https://evil.test"), site("cross-site"), PAGE), *NOT_OURS,
             method="POST"),
    Scenario("a form from elsewhere, in an older browser", "/needs",
             lambda t: cookie(t.good(), ("Origin", "https://evil.test")), *NOT_OURS, method="POST"),
    Scenario("a form from a neighbour", "/needs",
             lambda t: cookie(t.good(), ("Origin", "https://blog.shop.test"), site("same-site")), *NOT_OURS,
             method="POST"),
    Scenario("our origin, but not by what the browser says", "/needs",
             lambda t: cookie(t.good(), OURS, site("cross-site")), *NOT_OURS, method="POST"),
    Scenario("our origin by plain http", "/needs", lambda t: cookie(t.good(), ("Origin", "http://shop.test")),
             *NOT_OURS, method="POST"),
    Scenario("an origin that begins alike", "/needs", lambda t: cookie(t.good(), ("Origin", "https://shop.test.evil")),
             *NOT_OURS, method="POST"),
    Scenario("a sandboxed page", "/needs", lambda t: cookie(t.good(), ("Origin", "null")), *NOT_OURS, method="POST"),
    Scenario("typed by hand is no form of ours", "/needs", lambda t: cookie(t.good(), site("none")), *NOT_OURS,
             method="POST"),
    Scenario("refused where one may be, too", "/maybe", lambda t: cookie(t.good(), SCRIPT, site("cross-site")),
             *NOT_OURS),
    Scenario("a script elsewhere reads", "/needs", lambda t: cookie(t.good(), SCRIPT, site("same-site")), *NOT_OURS),
    Scenario("an image elsewhere", "/needs", lambda t: cookie(t.good(), ("Sec-Fetch-Mode", "no-cors"),
             site("cross-site")), *NOT_OURS),
    Scenario("a script elsewhere reads, in an older browser", "/needs",
             lambda t: cookie(t.good(), ("Origin", "https://blog.shop.test")), *NOT_OURS),
    Scenario("a script of ours reads, in an older browser", "/needs", lambda t: cookie(t.good(), OURS), 200),
    Scenario("a frame of a neighbour", "/needs", lambda t: cookie(t.good(), PAGE, site("same-site"),
             ("Sec-Fetch-Dest", "iframe")), *NOT_OURS),
    Scenario("an object of a neighbour", "/needs", lambda t: cookie(t.good(), PAGE, site("same-site"),
             ("Sec-Fetch-Dest", "object")), *NOT_OURS),
    Scenario("a frame of ours", "/needs", lambda t: cookie(t.good(), PAGE, site("same-origin"),
             ("Sec-Fetch-Dest", "iframe")), 200),
    Scenario("a link of a neighbour", "/needs", lambda t: cookie(t.good(), PAGE, site("same-site"),
             ("Sec-Fetch-Dest", "document")), 200),
    Scenario("a link from elsewhere", "/needs", lambda t: cookie(t.good(), PAGE, site("cross-site")), 200),
    Scenario("a script of ours reads", "/needs", lambda t: cookie(t.good(), SCRIPT, site("same-origin")), 200),
    Scenario("a bearer token needs no proof", "/needs",
             lambda t: [*bearer(t.good()), ("Origin", "https://evil.test"), site("cross-site")], 200, method="POST"),
    # The other header
    Scenario("the other header", "/needs", lambda t: other(t.good()), 200),
    Scenario("the other header beside Basic", "/needs", lambda t: [("Authorization", "Basic Og=="), *other(t.good())],
             200),
    Scenario("the other header, a change", "/needs", lambda t: other(t.good()), 200, method="POST"),
    Scenario("the other header without a scheme", "/needs", lambda t: [("X-Access-Token", t.good())], 401,
             "token_missing", PLAIN),
    Scenario("the other header, rubbish", "/needs", lambda _: other("x y"), 400, "authorization_malformed", HEADER),
    Scenario("the other header twice", "/needs", lambda t: other(t.good()) * 2, 400, "invalid_request"),
    # Pages
    Scenario("a page without a token", "/needs?a=1&b=%2F", lambda _: [PAGE], 303, leads_to="/needs?a=1&b=%2F"),
    Scenario("a page with an expired token", "/needs", lambda t: cookie(t.expired(), PAGE), 303, leads_to="/needs"),
    Scenario("a page with a revoked token", "/needs", lambda t: cookie(t.revoked(), PAGE), 303, leads_to="/needs"),
    Scenario("a page in an older browser", "/needs", lambda _: [("Accept", "text/html,*/*;q=0.8")], 303,
             leads_to="/needs"),
    Scenario("a page in a staging site", "/needs", lambda _: [PAGE, ("Authorization", "Basic Og==")], 303,
             leads_to="/needs"),
    Scenario("a page of a group", "/group/one", lambda _: [PAGE], 303, leads_to="/group/one"),
    Scenario("a page, its HEAD", "/needs", lambda _: [PAGE], 303, leads_to="/needs", method="HEAD"),
    Scenario("a script without a token", "/needs", lambda _: [SCRIPT, ("Accept", "text/html")], 401, "token_missing",
             PLAIN),
    Scenario("a program", "/needs", lambda _: [("Accept", "*/*")], 401, "token_missing", PLAIN),
    Scenario("a form without a token", "/needs", lambda _: [PAGE, OURS], 401, "token_missing", PLAIN, method="POST"),
    Scenario("a page with rubbish", "/needs", lambda _: cookie("x", PAGE), 401, "token_malformed", MALFORMED),
    Scenario("a page, a program's expired header", "/needs", lambda t: [*bearer(t.expired()), PAGE], 401,
             "token_expired", EXPIRED),
    Scenario("a page that wants a recent log-in", "/recent", lambda t: cookie(t.good(auth_time=1), PAGE), 401,
             "reauthentication_required", said("insufficient_user_authentication", "A more recent log-in is required.",
             ', max_age="300"')),
]
# fmt: on

MakeApi = Callable[[Guard, asyncio.AbstractEventLoop], Asks]


def _in_asgi(make: Callable[[Guard], Any]) -> MakeApi:
    return lambda guard, loop: in_process.AsgiApi(make(guard), loop)


def _in_aiohttp(guard: Guard, loop: asyncio.AbstractEventLoop) -> Asks:
    app = apps.aiohttp(guard)
    app.freeze()
    return in_process.AiohttpApi(app, loop)


ADAPTERS: dict[str, MakeApi] = {
    **{name: _in_asgi(make) for name, make in apps.ASGI.items()},
    "flask": lambda guard, _: in_process.WsgiApi(apps.flask(guard)),
    "django-wsgi": lambda guard, _: in_process.WsgiApi(apps.django_wsgi(guard)),
    "django-asgi": _in_asgi(apps.django_asgi),
    "drf": lambda guard, _: in_process.WsgiApi(apps.django_wsgi(guard), "/drf"),
    "ninja": lambda guard, _: in_process.WsgiApi(apps.django_wsgi(guard), "/ninja"),
    "wsgi": lambda guard, _: in_process.WsgiApi(apps.plain_wsgi(guard)),
    "aiohttp": _in_aiohttp,
}


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture(scope="module", params=ADAPTERS)
def api(request: pytest.FixtureRequest, loop: asyncio.AbstractEventLoop) -> Asks:
    """One adapter after the other, its guard reading all places."""
    return ADAPTERS[request.param](ISSUER.guard(tokens_from=PLACES), loop)


def prefix_of(api: Asks) -> str:
    return getattr(api, "prefix", "")


@pytest.mark.parametrize("scenario", COOKIE, ids=lambda scenario: scenario.name)
def test_the_table_of_places(scenario: Scenario, api: Asks) -> None:
    """Status, code, challenge and the way to the log-in page are the same everywhere."""
    answer = api.ask(scenario.path, scenario.headers(Tokens()), scenario.method)  # type: ignore[arg-type]
    if scenario.leads_to:
        assert answer.status == 303, answer
        log_in, _, path = answer.headers["location"].partition("?next=")
        assert (log_in, unquote(path)) == (LOG_IN, prefix_of(api) + scenario.leads_to)
        assert (answer.headers["cache-control"], answer.body) == ("no-store", b"")
        return
    status = {200, 201} if scenario.status == 200 else {scenario.status}
    assert answer.status in status, answer
    assert answer.code == scenario.code, answer
    if scenario.code is None:
        assert answer.user() == (None if scenario.nobody else "ada")
    else:
        assert answer.headers.get("www-authenticate") == scenario.challenge


KEY = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")


@pytest.mark.parametrize("adapter", ["flask", "django-wsgi", "drf", "ninja", "wsgi", "aiohttp"])
@pytest.mark.parametrize(
    "handshake",
    [[("Upgrade", "websocket"), KEY], [("Upgrade", "WebSocket")], [("Upgrade", "h2c, websocket")], [KEY]],
)
def test_a_handshake_that_comes_as_a_request_acts_like_a_post(
    adapter: str, handshake: list[tuple[str, str]], loop: asyncio.AbstractEventLoop
) -> None:
    """`@app.route("/ws", websocket=True)`: a page from elsewhere opened it with its visitor's cookie, as by a link."""
    api = ADAPTERS[adapter](ISSUER.guard(tokens_from=PLACES), loop)
    for more in ([], [("Origin", "https://evil.test")], [("Origin", "https://evil.test"), PAGE, site("cross-site")]):
        answer = api.ask("/needs", [*cookie(Tokens().good(), *more), *handshake])
        assert (answer.status, answer.code) == (403, "origin_refused")
    assert api.ask("/needs", [*cookie(Tokens().good(), OURS), *handshake]).user() == "ada"
    assert api.ask("/needs", [*cookie(Tokens().good()), ("Upgrade", "h2c")]).user() == "ada"


def test_a_guard_that_was_not_told_reads_the_header_only(loop: asyncio.AbstractEventLoop) -> None:
    """Forgetting fails closed, in every adapter."""
    token = Tokens().good()
    for name, make in ADAPTERS.items():
        plain = make(ISSUER.guard(), loop)
        for headers in (cookie(token, OURS, site("same-origin")), other(token), cookie(token, PAGE)):
            assert plain.ask("/needs", headers).code == "token_missing", name
        assert plain.ask("/needs", bearer(token)).status == 200


HOSTILE = [
    "//evil.test",
    "//evil.test/%2e%2e",
    "/\\evil.test",
    "/%5Cevil.test",
    "/%0d%0aSet-Cookie:x",
    "/%00",
    "///evil.test",
    "/needs/%F0%9F%98%80",
    "/needs?next=//evil.test",
    "/needs?" + "a" * 3000,
    "/@evil.test",
    "/.evil.test",
    "/javascript:alert(1)",
]


@pytest.mark.parametrize("path", HOSTILE)
def test_a_return_path_leads_nowhere_else(path: str) -> None:
    """Whatever is asked for: the log-in page is ours, and what follows is a path that every reader takes for one."""
    from watchword.guard.asgi import GuardMiddleware

    loop = asyncio.new_event_loop()
    guarded: Any = [
        in_process.AsgiApi(GuardMiddleware(_never, ISSUER.guard(tokens_from=PLACES)), loop),
        in_process.WsgiApi(_everything_guarded()),
    ]
    for api in guarded:
        answer = api.ask(path, [PAGE])
        assert answer.status in {303, 308}, answer  # Flask itself may first lead `//` to `/`
        location = answer.headers["location"]
        if answer.status == 308:
            assert not location.startswith(("//", "https://evil"))
            continue
        log_in, _, back = location.partition("?next=")
        assert log_in == LOG_IN
        back = unquote(back)
        assert not back or (back.startswith("/") and back[1:2] not in {"/", "\\"})
        assert back.isascii()
        assert back.isprintable()
        assert " " not in back
    loop.close()


async def _never(*_: Any) -> None:
    raise AssertionError("it was let through")


def _everything_guarded() -> Any:
    from flask import Flask

    from watchword.guard.flask import FlaskGuard

    app = Flask(__name__)
    app.url_map.merge_slashes = False
    FlaskGuard(ISSUER.guard(tokens_from=PLACES)).protect(app)
    return app


def _set_cookie(answer: Answer) -> tuple[str, str]:
    name, _, rest = answer.headers["set-cookie"].partition("=")
    return name, rest.partition(";")[0]


def test_a_browser_that_comes_back_without_a_token_ends_at_the_refusal(api: Asks) -> None:
    """Three redirects of one path within ten seconds each; then the refusal, and from there anew."""
    headers: list[tuple[str, str]] = [PAGE]
    for _ in range(3):
        answer = api.ask("/needs", headers)
        assert answer.status == 303
        line = answer.headers["set-cookie"]
        assert line.startswith("__Host-watchword_returning=")
        for flag in ("Path=/", "HttpOnly", "Secure", "SameSite=Lax", "Max-Age=10"):
            assert flag in line
        name, value = _set_cookie(answer)
        headers = [PAGE, ("Cookie", f"{name}={value}")]
    refused = api.ask("/needs", headers)
    assert (refused.status, refused.code) == (401, "token_missing")
    assert "Max-Age=0" in refused.headers["set-cookie"]
    assert api.ask("/group/one", headers).status == 303, "another path is no loop"
    assert api.ask("/needs", [PAGE, ("Cookie", f"{name}=x.9")]).status == 303


def test_what_is_missing_is_logged_once(loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture) -> None:
    """Else a log-in that brings no cookie ends in a refusal that speaks of a header."""
    from watchword.guard.asgi import GuardMiddleware

    api = in_process.AsgiApi(GuardMiddleware(_never, ISSUER.guard(tokens_from=AccessCookie())), loop)
    for logged in range(2):
        headers = [PAGE]
        while (answer := api.ask("/needs", headers)).status == 303:
            assert len(caplog.records) == logged, "not before it is known"
            headers = [PAGE, ("Cookie", "=".join(_set_cookie(answer)))]
        assert (answer.status, answer.code) == (401, "token_missing")
    (line,) = caplog.messages
    for named in ("WATCHWORD_ACCESS_COOKIE=on", "__Host-watchword_access"):
        assert named in line


@pytest.mark.parametrize("said_before", ["x.1", "{path}.4", "{path}.-1", "{path}.", "{path}.1e9", "{path}"])
def test_a_forged_count_makes_a_refusal_at_most(said_before: str, api: Asks) -> None:
    first = api.ask("/needs", [PAGE])
    path = _set_cookie(first)[1].partition(".")[0]
    value = said_before.format(path=path)
    answer = api.ask("/needs", [PAGE, ("Cookie", f"__Host-watchword_returning={value}")])
    assert answer.status == (303 if said_before.startswith("x") else 401)


def test_the_log_in_page_is_not_led_to_itself() -> None:
    """Where the guard stands around the service, too."""
    from watchword.guard.asgi import GuardMiddleware

    loop = asyncio.new_event_loop()
    api = in_process.AsgiApi(GuardMiddleware(_never, ISSUER.guard(tokens_from=AccessCookie())), loop)
    assert api.ask("/auth/account/login?next=/x", [PAGE]).status == 401
    assert api.ask("/auth/account/login/x", [PAGE]).status == 303
    loop.close()


def test_a_page_of_another_origin_is_named_whole() -> None:
    """The service then decides by WATCHWORD_ALLOWED_ORIGINS whether it leads there."""
    guard = ISSUER.guard(tokens_from=AccessCookie(origin="https://shop.test:8443"))
    api = in_process.WsgiApi(apps.flask(guard))
    location = api.ask("/needs", [PAGE]).headers["location"]
    assert unquote(location) == f"{LOG_IN}?next=https://shop.test:8443/needs"
    own = cookie(Tokens().good(), ("Origin", "https://shop.test:8443"))
    assert api.ask("/needs", own, "POST").status == 200
    assert api.ask("/needs", cookie(Tokens().good(), OURS), "POST").code == "origin_refused"


def test_without_a_log_in_page_a_browser_gets_the_refusal() -> None:
    guard = ISSUER.guard(tokens_from=AccessCookie(log_in=None))
    api = in_process.WsgiApi(apps.flask(guard))
    assert api.ask("/needs", [PAGE]).code == "token_missing"
    assert api.ask("/needs", cookie(Tokens().good())).status == 200


def test_on_loopback_the_bare_cookie_counts_and_under_https_it_does_not() -> None:
    """A cookie written over http must not choose an https session."""
    local = Issuer("http://127.0.0.1:4000")
    api = in_process.WsgiApi(apps.flask(local.guard(tokens_from=AccessCookie())))
    token = local.token("ada")
    assert api.ask("/needs", [("Cookie", f"watchword_access={token}")]).user() == "ada"
    assert api.ask("/needs", [("Cookie", f"__Host-watchword_access={token}")]).code == "token_missing"
    posted = [("Cookie", f"watchword_access={token}"), ("Origin", "http://localhost:4000")]
    assert api.ask("/needs", posted, "POST").status == 200
    posted[1] = ("Origin", "http://localhost:5173")
    assert api.ask("/needs", posted, "POST").code == "origin_refused"


def test_django_takes_places_from_its_settings() -> None:
    """As the guide writes it; and its answers vary by what was read."""
    from watchword.guard.django import _make

    made = _make({"issuer": "https://example.com/auth", "tokens_from": AccessCookie(), "protect": ["/"]})
    assert made.places is not None
    for given, expected in ((PLACES, "Authorization, Cookie, X-Access-Token"), (None, "Authorization")):
        api = in_process.WsgiApi(apps.django_wsgi(ISSUER.guard(tokens_from=given)))
        for path in ("/needs", "/drf/needs"):
            vary = api.ask(path, bearer(Tokens().good())).headers["vary"]
            assert expected in vary
            assert ("Cookie" in vary) == (given is not None)


def test_a_real_server_of_the_standard_library() -> None:
    """It joins repeated headers in its own way; what comes of it is no token that anyone chose."""
    with on_wsgiref(apps.flask(ISSUER.guard(tokens_from=PLACES))) as api:
        token = Tokens().good()
        assert api.ask("/needs", cookie(token)).user() == "ada"
        for lines in (
            [("Cookie", f"{NAME}={token}"), ("Cookie", f"{NAME}=x")],
            [("Cookie", f"{NAME}=x"), ("Cookie", f"{NAME}={token}")],
        ):
            assert api.ask("/needs", lines).status in {400, 401}
