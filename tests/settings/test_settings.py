"""The settings object: what follows from what, what is refused, what it never shows."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.settings.test_environment import NEEDS, VALUES
from watchword.errors import SettingsError
from watchword.settings import Limit, Settings
from watchword.settings.table import SETTINGS

SECRET = bytes(range(32))
SECRET_TEXT = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
OTHER_TEXT = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8"
JWT_SECRET = "Rz8dMNeWv0-1cPjgB2nJm4XqTkYhLsUa9vE3wOi7xQ0"


def faults(**given: Any) -> dict[str, str]:
    """Setting → message and hint, of what `Settings` refuses."""
    with pytest.raises(SettingsError) as refused:
        Settings(**given)
    return {fault.setting: f"{fault.message} | {fault.hint}" for fault in refused.value.faults}


@pytest.mark.parametrize(
    ("given", "value", "shown"),
    [
        ("30d", timedelta(days=30), "30d"),
        (timedelta(days=2), timedelta(days=2), "2d"),
        ("off", None, "off"),
        (" OFF ", None, "off"),
        (None, None, "off"),
    ],
)
def test_keys_rotate_by_a_schedule_or_by_hand(given: Any, value: timedelta | None, shown: str) -> None:
    """A month by default, two days at least, or `off`; written as it is read."""
    settings = Settings(key_rotation=given)
    assert settings.key_rotation == value
    assert settings.shown()["key_rotation"] == shown
    assert Settings().key_rotation == timedelta(days=30)


@pytest.mark.parametrize("given", ["1d", "172799", "never", "0", "3651d"])
def test_b9_keys_do_not_rotate_faster_than_they_can_be_published(given: str) -> None:
    """The next key is published for more than a day before it signs."""
    assert "WATCHWORD_KEY_ROTATION" in faults(key_rotation=given)


def test_the_audit_trail_has_an_end_unless_told_otherwise() -> None:
    """A year by default, a day at least; `off` and None keep it for ever."""
    assert Settings().audit_retention == timedelta(days=365)
    assert Settings(audit_retention="off").audit_retention is None
    assert Settings(audit_retention=None).shown()["audit_retention"] == "off"
    assert "WATCHWORD_AUDIT_RETENTION" in faults(audit_retention="23h")


def test_nothing_given() -> None:
    """With nothing set everything has a value that works on one machine."""
    settings = Settings()
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 4000, 1)
    assert settings.public_url == settings.audience == "http://127.0.0.1:4000"
    assert settings.path_prefix == ""
    assert settings.data_dir == Path("watchword-data")
    assert settings.database_url == "sqlite:///watchword-data/watchword.db"
    assert settings.database_path == Path("watchword-data/watchword.db")
    assert settings.redis_url is settings.secret is settings.jwt_secret is None
    assert settings.algorithm == "ES256"
    assert settings.access_lifetime == timedelta(minutes=15)
    assert settings.refresh_idle == timedelta(days=7)
    assert settings.session_lifetime == timedelta(days=30)
    assert settings.refresh_grace == timedelta(seconds=30)
    assert settings.password_hash == "argon2id"
    assert settings.login_limit == Limit(10, timedelta(minutes=15))
    assert settings.register_limit == Limit(20, timedelta(hours=1))
    assert settings.registration == "open"
    assert settings.allowed_origins == ()
    assert settings.password_grant is settings.docs is True


def test_the_embedded_form_reads_no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither variables nor files reach an application that passes its own settings."""
    (tmp_path / ".env").write_text("WATCHWORD_PORT=1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WATCHWORD_PORT", "2")
    monkeypatch.setenv("WATCHWORD_NONSENSE", "2")
    assert Settings().port == 4000


def test_values_as_themselves_or_as_text() -> None:
    """The embedded form takes either, and both mean the same."""
    assert Settings(
        port=4100,
        data_dir=Path("x"),
        access_lifetime=timedelta(minutes=5),
        refresh_grace=0,
        login_limit=Limit(3, timedelta(seconds=10)),
        register_limit=None,
        allowed_origins=("https://a.example", "https://b.example"),
        docs=False,
        secret=(SECRET,),
        jwt_secret=JWT_SECRET.encode(),
    ) == Settings(
        port="4100",
        data_dir="x",
        access_lifetime="5m",
        refresh_grace="0",
        login_limit="3/10s",
        register_limit="off",
        allowed_origins="https://a.example,https://b.example",
        docs="off",
        secret=SECRET_TEXT,
        jwt_secret=JWT_SECRET,
    )


