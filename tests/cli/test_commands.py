"""The other commands: what they print, for people and for programs, and their exit codes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.cli.conftest import Run, environment
from watchword import __version__
from watchword.cli import SERVER_MODULES
from watchword.cli.serving.workers import export_flags
from watchword.settings import Settings, load
from watchword.settings.table import SETTINGS

PASSWORD = "a long pass phrase"


def made(run: Run, name: str, *arguments: str) -> dict[str, object]:
    ended = run(
        "users", "create", name, "--password-stdin", "--new-database", "--json", *arguments, stdin=PASSWORD + "\n"
    )
    assert ended.code == 0, ended.err
    user: dict[str, object] = json.loads(ended.out)
    return user


def test_version(run: Run) -> None:
    """The package's, however it is asked for."""
    for asked in ("version", "--version", "-V"):
        ended = run(asked)
        assert (ended.code, ended.out, ended.err) == (0, f"{__version__}\n", "")


def test_secret(run: Run) -> None:
    """Fresh each time, and good for every secret there is."""
    first, second = (run("secret").out.strip() for _ in range(2))
    assert first != second
    assert len(first) == 43
    assert Settings(secret=first, jwt_secret=second).algorithm == "HS256"


@pytest.mark.parametrize("command", [[], ["serve"], ["settings"], ["users"], ["users", "create"], ["users", "list"]])
def test_help(run: Run, command: list[str]) -> None:
    """Every command explains itself and the exit codes."""
    ended = run(*command, "--help", COLUMNS="200")
    assert ended.code == 0
    assert "Exit codes: 0 done" in ended.out
    assert ended.err == ""


def test_serve_has_a_flag_per_setting(run: Run) -> None:
    """Except secrets, which a command line would show to everybody; they have one for the file."""
    shown = run("serve", "--help", COLUMNS="200").out
    for setting in SETTINGS:
        assert (f"{setting.flag}-file " if setting.secret else f"{setting.flag} ") in shown
    assert "--secret " not in shown


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["serve", "--prot", "1"], ["serve", "extra"], ["users"], [], ["users", "create"], ["users", "show"]],
)
def test_wrong_usage(run: Run, arguments: list[str]) -> None:
    """Code 2, an `error:` line and where the help is; or the help itself."""
    ended = run(*arguments)
    assert ended.code == 2
    assert "Traceback" not in ended.err
    assert ("error: " in ended.err and "--help" in ended.err) or "Usage:" in ended.out


def test_settings(run: Run) -> None:
    """Each with its value and where it came from; secrets masked."""
    secret = run("secret").out.strip()
    ended = run("settings", "--port", "4100", "--json", WATCHWORD_SECRET=secret, WATCHWORD_AUDIENCE="api")
    assert ended.code == 0
    rows = {row["name"]: row for row in json.loads(ended.out)}
    assert list(rows) == [setting.name for setting in SETTINGS]
    assert (rows["port"]["value"], rows["port"]["from"]) == ("4100", "--port")
    assert (rows["audience"]["value"], rows["audience"]["from"]) == ("api", "WATCHWORD_AUDIENCE")
    assert (rows["secret"]["value"], rows["secret"]["from"]) == ("********", "WATCHWORD_SECRET")
    assert rows["public_url"] == {
        "name": "public_url",
        "variable": "WATCHWORD_PUBLIC_URL",
        "value": "http://127.0.0.1:4100",
        "from": "default",
    }
    plain = run("settings", WATCHWORD_SECRET=secret)
    assert "WATCHWORD_SECRET\t********\tWATCHWORD_SECRET" in plain.out
    assert secret not in plain.out + plain.err + ended.out


def test_settings_makes_nothing(run: Run, tmp_path: Path) -> None:
    """Looking changes nothing."""
    run("settings")
    assert list(tmp_path.iterdir()) == []


def test_migrate(run: Run, tmp_path: Path) -> None:
    """Makes the database and says where; a second time there is nothing to do."""
    first = run("migrate")
    place = tmp_path / "watchword-data" / "watchword.db"
    assert (first.code, place.exists(), first.err) == (0, True, f"hint: the database is a new one, at {place}\n")
    again = run("migrate")
    assert (again.code, again.err) == (0, "")


