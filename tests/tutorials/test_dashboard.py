"""The tutorial `dashboard`: a `.env` with the secret, tokens of an hour, log-out that works at once without Redis."""

from __future__ import annotations

import subprocess
from pathlib import Path

from joserfc import jwt
from joserfc.jwk import OctKey

from tests.e2e.client import bearer, refused
from tests.e2e.fixtures import Serve
from tests.e2e.server import COMMAND, UNLIMITED
from tests.tutorials.reading import claims


def test_dashboard(serve: Serve, tmp_path: Path) -> None:
    """`.env` in the working directory is read; register, log in, call, log out."""
    secret = subprocess.check_output([COMMAND, "secret"], text=True).strip()
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"# as in the tutorial\nWATCHWORD_JWT_SECRET={secret}\nWATCHWORD_ACCESS_LIFETIME=1h\n")
    dotenv.chmod(0o600)
    server = serve(folder=tmp_path)
    shown = server.command("settings").stdout
    assert "WATCHWORD_JWT_SECRET in .env" in shown
    assert secret not in shown
    with server.client() as reader:
        token = reader.newcomer()
        inside = claims(token)
        assert inside["exp"] - inside["iat"] == 3600
        assert jwt.decode(token, OctKey.import_key(secret), algorithms=["HS256"]).claims["sub"] == inside["sub"]
        assert reader.get("/profile", headers=bearer(token)).status_code == 200
        refused(reader.get("/profile"), 401, "token_missing")
        # Instantaneous log-out: the token has 59 minutes left and is refused.
        assert reader.post("/logout", headers=bearer(token)).status_code == 204
        refused(reader.get("/profile", headers=bearer(token)), 401, "token_revoked")


def test_dashboard_survives_a_restart(serve: Serve) -> None:
    """What a blacklist in memory forgets: after a restart the logged-out token is still refused, the other accepted."""
    server = serve(**UNLIMITED)
    with server.client() as reader:
        ended = reader.newcomer()
        reader.post("/logout", headers=bearer(ended))
        kept = reader.newcomer()
        server.stop()
        server.start()
        refused(reader.get("/profile", headers=bearer(ended)), 401, "token_revoked")
        assert reader.get("/profile", headers=bearer(kept)).status_code == 200
        assert reader.post("/refresh").status_code == 200