def test_a_binary_jwt_secret_is_kept() -> None:
    """A key of any bytes is the key that signs."""
    key = bytes(range(200, 256)) + b"\n "
    assert Settings(jwt_secret=key).jwt_secret == key


@pytest.mark.parametrize(
    ("given", "public_url", "prefix"),
    [
        ({}, "http://127.0.0.1:4000", ""),
        ({"port": 80}, "http://127.0.0.1", ""),
        ({"host": "::1", "port": 1}, "http://[::1]:1", ""),
        ({"host": "LocalHost"}, "http://localhost:4000", ""),
        ({"path_prefix": "/api"}, "http://127.0.0.1:4000/api", "/api"),
        ({"public_url": "https://x.example/auth", "trusted_proxies": 1}, "https://x.example/auth", "/auth"),
        (
            {"public_url": "https://x.example/auth", "path_prefix": "/", "trusted_proxies": 1},
            "https://x.example/auth",
            "",
        ),
        ({"public_url": "https://x.example", "host": "0.0.0.0", "trusted_proxies": 0}, "https://x.example", ""),
    ],
)
def test_public_url_and_prefix_follow_from_each_other(given: Any, public_url: str, prefix: str) -> None:
    """The public URL includes any path; the prefix defaults to it."""
    settings = Settings(**given)
    assert (settings.public_url, settings.path_prefix, settings.audience) == (public_url, prefix, public_url)


def test_docs_are_on_for_loopback_only() -> None:
    """Documentation is for whoever develops, unless asked for."""
    assert Settings(public_url="http://localhost:4000").docs
    assert not Settings(public_url="https://x.example", trusted_proxies=0).docs
    assert Settings(public_url="https://x.example", trusted_proxies="off", docs=True).docs


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "auth.internal"])
def test_a_bind_beyond_loopback_needs_a_public_url(host: str) -> None:
    """Refused with both ways out; a fault elsewhere does not hide it."""
    found = faults(host=host, port="x")
    assert "https://auth.example.com" in found["WATCHWORD_PUBLIC_URL"]
    assert "127.0.0.1" in found["WATCHWORD_PUBLIC_URL"]
    assert "WATCHWORD_PORT" in found


