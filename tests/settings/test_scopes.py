"""The table of roles and scopes on one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from watchword.errors import SettingsError
from watchword.settings import Settings


def scopes(text: str, tmp_path: Path) -> object:
    return Settings(data_dir=tmp_path, scopes=text).scopes


def test_it_is_read(tmp_path: Path) -> None:
    assert scopes("editor=write  read,*=read, team:a = x:y/z ", tmp_path) == (
        ("*", ("read",)), ("editor", ("read", "write")), ("team:a", ("x:y/z",)),
    )  # fmt: skip
    assert scopes("off", tmp_path) is None
    assert Settings(data_dir=tmp_path).scopes is None


def test_it_is_shown_as_it_is_written(tmp_path: Path) -> None:
    """What `watchword settings` prints can be pasted back, and the value itself can be given again."""
    text = "*=orders:read,editor=orders:read orders:write"
    settings = Settings(data_dir=tmp_path, scopes=text)
    assert settings.shown()["scopes"] == text
    assert Settings(data_dir=tmp_path, scopes=settings.scopes) == settings


@pytest.mark.parametrize(
    ("text", "said"),
    [("read", "not a role with its scopes"), ("editor=", "not a role with its scopes"), (",", "not a role"),
     ("editor:read", "not a role with its scopes"), ("two words=read", "cannot be a role"), ("=read", "cannot be a"),
     ("a=b=c", "cannot be a scope"), ("a=" + "s" * 65, "cannot be a scope"), ("a=x,a=y", "twice")],
)  # fmt: skip
def test_slips_are_refused(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=said):
        scopes(text, tmp_path)
