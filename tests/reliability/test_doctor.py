"""`watchword doctor` against the real service with one defence taken away: that one is named, and no other."""

from __future__ import annotations

import io
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest

from tests.certificates import Authority
from tests.cli import weakened
from tests.cli.conftest import Run, run
from tests.cli.examining import Examine, examine, wrong
from tests.cli.weakened import served
from tests.storage.valkey_server import served as valkey_served
from watchword import base64url
from watchword.cli import program
from watchword.cli.doctor import rounds
from watchword.cli.exits import INTERRUPTED

if TYPE_CHECKING:
    from tests.postgres import Databases

__all__ = ["examine", "run"]

WEAKNESSES: dict[str, tuple[type[weakened.Weakness], str]] = {
    "algorithm none": (weakened.AcceptsNone, "accepted: alg none; alg None; alg NONE; alg nOnE"),
    "algorithm confusion": (weakened.ConfusesAlgorithms, "accepted: HS256 with the public key as PEM"),
    "known secret": (weakened.KnowsSecret, "accepted: HS256 with the secret 'changeme'"),
    "key in the token": (weakened.BelievesItsToken, "accepted: a key of its own (jwk)"),
    "expired token": (weakened.IgnoresExpiry, "accepted: expired an hour ago"),
    "revoked token": (weakened.IgnoresRevocation, "after the log-out the access token is still accepted"),
    "refresh replay": (weakened.ReplaysRefresh, "replaced twice is still accepted"),
    "cookie": (weakened.BareCookie, "without HttpOnly, SameSite"),
    "cors": (weakened.OpenCors, "Access-Control-Allow-Origin https://attacker.example, with credentials"),
    "origin rule": (weakened.IgnoresOrigin, "a foreign page refreshed (Origin: https://attacker.example)"),
    "enumeration": (weakened.TellsNames, "differs by body"),
    "claimed address": (weakened.BelievesClients, "X-Forwarded-For from outside is believed"),
    "client address": (weakened.OneAddress, "all clients share its limits"),
    "headers": (weakened.BareHeaders, "without X-Content-Type-Options: nosniff (/profile)"),
    "host header": (weakened.FollowsHost, "follow X-Forwarded-Host"),
    "metrics": (weakened.ShowsMetrics, "anyone reads them at"),
    "body limit": (weakened.ReadsEverything, "a body of 256 KiB was read"),
}
ALSO = {"claimed address": {"client address"}}  # the same hole, seen twice


@pytest.mark.parametrize("check", WEAKNESSES)
def test_each_weakness_is_named(check: str, tmp_path: Path, examine: Examine) -> None:
    """One defence is taken away: its check fails and says what got through, and no other one does."""
    weakness, says = WEAKNESSES[check]
    with served(tmp_path, weakness) as (url, _):
        code, report = examine(url, here=True)
    assert code == 1
    assert report[check][0] == "fail", report[check]
    assert says in report[check][1]
    assert set(wrong(report)) == {check} | ALSO.get(check, set())
    assert report["account"][0] == "pass"


