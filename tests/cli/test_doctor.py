"""`watchword doctor` against our own service, and against the same one weakened in each way that it looks for."""

from __future__ import annotations

import os
import re
import secrets
import socket
import sqlite3
import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.cli import weakened
from tests.cli.conftest import Run, Serve
from tests.cli.examining import Examine, examine, wrong
from tests.cli.test_health import answering
from tests.cli.weakened import served
from tests.mail.mailbox import receiving
from watchword.cli import program
from watchword.cli.doctor import table
from watchword.cli.doctor.account import Account, Credentials
from watchword.cli.doctor.findings import Unseen
from watchword.cli.doctor.forged import hs, known_secret, parts_of
from watchword.cli.doctor.guessing import judged_address, times
from watchword.cli.doctor.surface import judged_certificate, judged_clock, plain_http, tls
from watchword.cli.doctor.visit import Visit
from watchword.cli.doctor.wire import NoAnswer, Wire
from watchword.errors import InvalidKey
from watchword.known_secrets import check_shared_secret, guesses
from watchword.tokens.keys import SigningKey
from watchword.tokens.sign import sign_compact

__all__ = ["examine"]


def test_our_own_service_passes(run: Run, serve: Serve, port: int) -> None:
    """Inside and outside, as people run it: all pass, or say why they are skipped, and nothing is left behind."""
    own = {"WATCHWORD_PORT": str(port)}
    serve()
    ended = run("doctor", **own)
    assert ended.code == 0, ended.out
    assert ended.err == ""
    lines = ended.out.splitlines()
    outcomes = {line[6:26].strip(): line[:4] for line in lines if line[:4] in {"pass", "warn", "fail", "skip"}}
    assert {name: each for name, each in outcomes.items() if each != "pass"} == dict.fromkeys(
        ("database clock", "connections", "valkey", "backup"), "skip"
    )
    assert "expired token" in outcomes
    assert lines[-1] == f"{len(outcomes) - 4} pass, 0 warn, 0 fail, 4 skip"
    assert run("users", "list", "--json", **own).out.count("doctor-") == 0


TEN_AND_ONE = {
    "algorithm none": weakened.AcceptsNone,
    "algorithm confusion": weakened.ConfusesAlgorithms,
    "expired token": weakened.IgnoresExpiry,
    "revoked token": weakened.IgnoresRevocation,
    "refresh replay": weakened.ReplaysRefresh,
    "cookie": weakened.BareCookie,
    "cors": weakened.OpenCors,
    "origin rule": weakened.IgnoresOrigin,
    "enumeration": weakened.TellsNames,
    "client address": weakened.BelievesClients,
}


def test_one_that_is_weakened_in_eleven_ways(tmp_path: Path, examine: Examine) -> None:
    """Ten layers and no limits: each is named, and nothing else. `tests/reliability` takes each alone."""
    with served(tmp_path, *TEN_AND_ONE.values(), **weakened.UNLIMITED_NAMES) as (url, _):
        code, report = examine(url, here=True)
    assert code == 1
    assert wrong(report) == dict.fromkeys((*TEN_AND_ONE, "login limit"), "fail")
    assert report["login limit"][1] == "12 wrong passwords for one name in a row met no limit"
    assert report["account"] == ("pass", "the doctor's account is deleted")


def test_another_installation_at_the_same_url(tmp_path: Path, examine: Examine) -> None:
    """⚑ All passed: tokens of a key that it does not have were refused as "expired". Nothing else is tried there."""
    with served(tmp_path):
        pass
    with served(tmp_path / "other") as (url, _):
        code, report = examine(url, here=True)
    assert (code, wrong(report)) == (1, {"installation": "fail"})
    assert "is not in its key set: this is another installation" in report["installation"][1]
    assert list(report)[-2:] == ["service", "installation"]


