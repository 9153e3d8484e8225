"""`users import` and `users export`, run as people run them: good files, bad files, interruptions."""

from __future__ import annotations

import csv
import io
import json
import signal
import sqlite3
import stat
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, Run, environment
from watchword.cli.moving import lines
from watchword.identity.arrivals import Record, Refused
from watchword.identity.moving_in import BATCH

BCRYPT = "$2b$04$" + "a" * 53


def written(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in records), "utf-8")
    return path


def refused(folder: Path) -> dict[int, str]:
    """Line → reason, from the file that the command wrote."""
    text = (folder / "refused-users.jsonl").read_text("utf-8")
    return {each["line"]: each["reason"] for each in map(json.loads, text.splitlines())}


@pytest.mark.usefixtures("database")
def test_who_becomes_an_administrator_is_told(run: Run, tmp_path: Path) -> None:
    """Many an old collection let people choose their own role; a role that only sounds like it gives nothing."""
    names = [f"boss{number}" for number in range(12)]
    written(
        tmp_path / "users.jsonl",
        *({"username": name, "roles": ["admin", "staff"]} for name in names),
        {"username": "eve", "roles": ["administrator"]},
        {"username": "ada"},
    )
    words = "administrators of this service too: boss0, boss1, "
    dry = run("users", "import", "users.jsonl", "--dry-run", "--json")
    assert json.loads(dry.out)["administrators"] == names
    done = run("users", "import", "users.jsonl")
    assert words in done.err
    assert "boss9 and 2 more\n" in done.err
    assert "eve" not in done.err
    assert "watchword users roles NAME --remove admin" in done.err
    assert words not in run("users", "import", "users.jsonl").err


def users(folder: Path) -> list[sqlite3.Row]:
    with closing(sqlite3.connect(folder / "watchword-data" / "watchword.db")) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute("SELECT * FROM ww_users ORDER BY id").fetchall()


@pytest.mark.usefixtures("database")
def test_a_file_goes_in_and_comes_out_and_a_second_run_finds_it_there(run: Run, tmp_path: Path) -> None:
    """Good lines are in although others are refused; the code says so, and the list says which and why."""
    written(
        tmp_path / "users.jsonl",
        {"external_id": 1, "username": "mary jane", "email": "mary@example.org", "password_hash": BCRYPT},
        {"external_id": 2, "username": "Mary Jane"},
        {"external_id": 3, "username": "ada", "password_hash": "plain text"},
        {"external_id": 4, "username": "ada", "password": "x"},
        {"external_id": 5, "username": "bert", "roles": ["a b"]},
        {"external_id": 6, "username": "carl", "created_at": "yesterday"},
        {"external_id": 7},
        {"external_id": "a b", "username": "dora"},
        {"external_id": 8, "username": 5},
        {"_id": {"$oid": "64b0c0ffee0000000000aa01"}, "username": "emil"},
    )
    dry = run("users", "import", "users.jsonl", "--dry-run")
    assert (dry.code, dry.out) == (1, "would import 1, already in 0, refused 9\n")
    assert users(tmp_path) == []
    done = run("users", "import", "users.jsonl")
    assert (done.code, done.out) == (1, "imported 1, already in 0, refused 9\n")
    reasons = refused(tmp_path)
    assert sorted(reasons) == list(range(2, 11))
    why = {
        2: "username is that of user", 3: "no form of password hash", 4: "unknown field", 5: "A role",
        6: "created_at", 7: "neither a username", 8: "printable ASCII", 9: "Expected",
        10: "needs --from mongoose",
    }  # fmt: skip
    for line, words in why.items():
        assert words in reasons[line]
    assert "plain text" not in done.out + done.err + (tmp_path / "refused-users.jsonl").read_text()
    again = run("users", "import", "users.jsonl", "--json")
    assert json.loads(again.out) == {
        "imported": 0, "known": 1, "refused": 9, "administrators": [], "dry_run": False,
        "refused_file": "refused-users.jsonl",
    }  # fmt: skip
    assert json.loads(run("users", "export", "--with-hashes").out)["password_hash"] == BCRYPT
    assert "password_hash" not in run("users", "export").out


