"""The tutorial `mongoose`: users in a database, hashed when the password is set and not again, tokens of one hour."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.e2e.client import PASSWORD, bearer, fresh_name, refused
from tests.e2e.server import Installed, Server
from tests.tutorials.reading import claims


def _stored_hash(server: Server, name: str) -> str:
    with closing(sqlite3.connect(server.data / "watchword.db")) as database:
        return str(database.execute("SELECT password_hash FROM ww_users WHERE username = ?", (name,)).fetchone()[0])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Hashes as the product does: forks hash cheaply."""
    running = Installed(tmp_path, WATCHWORD_ACCESS_LIFETIME="1h")
    yield running
    assert running.stop() == 0, running.log()


def test_mongoose(server: Server) -> None:
    """From the model to the profile, and a script that verifies what it got."""
    with server.client() as reader:
        # 1. Register answers the id and the username, and never a hash.
        name = fresh_name()
        made = reader.post("/register", json={"username": name, "password": PASSWORD})
        assert made.status_code == 201
        assert made.json()["username"] == name
        assert "hash" not in made.text
        # 2. The username is unique, however it is written.
        for again in (name, name.upper()):
            answer = reader.post("/register", json={"username": again, "password": PASSWORD})
            refused(answer, 409, "username_taken")
        # 3. The hash in the database is Argon2id, and stays as it is when something else changes.
        before = _stored_hash(server, name)
        assert before.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        token = reader.log_in(name)
        renamed = fresh_name()
        changed = reader.patch("/profile", json={"username": renamed}, headers=bearer(token))
        assert changed.json()["username"] == renamed
        assert _stored_hash(server, renamed) == before
        # 4. The token lives an hour and carries the id.
        granted = reader.grant(renamed)
        assert granted["expires_in"] == 3600
        inside = claims(granted["access_token"])
        assert inside["exp"] - inside["iat"] == 3600
        assert inside["sub"] == made.json()["id"]
        # 5. The profile is the user without the password.
        profile = reader.get("/profile", headers=bearer(granted["access_token"])).json()
        assert profile["id"] == made.json()["id"]
        assert not {key for key in profile if "password" in key or "hash" in key}
        # 6. A script verifies the token with the published key and a library of its own.
        keys = KeySet.import_key_set(reader.get("/.well-known/jwks.json").json())
        verified = jwt.decode(granted["access_token"], keys, algorithms=["ES256"])
        assert verified.claims["sub"] == made.json()["id"]
        # 7. A new password is hashed anew.
        answer = reader.post(
            "/profile/password",
            json={"current_password": PASSWORD, "new_password": "another-orbit-canvas"},
            headers=bearer(granted["access_token"]),
        )
        assert answer.status_code == 200
        assert _stored_hash(server, renamed) != before
