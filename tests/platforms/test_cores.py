"""How many processors a process may use, and how many workers `auto` is."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from watchword import platforms
from watchword.errors import SettingsError
from watchword.settings import Settings, rules

POSTGRES = {"database_url": "postgresql://a:b@h/d", "secret": "cG9zdGdyZXMgdGVzdHMgbmVlZCBhIHNlY3JldCwgdG9vIQ"}


def group(root: Path, name: str, limit: str) -> None:
    folder = root / name.strip("/")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.max").write_text(limit + "\n")


@pytest.mark.parametrize(
    ("name", "limits", "granted"),
    [
        ("/", {"/": "200000 100000"}, 2.0),  # a container sees its own group as the root
        ("/", {"/": "50000 100000"}, 0.5),
        ("/", {"/": "max 100000"}, math.inf),
        ("/", {}, math.inf),
        ("/system.slice/watchword.service", {"/system.slice/watchword.service": "150000 100000"}, 1.5),
        ("/a/b/c", {"/a": "100000 100000", "/a/b": "300000 100000", "/a/b/c": "max 100000"}, 1.0),
        ("/../../elsewhere", {"/": "200000 100000"}, 2.0),  # outside our namespace
        ("/", {"/": "nonsense"}, math.inf),
    ],
)
def test_what_a_container_is_given(tmp_path: Path, name: str, limits: dict[str, str], granted: float) -> None:
    """The least of the group and of those around it."""
    for each, limit in limits.items():
        group(tmp_path / "cgroup", each, limit)
    (tmp_path / "membership").write_text(f"9:name=systemd:/x\n0::{name}\n")
    assert platforms._granted(tmp_path / "membership", tmp_path / "cgroup") == granted


def test_where_there_are_no_groups(tmp_path: Path) -> None:
    """Another system, or the first version of control groups."""
    assert platforms._granted(tmp_path / "none", tmp_path) == math.inf
    (tmp_path / "membership").write_text("4:cpu,cpuacct:/user.slice\n")
    assert platforms._granted(tmp_path / "membership", tmp_path) == math.inf


@pytest.mark.parametrize(("granted", "cores"), [(0.2, 1), (1.0, 1), (1.5, 2), (math.inf, 3), (64.0, 3)])
def test_part_of_a_processor_is_one(monkeypatch: pytest.MonkeyPatch, granted: float, cores: int) -> None:
    monkeypatch.setattr(platforms, "_granted", lambda *_: granted)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    assert platforms.cores() == cores


@pytest.mark.parametrize(("cores", "sqlite", "postgres"), [(1, 1, 1), (2, 2, 2), (4, 4, 4), (6, 4, 6), (96, 4, 8)])
def test_auto_is_bounded(monkeypatch: pytest.MonkeyPatch, cores: int, sqlite: int, postgres: int) -> None:
    """One for each processor, up to what the engine can use."""
    monkeypatch.setattr(rules, "cores", lambda: cores)
    assert Settings(workers="auto").workers == sqlite
    assert Settings(workers=" AUTO ", **POSTGRES).workers == postgres  # type: ignore[arg-type]


def test_auto_where_one_port_has_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "cores", lambda: 8)
    monkeypatch.setattr(rules, "POSIX", False)
    assert Settings(workers="auto").workers == 1


@pytest.mark.parametrize("text", ["off", "0", "65", "many"])
def test_what_is_no_number_of_workers(text: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings(workers=text)
    (fault,) = refused.value.faults
    assert fault.hint == "give a whole number from 1 to 64, or auto"
