"""The token endpoint: RFC 6749 in and out."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.e2e.client import COOKIE, PASSWORD
from tests.features.api import Api, served
from tests.tutorials.reading import claims


async def _password(api: Api, name: str, **more: str) -> httpx2.Response:
    form = {"grant_type": "password", "username": name, "password": PASSWORD, **more}
    return await api.post("/token", data=form)


async def _refresh(api: Api, token: str) -> httpx2.Response:
    return await api.post("/token", data={"grant_type": "refresh_token", "refresh_token": token})


def _error(answer: httpx2.Response, status: int, error: str) -> None:
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error", "error_description"}
    assert answer.json()["error"] == error, answer.text
    assert all(" " <= letter <= "~" and letter not in '"\\' for letter in answer.json()["error_description"])


def _basic(name: str, secret: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(f'{name}:{secret}'.encode()).decode()}"}


async def test_the_password_grant(api: Api) -> None:
    """RFC 6749 section 5.1: everything in the body, no cookie; by username or e-mail address."""
    user = await api.register("ada", email="ada@example.com")
    for name in ("ada", "ADA@example.com"):
        answer = await _password(api, name)
        assert answer.status_code == 200
        body = answer.json()
        assert (body["token_type"], body["expires_in"], body["refresh_expires_in"]) == ("Bearer", 900, 604_800)
        assert body["scope"] == ""
        assert claims(body["access_token"])["sub"] == user["id"]
        assert claims(body["access_token"])["client_id"] == "watchword"
        assert body["refresh_token"].startswith("wwr_")
        assert (answer.headers["cache-control"], "set-cookie" in answer.headers) == ("no-store", False)


async def test_the_refresh_grant_rotates(api: Api) -> None:
    """A successor each time; the copy is refused after the grace and ends the session: 400 invalid_grant."""
    name = (await api.register())["username"]
    first = (await _password(api, name)).json()
    second = (await _refresh(api, first["refresh_token"])).json()
    assert set(second) == set(first)
    assert second["refresh_token"] != first["refresh_token"]
    api.clock.advance(31)
    _error(await _refresh(api, first["refresh_token"]), 400, "invalid_grant")
    _error(await _refresh(api, second["refresh_token"]), 400, "invalid_grant")


async def test_a_lost_answer_is_given_again_for_its_retry_key(api: Api) -> None:
    """However late. At this door another key is a copy at once, also within the grace."""
    await api.register("ada")
    first = (await _password(api, "ada")).json()["refresh_token"]
    form = {"grant_type": "refresh_token", "refresh_token": first, "retry_key": "A" * 22}
    second = (await api.post("/token", data=form)).json()
    api.clock.advance(86_400)
    again = (await api.post("/token", data=form)).json()
    assert again["refresh_token"] == second["refresh_token"]
    assert (again["expires_in"], again["refresh_expires_in"]) == (0, second["refresh_expires_in"] - 86_400)
    form["refresh_token"] = again["refresh_token"]
    _error(await api.post("/token", data=form), 400, "invalid_request")
    _error(await api.post("/token", data={**form, "retry_key": "B"}), 400, "invalid_request")
    third = (await api.post("/token", data={**form, "retry_key": "B" * 21 + "A"})).json()
    _error(await api.post("/token", data={**form, "retry_key": "C" * 21 + "A"}), 400, "invalid_grant")
    _error(await _refresh(api, third["refresh_token"]), 400, "invalid_grant")


async def test_both_doors_lead_to_one_kind_of_session(api: Api) -> None:
    """A refresh token of one door is good at the other: it is the same first-party client."""
    name = (await api.register())["username"]
    await api.log_in(name)
    cookie = api.cookies[COOKIE]
    granted = (await _refresh(api, cookie)).json()
    assert (await api.refresh_with(granted["refresh_token"])).status_code == 200


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": ""}, "invalid_request"),
        ({"grant_type": "authorization_code", "code": "a"}, "unsupported_grant_type"),
        ({"grant_type": "PASSWORD", "username": "a", "password": "b"}, "unsupported_grant_type"),
        ({"grant_type": "password"}, "invalid_request"),
        ({"grant_type": "password", "username": "a"}, "invalid_request"),
        ({"grant_type": "password", "password": "a"}, "invalid_request"),
        ({"grant_type": "password", "username": "a", "password": "b"}, "invalid_grant"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": "a"}, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": "wwr_" + "A" * 50}, "invalid_grant"),
    ],
)
async def test_requests_that_get_no_token(api: Api, form: dict[str, str], error: str) -> None:
    """RFC 6749 section 5.2: 400 and the word for it."""
    _error(await api.post("/token", data=form), 400, error)


async def test_an_empty_basic_header_is_no_client(api: Api) -> None:
    """What Swagger's Authorize button and FastAPI's form send: `Og==`, an empty name and an empty secret."""
    name = (await api.register())["username"]
    form = {"grant_type": "password", "username": name, "password": PASSWORD}
    for headers in (_basic("", ""), _basic("watchword", ""), {"Authorization": "basic Og=="}):
        assert (await api.post("/token", data=form, headers=headers)).status_code == 200
    assert (await _password(api, name, client_id="watchword", scope="")).json()["scope"] == ""


@pytest.mark.parametrize(
    "headers",
    [_basic("watchword", "secret"), _basic("other", ""), _basic("", "secret"), {"Authorization": "Basic !"},
     {"Authorization": "Basic YQ=="}, {"Authorization": "Basic"}, {"Authorization": "Bearer abc"},
     {"Authorization": "Basic /w=="}, {"Authorization": ""}],
)  # fmt: skip
async def test_other_clients_are_refused(api: Api, headers: dict[str, str]) -> None:
    """401 invalid_client with a challenge (RFC 6749 section 5.2): there is one client yet, and it has no secret."""
    name = (await api.register())["username"]
    form = {"grant_type": "password", "username": name, "password": PASSWORD}
    answer = await api.post("/token", data=form, headers=headers)
    _error(answer, 401, "invalid_client")
    assert answer.headers["www-authenticate"].startswith(
        "Basic" if headers["Authorization"].startswith("Basic") else "Bearer"
    )


@pytest.mark.parametrize(
    "more", [{"client_id": "other"}, {"client_secret": "a"}, {"client_id": "watchword", "client_secret": "a"}]
)
async def test_other_clients_in_the_form_are_refused(api: Api, more: dict[str, str]) -> None:
    """The same, when they name themselves in the body."""
    answer = await _password(api, "nobody", **more)
    _error(answer, 401, "invalid_client")
    assert answer.headers["www-authenticate"].startswith("Bearer")  # Basic would open a browser's own sign-in box


async def test_J2_only_a_form_is_read(api: Api) -> None:
    """JSON and multipart are other languages: 415, in the shape of this endpoint."""
    body: Any = {"grant_type": "password", "username": "a", "password": "b"}
    _error(await api.post("/token", json=body), 415, "invalid_request")
    _error(await api.post("/token", files={"grant_type": (None, "password")}), 415, "invalid_request")


async def test_the_password_grant_can_be_off(tmp_path: Path) -> None:
    """`WATCHWORD_PASSWORD_GRANT=off`: the grant is neither accepted nor claimed; refreshing goes on."""
    async with served(tmp_path, password_grant="off") as api:
        name = (await api.register())["username"]
        _error(await _password(api, name), 400, "unsupported_grant_type")
        metadata = (await api.get("/.well-known/oauth-authorization-server")).json()
        exchange = "urn:ietf:params:oauth:grant-type:token-exchange"  # for API keys
        assert metadata["grant_types_supported"] == ["refresh_token", exchange, "client_credentials"]
        await api.log_in(name)
        assert (await _refresh(api, api.cookies[COOKIE])).status_code == 200


async def test_the_limit_of_log_ins_counts_here_too(tmp_path: Path) -> None:
    """429 in this endpoint's shape, with the headers of the other door."""
    async with served(tmp_path, login_limit="2/15m") as api:
        for expected in (400, 400, 429):
            answer = await _password(api, "nobody")
            assert answer.status_code == expected
        assert answer.headers["retry-after"] == "900"
        assert answer.json()["error"] == "temporarily_unavailable"


async def test_the_cookie_is_not_looked_at(api: Api) -> None:
    """This door reads its body only: a page that makes a browser post here gains nothing from its cookies."""
    await api.newcomer()
    answer = await api.post("/token", data={"grant_type": "refresh_token"})
    _error(answer, 400, "invalid_request")
