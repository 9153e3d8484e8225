"""The tutorial `posts`: register, log in by e-mail, carry the id and the administrator's mark in the token.

The posts themselves belong to an example API; here is the service's part, which is everything up to the guard.
"""

from __future__ import annotations

from tests.e2e.client import PASSWORD, bearer, fields, fresh_name, refused
from tests.e2e.fixtures import Serve
from tests.tutorials.reading import claims, header, tampered


def test_posts(serve: Serve) -> None:
    """With Postman or curl, from an empty database to a protected call, and what is refused on the way."""
    server = serve()
    with server.client() as reader:
        name = fresh_name()
        email = f"{name}@example.com"
        # 1. Register with username, e-mail and password.
        made = reader.post("/register", json={"username": name, "email": email, "password": PASSWORD})
        assert made.status_code == 201
        user = made.json()
        assert (user["username"], user["email"], user["roles"]) == (name, email, [])
        assert "password" not in made.text
        # The tutorial lets whoever registers say isAdmin; here that is no field.
        greedy = {"username": fresh_name(), "password": PASSWORD, "isAdmin": True}
        assert fields(reader.post("/register", json=greedy)) == {"isAdmin": "unknown_field"}
        # 2. Log in by e-mail; however it is typed.
        logged_in = reader.post("/login", json={"email": email.upper(), "password": PASSWORD})
        assert logged_in.status_code == 200
        token = logged_in.json()["access_token"]
        # 3. The token carries the id of the author and the roles, and nothing personal.
        assert claims(token)["sub"] == user["id"]
        assert "roles" not in claims(token)
        assert header(token)["typ"] == "at+jwt"
        assert email not in str(claims(token))
        assert name not in str(claims(token))
        # 4. The protected call: with the token, without it, with a changed one.
        assert reader.get("/profile", headers=bearer(token)).json()["id"] == user["id"]
        refused(reader.get("/profile"), 401, "token_missing")
        for changed in tampered(token):
            answer = reader.get("/profile", headers=bearer(changed))
            assert answer.status_code == 401
            assert answer.json()["code"] in {"token_invalid", "token_malformed"}
            assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        # 5. The administrator is made by the operator, not by himself.
        assert server.command("users", "roles", email, "--add", "admin").returncode == 0
        again = reader.post("/login", json={"email": email, "password": PASSWORD}).json()
        assert claims(again["access_token"])["roles"] == ["admin"]
        assert again["user"]["roles"] == ["admin"]
