"""Where settings come from: the order of the sources, files with secrets, names that nobody has."""

from __future__ import annotations

from pathlib import Path

import pytest

from watchword.errors import SettingsError
from watchword.settings import Settings, load
from watchword.settings.table import SETTINGS

SECRET = "Rz8dMNeWv0-1cPjgB2nJm4XqTkYhLsUa9vE3wOi7xQ0"
OTHER = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"


def refused(flags: dict[str, object], environ: dict[str, str], cwd: Path) -> dict[str, str]:
    with pytest.raises(SettingsError) as error:
        load(flags, environ, cwd)
    return {fault.setting: f"{fault.message} | {fault.hint}" for fault in error.value.faults}


def secret_file(folder: Path, text: str = SECRET + "\n", mode: int = 0o600) -> Path:
    path = folder / "secret"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_order_of_the_sources(tmp_path: Path) -> None:
    """flags > WATCHWORD_* > .env > bare PORT > watchword.toml > default: each is beaten by the one before it."""
    dotenv, toml = tmp_path / ".env", tmp_path / "watchword.toml"
    assert load({}, {}, tmp_path).origins["port"] == "default"
    toml.write_text("port = 1\n")
    steps: list[tuple[dict[str, object], dict[str, str], int, str]] = [
        ({}, {}, 1, "watchword.toml"),
        ({}, {"PORT": "2"}, 2, "PORT"),
        ({}, {"PORT": "2"}, 3, "WATCHWORD_PORT in .env"),
        ({}, {"PORT": "2", "WATCHWORD_PORT": "4"}, 4, "WATCHWORD_PORT"),
        ({"port": 5}, {"PORT": "2", "WATCHWORD_PORT": "4"}, 5, "--port"),
        ({"port": None}, {"PORT": "2", "WATCHWORD_PORT": "4"}, 4, "WATCHWORD_PORT"),
    ]
    for flags, environ, port, origin in steps:
        if port == 3:
            dotenv.write_text("WATCHWORD_PORT=3\n")
        loaded = load(flags, environ, tmp_path)
        assert (loaded.settings.port, loaded.origins["port"]) == (port, origin)


def test_every_setting_can_be_given_by_every_source(tmp_path: Path) -> None:
    """Names follow one rule in flags, environment, `.env` and TOML."""
    written = {s.name: s.default for s in SETTINGS if s.default} | {"public_url": "http://localhost:1", "docs": "off"}
    for name, text in written.items():
        for source in ("flag", "environment", "dotenv", "toml"):
            (tmp_path / ".env").write_text(f"WATCHWORD_{name.upper()}='{text}'\n" if source == "dotenv" else "")
            (tmp_path / "watchword.toml").write_text(f'{name} = "{text}"\n' if source == "toml" else "")
            flags: dict[str, object] = {name: text} if source == "flag" else {}
            environ = {f"WATCHWORD_{name.upper()}": text} if source == "environment" else {}
            assert load(flags, environ, tmp_path).origins[name] != "default", (name, source)


def test_an_empty_value_is_none(tmp_path: Path) -> None:
    """`WATCHWORD_PORT=` in a compose file leaves the next source its turn."""
    loaded = load({}, {"WATCHWORD_PORT": "", "PORT": "4100"}, tmp_path)
    assert loaded.settings.port == 4100


def test_bare_names(tmp_path: Path) -> None:
    """Platforms set PORT and DATABASE_URL; the variable with our prefix beats them, wherever it stands."""
    url = "sqlite:////srv/app.db"
    loaded = load({}, {"DATABASE_URL": url, "WATCHWORD_SECRET": SECRET}, tmp_path)
    assert (loaded.settings.database_url, loaded.origins["database_url"]) == (url, "DATABASE_URL")
    (tmp_path / ".env").write_text("WATCHWORD_PORT=4200\n")
    assert load({}, {"PORT": "4100"}, tmp_path).settings.port == 4200
    assert "WATCHWORD_SECRET" in refused({}, {"DATABASE_URL": url}, tmp_path)


def test_unknown_names(tmp_path: Path) -> None:
    """A slip of the pen is reported in every source, with what was probably meant; others' names are left alone."""
    (tmp_path / ".env").write_text("WATCHWORD_PUBLIC_URI=x\nDJANGO_KEY=1\n")
    (tmp_path / "watchword.toml").write_text("acces_lifetime = '1m'\n[watchword]\nport = 1\n")
    found = refused({}, {"WATCHWORD_PROT": "1", "WATCHWORD_FROBNICATE": "1", "HOME": "/"}, tmp_path)
    assert "did you mean WATCHWORD_PORT?" in found["WATCHWORD_PROT"]
    assert "did you mean WATCHWORD_PUBLIC_URL?" in found["WATCHWORD_PUBLIC_URI"]
    assert set(found) == {"WATCHWORD_PROT", "WATCHWORD_PUBLIC_URI", "watchword.toml"}


