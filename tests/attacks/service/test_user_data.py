"""Data of users as a way in: metadata set by its user, private data that leaks, forged claims (B6, H12)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.client import COOKIE, PASSWORD, bearer, fields, refused
from tests.features.admin.scene import administered
from tests.features.api import Api, served
from watchword.claim_names import RESERVED_CLAIMS

CLAIMS = "tenant=public_metadata.tenant,name=name"
CANARY = "private-canary-4711"
FORGED: dict[str, Any] = {
    "public_metadata": {"tenant": "root"},
    "private_metadata": {"tenant": "root"},
    "metadata": {"tenant": "root"},
    "user_metadata": {"tenant": "root"},
    "claims": {"tenant": "root"},
    "tenant": "root",
    "data": {"name": "x", "public_metadata": {"tenant": "root"}},
    "public_metadata.tenant": "root",
    "public_metadata[tenant]": "root",
}


async def _stored(api: Api) -> set[tuple[str, str]]:
    rows = await api.kernel.database.scan("SELECT public_metadata, private_metadata FROM ww_users")
    return {(row["public_metadata"], row["private_metadata"]) for row in rows}


@pytest.mark.parametrize("field", FORGED)
async def test_h12_no_user_sets_metadata_by_json_form_or_query(tmp_path: Path, field: str) -> None:
    """At registering, in the profile, at a log-in, in the pages' forms: refused where fields are checked, else lost."""
    async with served(tmp_path, claims=CLAIMS) as api:
        body = {"username": "ada", "password": PASSWORD}
        assert field in fields(await api.post("/register", json={**body, field: FORGED[field]}))
        await api.post("/register", json=body, params={field: json.dumps(FORGED[field])})
        token = await api.log_in("ada")
        for path in ("/profile", "/settings", "/profile/password", "/profile/email"):
            for method in ("PATCH", "PUT", "POST"):
                sent = {field: FORGED[field], "name": "Ada"}
                answer = await api.as_bearer(method, path, token, json=sent)
                assert answer.status_code in {404, 405, 422}, (method, path)
        text = json.dumps(FORGED[field])
        assert (await api.as_bearer("PATCH", "/profile", token, data={field: text})).status_code == 415
        asked = await api.as_bearer("PATCH", "/profile", token, json={"name": "Ada"}, params={field: text})
        assert asked.status_code == 200
        await api.post("/account/register", data={**body, "username": "bob", field: text})
        tokens = await api.post("/token", data={"grant_type": "password", **body, field: text})
        assert api.kernel.verifier.verify(tokens.json()["access_token"]).extra == {"name": "Ada"}
        assert await _stored(api) == {("{}", "{}")}


async def test_b6_no_metadata_becomes_a_claim_of_the_protocol(tmp_path: Path) -> None:
    """Keys of metadata are never names of claims: those stand in the setting."""
    forged = dict.fromkeys(RESERVED_CLAIMS, "x") | {"roles": ["admin"], "ver": 99, "exp": 2**40}
    async with administered(tmp_path, claims="all=public_metadata") as (api, root):
        answer = await root(
            "POST", "/admin/users", {"username": "ada", "password": PASSWORD, "public_metadata": forged}
        )
        assert answer.status_code == 201, answer.text
        ada = answer.json()
        claims = api.kernel.verifier.verify(await api.log_in("ada"))
        assert claims.extra == {"all": {**forged, "roles": ("admin",)}}
        assert (claims.sub, claims.roles, claims.ver, claims.scopes) == (ada["id"], frozenset(), 1, frozenset())


async def test_private_metadata_is_in_no_answer_to_its_user_and_in_no_token(tmp_path: Path) -> None:
    """Every route that shows a user to themselves, and each token."""
    async with administered(tmp_path, claims="all=public_metadata,name=name") as (api, root):
        body = {"username": "ada", "password": PASSWORD, "name": "Ada", "private_metadata": {"note": CANARY}}
        made = await root("POST", "/admin/users", body)
        ada = made.json()
        assert CANARY not in made.text
        login = await api.post("/login", json={"username": "ada", "password": PASSWORD})
        token = login.json()["access_token"]
        answers = [login, await api.post("/refresh"), await api.get("/account")]
        answers.append(
            await api.post("/token", data={"grant_type": "password", "username": "ada", "password": PASSWORD})
        )
        for method, path, sent in (
            ("GET", "/profile", None), ("PATCH", "/profile", {"username": "ada2"}), ("GET", "/sessions", None),
            ("GET", "/profile/activity", None), ("GET", "/verify", None),
        ):  # fmt: skip
            answers.append(await api.as_bearer(method, path, token, **({} if sent is None else {"json": sent})))
        for answer in answers:
            assert answer.status_code in {200, 303}, (answer.url, answer.text)
            assert CANARY not in answer.text + str(answer.headers)
            assert "private" not in answer.text
        assert CANARY not in str(api.kernel.verifier.verify(token).to_dict())
        shown = await root("GET", f"/admin/users/{ada['id']}/metadata")
        assert shown.json()["private_metadata"] == {"note": CANARY}
        for path in (f"/admin/users/{ada['id']}", "/admin/users", "/admin/audit"):
            assert CANARY not in (await root("GET", path)).text
        for method in ("GET", "PATCH"):
            path = f"/admin/users/{ada['id']}/metadata"
            refused(await api.as_bearer(method, path, token, json={"public_metadata": {}}), 403, "role_missing")
            refused(await api.request(method, path, headers={"Cookie": f"{COOKIE}=x"}, json={}), 401, "token_missing")


