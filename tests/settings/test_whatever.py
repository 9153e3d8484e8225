"""Whatever a setting is given, it is read or refused with a hint. Nothing else is raised."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from watchword.errors import SettingsError
from watchword.settings import Settings, load
from watchword.settings.table import SETTINGS

NAMES = [setting.name for setting in SETTINGS]
IN_FILES = [setting.name for setting in SETTINGS if setting.in_file]
LONG, DEEP, HALF, BYTE = "x" * 300, "x/" * 3000, "\ud800", "\udc80"
ODD = [
    *("", " ", "0", "-1", "1e400", "nan", "off", "on", "\0", "\u0663", "1/0s", "0/1h", "1.5m", "a=b=c", "{}", "1,2"),
    *("http://", "https://[::1", "http://[::1]:99999", "sqlite:///\0", "postgresql://h:x/d", "redis://h:-1", "smtp://"),
    *("10.0.0.0/33", "#fff", "9999-12-31", "a\nb", "../../etc", "/dev/null", "~nobody-here/x", "1" * 400),
    *(LONG, DEEP, HALF, BYTE, f"sqlite:///{LONG}", f"sqlite:///{HALF}", f"https://{HALF}.example", f"a@{HALF}.example"),
]
VALUES = st.one_of(
    st.sampled_from(ODD),
    st.text(st.characters(), max_size=60),
    st.binary(max_size=60),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.lists(st.text(st.characters(), max_size=20), max_size=3),
)


def refused(make: Callable[[], object]) -> dict[str, str]:
    """Setting → message of what was refused, each with a hint. What is only doubted warns."""
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            make()
    except SettingsError as error:
        faults = error.faults
    else:
        return {}
    assert all(fault.message and fault.hint for fault in faults)
    return {fault.setting: fault.message for fault in faults}


@given(name=st.sampled_from(NAMES), value=VALUES)
@settings(max_examples=300, deadline=None)
@example("jwt_secret", HALF * 40)
@example("legacy_jwt_secret", HALF * 40)
@example("access_lifetime", 1)
def test_of_any_value(name: str, value: Any) -> None:
    refused(lambda: Settings(**{name: value}))


@pytest.mark.parametrize("value", ODD)
def test_of_every_setting(value: str) -> None:
    for name in NAMES:
        refused(lambda name=name: Settings(**{name: value}))  # type: ignore[misc]


@pytest.mark.parametrize("name", NAMES)
def test_half_of_a_surrogate_pair_is_refused_everywhere(name: str) -> None:
    """⚑ Two secrets raised `UnicodeEncodeError`."""
    assert f"WATCHWORD_{name.upper()}" in refused(lambda: Settings(**{name: HALF * 40}))


@pytest.mark.parametrize("name", ["mail_templates", "pages_templates"])
def test_a_directory_that_cannot_be_looked_at(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """⚑ An overlong name raised `OSError`."""
    (tmp_path / "file").write_text("")
    for value, says in (
        (Path(LONG), "cannot be looked at: "),
        (tmp_path / "file", "is no directory"),
        (tmp_path / "none", "is no directory"),
        (tmp_path / "file" / "x", "is no directory"),
    ):
        (message,) = refused(lambda value=value: Settings(**{name: value})).values()  # type: ignore[misc]
        assert message.startswith(says)

    def closed(_: Path, **__: object) -> os.stat_result:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "stat", closed)
    (message,) = refused(lambda: Settings(**{name: tmp_path})).values()
    assert message == "cannot be looked at: permission denied"


@pytest.mark.parametrize("value", [LONG, DEEP, HALF, BYTE, ".", "loop", "file/x"])
def test_a_file_that_cannot_be_read(tmp_path: Path, value: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    place = value if value == HALF else str(tmp_path / value)
    for name in IN_FILES:
        given = {f"WATCHWORD_{name.upper()}_FILE": place, "WATCHWORD_DATA_DIR": str(tmp_path)}
        assert f"WATCHWORD_{name.upper()}_FILE" in refused(lambda given=given: load({}, given, tmp_path))  # type: ignore[misc]
