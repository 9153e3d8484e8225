"""Runs `watchword doctor` beside a service of the tests, and reads what it found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from watchword.cli import program

Report = dict[str, tuple[str, str]]
Examine = Callable[..., tuple[int, Report]]


@pytest.fixture
def examine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Examine:
    """Run the doctor in the directory of the service; its exit code, and check → outcome and what was seen.

    `here` gives it the service's settings too.
    """
    monkeypatch.chdir(tmp_path)

    def call(url: str | None, *arguments: str, here: bool = False) -> tuple[int, Report]:
        if here and url is not None:
            monkeypatch.setenv("WATCHWORD_PUBLIC_URL", url)
            monkeypatch.setenv("WATCHWORD_TRUSTED_PROXIES", "0")
        side = ["--inside"] if url is None else [url] if here else [url, "--outside"]
        code = program.run(["doctor", "--json", *side, *arguments])
        told = json.loads(capsys.readouterr().out)
        assert told["url"] == url
        assert sum(told["counts"].values()) == len(told["items"])
        for item in told["items"]:
            assert item["seen"], item
            assert item["outcome"] in {"pass", "skip"} or (item["why"] and item["fix"]), item
        return code, {item["check"]: (item["outcome"], item["seen"]) for item in told["items"]}

    return call


def wrong(report: Report) -> dict[str, str]:
    """The checks that are not well."""
    return {name: outcome for name, (outcome, _) in report.items() if outcome in {"fail", "warn"}}