@pytest.mark.usefixtures("database")
def test_an_export_is_private_and_replaces_nothing(run: Run, tmp_path: Path) -> None:
    written(tmp_path / "users.jsonl", {"external_id": 1, "username": "ada", "password_hash": BCRYPT})
    assert run("users", "import", "users.jsonl").code == 0
    assert run("users", "export", "out.csv", "--with-hashes").code == 0
    assert stat.S_IMODE((tmp_path / "out.csv").stat().st_mode) == 0o600
    before = (tmp_path / "out.csv").read_bytes()
    done = run("users", "export", "out.csv")
    assert (done.code, "there is a file" in done.err) == (2, True)
    assert (tmp_path / "out.csv").read_bytes() == before


@pytest.mark.usefixtures("database")
def test_formulas_are_text_in_a_spreadsheet_and_come_back_as_they_were(run: Run, tmp_path: Path) -> None:
    """OWASP, CSV injection: a cell that begins with = + - @ gets a quote, which import takes off again."""
    names = [
        '=HYPERLINK("http://evil.example")',
        "+1",
        "-2+3",
        "'=x",
        "@SUM(A1)",
        "harmless, with a comma",
        'a "quote"',
    ]
    written(tmp_path / "users.jsonl", *({"external_id": n, "username": name} for n, name in enumerate(names)))
    assert run("users", "import", "users.jsonl").code == 0
    assert run("users", "export", "out.csv").code == 0
    cells = [row["username"] for row in csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text("utf-8")))]
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)
    (tmp_path / "watchword-data").rename(tmp_path / "old")
    assert run("migrate").code == 0
    assert run("users", "import", "out.csv").code == 0
    assert [row["username"] for row in users(tmp_path)] == names


@pytest.mark.usefixtures("database")
def test_csv_as_spreadsheets_write_it(run: Run, tmp_path: Path) -> None:
    """A byte-order mark, Windows line ends, semicolons, quotes, a line break in a cell, empty lines."""
    text = (
        "\ufeffexternal_id;username;email;email_verified;roles;created_at\r\n"
        '1;"Ada; Countess";ada@example.org;TRUE;admin, editor;1000\r\n\r\n'
        "2;bert;;false;;2020-01-01 10:00:00\r\n"
        '3;"two\r\nlines";;;;\r\n'
        "4;short\r\n"
        "5;carl;;maybe;;\r\n"
    )
    (tmp_path / "users.csv").write_bytes(text.encode())
    assert run("users", "import", "users.csv").out == "imported 2, already in 0, refused 3\n"
    ada, bert = users(tmp_path)
    assert (ada["username"], ada["roles"], ada["created_at"]) == ("Ada; Countess", "admin editor", 1000)
    assert ada["email_verified_at"] is not None
    assert (bert["email"], bert["created_at"]) == (None, 1577872800)
    reasons = refused(tmp_path)
    assert "invisible" in reasons[5]
    assert "2 cells" in reasons[7]
    assert "neither true nor false" in reasons[8]