@pytest.mark.parametrize(
    "command",
    [
        "users list", "users show ada", "users create ada --password-stdin", "users roles ada --add admin",
        "guards create orders", "guards list", "scopes list", "scopes add editor read", "apis list",
        "apis delete x --yes", "keys list", "keys rotate --yes", "keys revoke --all", "guards revoke orders",
        "db restored --yes", "secret rotate", "backup file",
    ],
)  # fmt: skip
def test_in_the_wrong_directory(run: Run, tmp_path: Path, command: str) -> None:
    """⚑ Code 3 and where it looked. No empty database is made, in which a key was revoked or a guard made."""
    secrets = ",".join(run("secret").out.strip() for _ in range(2))
    for given in (
        ({}, {"WATCHWORD_SECRET": secrets}) if command != "secret rotate" else ({"WATCHWORD_SECRET": secrets},)
    ):
        ended = run(*command.split(), **given)
        assert (ended.code, ended.out) == (3, "")
        place = tmp_path / "watchword-data" / "watchword.db"
        assert ended.err.startswith(f"error: there is no database at {place}\nhint: run this where the service runs")
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command", ["users list", "migrate", "users create ada --password-stdin", "keys revoke --all --yes"]
)
def test_a_lost_master_secret_is_missed_and_not_replaced(run: Run, tmp_path: Path, command: str) -> None:
    """⚑ Whether the file was lost or the service has WATCHWORD_SECRET: said, and nothing is written beside it."""
    assert run("migrate", WATCHWORD_SECRET=run("secret").out.strip()).code == 0
    before = sorted(path.name for path in (tmp_path / "watchword-data").iterdir())
    ended = run(*command.split(), stdin=PASSWORD)
    file = tmp_path / "watchword-data" / "master.secret"
    assert (ended.code, ended.out) == (78, "")
    assert ended.err == (
        f"error: WATCHWORD_SECRET is not set, and {file} is missing\n"
        "hint: restore that file from where you keep it, or set WATCHWORD_SECRET to what the service has\n"
    )
    assert sorted(path.name for path in (tmp_path / "watchword-data").iterdir()) == before


def test_users_from_creation_to_disabling(run: Run) -> None:
    """The whole life of a user, told to a program."""
    user = made(run, "ada", "--email", "ada@example.com", "--role", "admin")
    assert (user["username"], user["email"], user["roles"]) == ("ada", "ada@example.com", ["admin"])
    assert "password" not in json.dumps(user)
    assert "$argon2" not in json.dumps(user)
    for name in ("ada", "ADA", "ada@example.com", str(user["id"])):
        assert json.loads(run("users", "show", name, "--json").out)["id"] == user["id"]
    changed = json.loads(run("users", "roles", "ada", "--set", "editor", "--set", "author", "--json").out)
    assert changed["roles"] == ["author", "editor"]
    assert json.loads(run("users", "roles", "ada", "--none", "--json").out)["roles"] == []
    assert json.loads(run("users", "disable", "ada", "--json").out)["disabled_at"] is not None
    assert json.loads(run("users", "enable", "ada", "--json").out)["disabled_at"] is None


@pytest.mark.usefixtures("database")
def test_D15_no_accounts_out_of_the_box(run: Run) -> None:
    """A fresh installation has no user; the first admin is made on the command line (D15)."""
    assert json.loads(run("users", "list", "--json").out) == {"items": [], "next_cursor": None}


def test_list(run: Run) -> None:
    """Page by page, and by search."""
    names = ["ada", "bea", "cleo"]
    ids = [made(run, name)["id"] for name in names]
    first = json.loads(run("users", "list", "--limit", "2", "--json").out)
    assert [user["id"] for user in first["items"]] == ids[:2]
    rest = json.loads(run("users", "list", "--after", first["next_cursor"], "--json").out)
    assert ([user["id"] for user in rest["items"]], rest["next_cursor"]) == (ids[2:], None)
    found = json.loads(run("users", "list", "--search", "LE", "--json").out)
    assert [user["username"] for user in found["items"]] == ["cleo"]
    plain = run("users", "list", "--limit", "2")
    assert [line.split("\t")[1] for line in plain.out.splitlines()] == names[:2]
    assert plain.err == f"hint: there are more: --after {ids[1]}\n"
    assert run("users", "list", "--limit", "3").err == ""


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("command", [["show"], ["disable"], ["enable"], ["roles", "--none"]])
def test_nobody_by_that_name(run: Run, command: list[str]) -> None:
    """Code 3, whatever was asked for, and whatever was typed."""
    for name in ("nobody", "no body", "nobody@example.com", "01890000-0000-7000-8000-000000000000", "x" * 2000):
        ended = run("users", *command, name)
        assert ended.code == 3, ended.err
        assert ended.err.startswith("error: there is no user")
        assert "hint: " in ended.err


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "said"),
    [
        (["ada", "--password-stdin"], "short\n", 1, "error: password"),
        (["a b", "--password-stdin"], PASSWORD, 1, "error: username"),
        (["--email", "nonsense", "--password-stdin"], PASSWORD, 1, "error: email"),
        (["ada", "--role", "a b", "--password-stdin"], PASSWORD, 1, "error: roles"),
        (["ada", "--password-stdin"], "", 2, "no password"),
        (["ada"], PASSWORD, 2, "--password-stdin"),
        ([], PASSWORD, 2, "--email"),
    ],
)
def test_users_that_cannot_be_made(run: Run, arguments: list[str], stdin: str, code: int, said: str) -> None:
    """One line per fault, and no user."""
    ended = run("users", "create", *arguments, stdin=stdin)
    assert ended.code == code
    assert said in ended.err
    assert "Traceback" not in ended.err
    assert json.loads(run("users", "list", "--json").out)["items"] == []


