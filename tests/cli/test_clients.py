"""`watchword clients …`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from watchword.tokens import SigningKey


@pytest.mark.usefixtures("database")
def test_an_account_from_making_to_deleting(run: Run) -> None:
    assert run("apis", "create", "orders", "--audience", "https://orders.example", "--scope", "read").code == 0
    made = run("clients", "create", "nightly", "--scope", "write", "--scope", "read", "--api", "orders")
    assert made.code == 0, made.err
    first = dict(line.split("=") for line in made.out.splitlines())
    assert first["client_id"].startswith("wwc_")
    assert first["client_secret"].startswith("wws_")
    assert "not shown again" in made.err
    assert run("clients", "create", "nightly", "--scope", "read").code != 0
    (listed,) = json.loads(run("clients", "list", "--json").out)["items"]
    assert (listed["id"], listed["scope"], listed["apis"], listed["shows"]) == (
        first["client_id"], "read write", ["orders"], "secret",
    )  # fmt: skip
    assert first["client_secret"] not in run("clients", "list").out
    changed = json.loads(run("clients", "rotate-secret", "nightly", "--overlap", "1h", "--json").out)
    assert changed["id"] == first["client_id"]
    assert changed["secret"] != first["client_secret"]
    assert run("clients", "disable", "nightly").code == 2, "it asks first"
    assert run("clients", "disable", "nightly", "--yes").out == "The service account nightly is disabled.\n"
    assert run("clients", "disable", "nightly", "--yes").code != 0
    assert run("clients", "enable", "nightly").out == "The service account nightly is enabled.\n"
    assert run("clients", "delete", "nightly", "--yes").out == "The service account nightly is no more.\n"
    assert run("clients", "list").out == ""


@pytest.mark.usefixtures("database")
def test_an_account_with_a_key(run: Run, tmp_path: Path) -> None:
    key = SigningKey.generate("ES256")
    public, private = tmp_path / "public.json", tmp_path / "private.json"
    public.write_text(json.dumps(key.public_jwk()))
    private.write_text(json.dumps(key.to_private_jwk()))
    made = run("clients", "create", "signer", "--scope", "read", "--public-key", str(public))
    assert (made.code, "secret" in made.out) == (0, False), made.err
    assert run("clients", "rotate-secret", "signer").code != 0
    refused = run("clients", "create", "other", "--scope", "read", "--public-key", str(private))
    assert refused.code != 0
    assert "private key" in refused.err


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("arguments", [
    ("create", "x"), ("create", "x", "--scope", "two words"), ("create", "x", "--scope", "a", "--api", "none"),
    ("create", "x", "--scope", "a", "--public-key", "/none"), ("rotate-secret", "none"), ("enable", "none"),
    ("rotate-secret", "none", "--overlap", "soon"), ("rotate-secret", "none", "--overlap", "31d"),
    ("disable", "none", "--yes"), ("delete", "none", "--yes"),
])  # fmt: skip
def test_slips_change_nothing(run: Run, arguments: tuple[str, ...]) -> None:
    ended = run("clients", *arguments)
    assert ended.code != 0
    assert ended.err
    assert run("clients", "list").out == ""


@pytest.mark.usefixtures("database")
def test_the_list_shows_whom_an_account_may_call(run: Run) -> None:
    """Once its own API is deleted, it does not look as if it had the service's audience."""
    for name in ("shop", "billing"):
        assert run("apis", "create", name, "--audience", f"https://{name}.example", "--scope", "pay").code == 0
    run("clients", "create", "shop-api", "--scope", "own", "--serves", "shop", "--exchange-to", "billing")
    assert run("clients", "list").out.splitlines()[0].endswith("shop\tbilling")
    (api,) = [each["id"] for each in json.loads(run("apis", "list", "--json").out)["items"] if each["name"] == "shop"]
    assert run("apis", "delete", "shop", "--yes").code == 0
    (listed,) = json.loads(run("clients", "list", "--json").out)["items"]
    assert (listed["serves"], listed["exchanges_to"]) == (api, ["billing"])
