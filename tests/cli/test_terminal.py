"""The commands as a person at a terminal meets them: tables, questions, and what is typed wrongly."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, Run, environment

PASSWORD = "plum-orbit-canvas"
EMAIL = "a.rather.long.address.of.somebody@mail.department.example.com"


def at_terminal(folder: Path, *arguments: str, typed: str = "", columns: int = 100) -> tuple[int, str]:
    """Run a command on a terminal of this width; its exit code and all that it shows."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment(COLUMNS=str(columns), TERM="xterm"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    os.write(ours, typed.encode())
    shown = b""
    try:
        while data := os.read(ours, 65536):
            shown += data
    except OSError:  # the other side is closed
        pass
    os.close(ours)
    return process.wait(), shown.decode().replace("\r\n", "\n")


@pytest.fixture
def people(run: Run) -> list[dict[str, str]]:
    made = []
    for name in ("ada", "bob"):
        arguments = ("--email", f"{name}.{EMAIL}", "--role", "editor", "--password-stdin", "--new-database", "--json")
        done = run("users", "create", name, *arguments, stdin=PASSWORD)
        assert done.code == 0, done.err
        made.append(json.loads(done.out))
    return made


@pytest.mark.parametrize("columns", [40, 100, 250])
def test_ids_and_addresses_are_never_broken(tmp_path: Path, people: list[dict[str, str]], columns: int) -> None:
    """As a table where it fits, else a line for each property."""
    _, listed = at_terminal(tmp_path, "users", "list", columns=columns)
    _, shown = at_terminal(tmp_path, "users", "show", "ada", columns=columns)
    for user in people:
        assert user["id"] in listed
        assert user["email"] in listed
    assert people[0]["email"] in shown
    as_table = any(people[0]["id"] in line and people[0]["email"] in line for line in listed.splitlines())
    assert as_table is (columns == 250)


def test_a_pipe_gets_everything_in_one_line(run: Run, people: list[dict[str, str]]) -> None:
    """However narrow the terminal is that the command was typed on."""
    lines = run("users", "list", COLUMNS="20").out.splitlines()
    assert [line.split("\t")[:3] for line in lines] == [[u["id"], u["username"], u["email"]] for u in people]


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("command", ["keys revoke --all", "guards revoke orders", "db restored", "restore copy.db"])
def test_what_cannot_be_undone_is_asked_first(run: Run, tmp_path: Path, command: str) -> None:
    """By each command in the same way: a no changes nothing, no terminal is no yes, and --yes answers beforehand."""
    assert run("guards", "create", "orders").code == 0
    assert run("backup", "copy.db").code == 0
    before = _rows(run)
    code, shown = at_terminal(tmp_path, *command.split(), typed="n\n")
    assert (code, "Go on? [y/N]" in shown) == (130, True)
    ended = run(*command.split())
    assert (ended.code, ended.err.splitlines()[1]) == (2, "hint: add --yes to go on")
    assert _rows(run) == before
    assert run(*command.split(), "--yes").code == (1 if command.startswith("keys") else 0)  # no key is there yet
    code, shown = at_terminal(tmp_path, *command.split(), typed="y\n")
    assert code in (0, 1, 3), shown
    assert "add --yes" not in shown


