"""RFC 7523: a client that signs who it is. What is changed, repeated or signed by anything else is no client."""

from __future__ import annotations

import asyncio
import hmac
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.features.api import URL, Api, served
from tests.features.oauth.test_client_credentials import GRANT
from tests.features.oauth.test_introspection import basic
from tests.identity.test_service_accounts import made
from watchword import background, base64url
from watchword.errors import InvalidInput
from watchword.identity.restoring import note_restored
from watchword.identity.service_accounts.assertion import AHEAD, LONGEST, TYPE, read_public_key
from watchword.tokens import SigningKey

RSA = rsa.generate_private_key(65537, 2048)
KEYS: dict[str, Any] = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "RS256": RSA,
    "PS256": RSA,
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def pem(algorithm: str) -> str:
    return str(KEYS[algorithm].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


class Signer:
    """A service account with a key."""

    def __init__(self, api: Api, client_id: str, algorithm: str = "ES256") -> None:
        self.api, self.id, self.algorithm, self._count = api, client_id, algorithm, 0

    def claims(self, **changed: Any) -> dict[str, Any]:
        self._count += 1
        now = self.api.clock.now()
        plain = {"iss": self.id, "sub": self.id, "aud": URL, "exp": now + 60, "iat": now, "jti": f"j{self._count}"}
        return {name: value for name, value in (plain | changed).items() if value is not ...}

    def signed(self, headers: dict[str, Any] | None = None, **changed: Any) -> str:
        return jwt.encode(self.claims(**changed), KEYS[self.algorithm], self.algorithm, headers=headers)

    async def send(self, assertion: str, **more: str) -> httpx2.Response:
        return await self.api.post(
            "/token", data=GRANT | {"client_assertion": assertion, "client_assertion_type": TYPE} | more
        )


async def signer_of(api: Api, algorithm: str = "ES256", **more: Any) -> Signer:
    account, shown = await made(api.kernel, public_key=pem(algorithm), algorithm=more.pop("pinned", algorithm), **more)
    assert shown.secret is None
    return Signer(api, account.id, algorithm)


@pytest.fixture
async def signer(api: Api) -> Signer:
    return await signer_of(api)


async def refused(answer: httpx2.Response) -> None:
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), answer.text


@pytest.mark.parametrize("algorithm", KEYS)
async def test_each_algorithm(api: Api, algorithm: str) -> None:
    signer = await signer_of(api, algorithm)
    assert (await signer.send(signer.signed())).status_code == 200
    assert (await signer.send(signer.signed(), client_id=signer.id)).status_code == 200


async def test_the_audience_is_the_issuer_or_the_endpoint_exactly(signer: Signer) -> None:
    """⚑ An assertion for another server, or for several, opens nothing here."""
    for aud in (URL, f"{URL}/token", [URL], [f"{URL}/token"]):
        assert (await signer.send(signer.signed(aud=aud))).status_code == 200
    for aud in (f"{URL}/", f"{URL}/token/", f"{URL}/revoke", URL.upper(), "https://evil.example", [], "", ...,
                [URL, "https://evil.example"], [URL, f"{URL}/token"], f"{URL} "):  # fmt: skip
        await refused(await signer.send(signer.signed(aud=aud)))


async def test_the_log_says_why(signer: Signer) -> None:
    """Every wrong assertion gets one answer, so that only this tells its maker what to mend."""
    now, used = signer.api.clock.now(), signer.signed()
    assert (await signer.send(used)).status_code == 200
    wrong = {
        f"The assertion's aud is not one of these alone: {URL}, {URL}/token.": signer.signed(aud=f"{URL}/"),
        f"The assertion's exp is more than {LONGEST} seconds ahead.": signer.signed(exp=now + LONGEST + AHEAD + 1),
        "The assertion has no exp.": signer.signed(exp=...),
        "The assertion has expired.": signer.signed(exp=now),
        "The assertion has no jti of 1 to 255 characters.": signer.signed(jti=...),
        "The assertion's iss and sub are not the client's id.": signer.signed(iss="other"),
        "The token's signature is not valid.": signer.signed()[:-8] + "AAAAAAAA",
        "The assertion's jti was used before.": used,
    }
    with structlog.testing.capture_logs() as lines:
        answers = [await signer.send(each) for each in wrong.values()]
    assert len({each.content for each in answers}) == 1
    refused = [line for line in lines if line["event"] == "client_refused"]
    assert [line["reason"] for line in refused] == list(wrong)
    assert {line["client_id"] for line in refused} == {signer.id}


async def test_an_id_is_used_once(signer: Signer) -> None:
    """⚑ Replay: also by many at once, and after the first was used for another endpoint."""
    assertion = signer.signed()
    answers = await asyncio.gather(*(signer.send(assertion) for _ in range(10)))
    assert sorted(each.status_code for each in answers) == [200] + [401] * 9
    other = signer.signed()
    form = {"token": "x", "client_assertion": other, "client_assertion_type": TYPE}
    assert (await signer.api.post("/introspect", data=form)).status_code == 200
    await refused(await signer.send(other))
    # A different signature over the same id.
    await refused(await signer.send(signer.signed(jti="j1", exp=signer.api.clock.now() + 90)))


