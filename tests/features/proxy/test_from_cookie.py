"""What a proxy hears that protects pages, and so lets the access cookie count."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx2
import pytest

from tests.e2e.client import bearer, refused
from tests.features.api import Api, served
from tests.identity.scenes import statements

NAME = "watchword_access"
OURS = {"Origin": "http://127.0.0.1:4000"}
PAGE = {"Sec-Fetch-Mode": "navigate"}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with served(tmp_path, access_cookie="on") as one:
        yield one


async def ask(
    api: Api, token: str | None, asked: str = "GET", query: str = "from=cookie", **more: str
) -> httpx2.Response:
    """Ask as a proxy does about a request of that method."""
    api.cookies.clear()
    headers = {"X-Forwarded-Method": asked, "X-Forwarded-Uri": "/orders?a=1"} | more
    if token is not None:
        headers["Cookie"] = f"theme=dark; {NAME}={token}"
    return await api.get(f"/verify?{query}", headers=headers)


async def test_the_cookie_opens_a_page(api: Api) -> None:
    token = await api.newcomer()
    answer = await ask(api, token)
    assert answer.status_code == 200
    assert answer.headers["x-auth-user"] == answer.json()["user"]
    refused(await ask(api, token, query="from=cookie&role=admin"), 403, "role_missing")


async def test_without_the_proxys_word_it_counts_for_nothing(api: Api) -> None:
    token = await api.newcomer()
    refused(await ask(api, token, query=""), 401, "token_missing")
    for query in (
        "from=cookies",
        "from=header",
        "from=",
        "from=cookie&from=cookie",
        "From=cookie",
        "from=cookie+header",
    ):
        answer = await ask(api, None, query=query, Authorization=f"Bearer {token}")
        refused(answer, 400, "invalid_request")
        assert (await ask(api, token, query=query)).status_code in {400, 401}


async def test_a_header_still_counts_and_both_do_not(api: Api) -> None:
    token = await api.newcomer()
    assert (await ask(api, None, Authorization=f"Bearer {token}")).status_code == 200
    assert (
        await ask(api, None, "POST", Authorization=f"Bearer {token}", Origin="https://evil.test")
    ).status_code == 200
    refused(await ask(api, token, Authorization=f"Bearer {token}"), 400, "invalid_request")
    twice = {"Cookie": f"{NAME}={token}; {NAME}=x", "X-Forwarded-Method": "GET"}
    refused(await api.get("/verify?from=cookie", headers=twice), 400, "cookie_repeated")


async def test_a_change_needs_a_page_of_ours(api: Api) -> None:
    """Whatever method the proxy itself asks with."""
    token = await api.newcomer()
    assert (await ask(api, token, "POST", **OURS)).status_code == 200
    assert (await ask(api, token, "POST", **OURS, **{"Sec-Fetch-Site": "same-origin"})).status_code == 200
    hostile: list[dict[str, str]] = [
        {},
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "none"},
        {**OURS, "Sec-Fetch-Site": "same-site"},
    ]
    for headers in hostile:
        for method in ("POST", "PUT", "DELETE", "PATCH", "post", "PROPFIND"):
            refused(await ask(api, token, method, **headers), 403, "origin_refused")
    script = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    refused(await ask(api, token, "GET", **script), 403, "origin_refused")
    frame = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Dest": "iframe"}
    refused(await ask(api, token, "GET", **frame, **PAGE), 403, "origin_refused")
    refused(await ask(api, token, "GET", Origin="https://evil.test"), 403, "origin_refused")
    assert (await ask(api, token, "GET", **{"Sec-Fetch-Site": "cross-site"}, **PAGE)).status_code == 200


async def test_a_socket_needs_one_too(api: Api) -> None:
    """Its handshake is a GET, of which the proxy hides that it is one."""
    token = await api.newcomer()
    key = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    assert (await ask(api, token, **key, **OURS)).status_code == 200
    refused(await ask(api, token, **key), 403, "origin_refused")
    refused(await ask(api, token, **key, Origin="https://evil.test"), 403, "origin_refused")


@pytest.mark.parametrize("methods", [[], ["GET", "GET"], [""], ["GET POST"], ["1"]])
async def test_a_proxy_that_does_not_say_the_method_lets_no_cookie_count(api: Api, methods: list[str]) -> None:
    """A slip in its configuration would otherwise take every POST for a GET."""
    token = await api.newcomer()
    api.cookies.clear()
    headers: Any = [("Cookie", f"{NAME}={token}"), *(("X-Forwarded-Method", each) for each in methods)]
    refused(await api.get("/verify?from=cookie", headers=headers), 400, "invalid_request")


async def test_a_browser_is_shown_the_way_to_the_log_in_page(api: Api) -> None:
    """In `Location`, which the proxy follows; and a program is not."""
    for token in (None, await expired(api), await revoked(api)):
        answer = await ask(api, token, **PAGE)
        assert answer.status_code == 401
        log_in, _, back = answer.headers["location"].partition("?next=")
        assert (log_in, unquote(back)) == ("http://127.0.0.1:4000/account/login", "/orders?a=1")
        assert "location" not in (await ask(api, token)).headers
        assert "location" not in (await ask(api, token, "POST", **PAGE)).headers
        assert "location" not in (await ask(api, token, query="", **PAGE)).headers
    late = f"Bearer {await expired(api)}"
    assert "location" not in (await ask(api, None, Authorization=late, **PAGE)).headers
    assert "location" in (await ask(api, None, Authorization="Basic Og==", **PAGE)).headers
    assert "location" not in (await ask(api, "x", **PAGE)).headers


@pytest.mark.parametrize(
    "uri", ["//evil.test", "/\\evil.test", "https://evil.test", "/a b", "/%0d%0aX", "", "/" + "a" * 3000]
)
async def test_the_way_back_leads_nowhere_else(api: Api, uri: str) -> None:
    answer = await ask(api, None, **PAGE, **{"X-Forwarded-Uri": uri})
    back = unquote(answer.headers["location"].partition("?next=")[2])
    assert back in ("", "/%0d%0aX")
    # And the log-in page decides again.
    page = await api.get(answer.headers["location"])
    assert "evil" not in page.text


async def test_where_no_cookie_is_set_the_proxy_hears_of_it(tmp_path: Path) -> None:
    async with served(tmp_path / "off") as api:
        token = await api.newcomer()
        answer = await ask(api, token)
        refused(answer, 400, "invalid_request")
        assert "WATCHWORD_ACCESS_COOKIE" in answer.json()["detail"]


async def test_without_pages_there_is_no_way(tmp_path: Path) -> None:
    async with served(tmp_path / "off", access_cookie="on", pages="off") as api:
        answer = await ask(api, None, **PAGE)
        assert (answer.status_code, "location" in answer.headers) == (401, False)


async def test_the_database_is_not_asked(api: Api) -> None:
    token = await api.newcomer()
    with statements(api.kernel) as seen:
        assert (await ask(api, token)).status_code == 200
    assert seen.seen == []


async def expired(api: Api) -> str:
    token = await api.newcomer()
    api.clock.advance(901)
    return token


async def revoked(api: Api) -> str:
    token = await api.newcomer()
    await api.post("/logout", headers=bearer(token))
    return token
