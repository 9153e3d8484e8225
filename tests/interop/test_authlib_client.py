"""Authlib as a client, at a real service and its guards: by a secret, by a key, and for a user."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from joserfc.jwk import ECKey

from tests.e2e.client import PASSWORD
from tests.e2e.fixtures import Serve
from tests.e2e.server import UNLIMITED, Server
from watchword.errors import TokenError
from watchword.guard import Guard

ORDERS, BILLING = "https://orders.example", "https://billing.example"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
KIND = "urn:ietf:params:oauth:token-type:access_token"
PATIENCE = 30.0
"""Seconds. How soon it is measured elsewhere; what must come is waited for."""


def eventually(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


def command(server: Server, *arguments: str) -> dict[str, str]:
    """What a command printed as `name=value`."""
    done = server.command(*arguments)
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def refuses(guard: Guard, token: str) -> bool:
    try:
        guard.verify(token, scopes="read")
    except TokenError:
        return True
    return False


def test_programs_by_secret_by_key_and_for_a_user(serve: Serve, tmp_path: Path) -> None:
    server = serve("--workers", "2", **UNLIMITED)
    key = ec.generate_private_key(ec.SECP256R1())
    public = tmp_path / "public.pem"
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    command(server, "scopes", "add", "*", "read", "pay")
    for name, audience in (("orders", ORDERS), ("billing", BILLING)):
        command(server, "apis", "create", name, "--audience", audience, "--scope", "read", "--scope", "pay")
    secret = command(server, "clients", "create", "nightly", "--scope", "read", "--scope", "jobs:run")
    signer = command(server, "clients", "create", "signer", "--scope", "read", "--public-key", str(public))
    acting = command(
        server, "clients", "create", "orders-api", "--scope", "x", "--serves", "orders", "--exchange-to", "billing"
    )
    endpoint = f"{server.url}/token"
    own, billing = Guard(server.url), Guard(server.url, audience=BILLING)
    try:
        assert own.wait_until_ready(PATIENCE)
        assert billing.wait_until_ready(PATIENCE)
        tokens = [
            OAuth2Session(secret["client_id"], secret["client_secret"], token_endpoint_auth_method=method)
            .fetch_token(endpoint, grant_type="client_credentials", scope="read")["access_token"]
            for method in ("client_secret_basic", "client_secret_post")
        ]  # fmt: skip
        session = OAuth2Session(
            signer["client_id"], ECKey.import_key(private), token_endpoint_auth_method="private_key_jwt"
        )
        session.register_client_auth_method(PrivateKeyJWT(endpoint, alg="ES256"))
        for _ in range(2):
            signed = session.fetch_token(endpoint, grant_type="client_credentials")["access_token"]
            tokens.append(signed)
        for token in tokens:
            caller = own.verify(token, scopes="read")
            assert caller.is_client
        with server.client() as client:
            name = client.register()["username"]
            form = {"grant_type": "password", "username": name, "password": PASSWORD, "resource": ORDERS}
            eventually(lambda: client.post("/token", data=form).status_code == 200)
            granted = client.post("/token", data=form).json()
            exchanged = OAuth2Session(acting["client_id"], acting["client_secret"]).fetch_token(
                endpoint, grant_type=EXCHANGE, subject_token=granted["access_token"], subject_token_type=KIND,
                resource=BILLING, scope="read",
            )["access_token"]  # fmt: skip
            caller = billing.verify(exchanged, scopes="read")
            assert (caller.actor, caller.is_client) == (acting["client_id"], False)
            assert refuses(own, exchanged)
            revoked = client.post("/revoke", data={"token": granted["refresh_token"], "client_id": "watchword"})
            assert revoked.status_code == 200
        eventually(lambda: refuses(billing, exchanged))
        command(server, "clients", "disable", "nightly", "--yes")
        eventually(lambda: refuses(own, tokens[0]))
        assert not refuses(own, tokens[-1])
    finally:
        own.stop()
        billing.stop()
