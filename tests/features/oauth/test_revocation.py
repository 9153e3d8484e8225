"""RFC 7009: ending the session behind a token."""

from __future__ import annotations

import httpx2
import pytest

from tests.e2e.client import COOKIE, bearer, refused
from tests.features.api import URL, Api
from tests.features.oauth.test_introspection import basic, guard_key, person
from tests.identity.scenes import HOME, entries, recorded, refuse_inserts, statements
from watchword.testing import Issuer


async def _revoke(api: Api, token: str, **more: str) -> httpx2.Response:
    """As the public client, which a browser or a telephone is."""
    return await api.elsewhere().post("/revoke", data={"token": token, "client_id": "watchword", **more})


def _done(answer: httpx2.Response) -> None:
    assert (answer.status_code, answer.content) == (200, b""), answer.text
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("kind", ["access", "refresh"])
async def test_C8_either_token_ends_the_session_and_both_are_dead(api: Api, kind: str) -> None:
    """The access token is refused at once, the refresh token is not exchanged, the feed has it."""
    somebody = await person(api)
    _done(await _revoke(api, getattr(somebody, kind)))
    refused(await api.as_bearer("GET", "/profile", somebody.access), 401, "token_revoked")
    form = {"grant_type": "refresh_token", "refresh_token": somebody.refresh}
    assert (await api.post("/token", data=form)).json()["error"] == "invalid_grant"
    (entry,) = await entries(api.kernel)
    assert entry["kind"] == "session"
    assert "logged_out" in {event["event"] for event in await recorded(api.kernel, "ww_audit")}
    _done(await _revoke(api, getattr(somebody, kind)))
    assert len(await entries(api.kernel)) == 1, "a second time there is nothing to do"


async def test_C8_an_expired_access_token_ends_its_session(api: Api) -> None:
    """Whoever wants out gets out."""
    somebody = await person(api)
    api.clock.advance(2_000)
    _done(await _revoke(api, somebody.access))
    form = {"grant_type": "refresh_token", "refresh_token": somebody.refresh}
    assert (await api.post("/token", data=form)).status_code == 400


async def test_C8_an_older_refresh_token_ends_it_too(api: Api) -> None:
    """It shows that its holder was given the session; the newest is what dies."""
    somebody = await person(api)
    form = {"grant_type": "refresh_token", "refresh_token": somebody.refresh}
    newest = (await api.post("/token", data=form)).json()["refresh_token"]
    _done(await _revoke(api, somebody.refresh))
    assert (await api.post("/token", data=form | {"refresh_token": newest})).status_code == 400


async def test_C8_200_for_what_is_unknown(api: Api) -> None:
    """RFC 7009 section 2.2: there is nothing to do, and nothing is told; no write happens."""
    somebody, key = await person(api), await guard_key(api)
    wrong = ["nonsense", "wwr_", "a.b.c", key, "wwr_" + "A" * 50, Issuer(URL, audience=URL).token()]
    wrong += [token + "A" for token in (somebody.access, somebody.refresh)]
    wrong += [token[:-1] for token in (somebody.access, somebody.refresh)]
    with statements(api.kernel) as seen:
        for token in wrong:
            _done(await _revoke(api, token))
    assert not [one for one in seen.seen if one.startswith(("UPDATE", "INSERT"))]
    assert (await api.as_bearer("GET", "/profile", somebody.access)).status_code == 200


async def test_a_hint_changes_nothing(api: Api) -> None:
    """Also a wrong one and an unknown one (section 2.1)."""
    for hint in ("access_token", "refresh_token", "planet"):
        somebody = await person(api)
        _done(await _revoke(api, somebody.refresh, token_type_hint=hint))
        refused(await api.as_bearer("GET", "/profile", somebody.access), 401, "token_revoked")


async def test_C8_one_session_and_no_other(api: Api) -> None:
    """Another session of the same user, and another user's, go on."""
    somebody, other = await person(api), await person(api)
    second = await api.log_in(somebody.name)
    _done(await _revoke(api, somebody.refresh))
    for token in (second, other.access):
        assert (await api.as_bearer("GET", "/profile", token)).status_code == 200


async def test_who_may_revoke(api: Api) -> None:
    """The public client, to whom the token was issued and who shows it; and a guard, by its key."""
    key = await guard_key(api)
    for headers, form in (
        ({}, {"client_id": "watchword"}),
        (basic("watchword", ""), {}),
        (bearer(key), {}),
        (basic("orders", key), {}),
        ({}, {"client_id": "orders", "client_secret": key}),
    ):
        somebody = await person(api)
        _done(await api.elsewhere().post("/revoke", data={"token": somebody.refresh, **form}, headers=headers))
        refused(await api.as_bearer("GET", "/profile", somebody.access), 401, "token_revoked")


async def test_C8_nobody_else_may(api: Api) -> None:
    """No credentials, another client's name, a wrong key, a user's token: 401 invalid_client, and nothing has ended."""
    somebody, key = await person(api), await guard_key(api)
    await api.kernel.guard_keys.revoke("orders", client=HOME)
    for headers, form in (
        ({}, {}),
        (basic("", ""), {}),
        ({}, {"client_id": "other"}),
        ({}, {"client_id": "orders"}),
        ({}, {"client_id": "watchword", "client_secret": "guess"}),
        (basic("watchword", "guess"), {}),
        (basic("other", ""), {}),
        (bearer(key), {}),
        (bearer(somebody.access), {}),
        (bearer(somebody.access), {"client_id": "watchword"}),
    ):
        answer = await api.post("/revoke", data={"token": somebody.refresh, **form}, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), (headers, form)
        scheme = "Basic" if headers.get("Authorization", "").startswith("Basic") else "Bearer"
        assert answer.headers["www-authenticate"].startswith(scheme)
        assert "client_id=watchword" in answer.json()["error_description"], "what an app sends, which has no key"
    assert (await api.as_bearer("GET", "/profile", somebody.access)).status_code == 200


async def test_two_names_for_one_client(api: Api) -> None:
    """A name in the header and another in the form: which counts must not be left open."""
    somebody = await person(api)
    form = {"token": somebody.refresh, "client_id": "watchword"}
    answer = await api.post("/revoke", data=form, headers=basic("other", ""))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    answer = await api.post("/revoke", data=form | {"client_id": "other"}, headers=basic("watchword", ""))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_C8_what_could_not_be_stored_is_503_never_200(api: Api) -> None:
    """fosite CVE-2020-15223: a client that is told 200 forgets its token, and the session lives on."""
    somebody = await person(api)
    refuse_inserts(api.kernel, "ww_audit")
    api.event_hooks = {}  # the injected fault is one of the program: a 500, which no answer may otherwise be
    for token in (somebody.access, somebody.refresh):
        assert (await _revoke(api, token)).status_code >= 500
    assert await entries(api.kernel) == []
    await api.kernel.database.close()
    for token in (somebody.access, somebody.refresh):
        answer = await _revoke(api, token)
        assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
        assert answer.headers["retry-after"]


async def test_the_cookie_is_not_looked_at(api: Api) -> None:
    """A page that makes a browser post here ends nobody's session."""
    token = await api.newcomer()
    assert api.cookies[COOKIE]
    assert (await api.post("/revoke", data={"client_id": "watchword"})).json()["error"] == "invalid_request"
    assert (await api.as_bearer("GET", "/profile", token)).status_code == 200