def test_another_installation_with_a_shared_secret(
    tmp_path: Path, examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """⚑ It is not published: its tokens show whose it is."""
    ours, other = (secrets.token_urlsafe(32) for _ in range(2))
    monkeypatch.setenv("WATCHWORD_ALGORITHM", "HS256")
    monkeypatch.setenv("WATCHWORD_JWT_SECRET", ours)
    with served(tmp_path, algorithm="HS256", jwt_secret=ours) as (url, _):
        assert wrong(examine(url, here=True)[1]) == {}
    with served(tmp_path, algorithm="HS256", jwt_secret=other) as (url, _):
        report = examine(url, here=True)[1]
    assert wrong(report) == {"expired token": "fail"}
    assert "another installation" in report["expired token"][1]
    with served(tmp_path / "es256") as (url, _):
        assert wrong(examine(url, here=True)[1]) == {"expired token": "fail"}


def test_settings_of_another_url_are_not_compared(port: int) -> None:
    """Anyone may examine one service where another one's settings are."""
    visit = Visit(Wire(urlsplit(f"http://127.0.0.1:{port}")), Account(Wire(urlsplit("http://x")), None))
    for issuer, home, says in (("http://a", "", "no settings here"), ("http://a", "http://b", "of http://b")):
        visit.issuer, visit.home, visit.signing = issuer, home, SigningKey.generate("ES256")
        outcome, text, _ = visit.belongs()
        assert (outcome.value, visit.signing) == ("skip", None)
        assert says in text


def test_what_is_no_service(examine: Examine, port: int) -> None:
    """A port where no one listens, and another program: one failure, and nothing else is tried."""
    code, report = examine(f"http://127.0.0.1:{port}")
    assert (code, list(report)) == (1, ["service"])
    assert report["service"][1] == "no answer to GET /.well-known/oauth-authorization-server: Connection refused"
    with answering(200, b"[" * 100_000) as url:
        assert examine(url) == (1, {"service": ("fail", "the metadata was answered with 200: this is no Watchword")})


def test_wrong_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One line with a hint, and 2."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one").write_text("ada\n")
    for arguments in (
        [], ["--inside"], ["ftp://x"], ["http://127.0.0.1:9", "--inside", "--outside"],
        ["http://127.0.0.1:9", "--account", "one"], ["http://127.0.0.1:9", "--account", "missing"],
    ):  # fmt: skip
        code, told = program.run(["doctor", *arguments]), capsys.readouterr()
        assert (code, told.out) == (2, ""), arguments
        assert told.err.count("\n") == 2
    assert not (tmp_path / "watchword-data").exists()


