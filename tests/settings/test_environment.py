"""A shared environment: what others put there, and what happens to values on their way."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.settings.test_sources import OTHER, SECRET, refused
from watchword.errors import SettingsError
from watchword.settings import Settings, load
from watchword.settings.table import SETTINGS

# What a kubelet makes for Services named watchword, watchword-redis and watchword-api, and Docker for a link.
SERVICES = {
    "WATCHWORD_PORT": "tcp://10.0.0.1:4000",
    "WATCHWORD_SERVICE_HOST": "10.0.0.1",
    "WATCHWORD_SERVICE_PORT": "4000",
    "WATCHWORD_SERVICE_PORT_HTTP": "4000",
    "WATCHWORD_PORT_4000_TCP": "tcp://10.0.0.1:4000",
    "WATCHWORD_PORT_4000_TCP_PROTO": "tcp",
    "WATCHWORD_PORT_4000_TCP_PORT": "4000",
    "WATCHWORD_PORT_4000_TCP_ADDR": "10.0.0.1",
    "WATCHWORD_REDIS_PORT": "tcp://10.0.0.2:6379",
    "WATCHWORD_REDIS_PORT_6379_TCP": "tcp://10.0.0.2:6379",
    "WATCHWORD_REDIS_PORT_6379_TCP_ADDR": "10.0.0.2",
    "WATCHWORD_REDIS_SERVICE_HOST": "10.0.0.2",
    "WATCHWORD_API_SERVICE_HOST": "fd00::3",
    "WATCHWORD_API_SERVICE_PORT_HTTP_METRICS": "9100",
    "WATCHWORD_API_PORT_53_UDP": "udp://[fd00::3]:53",
    "WATCHWORD_DATA_PORT": "sctp://10.0.0.4:9",
    "WATCHWORD_NAME": "/web/watchword",
    "WATCHWORD_ENV_PATH": "/bin",
}
# A value of each setting that is not its default.
VALUES = {
    "host": "127.0.0.2",
    "port": "4100",
    "public_url": "http://localhost:4100",
    "path_prefix": "/api",
    "data_dir": "/srv/data",
    "database_url": "sqlite:////srv/data/other.db",
    "redis_url": "redis://cache:6379/1",
    "secret": SECRET,
    "jwt_secret": OTHER,
    "algorithm": "RS256",
    "key_rotation": "20d",
    "audience": "shop",
    "scopes": "*=read,editor=read write",
    "access_lifetime": "5m",
    "refresh_idle": "2d",
    "session_lifetime": "20d",
    "refresh_grace": "20s",
    "password_hash": "bcrypt",
    "password_policy": "nist",
    "login_limit": "5/1m",
    "login_address_limit": "5/1m",
    "login_account_limit": "5/1m",
    "login_device_limit": "5/1m",
    "code_limit": "5/1m",
    "code_address_limit": "5/1m",
    "code_account_limit": "5/1m",
    "register_limit": "5/1m",
    "session_limit": "5/1m",
    "session_address_limit": "5/1m",
    "change_limit": "5/1m",
    "change_address_limit": "5/1m",
    "conflict_limit": "5/1m",
    "second_factor_limit": "5/1m",
    "legacy_limit": "5/1m",
    "client_limit": "6/1m",
    "inspection_limit": "6/1m",
    "client_proof_limit": "6/1m",
    "api_key_limit": "6/1m",
    "api_key_each_limit": "6/1m",
    "api_key_address_limit": "6/1m",
    "mail_code_limit": "6/1m",
    "mail_limit": "5/1m",
    "mail_address_limit": "5/1m",
    "email_verification": "optional",
    "email_login": "on",
    "admin": "on",
    "admin_max_age": "5m",
    "admin_limit": "7/1m",
    "smtp_url": "smtps://user:a-password@mail.example.com",
    "mail_from": "Example <no-reply@example.com>",
    "mail_templates": "/srv",
    "webhook_patience": "2d",
    "access_cookie": "on",
    "pages": "off",
    "pages_name": "Example",
    "pages_color": "#005f50",
    "pages_color_dark": "#7fe0c8",
    "pages_templates": "/srv",
    "private_email": "on",
    "drain": "5s",
    "audit_retention": "20d",
    "registration": "closed",
    "allowed_origins": "https://app.example.com",
    "allowed_headers": "X-Tenant",
    "claims": "tenant=public_metadata.tenant,name=name",
    "trusted_proxies": "2",
    "password_grant": "off",
    "legacy_jwt_secret": "Vb8uK2pQx9Zr4TnW7cYd",
    "legacy_jwks": "{}",
    "legacy_subject": "user_id:external",
    "legacy_audience": "old-app",
    "legacy_until": "2027-01-31",
    "docs": "off",
    "workers": "2",
    "metrics_port": "9464",
    "metrics_host": "127.0.0.2",
    "tracing": "on",
    "log_format": "console",
    "log_level": "debug",
}
# What needs another setting beside it.
OLD_APPLICATION = ("legacy_jwt_secret", "legacy_subject", "legacy_until")
NEEDS = {
    "database_url": ("secret",),
    "smtp_url": ("mail_from",),
    "legacy_jwks": OLD_APPLICATION[1:],
    "legacy_audience": OLD_APPLICATION,
    **{name: tuple(other for other in OLD_APPLICATION if other != name) for name in OLD_APPLICATION},
}
GIVEN = [name for name, text in VALUES.items() if text]
AROUND = ["\ufeff{}", "{}\r\n", "{}\n", " {} ", "\t{}", "\u00a0{}\u00a0", "\u200b{}", "\ufeff {}\r"]
QUOTED = ['"{}"', "'{}'", "`{}`", "\u201c{}\u201d", ' "{}"\r\n', '\ufeff"{}"']
REPLACED = ["${X}", "$(X)", "{{ x }}", "<x>"]


def test_the_table_has_every_setting() -> None:
    """A setting that is new has to be tried as well."""
    assert set(VALUES) >= {setting.name for setting in SETTINGS if setting.name in Settings().shown()}


@pytest.mark.parametrize("name", GIVEN)
def test_what_stands_around_a_value_is_no_part_of_it(name: str, tmp_path: Path) -> None:
    """White space, line breaks of either kind, a byte-order mark: in the environment, `.env` and TOML."""
    variable, text = f"WATCHWORD_{name.upper()}", VALUES[name]
    beside = {f"WATCHWORD_{other.upper()}": VALUES[other] for other in NEEDS.get(name, ())}
    beside = {variable: OTHER if variable == "WATCHWORD_SECRET" else text for variable, text in beside.items()}
    wanted = load({}, {**beside, variable: text}, tmp_path).settings
    without = {} if name.startswith("legacy_") else beside  # none of those may be alone
    assert wanted != load({}, without, tmp_path).settings
    for form in AROUND:
        assert load({}, {**beside, variable: form.format(text)}, tmp_path).settings == wanted, form
        assert load({name: form.format(text)}, beside, tmp_path).settings == wanted, form
    (tmp_path / ".env").write_bytes(f'\ufeffOTHER=1\r\n{variable}="{text}"\r\n'.encode())
    assert load({}, beside, tmp_path).settings == wanted, "Notepad"


@pytest.mark.parametrize("name", [setting.name for setting in SETTINGS])
def test_what_cannot_be_meant_is_refused(name: str, tmp_path: Path) -> None:
    """Quotes that became part of the value, and placeholders that were never replaced."""
    variable, text = f"WATCHWORD_{name.upper()}", VALUES.get(name, "x")
    for form in QUOTED:
        assert "leave out the quotes" in refused({}, {variable: form.format(text)}, tmp_path)[variable], form
    for form in REPLACED:
        assert "was not replaced" in refused({}, {variable: form}, tmp_path)[variable], form


@pytest.mark.parametrize("name", ["secret", "jwt_secret"])
@pytest.mark.parametrize("form", [*AROUND, "{}\r\n\r\n"])
def test_a_secret_file_holds_the_secret_only(name: str, form: str, tmp_path: Path) -> None:
    """What an editor adds is not part of the key; its path is cleaned in the same way."""
    variable, path = f"WATCHWORD_{name.upper()}", tmp_path / "secret"
    path.write_bytes(form.format(SECRET).encode())
    path.chmod(0o600)
    found = load({}, {f"{variable}_FILE": f" {path}\r"}, tmp_path).settings
    assert getattr(found, name) == getattr(load({}, {variable: SECRET}, tmp_path).settings, name)


@pytest.mark.parametrize("raw", [f'"{SECRET}"'.encode(), f"{SECRET}\n{OTHER}".encode(), SECRET.encode("utf-16")])
@pytest.mark.parametrize("name", ["secret", "jwt_secret"])
def test_a_secret_file_with_more_is_refused(name: str, raw: bytes, tmp_path: Path) -> None:
    """Quotes, a second line, the encoding of PowerShell's `>`; and nothing of it is shown."""
    path = tmp_path / "secret"
    path.write_bytes(raw)
    path.chmod(0o600)
    (said,) = refused({}, {f"WATCHWORD_{name.upper()}_FILE": str(path)}, tmp_path).values()
    assert SECRET not in said