@pytest.mark.parametrize(
    ("given", "setting", "said"),
    [
        ({"public_url": "http://x.example"}, "PUBLIC_URL", "https://x.example"),
        ({"database_url": "postgresql://a:b@c/d"}, "SECRET", "outside the data directory"),
        ({"database_url": "postgresql://a:b@c", "secret": SECRET_TEXT}, "DATABASE_URL", "names no database"),
        ({"database_url": "cockroachdb://a:b@c/d"}, "DATABASE_URL", "not a database"),
        ({"database_url": "mysql://a"}, "DATABASE_URL", "not a database"),
        ({"database_url": "nonsense"}, "DATABASE_URL", "sqlite:///"),
        ({"database_url": "sqlite:///:memory:"}, "DATABASE_URL", "does not name a file"),
        ({"database_url": "sqlite://"}, "DATABASE_URL", "does not name a file"),
        ({"database_url": "sqlite:///a.db?mode=ro"}, "DATABASE_URL", "without parameters"),
        ({"database_url": "sqlite:////var/lib/other.db"}, "SECRET", "outside the data directory"),
        ({"database_url": "sqlite:///watchword-data/../x.db"}, "SECRET", "watchword secret"),
        ({"redis_url": "http://localhost"}, "REDIS_URL", "rediss:// for TLS"),
        ({"redis_url": "redis://"}, "REDIS_URL", "not the URL"),
        ({"redis_url": "redis://:6379/0"}, "REDIS_URL", "not the URL"),
        ({"redis_url": "redis://cache:port/0"}, "REDIS_URL", "not the URL"),
        ({"redis_url": "redis://cache/first"}, "REDIS_URL", "not the URL"),
        ({"redis_url": "redis://cache/0?socket_timeout=60"}, "REDIS_URL", "has a parameter socket_timeout that is not"),
        ({"redis_url": "redis://cache/0?ssl_ca_certs=ca.pem"}, "REDIS_URL", "only rediss:// has one"),
        ({"redis_url": "rediss://cache/0?ssl_cert_reqs=none"}, "REDIS_URL", "has a parameter ssl_cert_reqs that is"),
        ({"redis_url": "redis://u:6379?secret=x@cache"}, "REDIS_URL", "has a parameter that is not known here"),
        ({"redis_url": "redis://cache/0?socket_timeout"}, "REDIS_URL", "not the URL"),
        ({"redis_url": "redis://cache/0#1"}, "REDIS_URL", "not the URL"),
        ({"redis_url": "unix://"}, "REDIS_URL", "not the URL"),
        ({"redis_url": "nonsense"}, "REDIS_URL", "not the URL"),
        ({"algorithm": "none"}, "ALGORITHM", "choose one of"),
        ({"algorithm": "HS512"}, "ALGORITHM", "choose one of"),
        ({"algorithm": "HS256"}, "ALGORITHM", "watchword secret"),
        ({"algorithm": "ES256", "jwt_secret": JWT_SECRET}, "ALGORITHM", "HS256 only"),
        ({"jwt_secret": "secret"}, "JWT_SECRET", "watchword secret"),
        ({"jwt_secret": "your-256-bit-secret-your-256-bit-secret"}, "JWT_SECRET", "is made of what tutorials use"),
        ({"jwt_secret": b"ab" * 16}, "JWT_SECRET", "repeats itself"),
        ({"access_lifetime": "25h"}, "ACCESS_LIFETIME", "1s to 1d"),
        ({"access_lifetime": "0"}, "ACCESS_LIFETIME", "1s to 1d"),
        ({"access_lifetime": timedelta(seconds=1.5)}, "ACCESS_LIFETIME", "not a duration"),
        ({"refresh_grace": "121"}, "REFRESH_GRACE", "0s to 2m"),
        ({"refresh_idle": "31d"}, "REFRESH_IDLE", "longer than the session"),
        ({"port": 0}, "PORT", "1 to 65535"),
        ({"port": "65536"}, "PORT", "1 to 65535"),
        ({"trusted_proxies": -1}, "TRUSTED_PROXIES", "0 to 16"),
        ({"trusted_proxies": 17}, "TRUSTED_PROXIES", "0 to 16"),
        ({"trusted_proxies": "yes"}, "TRUSTED_PROXIES", "10.0.0.0/8"),
        ({"trusted_proxies": "nginx"}, "TRUSTED_PROXIES", "10.0.0.0/8"),
        ({"trusted_proxies": "10.1.2.3/8"}, "TRUSTED_PROXIES", "10.0.0.0/8"),
        ({"trusted_proxies": "10.0.0.0/33"}, "TRUSTED_PROXIES", "neither a number of proxies nor a network"),
        ({"trusted_proxies": "0.0.0.0/0"}, "TRUSTED_PROXIES", "everyone"),
        ({"trusted_proxies": "10.0.0.0/8,::/0"}, "TRUSTED_PROXIES", "everyone"),
        ({"public_url": "https://x.example"}, "TRUSTED_PROXIES", "set it to 1 with nginx or Caddy"),
        ({"password_hash": "md5"}, "PASSWORD_HASH", "argon2id, bcrypt"),
        ({"registration": "maybe"}, "REGISTRATION", "open, closed"),
        ({"login_limit": "ten"}, "LOGIN_LIMIT", "10/15m"),
        ({"allowed_origins": "*"}, "ALLOWED_ORIGINS", "by name"),
        ({"allowed_headers": "*"}, "ALLOWED_HEADERS", "X-Tenant"),
        ({"allowed_headers": "X-Tenant: a"}, "ALLOWED_HEADERS", "X-Tenant"),
        ({"allowed_headers": "X-A;X-B"}, "ALLOWED_HEADERS", "X-Tenant"),
        ({"drain": "11m"}, "DRAIN", "0s to 10m"),
        (
            {"allowed_origins": "http://a.example", "public_url": "https://x.example", "trusted_proxies": 1},
            "ALLOWED_ORIGINS",
            "https://a.example",
        ),
        ({"audience": "a\x00b"}, "AUDIENCE", "cannot be seen"),
        ({"data_dir": "a\x00b"}, "DATA_DIR", "cannot be seen"),
        ({"workers": 0}, "WORKERS", "1 to 64"),
        ({"prot": 1}, "prot", "port"),
    ],
)
def test_what_is_refused(given: dict[str, Any], setting: str, said: str) -> None:
    """Each is refused alone, under its name, with what to do about it."""
    found = faults(**given)
    name = setting if setting.islower() else f"WATCHWORD_{setting}"
    assert list(found) == [name]
    assert said in found[name]