def test_faults_of_all_sources_together(tmp_path: Path) -> None:
    """Names, values and files in one report, each value with where it stands."""
    (tmp_path / ".env").write_text("WATCHWORD_LOGIN_LIMIT=many\n")
    (tmp_path / "watchword.toml").write_text("refresh_grace = 500\n")
    environ = {"WATCHWORD_PROT": "1", "WATCHWORD_SECRET_FILE": str(tmp_path / "absent"), "WATCHWORD_ALGORITHM": "none"}
    found = refused({"port": "x"}, environ, tmp_path)
    assert "(from --port)" in found["WATCHWORD_PORT"]
    assert "(from WATCHWORD_LOGIN_LIMIT in .env)" in found["WATCHWORD_LOGIN_LIMIT"]
    assert "(from watchword.toml)" in found["WATCHWORD_REFRESH_GRACE"]
    assert "no such file" in found["WATCHWORD_SECRET_FILE"]
    assert "from" not in found["WATCHWORD_ALGORITHM"]
    assert len(found) == 6


def test_secret_from_a_file(tmp_path: Path) -> None:
    """`*_FILE` in the environment, as a flag, in `.env` and in TOML."""
    path = secret_file(tmp_path)
    by_variable = load({}, {"WATCHWORD_SECRET_FILE": str(path)}, tmp_path)
    by_flag = load({"secret_file": path}, {"WATCHWORD_SECRET": OTHER}, tmp_path)
    (tmp_path / "watchword.toml").write_text(f'jwt_secret_file = "{path}"\n')
    by_toml = load({}, {}, tmp_path)
    assert by_variable.settings.secret == by_flag.settings.secret
    assert by_variable.origins["secret"] == "WATCHWORD_SECRET_FILE"
    assert by_flag.origins["secret"] == "--secret-file"
    assert by_toml.settings.jwt_secret == SECRET.encode()
    assert by_toml.settings.algorithm == "HS256"


@pytest.mark.parametrize(
    ("name", "url"),
    [("database_url", "postgresql://u:hunter2@db/app"), ("redis_url", "redis://:hunter2@cache:6379/0")],
)
def test_a_url_with_a_password_from_a_file(tmp_path: Path, name: str, url: str) -> None:
    """By the same rules as a secret, and before what a platform sets."""
    variable, path = f"WATCHWORD_{name.upper()}", secret_file(tmp_path, url + "\n")
    environ = {"WATCHWORD_SECRET": OTHER, name.upper(): "sqlite:///other.db"}
    loaded = load({}, {**environ, f"{variable}_FILE": str(path)}, tmp_path)
    assert getattr(loaded.settings, name) == url
    assert loaded.origins[name] == f"{variable}_FILE"
    assert "hunter2" not in str(loaded.settings.shown())
    both = {**environ, variable: url, f"{variable}_FILE": str(path)}
    assert "both given" in refused({}, both, tmp_path)[variable]
    path.chmod(0o602)
    assert "chmod 600" in refused({}, {**environ, f"{variable}_FILE": str(path)}, tmp_path)[f"{variable}_FILE"]
    path = secret_file(tmp_path, "mysql://u:hunter2@db/app")
    (said,) = refused({}, {**environ, f"{variable}_FILE": str(path)}, tmp_path).values()
    assert f"(from {variable}_FILE)" in said
    assert "hunter2" not in said


def test_both_ways_at_once(tmp_path: Path) -> None:
    """A secret and a file for it in one source: nobody can tell which was meant."""
    environ = {"WATCHWORD_SECRET": OTHER, "WATCHWORD_SECRET_FILE": str(secret_file(tmp_path))}
    assert "both given" in refused({}, environ, tmp_path)["WATCHWORD_SECRET"]


@pytest.mark.parametrize("mode", [0o602, 0o666])
def test_a_secret_that_everybody_can_replace(tmp_path: Path, mode: int) -> None:
    """Refused, with the command that closes it, and only once: what depends on the secret is not reported too (J12)."""
    path = secret_file(tmp_path, mode=mode)
    found = refused({}, {"WATCHWORD_JWT_SECRET_FILE": str(path), "WATCHWORD_ALGORITHM": "HS256"}, tmp_path)
    assert list(found) == ["WATCHWORD_JWT_SECRET_FILE"]
    assert f"chmod 600 {path}" in found["WATCHWORD_JWT_SECRET_FILE"]


