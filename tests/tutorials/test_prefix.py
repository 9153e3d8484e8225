"""The tutorial `prefix`: everything under /api, a shared secret, roles in the payload."""

from __future__ import annotations

import pytest
from joserfc import jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import OctKey

from tests.e2e.client import COOKIE, PASSWORD, bearer, refused
from tests.e2e.fixtures import Serve
from tests.tutorials.reading import claims, header, tampered

SECRET = "kH2vQ7pR9sT4uW6xY8zA1bC3dE5fG0jL2mN4pQ6r"


def test_prefix(serve: Serve) -> None:
    """Register, log in, profile, all below /api; the cookie still stands for the whole origin."""
    server = serve(WATCHWORD_PATH_PREFIX="/api")
    assert server.url.endswith("/api")
    with server.client() as reader:
        reader.register("testuser")
        answer = reader.post("/login", json={"username": "testuser", "password": PASSWORD})
        token = answer.json()["access_token"]
        assert "Path=/;" in answer.headers["set-cookie"]
        assert claims(token)["iss"] == server.url
        refused(reader.get("/profile"), 401, "token_missing")
        profile = reader.get("/profile", headers=bearer(token))
        assert f"Welcome, {profile.json()['username']}" == "Welcome, testuser"
        # Nothing answers beside the prefix.
        assert reader.get(f"{server.origin}/profile", headers=bearer(token)).status_code == 404
        # The role is in the payload after the operator has given it; the old token is not accepted any more.
        assert server.command("users", "roles", "testuser", "--add", "admin", "--add", "editor").returncode == 0
        again = reader.post("/refresh").json()["access_token"]
        assert claims(again)["roles"] == ["admin", "editor"]
        # Neither local storage nor a script is needed to stay logged in: the cookie is enough.
        assert COOKIE in reader.cookies


def test_prefix_with_a_shared_secret(serve: Serve) -> None:
    """HS256 as in the tutorial: another program that has the secret verifies the token, with a library of its own."""
    server = serve(WATCHWORD_PATH_PREFIX="/api", WATCHWORD_JWT_SECRET=SECRET)
    with server.client() as reader:
        token = reader.newcomer()
        assert header(token)["alg"] == "HS256"
        verified = jwt.decode(token, OctKey.import_key(SECRET), algorithms=["HS256"])
        assert verified.claims["iss"] == server.url
        with pytest.raises(BadSignatureError):
            jwt.decode(token, OctKey.import_key(SECRET[::-1]), algorithms=["HS256"])
        assert reader.get("/profile", headers=bearer(token)).status_code == 200
        for changed in tampered(token):
            assert reader.get("/profile", headers=bearer(changed)).status_code == 401
        # There is no public half of a shared secret to publish.
        assert reader.get("/.well-known/jwks.json").json() == {"keys": []}
    assert "can also forge" in server.log(), "the banner says what a shared secret means"


@pytest.mark.parametrize("secret", ["secret", "your-256-bit-secret", "mysecretkey", "x" * 31])
def test_prefix_refuses_the_secrets_of_tutorials(serve: Serve, secret: str) -> None:
    """J12: a secret that is short or printed everywhere does not start, and the way out is said."""
    with pytest.raises(AssertionError) as refusal:
        serve(WATCHWORD_JWT_SECRET=secret)
    said = str(refusal.value)
    assert "WATCHWORD_JWT_SECRET" in said
    assert "watchword secret" in said
    assert "Traceback" not in said