def test_inside(run: Run, examine: Examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each fault of settings and files is named, with nothing made, migrated or mended."""
    assert run("migrate").code == 0
    code, report = examine(None)
    assert (code, wrong(report)) == (1, {"signing key": "fail"})  # the service has never started
    assert "no ES256 key signs" in report["signing key"][1]
    with served(tmp_path):
        code, report = examine(None, "--backups", str(tmp_path))
    assert (code, wrong(report)) == (1, {"backup": "fail"})
    assert run("backup", "copy.db").code == 0
    assert examine(None)[1]["backup"][0] == "pass"
    week_ago = time.time() - 7 * 86_400
    os.utime(tmp_path / "copy.db", (week_ago, week_ago))
    assert "is 7.0 days old" in examine(None)[1]["backup"][1]

    data = tmp_path / "watchword-data"
    secret = data / "master.secret"
    secret.chmod(0o644)
    code, report = examine(None)
    assert report["files"] == ("fail", f"{secret} has mode 0644: every user of this machine reaches it")
    assert secret.stat().st_mode & 0o777 == 0o644
    secret.chmod(0o600)
    right = secret.read_text("ascii")
    secret.write_text(run("secret").out)
    assert "sealed under another master secret" in examine(None)[1]["signing key"][1]
    secret.unlink()
    report = examine(None)[1]
    assert report["files"][0] == report["signing key"][0] == "fail"
    secret.write_text(right)
    secret.chmod(0o600)

    with closing(sqlite3.connect(data / "watchword.db")) as rows, rows:
        rows.execute("UPDATE ww_signing_keys SET activated_at = activated_at - 40 * 86400 WHERE status = 'active'")
    assert "was due after 30: no process follows the schedule" in examine(None)[1]["signing key"][1]
    with closing(sqlite3.connect(data / "watchword.db")) as rows, rows:
        rows.execute("DELETE FROM ww_schema WHERE version = (SELECT MAX(version) FROM ww_schema)")
    report = examine(None)[1]
    assert "1 migrations wait" in report["database"][1]
    assert report["signing key"] == ("skip", "the database has not this version's schema")

    monkeypatch.setenv("WATCHWORD_TRUSTED_PROXIES", "8.0.0.0/7")
    monkeypatch.setenv("WATCHWORD_METRICS_PORT", "9464")
    monkeypatch.setenv("WATCHWORD_METRICS_HOST", "0.0.0.0")
    report = examine(None)[1]
    assert report["proxies"] == ("warn", "8.0.0.0/7 holds strangers too, who then choose their own address")
    assert report["metrics port"][0] == "warn"
    monkeypatch.setenv("WATCHWORD_PORT", "x")
    code, report = examine(None)
    assert (code, list(report), report["settings"][0]) == (1, ["settings"], "fail")
    assert report["settings"][1].startswith("WATCHWORD_PORT ")


def test_old_tokens_whose_day_is_over(examine: Examine, database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The legacy settings pass until their day, and from then on are to be removed."""
    monkeypatch.setenv("WATCHWORD_LEGACY_JWT_SECRET", "Vq3-tW8pZr6kLm2xYb9dNs4g")
    monkeypatch.setenv("WATCHWORD_LEGACY_SUBJECT", "sub:username")
    today = datetime.now(UTC).date()
    monkeypatch.setenv("WATCHWORD_LEGACY_UNTIL", str(today + timedelta(days=2)))
    assert examine(None)[1]["settings"][0] == "pass"
    monkeypatch.setenv("WATCHWORD_LEGACY_UNTIL", str(today))
    seen = f"WATCHWORD_LEGACY_UNTIL is over: old tokens have been refused since {today}"
    assert examine(None)[1]["settings"] == ("warn", seen)


def test_the_mail_server(examine: Examine, database: None, monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """It is greeted, and gets no mail; one that is away is named."""
    monkeypatch.setenv("WATCHWORD_MAIL_FROM", "no-reply@example.com")
    with receiving() as box:
        monkeypatch.setenv("WATCHWORD_SMTP_URL", box.url)
        assert examine(None)[1]["mail"] == ("pass", "the mail server takes our log-in, and no mail was given up")
    assert box.mails == []
    monkeypatch.setenv("WATCHWORD_SMTP_URL", f"smtp://127.0.0.1:{port}?starttls=off")
    assert examine(None)[1]["mail"][0] == "fail"


@pytest.mark.parametrize(
    ("noted", "local", "remote", "outcome"),
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.1", "pass"),  # on the same machine
        ("1.1.1.1", "192.168.1.5", "8.8.8.8", "pass"),  # behind a router
        ("192.168.1.5", "192.168.1.5", "192.168.1.9", "pass"),
        ("127.0.0.1", "192.168.1.5", "8.8.8.8", "fail"),  # a proxy beside the service
        ("172.17.0.1", "192.168.1.5", "8.8.8.8", "fail"),  # a proxy in a container
        ("172.17.0.1", "127.0.0.1", "127.0.0.1", "fail"),
        ("192.168.1.9", "192.168.1.5", "192.168.1.9", "fail"),  # the proxy itself
        ("10.0.0.1", "192.168.1.5", "192.168.1.9", "warn"),
        ("unknown", "192.168.1.5", "8.8.8.8", "fail"),
        ("198.51.100.77", "192.168.1.5", "8.8.8.8", "fail"),  # what the doctor claimed
    ],
)
def test_addresses(noted: str, local: str, remote: str, outcome: str) -> None:
    """Which address the service may note for a client."""
    assert judged_address(noted, local=local, remote=remote).outcome.value == outcome


def test_known_secrets_are_found_and_refused() -> None:
    """Each that is guessed is one that no setting takes; a token under one is recognised without a request."""
    for secret in guesses():
        with pytest.raises(InvalidKey):
            check_shared_secret(secret)
    key = SigningKey.generate("HS256")
    real = parts_of(sign_compact(b"{}", key))
    assert known_secret(real) is None
    for secret in (b"secret", b"your-256-bit-secret", b"fedaf7d8863b48e197b9287d492b708e"):
        assert known_secret(parts_of(hs(real, secret))) == secret.decode()
        assert known_secret(parts_of(hs(real, secret, "HS512"))) == secret.decode()


def test_a_given_password_is_not_sent_over_plain_http() -> None:
    """Nothing of it leaves."""
    wire = Wire(urlsplit("http://auth.example.com"), most=0)
    account = Account(wire, Credentials("ada", "plum-orbit-canvas"))
    visit = Visit(wire, account)
    assert visit.registers().outcome.value == "fail"
    with pytest.raises(Unseen, match="the given one was not used"):
        account.log_in()
    assert account.clean() == ""


HOUR = 3600


@pytest.mark.parametrize(
    ("left", "outcome", "says"),
    [
        (14 * 24 * HOUR, "pass", "is trusted for 14 days more"),
        (14 * 24 * HOUR - 1, "warn", "expires in 13 days"),
        (48 * HOUR, "warn", "expires in 2 days"),
        (48 * HOUR - 1, "warn", "expires in 47 hours"),
        (24 * HOUR, "warn", "expires in 24 hours"),
        (2 * HOUR - 1, "warn", "expires in less than two hours"),
        (0, "warn", "expires in less than two hours"),
    ],
)
def test_what_is_left_of_a_certificate(left: int, outcome: str, says: str) -> None:
    """A warning in the last two weeks; never 0 days, nor 1 days."""
    seen = judged_certificate(left, "TLSv1.3")
    assert (seen.outcome.value, seen.text) == (outcome, f"TLSv1.3; the certificate {says}")


def test_plain_http(port: int) -> None:
    """Beyond this machine it fails without a request; beside https it must lead there, or not answer."""
    wire = Wire(urlsplit("http://auth.example.com"), most=0)
    assert tls(Visit(wire, Account(wire, None))).outcome.value == "fail"
    assert plain_http(urlsplit(f"http://127.0.0.1:{port}")) == ""
    with answering(200, b"{}") as url:
        assert "200 in place of a redirection" in plain_http(urlsplit(url))
    for location, well in ((b"https://auth.example.com/livez", True), (b"http://auth.example.com/", False)):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            answer = threading.Thread(target=answer_once, args=(listener, b"location: " + location))
            answer.start()
            assert (plain_http(urlsplit(f"http://127.0.0.1:{listener.getsockname()[1]}")) == "") is well
            answer.join()


def answer_once(listener: socket.socket, header: bytes) -> None:
    """One redirection."""
    line, _ = listener.accept()
    with line:
        line.recv(65_536)
        line.sendall(b"HTTP/1.1 301 Moved\r\ncontent-length: 0\r\n" + header + b"\r\n\r\n")


def test_it_is_bounded() -> None:
    """So many requests and so many seconds, and none after that."""
    with answering(200, b"{}") as url:
        wire = Wire(urlsplit(url), most=2)
        for _ in range(2):
            assert wire.ask("GET", "/").ok
        with pytest.raises(NoAnswer, match="2 requests"):
            wire.ask("GET", "/")
        with pytest.raises(NoAnswer, match="its time"):
            Wire(urlsplit(url), seconds=0).ask("GET", "/")


def test_clocks() -> None:
    """Five seconds are nothing; a minute makes tokens invalid."""
    found = [judged_clock(ahead, "its").outcome.value for ahead in (0, -5, 6, -60, 61)]
    assert found == ["pass", "pass", "warn", "warn", "fail"]


def test_times() -> None:
    """Only times that do not overlap, and differ by a factor of two, are told."""
    same = [0.05, 0.06, 0.07, 0.05, 0.06, 0.07, 0.05]
    assert times(same, [each * 1.5 for each in same]).outcome.value == "pass"
    assert times(same, [each * 3 for each in same[:-1]] + [0.05]).outcome.value == "pass"
    assert times(same, [each / 20 for each in same]).outcome.value == "warn"


def test_every_row_is_told_in_the_guide() -> None:
    """The guide names each check, and no other."""
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "doctor.md").read_text("utf-8")
    told = {name.strip() for row in re.findall(r"^\| ([a-z, ]+) \| ", guide, re.MULTILINE) for name in row.split(",")}
    assert told - {"check", "exit code"} == {row.name for row in (*table.INSIDE, *table.OUTSIDE)}