@pytest.mark.parametrize(
    ("text", "said"), [("", "empty"), ("\n", "empty"), ("x" * 5000, "too large"), ("short", "base64url")]
)
def test_a_secret_file_with_something_else(tmp_path: Path, text: str, said: str) -> None:
    """Said what is wrong with it, never what is in it."""
    found = refused({}, {"WATCHWORD_SECRET_FILE": str(secret_file(tmp_path, text))}, tmp_path)
    (message,) = found.values()
    assert said in message


def test_a_binary_secret_file(tmp_path: Path) -> None:
    """32 raw bytes are not how a secret is written."""
    path = secret_file(tmp_path)
    path.write_bytes(bytes(range(200, 232)))
    assert "not text" in refused({}, {"WATCHWORD_SECRET_FILE": str(path)}, tmp_path)["WATCHWORD_SECRET_FILE"]


def test_dotenv_syntax(tmp_path: Path) -> None:
    """Comments, quotes, `export`, a byte order mark; `$` is a character like others, so secrets survive."""
    (tmp_path / ".env").write_text(
        "\ufeff# a comment\n\nexport WATCHWORD_PORT=4100 # why\nWATCHWORD_AUDIENCE='a # b'\n"
        f'WATCHWORD_JWT_SECRET="$HOME${{X}}{SECRET}"\n',
        "utf-8",
    )
    settings = load({}, {}, tmp_path).settings
    assert (settings.port, settings.audience) == (4100, "a # b")
    assert settings.jwt_secret == f"$HOME${{X}}{SECRET}".encode()


@pytest.mark.parametrize("name", ["WATCHWORD_JWT_SECRET", "WATCHWORD_LEGACY_JWT_SECRET"])
@pytest.mark.parametrize("text", [f"short #{SECRET}", f"a'b \" #{SECRET}"])
def test_a_secret_is_not_cut_at_a_comment_sign(name: str, text: str, tmp_path: Path) -> None:
    """A secret of any characters may have ` #` in it: what is left says what has happened, and shows nothing."""
    (tmp_path / ".env").write_text(f"\nexport {name} = {text}\n")
    said = refused({}, {}, tmp_path)[name]
    assert "single quotes" in said
    assert SECRET not in said


@pytest.mark.parametrize("text", [f"{OTHER} #x", f"{OTHER}\t# made in May"])
def test_what_may_be_the_end_of_a_secret_is_warned_of(text: str, tmp_path: Path) -> None:
    """Most often it is a comment, as in every `.env`."""
    (tmp_path / ".env").write_text(f"WATCHWORD_JWT_SECRET={text}\n")
    (tmp_path / ".env").chmod(0o600)
    loaded = load({}, {}, tmp_path)
    assert loaded.settings.jwt_secret == OTHER.encode()
    [warning] = loaded.warnings
    assert warning.setting == "WATCHWORD_JWT_SECRET"
    assert "single quotes" in warning.hint
    assert OTHER not in warning.message + warning.hint


@pytest.mark.parametrize(
    ("line", "read"),
    [
        (f"WATCHWORD_JWT_SECRET='{OTHER} #x' # y", f"{OTHER} #x"),
        (f'WATCHWORD_JWT_SECRET="{OTHER} #x"', f"{OTHER} #x"),
        (f"WATCHWORD_JWT_SECRET={OTHER}#x", f"{OTHER}#x"),
        (f"WATCHWORD_JWT_SECRET={OTHER}   ", OTHER),
        (f"WATCHWORD_JWT_SECRET={OTHER}\njwt_secret={SECRET} # of another program", OTHER),
        (f"WATCHWORD_SECRET={SECRET} # made in May\nWATCHWORD_JWT_SECRET={OTHER}", OTHER),
    ],
)
def test_what_is_plainly_a_comment(line: str, read: str, tmp_path: Path) -> None:
    """Quotes say where a secret ends. A master secret has no such sign, so that a comment after it is one."""
    (tmp_path / ".env").write_text(line + "\n")
    (tmp_path / ".env").chmod(0o600)
    assert load({}, {}, tmp_path).settings.jwt_secret == read.encode()


@pytest.mark.parametrize("text", ["WATCHWORD_PORT\n", "PORT=1\n'\n", "=x\n"])
def test_malformed_dotenv(tmp_path: Path, text: str) -> None:
    """A line that cannot be read is not passed over."""
    (tmp_path / ".env").write_text(text)
    assert "line" in refused({}, {}, tmp_path)[".env"]


@pytest.mark.parametrize("text", ["port = ", "port = 1.5", "port = [1]", "[port]\nx = 1"])
def test_malformed_toml(tmp_path: Path, text: str) -> None:
    """Neither is a file that is no TOML, or a value of a kind that no setting has."""
    (tmp_path / "watchword.toml").write_text(text)
    assert "watchword.toml" in refused({}, {}, tmp_path)


