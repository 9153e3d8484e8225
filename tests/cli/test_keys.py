"""`watchword keys`, `secret rotate` and `db restored`, beside a service that runs and has to hear of it at once."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import httpx2
import pytest

from tests.cli.conftest import Finished, Run
from tests.e2e.client import Client, bearer, refused
from tests.e2e.fixtures import Serve, serve
from tests.e2e.server import UNLIMITED, Server

__all__ = ["serve"]
JWT_SECRET = "Rz8dMNeWv0-1cPjgB2nJm4XqTkYhLsUa9vE3wOi7xQ0"
OLD, NEW = (sha256(name).hexdigest() for name in (b"old", b"new"))
WITHIN = 60.0  # whatever the machine has to do besides


def until(condition: Callable[[], bool]) -> None:
    """Wait until something holds; fails when it does not."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < WITHIN, "not in time"
        time.sleep(0.02)


def kids(server: Server) -> list[str]:
    return [key["kid"] for key in httpx2.get(f"{server.url}/.well-known/jwks.json").json()["keys"]]


def pair(server: Server) -> tuple[str, str]:
    """The key that signs and the next one. Made in the same second, they are published in any order."""
    by_status = {key["status"]: kid for kid, key in listed(server).items()}
    return by_status["active"], by_status["next"]


def listed(server: Server) -> dict[str, dict[str, str | None]]:
    done = server.command("keys", "list", "--json")
    assert done.returncode == 0, done.stderr
    return {key["kid"]: key for key in json.loads(done.stdout)["items"]}


def status(server: Server, token: str) -> int:
    return httpx2.get(f"{server.url}/profile", headers=bearer(token)).status_code


def age(server: Server, seconds: int) -> None:
    """Let the next key have been made so long ago."""
    with closing(sqlite3.connect(server.data / "watchword.db", timeout=5)) as database, database:
        database.execute("UPDATE ww_signing_keys SET created_at = created_at - ? WHERE status = 'next'", (seconds,))


@pytest.fixture(params=["1", "2"], ids=["one process", "two processes"])
def server(serve: Serve, request: pytest.FixtureRequest) -> Server:
    running = serve("--workers", request.param, **UNLIMITED)
    until(lambda: len(kids(running)) == 2)  # the next key is made once the service runs
    return running


def test_e7_a_revoked_key_is_refused_within_a_second_and_nobody_is_logged_out(server: Server) -> None:
    """⚑ Old token refused, key set changed, refresh works, in every process; the next key signs."""
    with server.client() as client:
        token = client.newcomer()
        assert status(server, token) == 200
        signing, upcoming = pair(server)
        done = server.command("keys", "revoke", signing, "--yes")
        assert done.returncode == 0, done.stderr
        assert signing in done.stdout
        assert upcoming in done.stdout
        until(lambda: all(status(server, token) == 401 for _ in range(8)))
        until(lambda: all(signing not in kids(server) for _ in range(8)))
        refused(client.get("/profile", headers=bearer(token)), 401, "token_revoked")
        fresh = client.post("/refresh").json()["access_token"]
        assert all(status(server, fresh) == 200 for _ in range(8))
        states = listed(server)
        assert states[signing]["status"] == "revoked"
        assert states[upcoming]["status"] == "active"
        again = server.command("keys", "revoke", signing, "--yes")
        assert (again.returncode, "already" in again.stdout) == (0, True)


def test_e7_every_key_revoked_at_once(server: Server) -> None:
    """A new key signs, that nobody has seen; refreshing goes on all the same."""
    with server.client() as client:
        token = client.newcomer()
        before = set(kids(server))
        done = server.command("keys", "revoke", "--all", "--yes", "--json")
        assert before <= set(json.loads(done.stdout)["revoked"])  # and the next one, if it was made meanwhile
        until(lambda: all(status(server, token) == 401 for _ in range(8)))
        until(lambda: all(not before & set(kids(server)) for _ in range(8)))
        fresh = client.post("/refresh").json()["access_token"]
        until(lambda: all(status(server, fresh) == 200 for _ in range(8)))


