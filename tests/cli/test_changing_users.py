"""What an operator does to accounts and sessions, by the command, beside a service."""

from __future__ import annotations

import json
import sqlite3
import time
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Run, Serve
from tests.cli.test_commands import PASSWORD, made
from tests.cli.test_terminal import at_terminal
from tests.mail.mailbox import Mailbox, receiving

OTHER = "quite another phrase"
LIVE = "SELECT COUNT(*) FROM ww_sessions WHERE ended_at IS NULL"


def log_in(url: str, name: str, password: str = PASSWORD) -> int:
    """The status of a log-in."""
    body = json.dumps({"username": name, "password": password}).encode()
    asked = urllib.request.Request(f"{url}/login", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def _arrived(box: Mailbox) -> None:
    begun = time.perf_counter()
    while not box.mails and time.perf_counter() - begun < 60:
        time.sleep(0.05)


def rows(folder: Path, sql: str) -> list[tuple[object, ...]]:
    """What the embedded database holds."""
    with closing(sqlite3.connect(folder / "watchword-data" / "watchword.db")) as database:
        return database.execute(sql).fetchall()


def test_a_password_is_set(run: Run, serve: Serve, tmp_path: Path) -> None:
    """The old one is wrong from then on, every session has ended, and no user stands as the one who did it."""
    made(run, "ada")
    service = serve()
    assert log_in(service.url, "ada") == 200
    done = run("users", "set-password", "ada", "--password-stdin", stdin=OTHER)
    assert (done.code, done.out) == (0, "The password of ada is set, and every session has ended.\n"), done.err
    assert (log_in(service.url, "ada"), log_in(service.url, "ada", OTHER)) == (401, 200)
    assert rows(tmp_path, LIVE) == [(1,)]
    assert rows(tmp_path, "SELECT actor_id, address FROM ww_audit WHERE event = 'password_set'") == [(None, "local")]
    weak = run("users", "set-password", "ada", "--password-stdin", stdin="password")
    assert (weak.code, weak.err.startswith("error: password: ")) == (1, True)
    assert run("users", "set-password", "ada").code == 2
    assert run("users", "set-password", "ada", "--invite", "--password-stdin").code == 2
    assert run("users", "disable", "ada").code == 0
    refused = run("users", "set-password", "ada", "--password-stdin", stdin=OTHER)
    assert (refused.code, "users enable" in refused.err) == (1, True)


def test_enabling_names_the_address_that_can_take_the_account_back(run: Run, tmp_path: Path) -> None:
    """It may be the owner's; and disabling has left that link alone, of two the older one."""
    made(run, "ada", "--email", "thief@example.net")
    assert "hint" not in run("users", "enable", "ada").err
    with closing(sqlite3.connect(tmp_path / "watchword-data" / "watchword.db")) as database, database:
        for number, former in enumerate(("ada@example.org", "first@example.net")):
            database.execute(
                "INSERT INTO ww_one_time (id, purpose, address_key, user_id, detail, handle_hash, token_hash, code_mac,"
                " tries, created_at, code_until, expires_at) SELECT :id, 'undo', :was, id, :told, :id, :id, 'm', 5, 1,"
                " 1, :until FROM ww_users",
                {
                    "id": f"0{number}",
                    "was": former,
                    "told": json.dumps({"email": former}),
                    "until": int(time.time()) + 3600,
                },
            )
    assert run("users", "disable", "ada").code == 0
    done = run("users", "enable", "ada")
    assert (done.code, "hint: the address was 'ada@example.org' before" in done.err) == (0, True), done.err
    assert "users rename" in done.err


def test_an_invitation(run: Run, serve: Serve) -> None:
    """The service mails a link; without a mail server, or an address, the command says what is missing."""
    user = made(run, "ada", "--email", "ada@example.org")
    made(run, "bea")
    silent = {"WATCHWORD_PUBLIC_URL": "https://a.example", "WATCHWORD_TRUSTED_PROXIES": "1"}
    assert "WATCHWORD_SMTP_URL" in run("users", "set-password", "ada", "--invite", **silent).err
    with receiving() as box:
        mail = {"WATCHWORD_SMTP_URL": box.url, "WATCHWORD_MAIL_FROM": "no-reply@example.com"}
        serve(**mail)
        nowhere = run("users", "set-password", "bea", "--invite", **mail)
        assert (nowhere.code, "--email" in nowhere.err) == (1, True)
        assert json.loads(run("users", "set-password", "ada", "--invite", "--json", **mail).out) == {
            "id": user["id"], "done": "invited", "email": "ada@example.org", "expires_in": 1800,
        }  # fmt: skip
        _arrived(box)
        assert box.link("ada@example.org").startswith("wwl_")
        again = run("users", "set-password", "ada", "--invite", **mail)
        assert again.out == (
            "The service mails a link to ada@example.org, or does so once it is started.\n"
            "ada chooses a password there. The link works once, for 30 minutes; until then the present password and all"
            " sessions stay good.\n"
        )
        assert again.err == ""
        assert "no mail server is set here" in run("users", "set-password", "ada", "--invite").err


def test_roles_are_added_and_removed(run: Run) -> None:
    """Beside those there are; what changes nothing is no change."""
    made(run, "ada", "--role", "author")
    both = json.loads(run("users", "roles", "ada", "--add", "editor", "--add", "admin", "--json").out)
    assert both["roles"] == ["admin", "author", "editor"]
    fewer = json.loads(run("users", "roles", "ada", "--remove", "author", "--add", "x", "--json").out)
    assert fewer["roles"] == ["admin", "editor", "x"]
    assert json.loads(run("users", "roles", "ada", "--add", "x", "--json").out) == fewer
    assert run("users", "roles", "ada", "--add", "a b").code == 1


def test_a_name_is_changed(run: Run) -> None:
    """Under the rules of new names; the id stays."""
    user = made(run, "ada")
    made(run, "bea")
    renamed = json.loads(run("users", "rename", "ada", "lovelace", "--email", "a@example.org", "--json").out)
    assert (renamed["id"], renamed["username"], renamed["email"]) == (user["id"], "lovelace", "a@example.org")
    assert run("users", "rename", "lovelace", "bea").code == 1
    assert run("users", "rename", "lovelace", "a b").err.startswith("error: username: ")
    assert run("users", "rename", "lovelace").code == 2


def test_sessions_are_listed_and_ended(run: Run, serve: Serve, tmp_path: Path) -> None:
    """One, all of a user; those of others stay."""
    made(run, "ada")
    made(run, "bea")
    url = serve().url
    for name in ("ada", "ada", "bea", "ada"):
        assert log_in(url, name) == 200
    everyone = json.loads(run("sessions", "list", "--limit", "3", "--json").out)
    assert [each["user"] for each in everyone["items"]] == ["ada", "ada", "bea"]
    rest = json.loads(run("sessions", "list", "--after", everyone["next_cursor"], "--json").out)
    assert ([each["user"] for each in rest["items"]], rest["next_cursor"]) == (["ada"], None)
    listed = run("users", "sessions", "ada").out.splitlines()
    assert (len(listed), listed) == (3, run("sessions", "list", "--user", "ada").out.splitlines())
    first = listed[0].split("\t")[0]
    assert (run("sessions", "end", first).code, rows(tmp_path, LIVE)) == (2, [(4,)])
    assert json.loads(run("sessions", "end", first, "--yes", "--json").out)["done"] == "ended"
    again = run("sessions", "end", first, "--yes")
    assert (again.code, "sessions list" in again.err) == (3, True)
    assert run("users", "end-sessions", "ada", "--yes").out == "Sessions of ada ended: 2.\n"
    assert rows(tmp_path, LIVE) == [(1,)]
    assert run("sessions", "list", "--after", "x").code == 2
    assert run("users", "end-sessions", "ada", "--yes").out == "Sessions of ada ended: 0.\n"
    told = rows(tmp_path, "SELECT event, detail FROM ww_audit WHERE event LIKE 'session%' ORDER BY id")
    assert told == [("session_ended", '{"reason":"operator"}'), ("sessions_ended", '{"count":"2"}')]


@pytest.mark.parametrize("command", [("users", "delete", "ada"), ("users", "end-sessions", "ada")])
def test_what_cannot_be_undone_is_asked_first(run: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    """A no changes nothing, and no terminal is no yes."""
    made(run, "ada")
    code, shown = at_terminal(tmp_path, *command, typed="n\n")
    assert (code, "Go on? [y/N]" in shown) == (130, True)
    assert (run(*command).code, run("users", "show", "ada").code) == (2, 0)
    code, shown = at_terminal(tmp_path, *command, typed="y\n")
    assert code == 0, shown


def test_a_user_is_deleted(run: Run, serve: Serve) -> None:
    """No one logs in by that name, and the name is free again for another id."""
    user = made(run, "ada")
    url = serve().url
    assert log_in(url, "ada") == 200
    assert json.loads(run("users", "delete", "ada", "--yes", "--json").out) == {"id": user["id"], "done": "deleted"}
    assert log_in(url, "ada") == 401
    assert run("users", "show", str(user["id"])).code == 3
    assert run("sessions", "list").out == ""
    assert made(run, "ada")["id"] != user["id"]
