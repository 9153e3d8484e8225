"""`openid-client` and `oauth4webapi` as programs with accounts of their own: by secret, by key, and for a user."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.e2e.client import PASSWORD
from tests.e2e.fixtures import Serve
from tests.e2e.server import UNLIMITED
from tests.interop import npm
from tests.interop.test_authlib_client import BILLING, KIND, ORDERS, command, eventually

RSA = rsa.generate_private_key(65537, 2048)
SIGNERS = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "RS256": RSA,
    "PS256": RSA,
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
}


def test_programs_by_secret_by_key_and_for_a_user(serve: Serve, node: Path, tmp_path: Path) -> None:
    """Both find the endpoints by the metadata, and check answers and tokens by the letter of the RFCs."""
    server = serve(**UNLIMITED)
    command(server, "scopes", "add", "*", "read", "pay")
    command(server, "apis", "create", "orders", "--audience", ORDERS, "--scope", "read")
    command(server, "apis", "create", "billing", "--audience", BILLING, "--scope", "read", "--scope", "pay")
    nightly = command(server, "clients", "create", "nightly", "--scope", "read", "--scope", "jobs:run")
    acting = command(
        server, "clients", "create", "orders-api", "--scope", "x", "--serves", "orders", "--exchange-to", "billing"
    )
    signers = {}
    for name, key in SIGNERS.items():
        public = tmp_path / f"{name}.pem"
        public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        made = ("clients", "create", name, "--scope", "read", "--public-key", str(public), "--key-algorithm", name)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        signers[name] = {"id": command(server, *made)["client_id"], "pem": private}
    with server.client() as client:
        user = client.register()
        form = {"grant_type": "password", "username": user["username"], "password": PASSWORD, "resource": ORDERS}
        eventually(lambda: client.post("/token", data=form).status_code == 200)
        subject = client.post("/token", data=form).json()["access_token"]
    told = npm.run(node / "programs.mjs", {
        "issuer": server.url, "secret": {"id": nightly["client_id"], "secret": nightly["client_secret"]},
        "signers": signers, "acting": {"id": acting["client_id"], "secret": acting["client_secret"]},
        "subject": subject, "billing": BILLING,
    })  # fmt: skip
    assert set(told) == {"openid-client", "oauth4webapi"}
    for found in told.values():
        assert found == {
            "scopes": dict.fromkeys(("ClientSecretBasic", "ClientSecretPost", *SIGNERS), "read"),
            "refresh": None,
            **dict.fromkeys(SIGNERS, True),
            "before": True,
            "after": {"active": False},
            "exchanged": {"kind": KIND, "scope": "read", "sub": user["id"], "act": acting["client_id"]},
            "refusals": ["invalid_target", "invalid_scope", "invalid_request", "invalid_scope"],
            "stranger": "bearer",  # both tell of the challenge, which a 401 always has
            "challenged": "basic",
        }
