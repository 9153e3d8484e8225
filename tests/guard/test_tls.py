"""Over TLS: certificates are checked, a private authority can be named, and everything else is as without."""

from __future__ import annotations

import ssl
import threading
import time
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.guard.service import FEED, Service, until
from watchword.errors import TokenError
from watchword.guard import Guard, Unready


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """An authority for 127.0.0.1, and in the same file what it signed: a certificate with its key."""
    made = Authority()
    signed = made.signed("127.0.0.1")
    path = tmp_path / "certificate.pem"
    path.write_bytes(signed.key + signed.certificate + made.certificate)
    return path


def secured(service: Service, authority: Path) -> str:
    """Turn the service's socket into one that speaks TLS; its new address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority)
    server = service._server
    assert server is not None
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    service.issuer.issuer = url = service.url.replace("http:", "https:")
    service.metadata = lambda: {  # type: ignore[method-assign]
        "issuer": url,
        "jwks_uri": f"{url}/.well-known/jwks.json",
    }
    return url


def test_a_private_authority(service: Service, authority: Path) -> None:
    """Keys, revocations and a stop in the middle of a long poll."""
    others = set(threading.enumerate())
    url = secured(service, authority)
    guard = Guard(url, audience="orders", tls=ssl.create_default_context(cafile=str(authority)))
    token = service.token(session_id="s")
    assert guard.verify(token)
    service.revoke("session", "s")

    def revoked() -> bool:
        try:
            guard.verify(token)
        except TokenError as error:
            return error.code == "token_revoked"
        return False

    assert until(revoked)
    asked = service.asked[FEED]
    assert until(lambda: service.asked[FEED] > asked)
    began = time.monotonic()
    guard.stop()
    assert time.monotonic() - began < 8, "the poll takes ten seconds"
    left = set(threading.enumerate()) - others
    assert not [thread for thread in left if thread.name.startswith("watchword-guard")]


def test_an_unknown_authority_is_refused(service: Service, authority: Path) -> None:
    guard = Guard(secured(service, authority), audience="orders")
    with pytest.raises(Unready):
        guard.verify(service.token())
    assert sum(service.asked.values()) == 0
    guard.stop()