def test_over_tls(tmp_path: Path, examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate is checked, and the cookie's flags are those of https; a foreign authority is a failure."""
    authority = Authority()
    place = tmp_path / "authority.pem"
    place.write_bytes(authority.certificate)
    signed = authority.signed("127.0.0.1", until=datetime.now(UTC) + timedelta(days=2, hours=12))
    with served(tmp_path, signed=signed, trusted_proxies=0) as (url, _):
        code, report = examine(url)
        assert code == 1
        assert report == {"service": ("fail", report["service"][1])}
        assert "its certificate is not trusted" in report["service"][1]
        monkeypatch.setenv("SSL_CERT_FILE", str(place))
        code, report = examine(url, here=True)
        assert (code, wrong(report)) == (0, {"tls": "warn"})
        assert report["tls"] == ("warn", "TLSv1.3; the certificate expires in 2 days")
        assert report["cookie"] == ("pass", "__Host-watchword_refresh: httponly, max-age, path, samesite, secure")
        assert report["headers"][1].endswith("HSTS")
        assert examine(url, "--strict")[0] == 1


def test_registration_is_closed(tmp_path: Path, examine: Examine, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how to give an account. A given one is used, gets no wrong password, and stays with no session."""
    with served(tmp_path, registration="closed") as (url, _):
        code, report = examine(url)
        assert code == 0
        assert report["registration"][0] == "pass"
        assert "--account FILE" in report["registration"][1]
        assert report["revoked token"] == (
            "skip", "there is no account to try with: POST /register answered 403 registration_closed",
        )  # fmt: skip
        assert "account" not in report
        assert report["login limit"] == (
            "skip",
            "not tried: wrong passwords may use up the limit of an address that others share",
        )
        made = run("users", "create", "ada", "--password-stdin", stdin="plum-orbit-canvas\n")
        assert made.code == 0, made.err
        monkeypatch.setattr("sys.stdin", io.StringIO("ada\nplum-orbit-canvas\n"))
        code, report = examine(url, "--account", "-", here=True)
        assert (code, wrong(report)) == (0, {})
        skipped = {name for name, (outcome, _) in report.items() if outcome == "skip"}
        assert skipped == {"database clock", "connections", "valkey", "backup", "registration", "enumeration"}
        assert report["account"] == ("pass", "the doctor's sessions are ended")
        login = httpx2.post(f"{url}/login", json={"username": "ada", "password": "plum-orbit-canvas"}).json()
        bearer = {"Authorization": f"Bearer {login['access_token']}"}
        assert len(httpx2.get(f"{url}/sessions", headers=bearer).json()["items"]) == 1


def test_addresses_have_to_be_confirmed(tmp_path: Path, examine: Examine) -> None:
    """Then no account can be made, and the rest is skipped."""
    with served(tmp_path, email_verification="required") as (url, _):
        code, report = examine(url)
    assert code == 0
    assert report["registration"][1].startswith("an account begins with a confirmed address.")
    assert report["cookie"][0] == "skip"


def test_a_limit_of_the_address_is_met(tmp_path: Path, examine: Examine) -> None:
    """It stops guessing, says so, and says what is left: here the account, until the limit is over."""
    with served(tmp_path, login_address_limit="4/15m") as (url, _):
        code, report = examine(url)
    assert code == 0
    assert report["login limit"] == (
        "warn",
        'another limit was met after 4 wrong passwords ("login";q=10;w=900): run this again when it is over',
    )
    assert report["enumeration"][0] == report["claimed address"][0] == "skip"
    assert report["account"][0] == "warn"
    assert "is left: a limit of this address ends in" in report["account"][1]


def test_a_check_that_breaks_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped by Ctrl-C in the middle, it deletes its account."""

    def breaks(_: object) -> None:
        raise KeyboardInterrupt

    rows = tuple(row._replace(look=breaks) if row.name == "cookie" else row for row in rounds.OUTSIDE)
    monkeypatch.setattr(rounds, "OUTSIDE", rows)
    with served(tmp_path) as (url, _):
        assert program.run(["doctor", url, "--outside"]) == INTERRUPTED
        with closing(sqlite3.connect(tmp_path / "watchword-data" / "watchword.db")) as rows_left:
            assert rows_left.execute("SELECT COUNT(*) FROM ww_users").fetchone() == (0,)
    assert "the doctor's account is deleted" in capsys.readouterr().out


def test_on_postgres_and_valkey(
    examine: Examine, postgres: Callable[[int], Databases], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clock, connections and eviction are looked at there; each fault is named."""
    with postgres(18).lent() as url, valkey_served("valkey 9") as valkey:
        monkeypatch.setenv("WATCHWORD_SECRET", base64url.encode_text(os.urandom(32)))
        monkeypatch.setenv("WATCHWORD_DATABASE_URL", url)
        monkeypatch.setenv("WATCHWORD_REDIS_URL", valkey.url)
        report = examine(None)[1]
        assert report["database"][0] == report["database clock"][0] == report["connections"][0] == "pass"
        assert report["connections"][1].startswith("1 workers of ")
        assert report["signing key"][0] == "fail"  # no service has run on it
        assert report["valkey"][1].endswith("maxmemory-policy noeviction")
        monkeypatch.setenv("WATCHWORD_WORKERS", "64")
        assert examine(None)[1]["connections"][0] == "fail"
        with valkey_served("redis 6.2", "--maxmemory", "8mb", "--maxmemory-policy", "allkeys-lru") as forgets:
            monkeypatch.setenv("WATCHWORD_REDIS_URL", forgets.url)
            assert examine(None)[1]["valkey"] == (
                "warn", "its maxmemory-policy is allkeys-lru: it forgets counters, and with them limits",
            )  # fmt: skip
        assert examine(None)[1]["valkey"][0] == "fail"
