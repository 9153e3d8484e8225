"""The filter of the fail2ban guide, on lines that the service writes."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from watchword.tally import Sample
from watchword.web.logs import configure_logging

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "fail2ban.md"
ABOUT = {"during": "log_in", "reason": "wrong_password", "request_id": "r"}


def patterns() -> list[re.Pattern[str]]:
    """The guide's expressions; fail2ban puts an address in place of <HOST>."""
    block = GUIDE.read_text().partition("failregex = ")[2].partition("```")[0]
    return [re.compile(line.strip().replace("<HOST>", r"(?P<host>[0-9a-f.:]+)")) for line in block.splitlines() if line]


@pytest.fixture
def restored() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("json", [True, False])
@pytest.mark.parametrize("address", ["192.0.2.10", "2001:db8::1"])
def test_the_filter_finds_the_address(restored: None, address: str, *, json: bool) -> None:
    """In both formats; and in no line of another event, whatever a client put into it."""
    stream = io.StringIO()
    configure_logging(json=json, stream=stream)
    Sample(structlog.get_logger("watchword.login"), "log_in_failed").add(address=address, **ABOUT)
    (line,) = stream.getvalue().splitlines()
    assert [found["host"] for pattern in patterns() if (found := pattern.search(line))] == [address]
    structlog.get_logger("other").info("attempts_refused", address=address, agent='", "event": "log_in_failed')
    other = stream.getvalue().splitlines()[1]
    assert not any(pattern.search(other) for pattern in patterns())


def test_a_storm_writes_few_lines_and_says_how_many_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("watchword.tally.monotonic", lambda: now[0])
    with structlog.testing.capture_logs() as lines:
        sample = Sample(structlog.get_logger("x"), "log_in_failed", most=3)
        for _ in range(10):
            sample.add(address="192.0.2.1")
        now[0] += 1
        sample.add(address="192.0.2.1")
    assert [line.get("left_out") for line in lines] == [None, None, None, 7]