def _rows(run: Run) -> list[str]:
    return [run(*command.split()).out for command in ("guards list", "keys list", "users list")]


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("users list --limit many", "error: --limit 'many' is not a whole number from 1 to 1000"),
        ("users list --limit 0", "error: --limit '0' is not a whole number from 1 to 1000"),
        ("users list --limit 1001", "error: --limit '1001' is not a whole number from 1 to 1000"),
        ("users list --limit -1", "error: --limit '-1' is not a whole number from 1 to 1000"),
        ("users list --limit 1.5", "error: --limit '1.5' is not a whole number from 1 to 1000"),
        ("users list --limit ٣", "error: --limit '\\u0663' is not a whole number from 1 to 1000"),
        ("users list --limit", "error: option '--limit' requires an argument"),
        ("users list --after ada", "error: --after 'ada' is not the id of a user"),
        ("users roles ada --set editor --none", "error: --add and --remove, --set, and --none exclude each other"),
        ("users roles ada --add editor --remove editor", "error: 'editor' is to be added and removed"),
        ("users roles ada", "error: say which roles"),
        ("keys revoke x --all", "error: both the key 'x' and --all are given"),
        ("users show \udcff", "error: '\\udcff' is not UTF-8"),
        ("users list --search \udcff", "error: '\\udcff' is not UTF-8"),
        ("backup \udcff", "error: '\\udcff' is not UTF-8"),
        ("users list --data-dir \udcff", "error: '\\udcff' is not UTF-8"),
    ],
)
def test_wrong_values_are_told_in_our_own_words(run: Run, command: str, said: str) -> None:
    """With what to write instead, and code 2."""
    ended = run(*command.split(" "))
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(said)
    assert "\nhint: " in ended.err or "--help" in ended.err


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"caf\xe9-plum-orbit-canvas\n", "error: the password on standard input is not UTF-8"),
        (b"\xff", "error: the password on standard input is not UTF-8"),
        (b"", "error: standard input holds no password"),
        (b"\n", "error: standard input holds no password"),
        (b"x" * 100_000, "error: password: "),
        (b"plum\x00orbit-canvas-stone\n", ""),
    ],
)
def test_a_password_that_is_no_text(tmp_path: Path, data: bytes, said: str) -> None:
    """Said in one line; also where no standard input is there at all."""
    command = [*COMMAND, "users", "create", "ada", "--password-stdin", "--new-database"]
    ended = subprocess.run(command, cwd=tmp_path, env=environment(), input=data, capture_output=True, check=False)
    err = ended.stderr.decode()
    assert said in err
    assert "Traceback" not in err
    assert ended.returncode in ((1, 2) if said else (0, 1))
    closed = " ".join(command) + " <&-"
    without = subprocess.run(closed, shell=True, cwd=tmp_path, env=environment(), capture_output=True, check=False)
    assert (without.returncode, b"holds no password" in without.stderr) == (2, True), without.stderr


def test_a_new_database_is_told_of(run: Run, tmp_path: Path) -> None:
    """Only where it was asked for, and only once."""
    create = ("users", "create", "--password-stdin")
    refused = run(*create, "ada", stdin=PASSWORD)
    assert (refused.code, "--new-database makes one" in refused.err) == (3, True)
    assert list(tmp_path.iterdir()) == []
    first = run(*create, "ada", "--new-database", stdin=PASSWORD)
    place = tmp_path / "watchword-data" / "watchword.db"
    assert (first.code, first.err) == (0, f"hint: the database is a new one, at {place}\n")
    assert (run(*create, "bob", "--new-database", stdin=PASSWORD).err) == ""


@pytest.mark.usefixtures("database")
def test_an_import_shows_how_far_it_is(run: Run, tmp_path: Path) -> None:
    """A bar that comes from nothing to the end, on a terminal only; what became of the users stands below it."""
    lines = [json.dumps({"username": f"user{number}"}) + "\n" for number in range(1200)]
    (tmp_path / "users.jsonl").write_text("".join(lines), encoding="utf-8")
    code, shown = at_terminal(tmp_path, "users", "import", "users.jsonl")
    assert code == 0, shown
    percents = [int(each) for each in re.findall(r"importing .*?(\d+)%", shown)]
    assert percents == sorted(percents)
    assert (percents[0], percents[-1] > 50) == (0, True)
    assert shown.rstrip().splitlines()[-1].endswith("imported 1,200, already in 0, refused 0")
    piped = run("users", "import", "users.jsonl")
    assert (piped.out, piped.err) == ("imported 0, already in 1,200, refused 0\n", "")
