"""`watchword scopes …` and `watchword apis …`."""

from __future__ import annotations

import json

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
    assert run("apis", "change", "orders").code == 2
    assert run("apis", "delete", "orders").code == 2, "it asks first"
    assert run("apis", "delete", "orders", "--yes").out == "The API orders is no more.\n"
    for arguments in (("delete", "orders", "--yes"), ("change", "orders", "--scope", "c")):
        gone = run("apis", *arguments)
        assert (gone.code, gone.err.startswith("error: there is no API 'orders'")) == (3, True), gone
    assert json.loads(run("apis", "list", "--json").out) == {"items": []}