DEEP = b'{"public_metadata":' + b'{"a":' * 6 + b"{}" + b"}" * 7
RAW = {
    "not an object": (b'{"public_metadata":[]}', 422),
    "text": (b'{"public_metadata":"{}"}', 422),
    "null": (b'{"public_metadata":null}', 422),
    "too deep": (DEEP, 422),
    "far too deep": (b'{"public_metadata":' + b'{"a":' * 10_000, 400),
    "a name twice": (b'{"public_metadata":{"a":1,"a":2}}', 400),
    "a name twice, spelt differently": (b'{"public_metadata":{"a":1,"\\u0061":2}}', 400),
    "a name twice, below": (b'{"public_metadata":{"a":[{"b":1,"b":2}]}}', 400),
    "NaN": (b'{"public_metadata":{"a":NaN}}', 400),
    "infinity": (b'{"public_metadata":{"a":1e999}}', 400),
    "beyond what readers keep exact": (b'{"public_metadata":{"a":9007199254740993}}', 422),
    "a huge number": (b'{"public_metadata":{"a":' + b"9" * 5_000 + b"}}", 400),
    "NUL": (b'{"public_metadata":{"a":"\\u0000"}}', 400),
    "NUL in a name": (b'{"public_metadata":{"\\u0000":1}}', 400),
    "half a surrogate pair": (b'{"public_metadata":{"a":"\\ud83d"}}', 400),
    "half a pair in a name": (b'{"public_metadata":{"\\udd11":1}}', 400),
    "no UTF-8": (b'{"public_metadata":{"a":"\xff"}}', 400),
    "__proto__": (b'{"public_metadata":{"__proto__":{"admin":true}}}', 422),
    "__proto__, escaped": (b'{"public_metadata":{"\\u005f_proto__":{}}}', 422),
    "constructor": (b'{"private_metadata":{"a":{"constructor":{"prototype":{}}}}}', 422),
    "many names": (b'{"public_metadata":{' + b",".join(b'"k%d":1' % n for n in range(2_000)) + b"}}", 422),
    "large": (b'{"public_metadata":{"a":"' + b"a" * 4_096 + b'"}}', 422),
    "too large for a token": (b'{"public_metadata":{"tenant":"' + b"a" * 2_000 + b'"}}', 422),
    "an unknown field": (b'{"metadata":{}}', 422),
}


async def test_metadata_that_readers_could_differ_about_is_refused(tmp_path: Path) -> None:
    """Also from an administrator, whose program may pass on what strangers typed. Nothing is stored."""
    async with administered(tmp_path, claims=CLAIMS) as (api, root):
        path = f"/admin/users/{root.user.id}/metadata"
        for name, (body, status) in RAW.items():
            headers = {**bearer(root.token), "Content-Type": "application/json"}
            answer = await root.desk.request("PATCH", path, content=body, headers=headers)
            assert answer.status_code == status, (name, answer.status_code, answer.text)
        assert await _stored(api) == {("{}", "{}")}
        good = {"public_metadata": {"tenant": "😀\u2028</script>'\"; DROP TABLE ww_users --"}}
        assert (await root("PATCH", path, good)).json()["public_metadata"] == good["public_metadata"]


async def test_a_name_is_text_wherever_it_is_shown(tmp_path: Path) -> None:
    """In pages it is escaped, in JSON it is a string, in the audit trail it does not stand."""
    name = '<img src=x onerror="alert(1)">{{7*7}}'
    async with served(tmp_path, claims=CLAIMS) as api:
        await api.register("ada", name=name)
        token = await api.log_in("ada")
        assert (await api.as_bearer("GET", "/profile", token)).json()["name"] == name
        page = (await api.get("/account")).text
        assert "<img" not in page
        assert "49" not in page.partition("<body")[2].partition("</h1>")[0]
        for wrong in ("", " ", "a\nb", "\u202eabc", "a" * 101):
            assert fields(await api.as_bearer("PATCH", "/profile", token, json={"name": wrong})).keys() == {"name"}
        rows = await api.kernel.database.scan("SELECT detail FROM ww_audit")
        assert name not in str([row["detail"] for row in rows])