@pytest.mark.parametrize(
    ("url", "means"),
    [
        ("redis://cache", "redis://cache"),
        ("valkey://user:hunter2%40@cache:6380/2", "redis://user:hunter2%40@cache:6380/2"),
        ("valkeys://cache/0?ssl_ca_certs=/etc/ca.pem", "rediss://cache/0?ssl_ca_certs=/etc/ca.pem"),
        ("REDISS://[::1]:6379/", "rediss://[::1]:6379/"),
        ("unix:///run/valkey.sock?db=1", "unix:///run/valkey.sock?db=1"),
    ],
)
def test_the_url_of_a_redis(url: str, means: str) -> None:
    """Valkey's own schemes mean the same; the password is never shown."""
    settings = Settings(redis_url=url)
    assert settings.redis_url == means
    assert "hunter2" not in settings.shown()["redis_url"] + repr(settings)


def test_all_faults_at_once() -> None:
    """Nobody has to fix settings one start at a time."""
    found = faults(port="x", access_lifetime="soon", login_limit="many", algorithm="none", redis_url="x")
    assert {name.removeprefix("WATCHWORD_") for name in found} == {
        "PORT",
        "ACCESS_LIFETIME",
        "LOGIN_LIMIT",
        "ALGORITHM",
        "REDIS_URL",
    }


def test_a_jwt_secret_switches_to_hs256() -> None:
    """Given without an algorithm it means HS256; given with HS256 it means the same."""
    assert Settings(jwt_secret=JWT_SECRET).algorithm == "HS256"
    assert Settings(jwt_secret=JWT_SECRET, algorithm="hs256").algorithm == "HS256"


def test_a_short_session_shortens_the_idle_default() -> None:
    """Only a given idle life can be too long."""
    assert Settings(session_lifetime="1h").refresh_idle == timedelta(hours=1)


def test_a_database_elsewhere_with_a_secret() -> None:
    """With a given secret the database may lie anywhere."""
    settings = Settings(database_url="sqlite:////var/lib/watchword/x%20y.db", secret=SECRET_TEXT)
    assert settings.database_path == Path("/var/lib/watchword/x y.db")


def test_off_and_its_kin() -> None:
    """Limits and most switches accept off."""
    settings = Settings(
        login_limit="off", registration="off", allowed_origins="off", trusted_proxies="off", password_grant="off"
    )
    assert settings.login_limit is None
    assert settings.registration == "closed"
    assert settings.allowed_origins == ()
    assert Settings(allowed_headers="off").allowed_headers == Settings(allowed_headers=()).allowed_headers == ()
    assert Settings(allowed_headers=" X-A, x-a ,X-B,").allowed_headers == ("x-a", "X-B")
    assert settings.trusted_proxies == 0
    assert settings.password_grant is False


def test_secrets_are_shown_nowhere() -> None:
    """Not by repr, str, the listing, a copy of the errors, or a pickle (J8)."""
    settings = Settings(secret=SECRET_TEXT, jwt_secret=JWT_SECRET)
    shown = repr(settings) + str(settings) + str(settings.shown()) + f"{settings}"
    for secret in (SECRET_TEXT, JWT_SECRET, repr(SECRET), repr(JWT_SECRET.encode())[2:-1]):
        assert secret not in shown
    assert settings.shown()["secret"] == settings.shown()["jwt_secret"] == "********"
    with pytest.raises(TypeError):
        pickle.dumps(settings)
    with pytest.raises(TypeError):
        copy.deepcopy(settings)