def test_b9_rotating_too_early_asks_first_and_keeps_old_tokens_good(serve: Serve) -> None:
    """Without `--yes` and a terminal nothing happens; after a day nobody is asked."""
    server = serve(**UNLIMITED)
    until(lambda: len(kids(server)) == 2)
    with server.client() as client:
        token = client.newcomer()
        signing, upcoming = pair(server)
        early = server.command("keys", "rotate")
        assert early.returncode == 2
        assert "warning: the next key has been published for 0 h 0 min only, not for a day" in early.stderr
        assert "refuses new tokens" in early.stderr
        assert "--yes" in early.stderr
        assert listed(server)[signing]["status"] == "active"
        done = server.command("keys", "rotate", "--yes", "--json")
        assert done.returncode == 0, done.stderr
        assert "warning" in done.stderr
        answer = json.loads(done.stdout)
        assert (answer["signing"], answer["retired"]) == (upcoming, signing)
        states = listed(server)
        assert (states[signing]["status"], states[upcoming]["status"]) == ("retired", "active")
        assert states[signing]["published_until"] == answer["published_until"] > str(states[signing]["retired_at"])
        assert states[upcoming]["published_until"] is None
        until(lambda: (client.post("/refresh"), _signed_by(client) == upcoming)[1])
        assert status(server, token) == 200


def _signed_by(client: Client) -> str:
    from base64 import urlsafe_b64decode

    header = client.post("/refresh").json()["access_token"].partition(".")[0]
    return str(json.loads(urlsafe_b64decode(header + "=="))["kid"])


def test_b9_rotating_after_a_day_asks_nobody(serve: Serve) -> None:
    """The next key has been published for 24 hours and a max-age; then there is none, and that is said."""
    server = serve(**UNLIMITED)
    until(lambda: len(kids(server)) == 2)
    age(server, 24 * 3600 + 300)
    done = server.command("keys", "rotate")
    assert (done.returncode, done.stderr) == (0, "")
    server.stop()
    alone = server.command("keys", "rotate")
    assert alone.returncode == 2
    assert "there is no next key" in alone.stderr


def test_keys_list_for_people_and_for_programs(serve: Serve) -> None:
    """One line each, tab-separated for a pipe; nothing of a private half; times as everywhere."""
    server = serve(**UNLIMITED)
    until(lambda: len(kids(server)) == 2)
    lines = [line.split("\t") for line in server.command("keys", "list").stdout.splitlines()]
    signing, upcoming = pair(server)
    assert sorted(line[:3] for line in lines) == sorted([[signing, "ES256", "active"], [upcoming, "ES256", "next"]])
    for key in listed(server).values():
        assert list(key) == [
            "kid", "algorithm", "status", "created_at", "activated_at", "retired_at", "published_until",
        ]  # fmt: skip
        assert str(key["created_at"]).endswith("Z")


def test_a_command_beside_a_service_with_other_settings_makes_no_key(serve: Serve) -> None:
    """The service was started with a flag that the command does not know of."""
    server = serve("--algorithm", "EdDSA", **UNLIMITED)
    until(lambda: len(kids(server)) == 2)
    server.command("users", "list")
    assert {key["algorithm"] for key in listed(server).values()} == {"EdDSA"}
    assert server.command("keys", "rotate", "--yes").returncode == 0
    assert {key["algorithm"] for key in listed(server).values()} == {"EdDSA"}


def test_a_shared_secret_has_no_keys_to_rotate_or_revoke(serve: Serve) -> None:
    """⚑ Said, also while keys from before are there: who revokes every key is not to think that tokens are refused."""
    server = serve(**UNLIMITED)
    until(lambda: len(kids(server)) == 2)
    server.stop()
    before = listed(server)
    signing, upcoming = sorted(before, key=lambda kid: str(before[kid]["status"]))
    server._environment["WATCHWORD_JWT_SECRET"] = JWT_SECRET
    for arguments, said in ((["rotate", "--yes"], "nothing to rotate"), (["revoke", "--all"], "stay good")):
        ended = server.command("keys", *arguments)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert said in ended.stderr
        assert "hint: give the service and every API that verifies another one" in ended.stderr
        assert listed(server) == before
    done = server.command("keys", "revoke", signing, "--yes")
    assert (done.returncode, "warning: access tokens are signed with WATCHWORD_JWT_SECRET" in done.stderr) == (0, True)
    assert listed(server)[signing]["status"] == "revoked"
    assert "WATCHWORD_JWT_SECRET" in server.command("keys", "list").stderr
    assert upcoming in listed(server)


