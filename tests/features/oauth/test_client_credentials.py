"""RFC 6749 section 4.4 over HTTP: how clients show themselves, and what their tokens open."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
import structlog

from tests.e2e.client import PASSWORD, bearer
from tests.features.api import Api, served
from tests.features.oauth.test_introspection import INACTIVE, basic, guard_key
from tests.identity.scenes import HOME
from tests.identity.test_rights import define
from tests.identity.test_service_accounts import made
from tests.tutorials.reading import claims
from watchword.identity.service_accounts.account import Account

GRANT = {"grant_type": "client_credentials"}
NOT_PROVED = "The client is unknown, or did not prove who it is."


class Program:
    """A service account, and its secret."""

    def __init__(self, api: Api, account: Account, secret: str) -> None:
        self.api, self.account, self.secret = api, account, secret
        self.basic = basic(account.id, secret)

    async def token(self, **more: str) -> str:
        answer = await self.api.post("/token", data=GRANT | more, headers=self.basic)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])


@pytest.fixture
async def program(api: Api) -> Program:
    return await program_of(api)


async def program_of(api: Api, name: str = "nightly", **more: Any) -> Program:
    account, shown = await made(api.kernel, name=name, **more)
    return Program(api, account, str(shown.secret))


async def test_basic_and_post_yield_a_token_and_no_session(api: Api, program: Program) -> None:
    form = {"client_id": program.account.id, "client_secret": program.secret}
    for answer in (
        await api.post("/token", data=GRANT, headers=program.basic),
        await api.post("/token", data=GRANT | {"client_id": program.account.id}, headers=program.basic),
        await api.post("/token", data=GRANT | form),
    ):
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        body = answer.json()
        assert body.keys() == {"access_token", "token_type", "expires_in", "scope"}
        assert claims(body["access_token"])["sub"] == program.account.id


async def test_basic_is_form_encoded_inside(api: Api, program: Program) -> None:
    """RFC 6749 section 2.3.1: libraries may encode every character."""
    name, secret = ("".join(f"%{ord(each):02X}" for each in text) for text in (program.account.id, program.secret))
    assert (await api.post("/token", data=GRANT, headers=basic(name, secret))).status_code == 200
    assert (await api.post("/token", data=GRANT, headers=basic(quote(program.account.id), secret))).status_code == 200


async def test_two_ways_at_once_are_refused(api: Api, program: Program) -> None:
    """⚑ RFC 6749 section 2.3: one method in a request, whichever would be right."""
    right = {"client_id": program.account.id, "client_secret": program.secret}
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    for form, headers in (
        (right, program.basic),
        (right | {"client_secret": "other"}, program.basic),
        (right, bearer("something")),
        (right | {"client_assertion": "e30.e30.e30", "client_assertion_type": kind}, {}),
        ({"client_assertion": "e30.e30.e30", "client_assertion_type": kind}, program.basic),
    ):
        answer = await api.post("/token", data=GRANT | form, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    "header",
    [
        "Basic", "Basic ", "Basic !!!", "Basic d3djXw", "Basic " + b64encode(b"\xff\xfe:x").decode(),
        "Basic " + b64encode(b"wwc_no-colon").decode(), "Basic " + b64encode(b":wws_x").decode(),
        "Basic " + b64encode(b"wwc_%:%zz").decode(), "Basic " + b64encode(b"wwc_\0:x").decode(),
        "Basic Og==", "Digest x", "Bearer x",
    ],
)  # fmt: skip
async def test_headers_that_say_nothing_are_no_client(api: Api, header: str) -> None:
    answer = await api.post("/token", data=GRANT, headers={"Authorization": header})
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), answer.text


async def test_unknown_and_wrong_get_the_same_answer(api: Api, program: Program) -> None:
    """⚑ Nothing tells which clients there are."""
    other = f"{program.account.id[:-1]}{'0' if program.account.id[-1] != '0' else '1'}"
    answers = [
        await api.post("/token", data=GRANT, headers=basic(program.account.id, "wws_" + "A" * 43)),
        await api.post("/token", data=GRANT, headers=basic(other, program.secret)),
        await api.post("/token", data=GRANT, headers=basic(program.account.id, "")),
    ]
    assert {(each.status_code, each.content, each.headers["www-authenticate"]) for each in answers} == {
        (401, answers[0].content, 'Basic realm="watchword"')
    }


async def test_no_client_no_token(api: Api) -> None:
    for form in ({}, {"client_id": "watchword"}, {"client_id": "other", "client_secret": "x"}):
        answer = await api.post("/token", data=GRANT | form)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_a_client_logs_no_one_in(api: Api, program: Program) -> None:
    """⚑ Its secret opens its own grant only."""
    name = (await api.register())["username"]
    for form in (
        {"grant_type": "password", "username": name, "password": PASSWORD},
        {"grant_type": "refresh_token", "refresh_token": "wwr_x"},
        {"grant_type": "password", "username": program.account.id, "password": program.secret},
    ):
        answer = await api.post("/token", data=form, headers=program.basic)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        assert "it has client_credentials" in answer.json()["error_description"]


async def test_a_misspelt_grant_is_the_fault_and_not_the_secret(api: Api, program: Program) -> None:
    """The answer names the grants to every client; it told a client with a good secret to leave it out."""
    form = {"grant_type": "client_credential"}
    in_form = form | {"client_id": program.account.id, "client_secret": program.secret}
    for answer in (
        await api.post("/token", data=form, headers=program.basic),
        await api.post("/token", data=in_form),
        await api.post("/token", data=form | {"client_assertion": "a.b.c", "client_assertion_type": "x"}),
    ):
        assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_grant_type")
        assert "client_credentials" in answer.json()["error_description"]


async def test_the_log_says_what_the_answer_does_not(api: Api, program: Program) -> None:
    """Who, why, from where, and in which request; of an id that is no account's, nothing."""
    wrong, known = "wws_" + "A" * 43, program.account.id
    with structlog.testing.capture_logs() as lines:
        await api.post("/token", data=GRANT, headers=basic(known, wrong))
        await api.post("/token", data=GRANT, headers=basic(known, "hunter2"))
        unknown = await api.post("/token", data=GRANT, headers=basic("wwc_hunter2", program.secret))
    assert unknown.json() == {"error": "invalid_client", "error_description": NOT_PROVED}
    refused = [line for line in lines if line["event"] == "client_refused"]
    assert [(line.get("client_id"), line["reason"]) for line in refused] == [
        (known, "the secret is wrong"),
        (known, "there is no secret, or none that begins with wws_"),
        (None, "there is no such client"),
    ]
    assert all(line["address"] and line["request_id"] for line in refused)
    assert not any(secret in str(lines) for secret in (wrong, program.secret, "hunter2"))


