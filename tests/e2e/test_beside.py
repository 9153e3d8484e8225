"""Commands beside a running server: they see what it sees, it sees what they do, and neither loses anything."""

from __future__ import annotations

import json

from tests.e2e.client import Client, bearer, fresh_name
from tests.e2e.fixtures import Serve
from tests.e2e.server import UNLIMITED, Server


def _names(server: Server) -> set[str]:
    listed = server.command("users", "list", "--json", "--limit", "1000")
    assert listed.returncode == 0, listed.stderr
    return {user["username"] for user in json.loads(listed.stdout)["items"]}


def test_what_is_registered_after_a_command_survives_a_kill(serve: Serve) -> None:
    """A command opens and closes the database of a running server. That must not take the server's log from under it:
    POSIX locks belong to the process and fall with the first descriptor of the file that it closes."""
    server = serve(**UNLIMITED)
    with server.client() as client:
        before = client.register(fresh_name())["username"]
        assert before in _names(server)
        after = client.register(fresh_name())["username"]
        assert after in _names(server), "the command does not see what the server has acknowledged"
        assert (server.data / "watchword.db-wal").exists(), "a command has removed the server's write-ahead log"
    server.kill()
    server.start()
    assert {before, after} <= _names(server), "an acknowledged registration is lost"


def test_a_role_given_by_command_reaches_the_next_token(server: Server, client: Client) -> None:
    """The old token is refused, the next refresh carries the role."""
    name = client.register()["username"]
    token = client.log_in(name)
    assert client.get("/profile", headers=bearer(token)).json()["roles"] == []
    given = server.command("users", "roles", name, "--add", "admin", "--json")
    assert json.loads(given.stdout)["roles"] == ["admin"]
    token = client.post("/refresh").json()["access_token"]
    assert client.get("/profile", headers=bearer(token)).json()["roles"] == ["admin"]


def test_two_commands_at_once_beside_the_server(server: Server, client: Client) -> None:
    """Users made by commands can log in at once."""
    names = [fresh_name() for _ in range(2)]
    for name in names:
        made = server.command("users", "create", name, "--password-stdin", stdin="plum-orbit-canvas")
        assert made.returncode == 0, made.stderr
    assert all(client.log_in(name) for name in names)
