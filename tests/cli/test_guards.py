"""`watchword guards …`: what is printed where, and how it ends."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Run


@pytest.mark.usefixtures("database")
def test_a_key_from_making_to_revoking(run: Run) -> None:
    """Alone on standard output, so that it can be piped into a file; never shown again."""
    made = run("guards", "create", "orders")
    key = made.out.strip()
    assert (made.code, made.out) == (0, key + "\n")
    assert key.startswith("wwg_")
    assert "not shown again" in made.err
    assert key not in made.err
    for arguments in (["list"], ["list", "--json"]):
        listed = run("guards", *arguments)
        assert listed.code == 0
        assert "orders" in listed.out
        assert key not in listed.out + listed.err
    (item,) = json.loads(run("guards", "list", "--json").out)["items"]
    assert (item["name"], item["last_used_at"], item["revoked_at"]) == ("orders", None, None)
    assert item["created_at"].endswith("Z")
    revoked = run("guards", "revoke", "orders", "--yes")
    assert (revoked.code, "orders" in revoked.out) == (0, True)
    (item,) = json.loads(run("guards", "list", "--json").out)["items"]
    assert item["revoked_at"].endswith("Z")


@pytest.mark.usefixtures("database")
def test_for_programs(run: Run) -> None:
    """`--json`: the key once, and nothing on standard error."""
    made = run("guards", "create", "orders", "--json")
    assert (made.code, made.err) == (0, "")
    said = json.loads(made.out)
    assert said["key"].startswith("wwg_")
    assert {"id", "name", "created_at", "last_used_at", "revoked_at"} < set(said)
    revoked = json.loads(run("guards", "revoke", "orders", "--yes", "--json").out)
    assert (revoked["id"], "key" in revoked) == (said["id"], False)
    again = json.loads(run("guards", "create", "orders", "--json").out)
    assert (again["name"], again["id"] == said["id"]) == ("orders", False)


@pytest.mark.usefixtures("database")
def test_a_name_in_use(run: Run) -> None:
    """Two keys of one name could not be told apart when one has to be revoked."""
    run("guards", "create", "orders")
    again = run("guards", "create", "orders")
    assert (again.code, again.out) == (1, "")
    assert "error: There is a guard key named orders already; revoke it first" in again.err


@pytest.mark.usefixtures("database")
def test_a_name_that_nobody_has(run: Run) -> None:
    """Code 3, and a hint that fits."""
    ended = run("guards", "revoke", "nobody", "--yes")
    assert (ended.code, ended.out) == (3, "")
    assert ended.err == (
        "error: there is no guard key 'nobody' in use\nhint: `watchword guards list` shows which there are\n"
    )


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("name", ["a b", "ö", "x" * 65, ""])
def test_a_name_that_is_none(run: Run, name: str) -> None:
    ended = run("guards", "create", name)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("error: name: ")


@pytest.mark.parametrize("command", [[], ["create"], ["list"], ["revoke"]])
def test_help(run: Run, command: list[str]) -> None:
    ended = run("guards", *command, "--help", COLUMNS="200")
    assert ended.code == 0
    assert "Exit codes: 0 done" in ended.out


def test_wrong_usage(run: Run) -> None:
    for arguments in (["create"], ["revoke"], ["create", "a", "b"], ["nonsense"]):
        ended = run("guards", *arguments)
        assert (ended.code, "Traceback" in ended.err) == (2, False)