def test_files_that_are_not_text(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are said to be that."""
    (tmp_path / ".env").write_bytes(b"\xff\xfe")
    (tmp_path / "watchword.toml").write_bytes(b"\xff\xfe")
    assert set(refused({}, {}, tmp_path)) == {".env", "watchword.toml"}


def test_toml_values(tmp_path: Path) -> None:
    """Numbers, booleans and lists are written as TOML has them."""
    (tmp_path / "watchword.toml").write_text(
        'port = 4100\ndocs = false\nallowed_origins = ["https://a.example", "https://b.example"]\nlogin_limit = "off"\n'
    )
    settings = load({}, {}, tmp_path).settings
    assert (settings.port, settings.docs, settings.login_limit) == (4100, False, None)
    assert settings.allowed_origins == ("https://a.example", "https://b.example")


def test_an_open_dotenv_with_a_secret_is_warned_about(tmp_path: Path) -> None:
    """`.env` is made for settings in general, so it is not refused."""
    (tmp_path / ".env").write_text(f"WATCHWORD_SECRET={SECRET}\n")
    (tmp_path / ".env").chmod(0o644)
    (warning,) = load({}, {}, tmp_path).warnings
    assert "chmod 600" in warning.hint
    (tmp_path / ".env").chmod(0o600)
    assert load({}, {}, tmp_path).warnings == ()


def test_the_data_directory_starts_from_the_working_directory(tmp_path: Path) -> None:
    """Also the default; an absolute one stays."""
    assert load({}, {}, tmp_path).settings.data_dir == tmp_path / "watchword-data"
    assert load({"data_dir": "x"}, {}, tmp_path).settings.data_dir == tmp_path / "x"
    assert load({"data_dir": "/srv/x"}, {}, tmp_path).settings.data_dir == Path("/srv/x")


def test_dotenv_may_be_a_folder(tmp_path: Path) -> None:
    """Some call their virtual environment `.env`."""
    (tmp_path / ".env").mkdir()
    assert load({}, {}, tmp_path).settings.port == 4000


def test_no_fault_repeats_a_secret(tmp_path: Path) -> None:
    """Whatever is wrong with a secret, the report does not hold it (J8)."""
    for text in ("tooshort-secret", SECRET + "!", SECRET[:20], f"{SECRET},{SECRET}"):
        for name in ("WATCHWORD_SECRET", "WATCHWORD_JWT_SECRET"):
            with pytest.raises(SettingsError) as error:
                load({}, {name: text, "WATCHWORD_ALGORITHM": "ES256"}, tmp_path)
            assert text not in str(error.value)
            assert text not in repr(error.value.faults)


@pytest.mark.parametrize(
    ("name", "text", "doubted"),
    [
        ("access_lifetime", "15", True),
        ("access_lifetime", " 60 ", True),
        ("access_lifetime", "90", False),
        ("access_lifetime", "900", False),
        ("access_lifetime", "15s", False),
        ("refresh_idle", "7", True),
        ("refresh_idle", "3600", False),
        ("refresh_grace", "30", False),
        ("refresh_grace", "0", False),
        ("drain", "20", False),
        ("login_limit", "10/15", True),
        ("login_limit", "10/900", False),
        ("login_limit", "10/15s", False),
        ("port", "15", False),
    ],
)
def test_a_number_without_a_unit_is_doubted(tmp_path: Path, name: str, text: str, doubted: bool) -> None:
    """A few seconds where minutes are usual are taken, and said so; what other libraries write as seconds is not."""
    loaded = load({}, {f"WATCHWORD_{name.upper()}": text}, tmp_path)
    assert [warning.setting for warning in loaded.warnings] == [f"WATCHWORD_{name.upper()}"] * doubted
    written = {name: text}
    if doubted:
        with pytest.warns(UserWarning, match="without a unit") as caught:
            embedded = Settings(**written)
        assert caught[0].filename == __file__
    else:
        embedded = Settings(**written)
    assert embedded.value(name) == loaded.settings.value(name)


def test_what_is_said_of_a_number_without_a_unit(tmp_path: Path) -> None:
    """How many seconds it is, where it stands, and how to keep it."""
    (tmp_path / ".env").write_text("WATCHWORD_ACCESS_LIFETIME=15\n")
    (warning,) = load({}, {}, tmp_path).warnings
    assert warning.message == (
        "is 15 without a unit: that is 15 s, and the default 15m (from WATCHWORD_ACCESS_LIFETIME in .env)"
    )
    assert warning.hint.startswith("write 15s to keep it")
