"""The code of the guide for service accounts with a key, as it stands; only the address and the client are others."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.e2e.fixtures import server
from tests.e2e.server import Server
from tests.tutorials.reading import claims

__all__ = ["server"]
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "service-accounts.md"


def test_a_client_that_signs(server: Server, tmp_path: Path) -> None:
    """It gets a token of its own; with another audience the log has the reason."""
    (code,) = re.findall(r"```python\n(import.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "private.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "public.pem").write_bytes(public)
    made = server.command("clients", "create", "signer", "--scope", "jobs:run", "--public-key",
                          str(tmp_path / "public.pem"))  # fmt: skip
    client = made.stdout.partition("client_id=")[2].split()[0]
    assert code.count("http://127.0.0.1:4000") == code.count("wwc_...") == 1
    code = code.replace("http://127.0.0.1:4000", server.url).replace("wwc_...", client)
    right = _run(code + "print(access_token)\n", tmp_path)
    assert right.returncode == 0, right.stderr
    found = claims(right.stdout.strip())
    assert (found["sub"], found["scope"]) == (client, "jobs:run")
    wrong = _run(code.replace('"aud": SERVICE', '"aud": "https://other.example"'), tmp_path)
    assert "401" in wrong.stderr
    assert "client_refused" in server.log()
    assert "The assertion's aud is not one of these alone" in server.log()


def _run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