async def test_its_tokens_open_nothing_that_is_for_people(api: Api, program: Program) -> None:
    """⚑ Neither profile, nor sessions, nor keys, nor administration."""
    token = await program.token()
    for method, path in (
        ("GET", "/profile"), ("PATCH", "/profile"), ("DELETE", "/profile"), ("GET", "/sessions"),
        ("DELETE", "/sessions"),
        ("POST", "/api-keys"), ("GET", "/api-keys"), ("GET", "/verify"), ("POST", "/profile/password"),
    ):  # fmt: skip
        answer = await api.as_bearer(method, path, token, **({} if method == "GET" else {"json": {}}))
        assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid"), (method, path)


async def test_a_proxy_lets_it_in_where_scopes_are_asked_for(api: Api, program: Program) -> None:
    token = await program.token(scope="read")
    assert (await api.as_bearer("GET", "/verify?scope=read", token)).status_code == 200
    assert (await api.as_bearer("GET", "/verify?scope=jobs:run", token)).status_code == 403


async def test_introspection(api: Api, program: Program) -> None:
    """A client asks about its own tokens; about every token only where that was said."""
    token, person = await program.token(), await api.newcomer()
    other, observer = await program_of(api, "other"), await program_of(api, "observer", introspects=True)
    asked = {
        (who, which): (await api.post("/introspect", data={"token": text}, headers=who.basic))
        for who in (program, other, observer)
        for which, text in (("own", token), ("person", person))
    }
    assert asked[program, "own"].json()["sub"] == program.account.id
    assert asked[observer, "own"].json()["active"] is True
    assert asked[observer, "person"].json()["active"] is True
    for pair in ((program, "person"), (other, "own"), (other, "person")):
        assert asked[pair].content == INACTIVE
    assert (await api.post("/introspect", data={"token": token}, headers=bearer(await guard_key(api)))).json()["active"]
    await api.kernel.service_accounts.disable("nightly", client=HOME)
    assert (await api.post("/introspect", data={"token": token}, headers=observer.basic)).content == INACTIVE
    assert (await api.post("/introspect", data={"token": token}, headers=program.basic)).status_code == 401


async def test_a_client_revokes_its_own_tokens_only(api: Api, program: Program) -> None:
    """⚑ Not another client's, not a person's, and no one without a secret revokes a client's."""
    token, other = await program.token(), await program_of(api, "other")
    person = await api.newcomer()
    for text in (token, person, "wwr_whatever"):
        answer = await api.post("/revoke", data={"token": text}, headers=other.basic)
        assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client"), answer.text
    answer = await api.post("/revoke", data={"token": token, "client_id": "watchword"})
    assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")
    assert (await api.as_bearer("GET", "/verify?scope=read", token)).status_code == 200
    assert (await api.as_bearer("GET", "/profile", person)).status_code == 200
    second = await program.token()
    assert (await api.post("/revoke", data={"token": token}, headers=program.basic)).status_code == 200
    assert (await api.as_bearer("GET", "/verify?scope=read", token)).status_code == 401
    assert (await api.as_bearer("GET", "/verify?scope=read", second)).status_code == 200
    assert (await api.post("/introspect", data={"token": token}, headers=program.basic)).content == INACTIVE
    assert (await api.post("/revoke", data={"token": "garbage"}, headers=program.basic)).status_code == 200
    assert (await api.post("/revoke", data={"token": second}, headers=bearer(await guard_key(api)))).status_code == 200
    assert (await api.as_bearer("GET", "/verify?scope=read", second)).status_code == 401