async def test_the_ids_that_a_client_uses_are_limited(tmp_path: Path) -> None:
    """⚑ Where they are kept there is an end of room. A replay uses up nothing, and other clients go on."""
    async with served(tmp_path, client_limit="3/1h") as api:
        signer, other = await signer_of(api), await signer_of(api, "RS256", name="other")
        first = signer.signed()
        asked = [await ask(signer, text) for text in (first, first, first, first, signer.signed())]
        assert asked == [200, 401, 401, 401, 200]
        assert [await ask(signer, signer.signed()) for _ in range(2)] == [200, 429]
        assert (await signer.send(signer.signed())).status_code == 429
        assert (await other.send(other.signed())).status_code == 200
        assert await kept(api) == 4


async def test_a_restart_forgets_no_id(tmp_path: Path) -> None:
    """⚑ They were counted in memory: an assertion was good again after it."""
    async with served(tmp_path) as api:
        signer = await signer_of(api)
        assertion = signer.signed()
        assert (await signer.send(assertion)).status_code == 200
        now = api.clock.now()
    async with served(tmp_path) as again:
        again.clock.advance(now - again.clock.now())
        signer.api = again
        await refused(await signer.send(assertion))
        assert (await signer.send(signer.signed())).status_code == 200


@pytest.mark.parametrize("named", [("iat",), ("nbf",), ()])
async def test_a_restored_backup_brings_no_id_back(tmp_path: Path, named: tuple[str, ...]) -> None:
    """⚑ It does not know which ids were used since it was made. An hour later those from before have expired."""
    async with served(tmp_path) as api:
        signer = await signer_of(api)
        now = api.clock.now()
        times: dict[str, Any] = {"iat": ..., "exp": now + 900} | dict.fromkeys(named, now)
        used = signer.signed(None, **times)
        assert (await signer.send(used)).status_code == 200
        await api.kernel.database.run("DELETE FROM ww_ephemeral")  # as they were in the backup
        await note_restored(api.kernel.revocations, api.kernel.keys.store, api.clock, shared_secret=False)
        await refused(await signer.send(used))
        api.clock.advance(AHEAD)
        await refused(await signer.send(used))
        api.clock.advance(1)
        fresh = signer.signed(iat=api.clock.now(), exp=api.clock.now() + 900)
        assert (await signer.send(fresh)).status_code == 200
        await refused(await signer.send(used))
        api.clock.advance(LONGEST)
        blunt = signer.signed(iat=..., exp=api.clock.now() + 900)
        assert (await signer.send(blunt)).status_code == 200


async def test_ids_are_forgotten_when_their_assertions_expire(signer: Signer) -> None:
    api = signer.api
    assert (await signer.send(signer.signed())).status_code == 200
    await background._sweep_rows(api.kernel)
    assert await kept(api) == 1
    api.clock.advance(60)
    await background._sweep_rows(api.kernel)
    assert await kept(api) == 0


async def kept(api: Api) -> int:
    """How many used ids are stored."""
    row = await api.kernel.database.one("SELECT COUNT(*) AS found FROM ww_ephemeral WHERE name LIKE '%assertion:%'")
    assert row is not None
    return int(row["found"])


async def ask(signer: Signer, assertion: str) -> int:
    """The status of a question by which a client shows an assertion, and gets no token."""
    form = {"token": "x", "client_assertion": assertion, "client_assertion_type": TYPE}
    answer: httpx2.Response = await signer.api.post("/introspect", data=form)
    return answer.status_code


async def test_both_names_of_ed25519_are_one(api: Api) -> None:
    """RFC 9864; libraries write the one or the other."""
    for pinned in ("EdDSA", "Ed25519"):
        signer = await signer_of(api, "EdDSA", name=pinned, pinned=pinned)
        for named in ("EdDSA", "Ed25519"):
            assert (await signer.send(_naming(named, signer.claims()))).status_code == 200
        await refused(await signer.send(_naming("ES256", signer.claims())))


def _naming(algorithm: str, claims: dict[str, Any]) -> str:
    """An assertion whose header names this algorithm, signed with Ed25519."""
    signed = ".".join(base64url.encode_text(json.dumps(part).encode()) for part in ({"alg": algorithm}, claims))
    return f"{signed}.{base64url.encode_text(KEYS['EdDSA'].sign(signed.encode()))}"


async def test_its_life_is_bounded(signer: Signer) -> None:
    now = signer.api.clock.now()
    assert (await signer.send(signer.signed(exp=now + LONGEST + AHEAD))).status_code == 200
    assert (await signer.send(signer.signed(exp=now + 1, iat=...))).status_code == 200
    for exp in (now, now - 1, now + LONGEST + AHEAD + 1, ..., 0, 2**60):
        await refused(await signer.send(signer.signed(exp=exp)))
    await refused(await signer.send(signer.signed(iat=now + AHEAD + 1)))
    await refused(await signer.send(signer.signed(nbf=now + AHEAD + 1)))