def test_a_taken_name(run: Run) -> None:
    """Said, with code 1."""
    made(run, "ada")
    ended = run("users", "create", "Ada", "--password-stdin", stdin=PASSWORD)
    assert (ended.code, "taken" in ended.err) == (1, True)


_BLOCKED = """
import importlib.abc, sys
missing = sys.argv[1]
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from watchword.cli import main
sys.argv = ["watchword", *sys.argv[2:]]
main()
"""


def without(module: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command where one module is not installed."""
    return subprocess.run(
        [sys.executable, "-c", _BLOCKED, module, *arguments],
        env=environment(),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("typer", ["version"]),
        ("uvicorn", ["serve", "--port", "{port}"]),
        ("httptools", ["serve", "--port", "{port}"]),
        ("starlette", ["serve", "--port", "{port}"]),
        ("structlog", ["serve", "--port", "{port}"]),
        ("argon2", ["serve", "--port", "{port}"]),
        ("argon2", ["keys", "list"]),
        ("email_validator", ["users", "list"]),
        ("dotenv", ["settings"]),
        ("bcrypt", ["serve", "--port", "{port}"]),
        ("jinja2", ["serve", "--port", "{port}"]),
        ("jinja2", ["mail", "preview", "test"]),
    ],
)
def test_without_the_server_extra(tmp_path: Path, port: int, module: str, arguments: list[str]) -> None:
    """Beside a framework some of its packages are there: whatever is missing, it says which command to type."""
    (tmp_path / ".env").write_text("# read by dotenv\n")
    done = without(module, tmp_path, *(each.format(port=port) for each in arguments))
    assert done.returncode == 1, done
    assert done.stderr.endswith(
        f"error: the watchword command needs the server's packages ({module} is not installed)\n"
        "hint: in your clone of watchword, pip install -e '.[server]'\n"
    )
    assert "Traceback" not in done.stderr


def test_the_service_in_an_application_without_the_server_extra(tmp_path: Path) -> None:
    """`from watchword import Watchword` says it too. A module of Python's own that is missing keeps its message."""
    code = "import sys; sys.modules[{!r}] = None; from watchword import Watchword"
    for module, words in (("email_validator", "run `pip install -e '.[server]'`"), ("sqlite3", "import of sqlite3")):
        command = [sys.executable, "-c", code.format(module)]
        done = subprocess.run(command, env=environment(), cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert words in done.stderr.splitlines()[-1], done.stderr


def test_a_module_of_ours_that_is_missing_is_a_fault(tmp_path: Path) -> None:
    """No hint to install what is not for sale: a broken installation keeps its traceback."""
    done = without("sqlite3", tmp_path, "migrate")
    assert "Traceback" in done.stderr
    assert "pip install" not in done.stderr


def test_the_server_extra_is_known_by_its_modules() -> None:
    """What the command calls the server's packages is what the extra installs."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    names = {re.match(r"[A-Za-z0-9-]+", line)[0] for line in project["optional-dependencies"]["server"]}  # type: ignore[index]
    imported = {"argon2-cffi": "argon2", "python-dotenv": "dotenv", "swagger-ui-py": "swagger_ui"}
    assert {imported.get(name, name.replace("-", "_")) for name in names} == SERVER_MODULES


def test_the_console_script_is_cheap_to_import() -> None:
    """Importing the entry point loads nothing but itself."""
    code = "import sys, watchword.cli; print([name for name in ('typer', 'uvicorn', 'rich') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_flag_replaces_the_file_that_workers_would_read_too(tmp_path: Path) -> None:
    """A worker is given one form: with both it could not start."""
    url, path = f"sqlite:///{tmp_path}/flag.db", tmp_path / "url"
    path.write_text(f"sqlite:///{tmp_path}/file.db")
    path.chmod(0o600)
    environ = {"WATCHWORD_DATABASE_URL_FILE": str(path), "WATCHWORD_DATA_DIR": str(tmp_path)}
    export_flags({"database_url": url, "port": None}, environ)
    assert load({}, environ, tmp_path).settings.database_url == url