def test_while_the_algorithm_is_changed_the_key_of_the_settings_is_rotated(serve: Serve) -> None:
    """⚑ And not the one that happens to be younger: the setting may be back at what it was."""
    server = serve(**UNLIMITED)
    until(lambda: len(kids(server)) == 2)
    signing, upcoming = pair(server)
    server.stop()
    server._environment["WATCHWORD_ALGORITHM"] = "EdDSA"
    time.sleep(1.1)  # times are whole seconds
    server.start()
    until(lambda: len(kids(server)) == 4)
    done = server.command("keys", "rotate", "--yes", "--json", "--algorithm", "ES256")
    answer = json.loads(done.stdout)
    assert (answer["signing"], answer["retired"]) == (upcoming, signing)


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["keys", "revoke"], 2, "say which key"),
        (["keys", "revoke", "x", "--all"], 2, "both the key 'x' and --all are given"),
        (["keys", "revoke", "x"], 2, "add --yes"),
        (["keys", "revoke", "--all"], 2, "add --yes"),
        (["guards", "revoke", "x"], 2, "add --yes"),
        (["keys", "revoke", "unknown", "--yes"], 3, "there is no signing key 'unknown'"),
        (["keys", "revoke", "--all", "--yes"], 1, "nothing was revoked"),
        (["keys", "rotate"], 1, "no active signing key"),
        (["keys"], 2, "Usage"),
        (["db"], 2, "Usage"),
        (["db", "restored"], 2, "--yes"),
        (["secret", "rotate"], 78, "does not list two secrets"),
        (["secret", "nonsense"], 2, "--help"),
    ],
)
def test_wrong_usage_is_explained(run: Run, arguments: list[str], code: int, said: str) -> None:
    """A sentence, a hint, the exit code; never a traceback."""
    ended = run(*arguments)
    assert ended.code == code
    assert said in ended.err + ended.out
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("command", [["keys"], ["keys", "rotate"], ["keys", "revoke"], ["secret"], ["db", "restored"]])
def test_help(run: Run, command: list[str]) -> None:
    """Every command explains itself and the exit codes."""
    ended = run(*command, "--help", COLUMNS="200")
    assert (ended.code, ended.err) == (0, "")
    assert "Exit codes: 0 done" in ended.out


# --- The master secret ----------------------------------------------------------------------------------------------


def test_j12_a_master_secret_is_replaced_without_logging_anybody_out(serve: Serve, run: Run) -> None:
    """The guide from its first line to its last: both listed, the new one first, rotate, the old one off the list."""
    old, new = (run("secret").out.strip() for _ in range(2))
    server = serve(**UNLIMITED, WATCHWORD_SECRET=old)
    with server.client() as client:
        client.newcomer()
        signing, _ = pair(server)
        for listed_now in (f"{old},{new}", f"{new},{old}"):
            server.stop()
            server._environment["WATCHWORD_SECRET"] = listed_now
            server.start()
        done = server.command("secret", "rotate")
        assert done.returncode == 0, done.stderr
        assert "Secret 2" in done.stdout
        assert "still needed" in done.stdout
        time.sleep(1.1)  # times are whole seconds: a refresh in the same one counts as before
        assert client.post("/refresh").status_code == 200, "the refresh token was made under the old secret"
        after = json.loads(server.command("secret", "rotate", "--json").stdout)
        assert (after["resealed"], after["sessions"], after["still_needed"]) == (0, 0, [])
        assert len(after["no_longer_needed"]) == 1
        server.stop()
        server._environment["WATCHWORD_SECRET"] = new
        server.start()
        assert pair(server)[0] == signing
        assert client.post("/refresh").status_code == 200
        server.stop()
        everything = done.stdout + done.stderr + server.log()
        assert old not in everything
        assert new not in everything
    wrong = server.command("secret", "rotate")
    assert (wrong.returncode, "does not list two" in wrong.stderr) == (78, True)


