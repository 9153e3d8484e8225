"""The settings as one frozen object."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack
from urllib.parse import urlsplit

from watchword.errors import Fault, SettingsError
from watchword.settings.rules import complete
from watchword.settings.table import BY_NAME, ENVIRONMENT_PREFIX, SETTINGS
from watchword.settings.values import Limit, Proxies, base64url, duration_text, is_loopback

MASK = "********"
# What others call a setting, or what follows from one.
_INSTEAD = {
    "database_path": "give database_url='sqlite:///path/to/file.db', or data_dir for the directory",
    "secret_file": "read the file yourself, and give secret",
    "jwt_secret_file": "read the file yourself, and give jwt_secret",
    "issuer": "give public_url, which is the issuer",
    "url": "give public_url",
    "is_on_loopback": "it follows from public_url",
}


class Given(TypedDict, total=False):
    """What `Settings` takes: each value as itself, or as it would be written in the environment."""

    host: str
    port: int | str
    public_url: str | None
    path_prefix: str | None
    data_dir: Path | str
    database_url: str | None
    redis_url: str | None
    secret: tuple[bytes, ...] | str | None
    jwt_secret: bytes | str | None
    algorithm: str | None
    key_rotation: timedelta | int | str | None
    audience: str | None
    access_lifetime: timedelta | int | str
    refresh_idle: timedelta | int | str
    session_lifetime: timedelta | int | str
    refresh_grace: timedelta | int | str
    password_hash: str
    password_policy: str
    login_limit: Limit | str | None
    login_address_limit: Limit | str | None
    login_account_limit: Limit | str | None
    register_limit: Limit | str | None
    session_limit: Limit | str | None
    session_address_limit: Limit | str | None
    change_limit: Limit | str | None
    change_address_limit: Limit | str | None
    conflict_limit: Limit | str | None
    private_email: bool | str
    audit_retention: timedelta | int | str | None
    registration: str
    allowed_origins: tuple[str, ...] | list[str] | str
    allowed_headers: tuple[str, ...] | list[str] | str
    trusted_proxies: Proxies | list[str] | str
    password_grant: bool | str
    docs: bool | str | None
    drain: timedelta | int | str
    workers: int | str
    log_format: str | None
    log_level: str


@dataclass(frozen=True, slots=True, init=False)
class Settings:
    """All settings, checked and complete.

    Built directly this is the embedded form: it reads no environment and no file. Values are given as themselves or as
    text (`access_lifetime="5m"`). For a limit, the key rotation and the audit retention None means off, elsewhere not
    given. Neither `repr` nor `str` shows a secret.

    :raises SettingsError: with every fault found, each with a hint.
    """

    host: str
    port: int
    public_url: str
    path_prefix: str
    data_dir: Path
    database_url: str = field(repr=False)  # may hold a password
    database_path: Path | None = field(repr=False, init=False)  # the SQLite file that `database_url` names; else None
    redis_url: str | None = field(repr=False)
    secret: tuple[bytes, ...] | None = field(repr=False)
    jwt_secret: bytes | None = field(repr=False)
    algorithm: str
    key_rotation: timedelta | None
    audience: str
    access_lifetime: timedelta
    refresh_idle: timedelta
    session_lifetime: timedelta
    refresh_grace: timedelta
    password_hash: Literal["argon2id", "bcrypt"]
    password_policy: Literal["default", "nist"]
    login_limit: Limit | None
    login_address_limit: Limit | None
    login_account_limit: Limit | None
    register_limit: Limit | None
    session_limit: Limit | None
    session_address_limit: Limit | None
    change_limit: Limit | None
    change_address_limit: Limit | None
    conflict_limit: Limit | None
    private_email: bool
    audit_retention: timedelta | None
    registration: Literal["open", "closed"]
    allowed_origins: tuple[str, ...]
    allowed_headers: tuple[str, ...]
    trusted_proxies: Proxies
    password_grant: bool
    docs: bool
    drain: timedelta
    workers: int
    log_format: Literal["console", "json"]
    log_level: Literal["debug", "info", "warning", "error"]

    def __init__(self, **given: Unpack[Given]) -> None:
        unknown = [Fault(name, "is not a setting", _instead(name)) for name in given if name not in BY_NAME]
        texts = {name: _text(name, value) for name, value in given.items() if name in BY_NAME}
        exact = frozenset(name for name, value in given.items() if isinstance(value, bytes))
        try:
            draft = complete(texts, verbatim=exact)
        except SettingsError as error:
            raise SettingsError((*unknown, *error.faults)) from None
        if unknown:
            raise SettingsError(tuple(unknown))
        for each in fields(self):
            object.__setattr__(self, each.name, draft.values[each.name])

    def __reduce__(self) -> str:
        # A pickled object would carry the secrets to wherever it is written.
        raise TypeError("settings are not pickled: they hold secrets")

    @property
    def is_on_loopback(self) -> bool:
        """Whether the public URL can be reached from this machine only."""
        return is_loopback(urlsplit(self.public_url).hostname or "")

    def shown(self) -> dict[str, str]:
        """Every setting as text, secrets masked: for people and for logs."""
        return {setting.name: _shown(setting.name, getattr(self, setting.name)) for setting in SETTINGS}


def _text(name: str, value: Any) -> str:
    """A value as it would be written in the environment, so that there is one way in and one check."""
    if value is None:
        return "off" if _can_be_off(name) else ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, timedelta):
        return duration_text(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, tuple | list):
        return ",".join(base64url(part) if isinstance(part, bytes) else str(part) for part in value) or "off"
    return str(value)


def _instead(name: str) -> str:
    """What to give in place of an argument that is none."""
    plain = name.lower().removeprefix(ENVIRONMENT_PREFIX.lower())
    if plain in _INSTEAD:
        return _INSTEAD[plain]
    close = get_close_matches(plain, list(BY_NAME), n=1)
    return f"did you mean {close[0]}?" if close else f"known are: {', '.join(BY_NAME)}"


def _can_be_off(name: str) -> bool:
    return name.endswith("_limit") or name in {"key_rotation", "audit_retention"}


def _shown(name: str, value: Any) -> str:
    if value is None and _can_be_off(name):
        return "off"
    if value is None or value == ():
        return ""
    if BY_NAME[name].secret:
        return MASK
    return without_password(_text(name, value)) if name.endswith("_url") else _text(name, value)


def without_password(url: str) -> str:
    """A URL with its password masked."""
    scheme, separator, rest = url.partition("://")
    credentials, at, place = rest.rpartition("@")
    if not at:
        return url
    user, colon, _ = credentials.partition(":")
    return f"{scheme}{separator}{user}{colon}{MASK if colon else ''}@{place}"
