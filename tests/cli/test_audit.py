"""`watchword audit` as an operator uses it, beside a service that chains."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, Run, Serve, environment
from tests.cli.test_changing_users import log_in
from tests.cli.test_commands import made
from watchword.cli.audit_filters import read_time
from watchword.cli.exits import CommandError


def lines(text: str) -> list[dict[str, object]]:
    """JSON lines."""
    return [json.loads(line) for line in text.splitlines()]


def test_records_are_found(run: Run, serve: Serve) -> None:
    """By user, event, outcome, address, request and time; a deleted user's by the id."""
    ada, bea = made(run, "ada"), made(run, "bea")
    url = serve().url
    assert [log_in(url, "ada"), log_in(url, "bea"), log_in(url, "ada", "wrong")] == [200, 200, 401]
    everything = lines(run("audit", "export").out)
    tries = json.loads(run("audit", "search", "--event", "log_in", "--json").out)["items"]
    assert [(one["user"], one["outcome"]) for one in tries] == [("ada", "ok"), ("bea", "ok"), ("ada", "refused")]
    assert [one["id"] for one in tries] == [one["id"] for one in everything if one["event"] == "log_in"]
    assert {one["address"] for one in tries} == {"127.0.0.1"}
    assert all(re.fullmatch(r"[0-9a-f-]{36}", str(one["request_id"])) for one in tries)
    for filters, found in (
        (("--user", "ada"), 3),
        (("--user", "ada", "--outcome", "refused"), 1),
        (("--request", str(tries[1]["request_id"])), 1),
        (("--address", "127.0.0.1"), 3),
        (("--address", "127.0.0.2"), 0),
        (("--since", "1h"), len(everything)),
        (("--until", "1h"), 0),
        (("--since", "2020-01-01", "--until", "2020-01-01T10:00:00+02:00"), 0),
    ):
        assert len(lines(run("audit", "export", *filters).out)) == found, filters
    first = json.loads(run("audit", "search", "--limit", "2", "--json").out)
    rest = json.loads(run("audit", "search", "--after", first["next_cursor"], "--json").out)
    paged = [one["id"] for one in first["items"] + rest["items"]]
    assert (paged, rest["next_cursor"]) == ([one["id"] for one in everything], None)
    assert [one["id"] for one in lines(run("audit", "tail", "-n", "2", "--json").out)] == [
        one["id"] for one in everything[-2:]
    ]
    assert run("audit", "tail", "-n", "1").out.split("\t")[1:4] == ["log_in", "refused", "ada"]
    assert run("users", "delete", "bea", "--yes").code == 0
    left = lines(run("audit", "export", "--user", str(bea["id"])).out)
    assert [(one["event"], one["address"], one["agent"]) for one in left] == [
        (event, "", "") for event in ("user_created", "log_in", "user_deleted")
    ]
    assert [one["address"] for one in lines(run("audit", "export", "--user", str(ada["id"])).out)][1:] == [
        "127.0.0.1",
        "127.0.0.1",
    ]


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("search --event loggin", 2, "there is no event 'loggin'"),
        ("search --event log_in --outcome fine", 2, "there is no outcome 'fine'"),
        ("search --since yesterday", 2, "--since 'yesterday' is not a time"),
        ("search --user nobody", 3, "there is no user 'nobody'"),
        ("search --after x", 2, "--after 'x' is not the id of a record"),
        ("tail -n 0", 2, "--limit '0' is not a whole number"),
        ("verify --known 5", 2, "--known '5' is not a position and a hash"),
    ],
)
def test_wrong_filters(run: Run, arguments: str, code: int, said: str) -> None:
    """Told with what would be right."""
    ended = run("audit", *arguments.split())
    assert (ended.code, ended.out) == (code, "")
    assert ended.err.startswith(f"error: {said}")
    assert "hint: " in ended.err


def test_times() -> None:
    """Of a calendar or before now; without an offset they are UTC."""
    assert read_time("--since", "30m", 10_000) == 8200
    assert read_time("--since", "1970-01-02", 0) == 86_400
    assert read_time("--since", "1970-01-01T02:00:00+01:00", 0) == 3600
    for text in ("", "1y", "-1h", "1h30m", "1970-13-01", "٣h"):
        with pytest.raises(CommandError):
            read_time("--since", text, 0)


def _wait_until_chained(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "watchword-data" / "watchword.db")) as database:
        while database.execute("SELECT COUNT(*) FROM ww_audit WHERE position IS NULL").fetchone() != (0,):
            time.sleep(0.2)


def test_the_service_chains_and_the_command_verifies(run: Run, serve: Serve, tmp_path: Path) -> None:
    """Within seconds; a record that is changed behind its back is named, with exit code 1."""
    made(run, "ada")
    service = serve()
    assert log_in(service.url, "ada") == 200
    _wait_until_chained(tmp_path)
    whole = json.loads(run("audit", "verify", "--json").out)
    assert (whole["faults"], whole["waiting"], whole["first"]) == ([], 0, 1)
    known = f"{whole['last']}:{whole['hash']}"
    plain = run("audit", "verify", "--known", known)
    assert (plain.code, f"known\t{known}" in plain.out, plain.err) == (0, True, "")
    assert "audit_checkpoint" in service.stop().err
    with closing(sqlite3.connect(tmp_path / "watchword-data" / "watchword.db")) as database, database:
        (record,) = database.execute("SELECT id FROM ww_audit WHERE event = 'log_in'").fetchone()
        database.execute("UPDATE ww_audit SET outcome = 'refused' WHERE id = ?", (record,))
    broken = run("audit", "verify")
    assert (broken.code, "faults in the chain of audit records: 1" in broken.err) == (1, True)
    assert re.search(rf"^changed\t\d+\t{record}\t", broken.out, re.MULTILINE)  # a scheduled deed may have come later
    found = run("audit", "verify", "--json")
    assert (found.code, [fault["record"] for fault in json.loads(found.out)["faults"]]) == (1, [record])
    other = run("secret").out.strip()
    assert run("audit", "verify", WATCHWORD_SECRET=other).code == 78  # another secret reads nothing


def test_tail_follows(run: Run, serve: Serve, tmp_path: Path) -> None:
    """Each record once, as it comes, until it is stopped."""
    made(run, "ada")
    url = serve().url
    arguments = [*COMMAND, "audit", "tail", "--follow", "--json", "--event", "log_in"]
    with subprocess.Popen(
        arguments,
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - a job of a shell ignores it
    ) as following:
        time.sleep(3)
        for _ in range(3):
            assert log_in(url, "ada") == 200
        assert following.stdout is not None
        shown = [json.loads(following.stdout.readline()) for _ in range(3)]
        following.send_signal(signal.SIGINT)
        rest = following.stdout.read()
        assert following.wait(timeout=60) == 0
    assert rest == ""
    everyone = lines(run("audit", "export", "--event", "log_in").out)
    assert [one["id"] for one in shown] == [one["id"] for one in everyone]