@pytest.mark.parametrize("changed", [
    {"iss": "wwc_other"}, {"iss": ...}, {"sub": ...}, {"jti": ...}, {"jti": ""}, {"jti": "x" * 256},
    {"sub": "wwc_0197f1a2-8d00-7123-9abc-334455667788"},
])  # fmt: skip
async def test_claims_that_are_not_the_clients(signer: Signer, changed: dict[str, Any]) -> None:
    await refused(await signer.send(signer.signed(**changed)))


async def test_only_its_key_and_algorithm_sign(api: Api) -> None:
    """⚑ Algorithm confusion: the public key as a secret, none, another scheme of the same key, another key."""
    signer = await signer_of(api, "RS256")
    text = signer.signed()
    head, body, _ = text.split(".")
    none = jwt.encode(signer.claims(), "", "none")
    # PyJWT refuses to sign with a public key as a secret, so this is done by hand.
    forged = _hs256(signer.claims(), pem("RS256").encode())
    for wrong in (
        none, forged, f"{head}.{body}.", "a.b.c",
        jwt.encode(signer.claims(), RSA, "PS256"), jwt.encode(signer.claims(), RSA, "RS512"),
        jwt.encode(signer.claims(), KEYS["ES256"], "ES256"), jwt.encode(signer.claims(), b"x" * 40, "HS256"),
        jwt.encode(signer.claims(), rsa.generate_private_key(65537, 2048), "RS256"),
    ):  # fmt: skip
        await refused(await signer.send(wrong))
    assert (await signer.send(text)).status_code == 200


def _hs256(claims: dict[str, Any], secret: bytes) -> str:
    signed = ".".join(
        base64url.encode_text(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)
    )
    return f"{signed}.{base64url.encode_text(hmac.digest(secret, signed.encode(), sha256))}"


@pytest.mark.parametrize("headers", [{"typ": "at+jwt"}, {"typ": "dpop+jwt"}, {"crit": ["x"]}, {"jku": "https://x"}])
async def test_tokens_of_another_kind_are_no_assertions(signer: Signer, headers: dict[str, Any]) -> None:
    await refused(await signer.send(signer.signed(headers)))


async def test_types_that_say_assertion(signer: Signer) -> None:
    for headers in ({"typ": "client-authentication+jwt"}, {"typ": "jwt"}, {"kid": "mine"}):
        assert (await signer.send(signer.signed(headers))).status_code == 200


async def test_an_access_token_is_no_assertion(api: Api, signer: Signer) -> None:
    token = (await signer.send(signer.signed())).json()["access_token"]
    await refused(await signer.send(token))
    assert (await api.as_bearer("GET", "/verify?scope=read", signer.signed())).status_code == 401


async def test_a_client_with_a_key_has_no_secret(api: Api, signer: Signer) -> None:
    await refused(await api.post("/token", data=GRANT, headers=basic(signer.id, "")))
    await refused(await api.post("/token", data=GRANT, headers=basic(signer.id, "wws_" + "A" * 43)))
    other, shown = await made(api.kernel, name="with-a-secret")
    await refused(await signer.send(jwt.encode(signer.claims(iss=other.id, sub=other.id), KEYS["ES256"], "ES256")))
    answer = await signer.send(signer.signed(), client_id=other.id)
    await refused(answer)
    assert shown.secret


async def test_the_kind_of_an_assertion_is_said(signer: Signer) -> None:
    for more in ({"client_assertion_type": "urn:other"}, {"client_assertion_type": ""}):
        answer = await signer.send(signer.signed(), **more)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    answer = await signer.api.post("/token", data=GRANT | {"client_assertion_type": TYPE})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert answer.json()["error_description"] == "The parameter client_assertion is missing."


def test_keys_that_are_read() -> None:
    jwk = SigningKey.generate("ES256").public_jwk()
    assert json.loads(read_public_key(json.dumps(jwk), None))["kid"] == jwk["kid"]
    bare = {name: value for name, value in jwk.items() if name in ("kty", "crv", "x", "y")}
    assert json.loads(read_public_key(json.dumps(bare), None))["alg"] == "ES256"
    assert json.loads(read_public_key(pem("RS256"), None))["alg"] == "RS256"
    assert json.loads(read_public_key(pem("EdDSA"), None))["alg"] == "EdDSA"


@pytest.mark.parametrize("text", [
    "", "{}", "[]", "null", "-----BEGIN PUBLIC KEY-----", json.dumps(SigningKey.generate("ES256").to_private_jwk()),
    json.dumps({"kty": "oct", "k": "A" * 60}), '{"kty":"RSA","n":"AQAB","e":"AQAB"}', "x" * 40_000,
    KEYS["ES256"].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    rsa.generate_private_key(65537, 1024).public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
])  # fmt: skip
def test_keys_that_are_refused(text: str) -> None:
    """⚑ Private, shared, weak or none."""
    with pytest.raises(InvalidInput):
        read_public_key(text, None)


def test_a_key_does_not_sign_otherwise_than_it_can() -> None:
    for algorithm in ("ES256", "HS256", "none", "RS1"):
        with pytest.raises(InvalidInput):
            read_public_key(pem("RS256"), algorithm)