def test_frozen() -> None:
    """Read once, changed never."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().port = 1  # type: ignore[misc]


def test_every_setting_is_an_attribute() -> None:
    """The table is the class: each row has its name from the attribute, and its value there."""
    settings = Settings()
    assert [(name, row.name) for name, row in Settings.rows.items()] == [(row.name, row.name) for row in SETTINGS]
    assert list(settings.shown()) == [row.name for row in SETTINGS]
    assert all(getattr(settings, row.name) == settings.value(row.name) for row in SETTINGS)
    assert Settings.port is Settings.rows["port"]


@pytest.mark.parametrize("shared", [SECRET_TEXT, SECRET_TEXT + "=", SECRET])
def test_the_master_secret_is_not_shared(shared: str | bytes) -> None:
    """Who verifies HS256 holds that secret; it must not be the one that opens the database (A13, J12)."""
    for masters in (SECRET_TEXT, f"{OTHER_TEXT},{SECRET_TEXT}"):
        found = faults(secret=masters, jwt_secret=shared)
        assert "WATCHWORD_SECRET" in found["WATCHWORD_JWT_SECRET"]
        assert "watchword secret" in found["WATCHWORD_JWT_SECRET"]
    Settings(secret=OTHER_TEXT, jwt_secret=shared)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (2, "2"),
        ("10.0.0.0/8, fd00::/8,10.0.0.0/8", "10.0.0.0/8,fd00::/8"),
        ("192.0.2.7", "192.0.2.7/32"),
        (["10.0.0.0/8", "::1"], "10.0.0.0/8,::1/128"),
        ("off", "0"),
        ([], "0"),
    ],
)
def test_proxies_are_a_number_or_networks(given: Any, read: str) -> None:
    """What was read is shown, and reads as the same again."""
    settings = Settings(public_url="https://x.example", trusted_proxies=given)
    assert settings.shown()["trusted_proxies"] == read
    assert Settings(trusted_proxies=settings.trusted_proxies).trusted_proxies == settings.trusted_proxies


def test_without_https_no_decision_about_proxies_is_asked_for() -> None:
    assert Settings().trusted_proxies == 0


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("database_path", "database_url="),
        ("secret_file", "give secret"),
        ("database_url_file", "give database_url"),
        ("issuer", "public_url"),
        ("acces_lifetime", "access_lifetime"),
        ("WATCHWORD_PORT", "port"),
        ("PORT", "port"),
        ("frobnicate", "known are: host, port"),
    ],
)
def test_an_argument_that_is_no_setting_names_the_right_one(name: str, instead: str) -> None:
    """Nothing that is given is ignored; other faults are told beside it."""
    found = faults(**{name: "x", "workers": 0})
    assert instead in found[name]
    assert "WATCHWORD_WORKERS" in found


def test_type_checkers_know_the_arguments_and_the_attributes(tmp_path: Path) -> None:
    """From the rows alone: an unknown name, a value of another kind, an attribute read as another, and one set."""
    faulty = {
        "Settings(prot=1)": "call-arg",
        "Settings(port=timedelta(1))": "arg-type",
        "port: str = Settings().port": "assignment",
        "Settings().port = 1": "misc",
    }
    fine = "lifetime: timedelta = Settings(access_lifetime='5m', login_limit=None).access_lifetime"
    imports = "from datetime import timedelta\nfrom watchword.settings import Settings\n"
    (tmp_path / "given.py").write_text(imports + "\n".join([*faulty, fine]))
    done = subprocess.run(
        [sys.executable, "-m", "mypy", str(tmp_path / "given.py")],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = re.findall(r"given\.py:(\d+): error: .*\[(.+)\]", done.stdout)
    assert found == [(str(line), code) for line, code in enumerate(faulty.values(), 3)], done.stdout + done.stderr


def test_every_argument_counts() -> None:
    """Each row can be given, and changes the settings."""
    for name, text in VALUES.items():
        other = {needed: VALUES[needed] for needed in NEEDS.get(name, ())}
        without = {} if name.startswith("legacy_") else other
        if text:
            assert Settings(**{name: text, **other}) != Settings(**without), name  # type: ignore[arg-type]


@pytest.mark.parametrize("empty", ["", b"", (), []])
@pytest.mark.parametrize("name", ["secret", "jwt_secret"])
def test_an_empty_secret_is_not_taken_for_none(name: str, empty: Any) -> None:
    """`os.environ.get("SECRET", "")` would start the service with a secret of its own, or tokens of another kind."""
    assert "leave it out" in faults(**{name: empty})[f"WATCHWORD_{name.upper()}"]


def test_bytes_of_a_key_are_taken_as_they_are() -> None:
    """Of random bytes none is there by accident, even where they look like quotes or a line break."""
    for raw in (b'"' + bytes(range(200, 232)) + b'"', b"\n" + bytes(range(200, 232)) + b" "):
        assert Settings(jwt_secret=raw).jwt_secret == raw


@pytest.mark.parametrize("secret", [b"x" * 40, "x" * 40, b"your-256-bit-secret-your-256-bit-secret"])
def test_a_shared_secret_that_can_be_guessed_is_no_setting(secret: bytes | str) -> None:
    """It is told beside all other faults, and before anything is opened."""
    with pytest.raises(SettingsError) as caught:
        Settings(jwt_secret=secret, workers=0)
    assert {fault.setting for fault in caught.value.faults} == {"WATCHWORD_JWT_SECRET", "WATCHWORD_WORKERS"}
    assert "can be guessed" in " ".join(fault.message for fault in caught.value.faults)
