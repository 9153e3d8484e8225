"""`watchword webhooks …`: an endpoint from adding to removing, and what is sent again."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Run
from tests.webhooks.receiving import receiving
from watchword.webhooks import signing


@pytest.mark.usefixtures("database")
def test_an_endpoint_from_adding_to_removing(run: Run) -> None:
    """The secret alone on standard output, once; the test event goes out at once, signed by both secrets."""
    with receiving() as receiver:
        refused = run("webhooks", "add", receiver.url)
        assert (refused.code, "--allow-private" in refused.err, refused.out) == (1, True, "")
        made = run("webhooks", "add", receiver.url, "--events", "user.*,session.reused", "--allow-private")
        secret = made.out.strip()
        assert (made.code, secret.startswith("whsec_"), secret in made.err) == (0, True, False)
        listed = run("webhooks", "list", "--json")
        (one,) = json.loads(listed.out)["items"]
        assert (one["url"], one["events"], one["private"]) == (receiver.url, ["user.*", "session.reused"], True)
        assert secret not in listed.out
        second = run("webhooks", "rotate-secret", one["id"]).out.strip()
        assert run("webhooks", "test", one["id"]).out == "It was taken.\n"
        (got,) = receiver.got
        at = int(got.headers["webhook-timestamp"])
        keys = [signing.read(second), signing.read(secret)]
        signed = dict(signing.headers(keys, event_id=got.id, at=at, body=got.body))
        assert got.headers["webhook-signature"] == signed["webhook-signature"]
        receiver.answer = lambda _: 500
        bad = run("webhooks", "test", one["id"])
        assert (bad.code, "it answered 500" in bad.err) == (1, True)
        for command in (("enable",), ("failed",), ("replay", "--since", "1d"), ("remove", "--yes")):
            assert run("webhooks", command[0], one["id"], *command[1:]).code == 0
    missing = run("webhooks", "retry", one["id"])
    assert (missing.code, "webhooks list" in missing.err) == (3, True)


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("url", "flags", "says"),
    [
        ("http://hooks.example.com/", (), "is http"),
        ("http://93.184.216.34/", (), "is http"),
        ("http://93.184.216.34/", ("--allow-private",), "https only"),
        ("http://[2606:2800:220:1::1]/", ("--allow-private",), "https only"),
        ("http://169.254.169.254/", ("--allow-private",), "may not reach"),
    ],
)
def test_plain_http_to_a_public_address(run: Run, url: str, flags: tuple[str, ...], says: str) -> None:
    """No flag allows it, and nothing is stored."""
    refused = run("webhooks", "add", url, *flags)
    assert (refused.code, says in refused.err, refused.out) == (1, True, "")
    assert json.loads(run("webhooks", "list", "--json").out) == {"items": []}
