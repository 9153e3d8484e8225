"""The service behind TLS, as the guide "On the internet" says, with nginx and with Caddy."""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil
import ssl
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.cli.examining import Examine, examine, wrong
from tests.e2e.client import PASSWORD, bearer, fresh_name
from tests.e2e.listening import listening
from tests.e2e.server import Server, free_port
from tests.proxies.guide import GUIDES

__all__ = ["examine"]

PAGE = (GUIDES / "internet.md").read_text("utf-8")
APP = "https://app.example"


def block(language: str, **places: str) -> str:
    """The guide's only block in a language; each name must be in it to be replaced."""
    (text,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert all(shown in text for shown in places), places
    for shown, actual in places.items():
        text = text.replace(shown, actual)
    return str(text)


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(pem, plain, serialization.NoEncryption()))
    return folder / "cert.pem", folder / "key.pem"


def configured(proxy: str, folder: Path, port: int, service: int) -> list[str | Path]:
    """The command that runs a proxy with the guide's configuration."""
    cert, key = certificate(folder)
    here = {"127.0.0.1:4000": f"127.0.0.1:{service}"}
    if proxy == "caddy":
        program = shutil.which("caddy", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
        site = {"auth.example.com {": f"https://localhost:{port} {{\n\ttls {cert} {key}"}
        closed = "{\n\tadmin off\n\tpersist_config off\n\tauto_https disable_redirects\n}\n"
        (folder / "Caddyfile").write_text(closed + block("caddyfile", **site, **here))
        return [program or "", "run", "--config", folder / "Caddyfile", "--adapter", "caddyfile"]
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    live = "/etc/letsencrypt/live/auth.example.com"
    own = {
        "listen 80;": f"listen {free_port()};",
        "443 ssl": f"{port} ssl",
        f"{live}/fullchain.pem": str(cert),
        f"{live}/privkey.pem": str(key),
    }
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user}daemon off;\npid {folder}/pid;\nevents {{\n}}\nhttp {{\naccess_log off;\n{temporary}"
        f"{block('nginx', **own, **here)}}}\n"
    )
    return [program or "", "-e", "stderr", "-p", str(folder), "-c", folder / "nginx.conf"]


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """A client that trusts the certificate, in front of a proxy, in front of the service."""
    folder, port = tmp_path_factory.mktemp(request.param), free_port()
    # The two settings of the guide, with this test's address; and one that lets an application's pages in.
    told = dict(re.findall(r"^(WATCHWORD_\w+)=(.*)$", PAGE, re.MULTILINE))
    assert told == {"WATCHWORD_PUBLIC_URL": "https://auth.example.com", "WATCHWORD_TRUSTED_PROXIES": "1"}
    told["WATCHWORD_PUBLIC_URL"] = f"https://localhost:{port}"
    service = Server(tmp_path_factory.mktemp("service"), **told, WATCHWORD_ALLOWED_ORIGINS=APP)
    environment = {**os.environ, "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with ExitStack() as stack:
        stack.callback(service.stop)
        command = configured(request.param, folder, port, service.port)
        if not command[0]:
            pytest.skip(f"{request.param} is missing")
        stack.enter_context(listening(command, folder, port, environment=environment))
        trusting = ssl.create_default_context(cafile=folder / "cert.pem")
        made = httpx2.Client(base_url=told["WATCHWORD_PUBLIC_URL"], verify=trusting, timeout=30)
        made.authority = folder / "cert.pem"  # type: ignore[attr-defined]
        yield stack.enter_context(made)


def test_a_client_on_the_internet(client: httpx2.Client) -> None:
    """Log in, look, log out; the address is the connection's, whatever the client claims about it."""
    person = {"username": fresh_name(), "password": PASSWORD}
    assert client.post("/register", json=person).status_code == 201
    answer = client.post("/login", json=person, headers={"X-Forwarded-For": "198.51.100.1, 203.0.113.9"})
    shown = bearer(answer.json()["access_token"])
    assert "Secure" in answer.headers["set-cookie"]
    assert "strict-transport-security" in answer.headers
    (session,) = client.get("/sessions", headers=shown).json()["items"]
    assert session["address"] in {"127.0.0.1", "::1"}
    assert client.get("/verify", headers=shown).headers["x-auth-user"]
    for method in ("GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH", "PROPFIND"):
        assert client.request(method, "/verify?role=admin").status_code == 401, method
    assert client.request("X", "/verify").status_code in {400, 401, 405}, "no method that HTTP knows"
    assert client.post("/logout", headers=shown).status_code == 204


def test_preflights_and_bodies(client: httpx2.Client) -> None:
    """The service answers preflights, once; a body that is too large is refused before it is sent."""
    asked = {"Origin": APP, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    answer = client.options("/login", headers=asked)
    assert (answer.status_code, answer.headers.get_list("access-control-allow-origin")) == (204, [APP])
    for size in (66_000, 100_000, 300_000):
        assert client.post("/login", json={"username": "x" * size}).status_code == 413


def test_the_doctor_finds_nothing(client: httpx2.Client, examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the guide sets up withstands every attack; the certificate of this test ends tomorrow."""
    monkeypatch.setenv("SSL_CERT_FILE", str(client.authority))  # type: ignore[attr-defined]
    code, report = examine(str(client.base_url).rstrip("/"))
    assert (code, wrong(report)) == (0, {"tls": "warn"}), report
    assert {name for name, (outcome, _) in report.items() if outcome == "skip"} == {"installation", "expired token"}