@pytest.mark.parametrize(("name", "content", "words"), [
    ("a.csv", b"username,pass\nada,x\n", "column 'pass'"),
    ("a.csv", b"", "empty"),
    ("a.csv", b"username,username\nada,x\n", "two columns"),
    ("a.csv", "username\nada\n".encode("utf-16"), "UTF-16"),
    ("a.jsonl", '{"username": "ada"}\n'.encode("utf-16"), "UTF-16"),
])  # fmt: skip
@pytest.mark.usefixtures("database")
def test_a_file_of_another_form_is_refused_as_a_whole(
    run: Run, tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    done = run("users", "import", name)
    assert done.code == 2
    assert words in done.err
    assert users(tmp_path) == []


def test_huge_fields_are_refused_in_bounded_memory(tmp_path: Path) -> None:
    """A field of 10 MB, with and without an end, does not become a line in memory; what follows is read."""
    huge = b"x" * 10_000_000
    (tmp_path / "a.jsonl").write_bytes(
        b'{"username": "' + huge + b'"}\n{"username": "ada"}\n\xff\n[1]\n' + b"[" * 60_000 + b"\n" + huge
    )
    found = list(lines.json_lines(tmp_path / "a.jsonl", lines.read_record))
    assert [each.number for each in found] == [1, 2, 3, 4, 5, 6]
    assert [isinstance(each.found, Record) for each in found] == [False, True, False, False, False, False]
    assert "longer than" in str(found[0].found)
    assert "one object a line" in str(found[3].found)
    (tmp_path / "a.csv").write_bytes(
        b"external_id,username\n1," + huge + b'\n2,ada\n3,"open\n' + b"4,lost\n" * 20_000 + b"5,\xff\n6,bert\n"
    )
    entries = list(lines.csv_lines(tmp_path / "a.csv"))
    assert entries[0].number == 2
    assert "longer than" in str(entries[0].found)
    assert isinstance(entries[1].found, Record)
    opened = entries[2]
    assert opened.number == 4
    assert isinstance(opened.found, Refused)
    assert "a quote may be open (up to line" in str(opened.found)
    last = entries[-1].found
    assert isinstance(last, Record)
    assert last.username == "bert"
    assert "not UTF-8" in str(entries[-2].found)


@pytest.mark.usefixtures("database")
def test_killed_in_the_middle_nothing_is_half_in_and_the_next_run_goes_on(run: Run, tmp_path: Path) -> None:
    """kill -9 while batches are being stored: whole batches are in, and afterwards everyone is in once."""
    count = 20_000
    written(
        tmp_path / "users.jsonl",
        *({"external_id": n, "username": f"user{n}", "roles": ["a"], "password_hash": BCRYPT} for n in range(count)),
    )
    command = [*COMMAND, "users", "import", "users.jsonl"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL) as process:
        while not users(tmp_path) and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    there = len(users(tmp_path))
    assert 0 < there < count
    assert there % BATCH == 0
    done = run("users", "import", "users.jsonl")
    assert (done.code, done.out) == (0, f"imported {count - there:,}, already in {there:,}, refused 0\n")
    assert len({row["external_id"] for row in users(tmp_path)}) == count


@pytest.mark.usefixtures("database")
def test_wrong_use_says_what_to_do(run: Run, tmp_path: Path) -> None:
    for arguments, code, words in [
        (("nothing.jsonl",), 3, "there is no file"),
        (("x", "--from", "oracle"), 2, "none that is known"),
        (("x.db", "--from", "django"), 2, "no URL of a database"),
        (("sqlite:///a.db", "--from", "django", "--table", 'a"b'), 2, "--table"),
        (("-", "--from", "django"), 2, "holds no URL"),
    ]:
        done = run("users", "import", *arguments)
        assert (done.code, words in done.err) == (code, True), (arguments, done.err)
    sqlite3.connect(tmp_path / "empty.db").close()
    (tmp_path / "empty.db").touch()
    done = run("users", "import", "sqlite:///empty.db", "--from", "django")
    assert (done.code, "there is no table auth_user" in done.err) == (3, True)
    (tmp_path / "no.db").write_bytes(b"this is no database" * 100)
    assert run("users", "import", "sqlite:///no.db", "--from", "django").code == 1


@pytest.mark.usefixtures("database")
def test_a_file_that_is_not_there(run: Run) -> None:
    """The hint is about the URL, not about our own data directory."""
    done = run("users", "import", "sqlite:///nowhere.db", "--from", "django")
    assert done.code == 2
    assert done.err.splitlines()[0] == "error: the URL names nowhere.db, and there is no such file"
    assert "sqlite:////srv/app.db" in done.err
