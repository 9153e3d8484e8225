"""Names and metadata by the command, and on their way in and out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.test_commands import made
from watchword.cli.moving import presets


def test_metadata_is_set_shown_and_moved(run: Run, tmp_path: Path) -> None:
    """Each object as a whole; the private one never in what shows a user; both in an export, and in again."""
    user = made(run, "ada", "--name", "Ada Lovelace")
    assert (user["name"], user["public_metadata"]) == ("Ada Lovelace", {})
    done = run("users", "set-metadata", "ada", "--public", '{"tenant": "acme"}')
    assert (done.code, json.loads(done.out)["public_metadata"]) == (0, {"tenant": "acme"}), done.err
    private = run("users", "set-metadata", "ada", "--private", "-", stdin='{"note": "=canary, \\"quoted\\""}\n')
    both = {"public_metadata": {"tenant": "acme"}, "private_metadata": {"note": '=canary, "quoted"'}}
    assert json.loads(private.out) == json.loads(run("users", "metadata", "ada").out) == both
    shown = run("users", "show", "ada")
    assert "name\tAda Lovelace\n" in shown.out
    assert 'public_metadata\t{"tenant":"acme"}\n' in shown.out
    assert "canary" not in shown.out + run("users", "list", "--json").out + run("audit", "list", "--json").out
    for form in ("users.jsonl", "users.csv"):
        other = tmp_path / form.replace(".", "-")
        assert run("users", "export", form, "--with-hashes").code == 0
        assert run("migrate", "--data-dir", str(other)).code == 0
        moved = run("users", "import", form, "--data-dir", str(other))
        assert (moved.code, moved.out) == (0, "imported 1, already in 0, refused 0\n"), moved.err
        assert json.loads(run("users", "metadata", "ada", "--data-dir", str(other)).out) == both
        assert json.loads(run("users", "show", "ada", "--json", "--data-dir", str(other)).out)["name"] == "Ada Lovelace"
    assert run("users", "rename", "ada", "--name", "Ada King", "--json").out.count("Ada King") == 1
    assert json.loads(run("users", "rename", "ada", "--no-name", "--json").out)["name"] is None


def test_what_cannot_be_kept_is_refused_with_a_line(run: Run, tmp_path: Path) -> None:
    """By the command and by an import, whose other lines are in; also what tokens could not carry."""
    made(run, "ada")
    for wrong, said in (
        ('{"a": 1, "a": 2}', "the same name twice"),
        ("[]", "must be an object"),
        ("{", "not JSON"),
        ('{"a": NaN}', "not JSON"),
        ('{"__proto__": {}}', "JavaScript"),
    ):
        ended = run("users", "set-metadata", "ada", "--public", wrong)
        assert (ended.code, ended.err.startswith("error: public_metadata: "), said in ended.err) == (1, True, True)
    assert run("users", "set-metadata", "ada").code == 2
    assert run("users", "set-metadata", "ada", "--public", "-", "--private", "-").code == 2
    assert run("users", "rename", "ada", "--name", "A", "--no-name").code == 2
    mapped = {"WATCHWORD_CLAIMS": "tenant=public_metadata.tenant"}
    large = json.dumps({"tenant": "t" * 1_100})
    assert "WATCHWORD_CLAIMS" in run("users", "set-metadata", "ada", "--public", large, **mapped).err
    assert run("users", "set-metadata", "ada", "--public", large).code == 0
    lines = (
        '{"username": "b", "public_metadata": {"a": 1, "a": 2}}\n{"username": "c", "private_metadata": []}\n'
        '{"username": "d", "name": "a\\u202eb"}\n{"username": "e", "public_metadata": ' + large + "}\n"
        '{"username": "f", "name": "F", "public_metadata": {"tenant": "t"}, "private_metadata": null}\n'
    )
    (tmp_path / "users.jsonl").write_text(lines, "utf-8")
    ended = run("users", "import", "users.jsonl", **mapped)
    assert (ended.code, ended.out) == (1, "imported 1, already in 0, refused 4\n")
    reasons = [json.loads(line)["reason"] for line in (tmp_path / "refused-users.jsonl").read_text().splitlines()]
    assert [reason.partition(":")[0] for reason in reasons] == [
        "public_metadata", "private_metadata", "the name", "public_metadata",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "name"),
    [("Ada", "Ada"), (" Ada ", "Ada"), ("", None), (None, None), (7, None), ("a\nb", None), ("a" * 101, None)],
)
def test_names_of_people_come_along_from_other_systems(given: object, name: str | None) -> None:
    """What is none is left out, and keeps no one from coming in."""
    django = {"id": 1, "password": "", "first_name": given, "last_name": None}
    better = {"id": "1", "email": "a@b.org", "emailVerified": True, "createdAt": 1, "password": None, "name": given}
    document = {"_id": "1", "username": "ada", "name": given}
    assert presets.PRESETS["django"].record(django, ()).name == name
    assert presets.PRESETS["better-auth"].record(better, ()).name == name
    assert presets.read_mongoose(json.dumps(document).encode()).name == name
    both = presets.PRESETS["django"].record({**django, "first_name": "Ada", "last_name": "King"}, ())
    assert both.name == "Ada King"
