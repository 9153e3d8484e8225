"""`watchword scopes …` and `watchword apis …`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.mark.usefixtures("database")
def test_scopes_of_roles(run: Run) -> None:
    assert run("scopes", "list").out == ""
    assert run("scopes", "set", "editor", "write", "read").out == "editor\tread write\n"
    assert run("scopes", "add", "*", "read").out == "*\tread\n"
    assert run("scopes", "add", "editor", "delete", "--json").out == (
        '{\n  "role": "editor",\n  "scopes": [\n    "delete",\n    "read",\n    "write"\n  ]\n}\n'
    )
    assert run("scopes", "remove", "editor", "read", "write", "other").out == "editor\tdelete\n"
    assert run("scopes", "list").out == "*\tread\neditor\tdelete\n"
    assert run("scopes", "set", "editor").out == "editor\n"
    items = json.loads(run("scopes", "list", "--json").out)["items"]
    assert items == [{"role": "*", "scopes": ["read"]}]


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    "arguments",
    [("set", "two words", "read"), ("add", "editor", "é"), ("add", "editor", "s" * 65), ("remove", "editor")],
)
def test_slips_change_nothing(run: Run, arguments: tuple[str, ...]) -> None:
    ended = run("scopes", *arguments)
    assert ended.code != 0
    assert ended.err.startswith("error: ")
    assert run("scopes", "list").out == ""


@pytest.mark.usefixtures("database")
def test_what_is_not_there_is_not_removed_in_silence(run: Run) -> None:
    """A slip of the pen would look like a scope that was taken away."""
    assert run("scopes", "add", "editor", "read").code == 0
    for role, named in (("*", ("nosuch",)), ("editor", ("write", "rad"))):
        ended = run("scopes", "remove", role, *named)
        told = f"hint: {role} did not give {' '.join(sorted(named))}: of that there was nothing to remove\n"
        assert (ended.code, ended.err) == (0, told)
    assert run("scopes", "remove", "editor", "read").err == ""


@pytest.mark.usefixtures("database")
def test_a_role_that_no_one_has_is_told(run: Run) -> None:
    """A slip of the pen would give a role nobody has; that another role's name holds this one does not count."""
    user = ("users", "create", "ada", "--password-stdin", "--role", "chief-editor")
    assert run(*user, "--role", "sub", stdin="plum-orbit-canvas\n").code == 0
    for command in ("add", "set"):
        ended = run("scopes", command, "editor", "read")
        assert (ended.code, ended.out, ended.err) == (0, "editor\tread\n", "hint: no user has the role editor yet\n")
        for role in ("*", "chief-editor", "sub"):
            assert run("scopes", command, role, "read").err == ""
    assert run("scopes", "remove", "editor", "read").err == run("scopes", "set", "editor").err == ""


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("command", ["add", "set", "remove"])
@pytest.mark.parametrize("files", [(), ("ARCHITECTURE.md", "CHANGELOG.md", "src")], ids=["one", "several"])
def test_a_star_without_quotes_is_refused(run: Run, tmp_path: Path, command: str, files: tuple[str, ...]) -> None:
    """The shell puts the files here in its place: a role `ARCHITECTURE.md` had the scope `CHANGELOG.md`."""
    for name in files:
        (tmp_path / name).touch()
    expanded = sorted(each.name for each in tmp_path.iterdir())
    assert "watchword-data" in expanded
    ended = run("scopes", command, *expanded, "orders:read")
    assert (ended.code, ended.out) == (2, "")
    assert f"put it in quotes: watchword scopes {command} '*' orders:read\n" in ended.err
    assert run("scopes", "list").out == ""
    if files:  # a role and a scope that are called as two of several files
        assert run("scopes", command, "src", "CHANGELOG.md").code == 0


@pytest.mark.usefixtures("database")
def test_where_the_setting_says_so_nothing_is_changed(run: Run) -> None:
    ended = run("scopes", "add", "editor", "read", WATCHWORD_SCOPES="*=read")
    assert ended.code != 0
    assert "WATCHWORD_SCOPES" in ended.err


@pytest.mark.usefixtures("database")
def test_an_api_from_registering_to_deleting(run: Run) -> None:
    made = run("apis", "create", "orders", "--audience", "https://orders.example", "--scope", "b", "--scope", "a")
    assert (made.code, made.out) == (0, "orders\thttps://orders.example\ta b\n")
    again = run("apis", "create", "orders", "--audience", "https://else.example")
    assert again.code != 0
    assert "already" in again.err
    assert "hint: `watchword apis list`" in again.err
    assert run("apis", "change", "orders", "--scope", "c").out == "orders\thttps://orders.example\tc\n"
    moved = json.loads(run("apis", "change", "orders", "--audience", "urn:orders", "--json").out)
    assert {**moved, "id": ""} == {"id": "", "name": "orders", "audience": "urn:orders", "scopes": ["c"]}
    assert run("apis", "list").out == "orders\turn:orders\tc\n"
    assert run("apis", "change", "orders", "--scope", "").out == "orders\turn:orders\n", "as /admin can"
    assert run("apis", "change", "orders").code == 2
    assert run("apis", "delete", "orders").code == 2, "it asks first"
    assert run("apis", "delete", "orders", "--yes").out == "The API orders is no more.\n"
    for arguments in (("delete", "orders", "--yes"), ("change", "orders", "--scope", "c")):
        gone = run("apis", *arguments)
        assert (gone.code, gone.err.startswith("error: there is no API 'orders'")) == (3, True), gone
    assert json.loads(run("apis", "list", "--json").out) == {"items": []}
