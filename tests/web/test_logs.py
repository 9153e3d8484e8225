"""No secret reaches the log, and no value can pass for a line of it (J8)."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from watchword.web.logs import REDACTED, configure_logging

JWT = "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlLXNpZ25hdHVyZQ"
REFRESH = "wwr_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAh"
ARGON = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21l$Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5"
BCRYPT = "$2b$12$KIXQd9V5mZJ9lY2uE8lqUeCANARYCANARYCANARYCANARYCANARYC"
CANARY = "CANARY-hunter2"


class Credentials(msgspec.Struct):
    user: str
    password: str


def _raise(error: Exception) -> None:
    raise error


def log_raised(error: Exception) -> None:
    """An error with a traceback, and a secret among the local variables of the place that raised it."""
    plain = CANARY + "-local"
    try:
        _raise(error)
    except (ValueError, RuntimeError):
        structlog.get_logger("t").exception("failed", length=len(plain))


@pytest.fixture(params=[True, False], ids=["json", "console"])
def written(request: pytest.FixtureRequest, as_before: None) -> io.StringIO:
    stream = io.StringIO()
    configure_logging(json=request.param, stream=stream)
    return stream


@pytest.fixture
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    kept = {name: _state(name) for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi", "uvicorn.access")}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    for name, (own, propagate) in kept.items():
        logging.getLogger(name).handlers[:] = own
        logging.getLogger(name).propagate = propagate


def _state(name: str) -> tuple[list[logging.Handler], bool]:
    logger = logging.getLogger(name)
    return logger.handlers[:], logger.propagate


KEYS = ["password", "new_password", "Password", "access_token", "refreshToken", "Authorization", "cookie", "set-cookie",
        "client_secret", "private_key", "api_key", "jwt", "otp", "WATCHWORD_SECRET", "db_credentials"]  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("value", [CANARY, CANARY.encode(), [CANARY], {"x": CANARY}, Credentials("a", CANARY), 918273])
def test_j8_a_key_that_names_a_secret_hides_its_value(written: io.StringIO, key: str, value: object) -> None:
    structlog.get_logger("t").warning("event", **{key: value}, nested={key: value, "list": [{key: value}]})
    assert "event" in written.getvalue()
    assert "CANARY" not in written.getvalue()
    assert "918273" not in written.getvalue()


SECRETS = {
    "jwt": JWT,
    "half a jwt": JWT.rpartition(".")[0],
    "refresh token": REFRESH,
    "argon2": ARGON,
    "bcrypt": BCRYPT,
    "django hash": "pbkdf2_sha256$600000$salt$CANARYCANARYCANARY=",
    "scrypt": "scrypt$16384$8$1$CANARY$CANARY",
    "bearer header": "Bearer CANARYCANARY",
    "basic header": "basic Q0FOQVJZ",
    "database url": f"postgresql://watchword:{CANARY}@db/x",
    "parameter": f"grant_type=password&password={CANARY}&x=1",
    "json": f'{{"password": "{CANARY}"}}',
    "private key": f"-----BEGIN EC PRIVATE KEY-----\n{CANARY}\n-----END EC PRIVATE KEY-----",
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS.keys())
def test_j8_a_value_that_looks_like_a_secret_is_hidden_wherever_it_stands(written: io.StringIO, secret: str) -> None:
    log = structlog.get_logger("t")
    event, error = f"saw {secret} there", ValueError(f"bad {secret}")
    log.warning(event, detail=f"x {secret} y", raw=secret.encode(), deep=[{"a": secret}])
    log_raised(error)
    log.warning("failed", error=error)
    logging.getLogger("some.library").warning("it said %s", secret)
    logging.getLogger("uvicorn.error").error("Exception %s", secret)
    text = written.getvalue()
    assert text.count("failed") >= 2
    for part in (secret, secret.rpartition("$")[2], secret.rpartition(".")[2], "CANARY", "Q0FOQVJZ"):
        assert part not in text or part == ""


def test_j8_a_token_is_shown_by_the_start_of_its_hash(written: io.StringIO) -> None:
    """So that two lines about the same token can be told to be so."""
    structlog.get_logger("t").warning("one", shown=REFRESH)
    structlog.get_logger("t").warning("two", shown=REFRESH)
    first, second = written.getvalue().splitlines()
    assert first.partition("[token ")[2][:8] == second.partition("[token ")[2][:8] != ""


def test_the_id_of_a_service_account_stays(written: io.StringIO) -> None:
    """It is no secret, and says whose secret was wrong; anything else that begins so may be one."""
    account = "wwc_019acb2e-1f7a-7001-8a2b-3c4d5e6f7a8b"
    structlog.get_logger("t").info("client_refused", client_id=account)
    assert account in written.getvalue()
    for other in (f"{account}0", f"{account}-CANARY", account.upper().replace("WWC", "wwc"), "wwc_CANARYCANARY"):
        structlog.get_logger("t").info("client_refused", client_id=other)
        assert other not in written.getvalue()


FORGED = "ok\r\n2026-01-01T00:00:00Z info     forged\x1b[2J\x00\x85\u2028x"


def test_j8_no_value_can_start_a_line_or_move_the_cursor(written: io.StringIO) -> None:
    """ASVS 16.4.1, uvicorn CVE-2020-7694."""
    structlog.get_logger("t").warning(FORGED, agent=FORGED, deep=[FORGED])
    logging.getLogger("lib").warning("%s", FORGED)
    lines = written.getvalue().split("\n")
    assert len(lines) == 3
    assert not set("\r\x1b\0\x85\u2028") & set(written.getvalue())


def test_j8_an_exceptions_message_cannot_forge_a_line(written: io.StringIO) -> None:
    log_raised(RuntimeError(FORGED))
    assert "RuntimeError" in written.getvalue()
    assert not [line for line in written.getvalue().splitlines() if line.startswith("2026-01-01T00:00:00Z")]
    assert not set("\r\x1b\0") & set(written.getvalue())


def test_local_variables_are_not_shown(written: io.StringIO) -> None:
    log_raised(RuntimeError("bad"))
    assert "in log_raised" in written.getvalue()
    assert "CANARY-hunter2-local" not in written.getvalue()


def test_an_object_shows_its_type_and_nothing_else(written: io.StringIO) -> None:
    structlog.get_logger("t").warning("event", body=Credentials("alice", "plain-words"))
    assert "<Credentials>" in written.getvalue()
    assert "plain-words" not in written.getvalue()


def test_ordinary_lines_stay_readable() -> None:
    stream = io.StringIO()
    configure_logging(json=True, stream=stream)
    structlog.get_logger("watchword.x").info("user_created", user="0197", count=3, ok=True, rate=1.5, none=None)
    structlog.get_logger("watchword.x").debug("not_written")
    line: dict[str, Any] = json.loads(stream.getvalue())
    stamp = line.pop("timestamp")
    assert stamp.endswith("Z")
    assert line == {
        "event": "user_created", "level": "info", "logger": "watchword.x",
        "user": "0197", "count": 3, "ok": True, "rate": 1.5, "none": None,
    }  # fmt: skip
    logging.getLogger().handlers[:] = []
    structlog.reset_defaults()


def test_ordinary_words_are_left_alone(written: io.StringIO) -> None:
    structlog.get_logger("t").info("table ww_users_username", path="/token", note="the password was wrong")
    assert "ww_users_username" in written.getvalue()
    assert "/token" in written.getvalue()
    assert "the password was wrong" in written.getvalue()
    assert REDACTED not in written.getvalue()


@pytest.mark.parametrize("json_lines", [True, False], ids=["json", "console"])
def test_the_journal_is_told_the_level(
    as_before: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, json_lines: bool
) -> None:
    """Each line begins with its mark, also those of a traceback; what follows is what is written elsewhere."""
    with (tmp_path / "journal").open("w+") as stream:
        there = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{there.st_dev}:{there.st_ino}")
        configure_logging(json=json_lines, level="debug", stream=stream)
        for level in ("debug", "info", "warning", "error", "critical"):
            logging.getLogger("t").log(logging.getLevelNamesMapping()[level.upper()], "happened")
        log_raised(ValueError("first\nsecond"))
        stream.seek(0)
        lines = stream.read().splitlines()
    assert [line[:3] for line in lines[:5]] == ["<7>", "<6>", "<4>", "<3>", "<2>"]
    assert len(lines) > 5
    assert {line[:3] for line in lines[5:]} == {"<3>"}
    if json_lines:
        assert [json.loads(line[3:])["level"] for line in lines][:3] == ["debug", "info", "warning"]


@pytest.mark.parametrize("told", [None, "", "8", "8:x", "8:0", "the inode of another file"])
def test_nothing_else_is_taken_for_the_journal(
    as_before: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str | None
) -> None:
    """Programs that the journal's readers start inherit the variable, and write to files and pipes."""
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    with (tmp_path / "log").open("w+") as stream, (tmp_path / "other").open("w") as other:
        there = os.fstat(other.fileno())
        if told is not None:
            monkeypatch.setenv("JOURNAL_STREAM", f"{there.st_dev}:{there.st_ino}" if " " in told else told)
        configure_logging(json=True, stream=stream)
        logging.getLogger("t").warning("happened")
        stream.seek(0)
        assert json.loads(stream.read())["event"] == "happened"


def test_uvicorn_writes_no_access_log(written: io.StringIO) -> None:
    config = Config(app=lambda: None, log_config=None)
    configure_logging(json=True, stream=written)
    config.load()
    protocol = HttpToolsProtocol(config, ServerState(), {}, _loop=object())  # type: ignore[arg-type]
    assert protocol.access_log is False


def test_redaction_is_linear() -> None:
    """No value makes a line expensive (J7): quadratic work would take minutes."""
    import time

    stream = io.StringIO()
    configure_logging(json=True, stream=stream)
    for text in ("eyJ" * 7000, "password" * 2500, "$2b$12$" * 3000, "-----BEGIN " * 2000, "://a:" * 4000, "a" * 20_000):
        begun = time.perf_counter()
        structlog.get_logger("t").warning("event", text=text)
        assert time.perf_counter() - begun < 10
    logging.getLogger().handlers[:] = []
    structlog.reset_defaults()