async def test_limits_are_each_clients_own(tmp_path: Path) -> None:
    async with served(tmp_path, client_limit="2/1h", client_proof_limit="2/1h") as api:
        one, two = await program_of(api, "one"), await program_of(api, "two")
        assert [(await _status(api, one)) for _ in range(3)] == [200, 200, 429]
        assert await _status(api, two) == 200
        wrong = basic(two.account.id, "wws_" + "A" * 43)
        failed = [(await api.post("/token", data=GRANT, headers=wrong)).status_code for _ in range(3)]
        assert failed == [401, 401, 429]
        assert await _status(api, two) == 200  # strangers close no one's account


@pytest.mark.parametrize("path", ["/introspect", "/revoke"])
async def test_asking_and_revoking_are_limited_by_client(tmp_path: Path, path: str) -> None:
    """⚑ Each account for itself, both routes together, from any address; with a wrong secret no one uses it up."""
    async with served(tmp_path, inspection_limit="2/1h") as api:
        one, two = await program_of(api, "one"), await program_of(api, "two")

        async def asked(program: Program, secret: str, place: str = path) -> int:
            shown = basic(program.account.id, secret)
            answer: httpx2.Response = await api.elsewhere().post(place, data={"token": "x"}, headers=shown)
            return answer.status_code

        assert [await asked(one, "wws_" + "A" * 43) for _ in range(3)] == [401, 401, 401]
        assert [await asked(one, one.secret) for _ in range(3)] == [200, 200, 429]
        assert [await asked(one, one.secret, other) for other in ("/introspect", "/revoke")] == [429, 429]
        assert [await asked(two, two.secret), await _status(api, one)] == [200, 200]
        guard = bearer(await guard_key(api))
        found = [(await api.post(path, data={"token": "x"}, headers=guard)).status_code for _ in range(3)]
        assert found == [200, 200, 200]


async def _status(api: Api, program: Program) -> int:
    answer: httpx2.Response = await api.post("/token", data=GRANT, headers=program.basic)
    return answer.status_code


async def test_metadata_names_what_works(api: Api) -> None:
    found = (await api.get("/.well-known/oauth-authorization-server")).json()
    assert "client_credentials" in found["grant_types_supported"]
    assert set(found["token_endpoint_auth_methods_supported"]) == {
        "none", "client_secret_basic", "client_secret_post", "private_key_jwt",
    }  # fmt: skip
    named = found["token_endpoint_auth_signing_alg_values_supported"]
    assert "ES256" in named
    assert not {"none", "HS256", "HS384", "HS512"} & set(named)


@pytest.mark.parametrize("path", ["/token", "/introspect", "/revoke"])
async def test_a_secret_in_the_address_is_refused_with_a_word(api: Api, program: Program, path: str) -> None:
    """⚑ Logs have it: who made the request is told so, also where the same stands in the body."""
    form = {"client_id": program.account.id, "client_secret": program.secret, "token": "x"}
    answer = await api.post(f"{path}?client_secret={program.secret}", data=GRANT | form)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert "rotate this secret" in answer.json()["error_description"]


async def test_a_client_that_gives_its_name_is_told_to_give_its_id(api: Api, program: Program) -> None:
    """It was told to leave out what it needs."""
    exchange = {"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": "x"}
    named = {"client_id": program.account.name, "client_secret": program.secret}
    for form, headers in (
        (GRANT | named, {}),
        (GRANT, basic(program.account.name, program.secret)),
        (GRANT, {}),
        (exchange | named, {}),
        (exchange, basic(program.account.name, program.secret)),
    ):
        answer = await api.post("/token", data=form, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        assert "begins with wwc_" in answer.json()["error_description"]


async def test_audience_means_resource(api: Api) -> None:
    """⚑ As others call it. It was passed over: a client that named an API got a token for another one."""
    orders, billing = "https://orders.example", "https://billing.example"
    await define(api.kernel, ("*", "read"), apis=(("orders", orders, "read"), ("billing", billing, "read")))
    several = await program_of(api, apis=("orders", "billing"))
    assert claims(await several.token(audience=billing))["aud"] == billing
    name = (await api.register())["username"]
    logged_in = {"grant_type": "password", "username": name, "password": PASSWORD}
    for form in (logged_in, GRANT):
        headers = several.basic if form is GRANT else {}
        answer = await api.post("/token", data=form | {"audience": orders, "resource": billing}, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_target")
    answer = await api.post("/token", data=logged_in | {"audience": orders})
    assert claims(answer.json()["access_token"])["aud"] == orders