def test_a_list_may_stand_on_several_lines(tmp_path: Path) -> None:
    """As YAML writes it; quotes around one part are refused as quotes around the whole are."""
    both = load({}, {"WATCHWORD_ALLOWED_ORIGINS": "https://a.example,\r\n  https://b.example\n"}, tmp_path)
    assert both.settings.allowed_origins == ("https://a.example", "https://b.example")
    environ = {"WATCHWORD_SECRET": f'{SECRET},"{OTHER}"'}
    assert "quotes" in refused({}, environ, tmp_path)["WATCHWORD_SECRET"]


@pytest.mark.parametrize("text", ["shop,api", "shop, api", ",", '["shop"]'])
def test_an_audience_is_one_name(text: str, tmp_path: Path) -> None:
    """A list would be one name that no guard expects."""
    assert "give one name" in refused({}, {"WATCHWORD_AUDIENCE": text}, tmp_path)["WATCHWORD_AUDIENCE"]
    with pytest.raises(SettingsError):
        Settings(audience=text)


def test_what_kubernetes_makes_is_passed_over_in_one_line(tmp_path: Path) -> None:
    """A Service of our name sets variables that look like settings, among them the port."""
    loaded = load({}, SERVICES, tmp_path)
    assert loaded.settings == load({}, {}, tmp_path).settings
    (line,) = loaded.warnings
    assert "Kubernetes" in line.message
    assert "enableServiceLinks" in line.hint
    for variable, text in SERVICES.items():
        assert load({}, {variable: text}, tmp_path).settings.port == 4000
    assert load({}, {**SERVICES, "PORT": "4100"}, tmp_path).settings.port == 4100