def test_j12_a_wrong_master_secret_is_refused(run: Run) -> None:
    """With a hint, and without changing anything."""
    right, wrong, other = (run("secret").out.strip() for _ in range(3))
    assert run("migrate", WATCHWORD_SECRET=right).code == 0
    for secrets in (wrong, f"{wrong},{other}"):
        for command in (["secret", "rotate"], ["keys", "list"], ["db", "restored", "--yes"]):
            ended: Finished = run(*command, WATCHWORD_SECRET=secrets)
            assert ended.code == 78, (command, ended.err)
            assert "hint: " in ended.err
    assert run("keys", "list", WATCHWORD_SECRET=right).code == 0


def test_a_list_in_the_wrong_order_is_refused_unless_it_is_meant(run: Run) -> None:
    """⚑ Otherwise everything would be sealed with the old secret again, and the new one called superfluous."""
    old, new = (run("secret").out.strip() for _ in range(2))
    assert run("migrate", WATCHWORD_SECRET=old).code == 0
    assert run("secret", "rotate", WATCHWORD_SECRET=f"{new},{old}").code == 0
    ended = run("secret", "rotate", WATCHWORD_SECRET=f"{old},{new}")
    assert (ended.code, ended.out) == (78, "")
    assert "wrong order?" in ended.err
    assert "--go-back" in ended.err
    assert run("users", "list", WATCHWORD_SECRET=new).code == 0, "the new one is in force as before"
    assert run("secret", "rotate", WATCHWORD_SECRET=f"{new},{old}").code == 0
    assert run("secret", "rotate", "--go-back", WATCHWORD_SECRET=f"{old},{new}").code == 0
    assert run("users", "list", WATCHWORD_SECRET=old).code == 0
    assert run("secret", "rotate", WATCHWORD_SECRET=f"{new},{old}").code == 78


@pytest.fixture
def overtaken(tmp_path: Path) -> Iterator[Server]:
    """A service with the old secret alone. What it refuses with 503 is a fault, and has its traceback in the log."""
    server = Server(tmp_path, **UNLIMITED, WATCHWORD_SECRET=OLD)
    yield server
    server.kill()


def test_a_service_that_a_new_secret_has_overtaken_says_so_and_signs_no_more(overtaken: Server) -> None:
    """⚑ `secret rotate` and `keys revoke --all` while it runs with the old secret alone: 503, not its own 401s."""
    server = overtaken
    with server.client() as client:
        client.newcomer()
        server._environment["WATCHWORD_SECRET"] = f"{NEW},{OLD}"
        for command in (["secret", "rotate"], ["keys", "revoke", "--all", "--yes"]):
            assert server.command(*command).returncode == 0
        until(lambda: httpx2.get(f"{server.url}/readyz").status_code == 503)
        assert httpx2.get(f"{server.url}/readyz").json()["checks"]["keys"] is False
        until(lambda: client.post("/refresh").status_code == 503)
        for _ in range(3):
            server.command("users", "create", f"u{time.monotonic_ns()}", "--password-stdin", stdin="plum-orbit-canvas")
        time.sleep(2)  # several turns of following: the log says it once
        log = server.log()
        assert log.count("master_replaced") == 1
        assert "first in its list, and start it again" in log
        server.stop()
        server.start()
        assert client.post("/refresh").status_code == 200, "the refresh token was not used up"


# --- A restored backup ----------------------------------------------------------------------------------------------


def test_after_a_restored_backup_everybody_logs_in_again(serve: Serve, tmp_path: Path) -> None:
    """Also while the service runs: tokens are refused within a second, refresh tokens at once; it says what it did."""
    server = serve(**UNLIMITED)
    with server.client() as client:
        name = client.register()["username"]
        token = client.log_in(name)
        before = set(kids(server))
        done = server.command("db", "restored", "--yes")
        assert done.returncode == 0, done.stderr
        assert "Sessions ended: 1. Users whose earlier tokens are refused: 1." in done.stdout
        assert "guards list" in done.stdout
        refused(client.post("/refresh"), 401, "session_ended")
        until(lambda: status(server, token) == 401)
        until(lambda: not before & set(kids(server)))
        again = client.log_in(name)
        assert status(server, again) == 200
        plain = json.loads(server.command("db", "restored", "--yes", "--json").stdout)
        assert plain["sessions_ended"] == 1
        assert plain["users_raised"] == 1
