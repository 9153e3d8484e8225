"""The key set and the documents by which others find it."""

from __future__ import annotations

from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.features.api import URL, Api, served

PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
DOCUMENTS = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # the library's word on the name that RFC 9864 replaces
@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "PS256", "EdDSA", "Ed25519"])
async def test_B8_the_key_set_is_public_and_verifies(tmp_path: Path, algorithm: str) -> None:
    """Public members only, with use, alg and kid; somebody else's library verifies our token with it."""
    async with served(tmp_path, algorithm=algorithm) as api:
        answer = await api.get("/.well-known/jwks.json")
        assert answer.headers["content-type"] == "application/jwk-set+json"
        assert answer.headers["cache-control"] == "public, max-age=300"
        for key in answer.json()["keys"]:
            assert not PRIVATE & set(key)
            assert key["use"] == "sig"
            assert {"kid", "alg", "kty"} <= set(key)
        keys = KeySet.import_key_set(answer.json())
        token = await api.newcomer()
        assert jwt.decode(token, keys, algorithms=[algorithm]).claims["iss"] == URL


@pytest.mark.parametrize("path", [*DOCUMENTS, "/.well-known/jwks.json"])
async def test_documents_are_not_sent_twice(api: Api, path: str) -> None:
    """304 with the same tag for who has it (RFC 9110 section 13.1.2); the whole for everybody else."""
    answer = await api.get(path)
    tag = answer.headers["etag"]
    for shown in (tag, f"W/{tag}", f'"other", {tag}'):
        again = await api.get(path, headers={"If-None-Match": shown})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
    assert (await api.get(path, headers={"If-None-Match": '"other"'})).status_code == 200
    assert (await api.get(path, headers={"If-None-Match": "*"})).status_code == 304


@pytest.mark.parametrize("path", DOCUMENTS)
async def test_B11_the_metadata_claim_what_works(api: Api, path: str) -> None:
    """`issuer` byte for byte the setting, every address answers, every grant is accepted, nothing else is claimed."""
    metadata = (await api.get(path)).json()
    assert metadata["issuer"] == URL == api.kernel.settings.public_url
    assert (await api.get(metadata["jwks_uri"])).status_code == 200
    for grant in metadata["grant_types_supported"]:
        answer = await api.post(metadata["token_endpoint"], data={"grant_type": grant})
        missing = "invalid_client" if grant == "client_credentials" else "invalid_request"
        assert answer.json()["error"] == missing, "the grant is known, what it needs is missing"
    assert metadata["response_types_supported"] == []
    for name in ("revocation", "introspection"):
        answer = await api.post(metadata[f"{name}_endpoint"], data={"token": "unknown"})
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), (
            "it is there, and asks who calls"
        )
    assert "none" in metadata["revocation_endpoint_auth_methods_supported"]
    assert "none" not in metadata["introspection_endpoint_auth_methods_supported"]
    assert not {"authorization_endpoint", "userinfo_endpoint"} & set(metadata)
    assert None not in metadata.values(), "what has no value is left out"
    assert "scopes_supported" not in metadata, "RFC 8414 section 3.2: lists without elements are left out"


async def test_B11_an_issuer_with_a_path(tmp_path: Path) -> None:
    """RFC 8414 section 3.1: found under both the inserted and the appended form."""
    async with served(tmp_path, public_url=f"{URL}/auth") as api:
        issuer = f"{URL}/auth"
        for path in DOCUMENTS:
            for address in (f"{issuer}{path}", f"{URL}{path}/auth"):
                answer = await api.get(address)
                assert answer.json()["issuer"] == issuer, address
                assert answer.json()["token_endpoint"] == f"{issuer}/token"


async def test_a_shared_secret_is_not_published(tmp_path: Path) -> None:
    """HS256: the key set is empty."""
    async with served(tmp_path, jwt_secret="kH2vQ7pR9sT4uW6xY8zA1bC3dE5fG0jL2mN4pQ6r") as api:
        assert (await api.get("/.well-known/jwks.json")).json() == {"keys": []}


async def test_without_the_password_grant_nothing_offers_it(tmp_path: Path) -> None:
    """`WATCHWORD_PASSWORD_GRANT=off`: the document has no password flow, the metadata no such grant."""
    async with served(tmp_path, password_grant="off") as api:
        document = (await api.get("/openapi.json")).json()
        schemes = document["components"]["securitySchemes"]
        assert set(schemes) == {"access_token", "guard_key"}
        assert (schemes["access_token"]["type"], schemes["access_token"]["scheme"]) == ("http", "bearer")
        assert "password" not in (await api.get("/.well-known/openid-configuration")).json()["grant_types_supported"]