def test_the_same_value_in_a_file_of_ours_is_a_fault(tmp_path: Path) -> None:
    """Kubernetes writes no `.env`."""
    (tmp_path / ".env").write_text("WATCHWORD_PORT=tcp://10.0.0.1:4000\n")
    assert "WATCHWORD_PORT" in refused({}, {}, tmp_path)


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("REDIS_URL", "redis://cache:6379/0"),
        ("REDIS_URL", "tcp://10.0.0.1:6379"),
        ("DATABASE_URL", "mysql://u:hunter2@db/app"),
        ("DATABASE_URL", "sqlite://"),
        ("DATABASE_URL", "sqlite:///:memory:"),
        ("DATABASE_URL", "file.db"),
        ("PORT", "tcp://10.0.0.1:80"),
        ("PORT", r"\\.\pipe\x"),
    ],
)
@pytest.mark.parametrize("dotenv", [False, True])
def test_bare_names_of_other_programs(variable: str, text: str, dotenv: bool, tmp_path: Path) -> None:
    """Passed over with one line, which holds no password; the setting of ours, also when off, says nothing at all."""
    (tmp_path / ".env").write_text(f"{variable}='{text}'\n" if dotenv else "")
    environ = {} if dotenv else {variable: text}
    loaded = load({}, environ, tmp_path)
    assert loaded.settings == load({}, {}, tmp_path / "elsewhere").settings or dotenv or loaded.settings.port == 4000
    (line,) = loaded.warnings
    assert line.setting == variable
    assert "hunter2" not in line.message + line.hint
    ours = {f"WATCHWORD_{variable}": "4000" if variable == "PORT" else "off"}
    assert load({}, {**environ, **ours}, tmp_path).warnings == ()


def test_off_wins(tmp_path: Path) -> None:
    """Over whatever is weaker; empty is not given."""
    environ = {"DATABASE_URL": "sqlite:////srv/app.db", "WATCHWORD_DATABASE_URL": "OFF"}
    assert load({}, environ, tmp_path).settings.database_path == tmp_path / "watchword-data" / "watchword.db"
    (tmp_path / ".env").write_text(f"WATCHWORD_JWT_SECRET={SECRET}\nWATCHWORD_AUDIENCE=shop\n")
    settings = load({}, {"WATCHWORD_JWT_SECRET": "off", "WATCHWORD_AUDIENCE": "off"}, tmp_path).settings
    assert (settings.jwt_secret, settings.audience) == (None, settings.public_url)
    assert load({}, {"WATCHWORD_JWT_SECRET": ""}, tmp_path).settings.jwt_secret == SECRET.encode()


@pytest.mark.parametrize(
    "variable", ["WATCHWORD_REGISTRATON", "WATCHWORD_TRUSTED_PROXY", "watchword_port", "WATCHWORD_SECRETS"]
)
def test_a_slip_is_refused(variable: str, tmp_path: Path) -> None:
    """Passed over, registration would stay open."""
    assert "did you mean WATCHWORD_" in refused({}, {variable: "1"}, tmp_path)[variable]


def test_names_that_no_setting_has_are_passed_over(tmp_path: Path) -> None:
    """One line about all of them, and one for each that is a little like a setting."""
    made_up = {"WATCHWORD_VERSION": "1", "WATCHWORD_IMAGE_TAG": "x", "WATCHWORD_GUARD_KEY": "k"}
    loaded = load({}, made_up, tmp_path)
    (line,) = loaded.warnings
    assert "and 2 more" in line.setting
    (alike,) = load({}, {"WATCHWORD_HOSTNAME": "x"}, tmp_path).warnings
    assert alike.hint == "did you mean WATCHWORD_HOST?"


def test_a_home_that_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user id without a name and without HOME: `~` is nowhere, and nothing else needs it."""
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # what Python does then
    assert load({}, {}, tmp_path).settings.port == 4000
    for variable in ("WATCHWORD_DATA_DIR", "WATCHWORD_SECRET_FILE"):
        assert "absolute" in refused({}, {variable: "~/x"}, tmp_path)[variable]


def test_lines_of_other_programs_in_dotenv(tmp_path: Path) -> None:
    """A name alone is legal for docker; of ours it is a slip."""
    (tmp_path / ".env").write_text("HOST_THING\nWATCHWORD_PORT=4100\n")
    assert load({}, {}, tmp_path).settings.port == 4100
