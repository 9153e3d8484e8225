"""`watchword restore`: the backup is in place and noted as restored, or nothing has changed."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import re
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import forked
from tests.cli.conftest import Run, Serve, environment
from watchword.cli.serving.stopping import port_kept
from watchword.storage.sqlite_lock import alone

PASSWORD = "plum-orbit-canvas"


def users(file: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {name for (name,) in database.execute("SELECT username FROM ww_users")}


def feed(file: Path) -> str:
    with contextlib.closing(sqlite3.connect(file)) as database:
        return str(database.execute("SELECT feed_id FROM ww_feed").fetchone()[0])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database that holds ada, a backup of it as `backup.db`, and then bob, whom the backup lacks."""
    folder = tmp_path_factory.mktemp("made")
    for arguments, stdin in (
        (("migrate",), ""),
        (("users", "create", "ada", "--password-stdin"), PASSWORD),
        (("backup", "backup.db"), ""),
        (("users", "create", "bob", "--password-stdin"), PASSWORD),
    ):
        forked.run(arguments, folder=folder, environment=environment(), stdin=stdin).check_returncode()
    return folder


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    """The data directory of a copy of `made` in the directory of `run`."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "watchword-data"


KEYS = (("API keys", 0), ("service accounts and their secrets", 1), ("guard keys", 1))


def kept(data: Path) -> list[Path]:
    return sorted(each for each in data.glob("watchword.db.2*"))


def test_the_backup_is_in_place_and_the_former_database_kept(run: Run, data: Path) -> None:
    """With what `db restored` does: another list of revocations, and an audit record."""
    before = feed(data / "watchword.db")
    done = run("restore", "backup.db", "--yes", "--json")
    assert done.code == 0, done.err
    (former,) = kept(data)
    told = json.loads(done.out)
    assert (told["database"], told["former"]) == (str(data / "watchword.db"), str(former))
    assert users(data / "watchword.db") == {"ada"}
    assert users(former) == {"ada", "bob"}
    assert feed(data / "watchword.db") == told["feed_id"] != before
    assert {stat.S_IMODE(each.stat().st_mode) for each in data.iterdir()} == {0o600}
    assert {each.name for each in data.iterdir()} == {"master.secret", "watchword.db", "watchword.db.lock", former.name}
    assert told["still_good"] == {"api_keys": 0, "accounts": 0, "guard_keys": 0}
    for made in (["guards", "create", "orders"], ["clients", "create", "nightly", "--scope", "read"]):
        assert run(*made).code == 0
    counted = run("db", "restored", "--yes").out
    assert [f"{what}: {count} (" in counted for what, count in KEYS] == [True] * 3
    again = run("restore", str(former), "--yes")
    assert again.code == 0, again.err
    assert users(data / "watchword.db") == {"ada", "bob"}
    assert len(kept(data)) == 2


def test_it_names_only_commands_that_there_are(run: Run, data: Path) -> None:
    """What the operator is told to do about the time that the backup does not know."""
    done = run("restore", "backup.db", "--yes")
    named = set(re.findall(r"`watchword (\S+ [^` ]+)[^`]*`", done.out))
    keys = {"api-keys list", "api-keys revoke", "guards list", "guards revoke"}
    clients = {"clients list", "clients disable", "clients rotate-secret"}
    hooks = {"webhooks list", "webhooks remove"}
    assert (done.code, named) == (0, keys | clients | hooks | {"users disable", "users list"})
    assert [run(*each.split(), "--help").code for each in sorted(named)] == [0] * len(named)
    assert "reset" not in done.out


def _killed_while_writing(database: Path) -> None:
    """Rename bob to eve, in the log beside the file only."""
    code = "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
    code += " c.execute('PRAGMA journal_mode=WAL');"
    code += " c.execute(\"UPDATE ww_users SET username = 'eve' WHERE username = 'bob'\"); os._exit(9)"
    subprocess.run([sys.executable, "-c", code, str(database)], check=False)
    assert database.with_name(f"{database.name}-wal").stat().st_size > 0


def test_the_log_of_another_database_beside_the_backup_is_left_alone(run: Run, data: Path, tmp_path: Path) -> None:
    """SQLite would play into the backup whatever lies there under the name of its log."""
    _killed_while_writing(data / "watchword.db")
    shutil.copy(data / "watchword.db-wal", tmp_path / "backup.db-wal")
    done = run("restore", "backup.db", "--yes")
    assert done.code == 0, done.err
    assert users(data / "watchword.db") == {"ada"}


def test_tables_of_our_names_that_are_not_ours(run: Run, data: Path, tmp_path: Path) -> None:
    """Another program's file, or one that was mended by hand: one line says so, and nothing has changed."""
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as other:
        for name in ("ww_meta", "ww_schema", "ww_users"):
            other.execute(f"CREATE TABLE {name} (x)")
    done = run("restore", "other.db", "--yes")
    assert done.code == 1
    assert "other.db cannot be restored" in done.err
    assert "Traceback" not in done.err
    assert users(data / "watchword.db") == {"ada", "bob"}
    assert [each.name for each in data.iterdir() if "restoring" in each.name] == []


def test_a_link_to_a_copy_with_its_log(run: Run, data: Path, tmp_path: Path) -> None:
    """The log lies beside the file that the link names, and holds what was written last."""
    _killed_while_writing(data / "watchword.db")
    (tmp_path / "copied").mkdir()
    for name in ("watchword.db", "watchword.db-wal"):
        shutil.copy(data / name, tmp_path / "copied" / name)
    (tmp_path / "latest.db").symlink_to(tmp_path / "copied" / "watchword.db")
    done = run("restore", "latest.db", "--yes")
    assert done.code == 0, done.err
    assert users(data / "watchword.db") == {"ada", "eve"}


def test_what_lies_in_the_log_is_kept_too(run: Run, data: Path, tmp_path: Path) -> None:
    """A process that was killed leaves its last commits in the log: they belong to the former database alone."""
    _killed_while_writing(data / "watchword.db")
    assert run("restore", "backup.db", "--yes").code == 0
    assert users(data / "watchword.db") == {"ada"}
    assert users(kept(data)[0]) == {"ada", "eve"}
    assert not (data / "watchword.db-wal").exists()


def test_a_damaged_database_is_replaced(run: Run, data: Path) -> None:
    """The reason for most restoring. Its hint names the way, and not a full disk."""
    damaged = data / "watchword.db"
    with damaged.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 40_000)
    rest = damaged.read_bytes()[4096:]
    log = data / "watchword.db-wal"
    log.write_bytes(b"no log")
    log.chmod(0o600)
    listed = run("users", "list")
    assert listed.code == 1
    assert "malformed" in listed.err
    assert "watchword restore FILE" in listed.err
    assert "full" not in listed.err
    done = run("restore", "backup.db", "--yes")
    assert done.code == 0, done.err
    assert users(damaged) == {"ada"}
    assert kept(data)[0].read_bytes()[4096:] == rest


def test_in_an_empty_directory(run: Run, data: Path, tmp_path: Path) -> None:
    """On another machine there is nothing to keep; the secret has to be there, and is never made."""
    backup = str(tmp_path / "backup.db")
    refused = run("restore", backup, "--yes", "--data-dir", "new")
    assert refused.code == 78, refused.err
    assert "master.secret is missing" in refused.err
    assert [each.name for each in (tmp_path / "new").iterdir()] == ["watchword.db.lock"]
    (tmp_path / "new" / "master.secret").write_bytes((data / "master.secret").read_bytes())
    (tmp_path / "new" / "master.secret").chmod(0o600)
    done = run("restore", backup, "--yes", "--data-dir", "new")
    assert done.code == 0, done.err
    assert users(tmp_path / "new" / "watchword.db") == {"ada"}
    assert kept(tmp_path / "new") == []


def _newer(file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("INSERT INTO ww_schema (version, name, applied_at) VALUES (9999, 'later', 1)")


def _strange(file: Path) -> None:
    file.unlink()
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE ww_users (id TEXT)")


def _torn(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-8192])


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda file: file.unlink(), "there is no file 'backup.db'"),
    "a directory": (lambda file: (file.unlink(), file.mkdir()), "is not a file"),
    "empty": (lambda file: file.write_bytes(b""), "no database of Watchword"),
    "text": (lambda file: file.write_text("hello " * 1000), "file is not a database"),
    "torn": (_torn, "cannot be restored"),
    "another program's": (_strange, "no database of Watchword"),
    "of a newer version": (_newer, "has schema 9999"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_file_that_cannot_be_restored(run: Run, data: Path, tmp_path: Path, kind: str) -> None:
    """Said with a hint, and the database stays as it is."""
    spoil, message = BAD[kind]
    spoil(tmp_path / "backup.db")
    _refused_untouched(run, data, "backup.db", message)


def test_the_database_itself_is_no_backup(run: Run, data: Path) -> None:
    """Nor under another name for it."""
    (data / "link.db").symlink_to("watchword.db")
    for name in ("watchword-data/watchword.db", "watchword-data/link.db"):
        ended = run("restore", name, "--yes")
        assert (ended.code, "is the database itself" in ended.err) == (1, True)
    assert users(data / "watchword.db") == {"ada", "bob"}


def test_another_secret(run: Run, data: Path) -> None:
    """A backup that was made under another master secret would be of no use."""
    fresh = run("secret").out.strip()
    _refused_untouched(run, data, "backup.db", "another master secret", WATCHWORD_SECRET=fresh)


def test_it_asks(run: Run, data: Path) -> None:
    """Without a terminal and without --yes nothing happens."""
    ended = run("restore", "backup.db")
    assert (ended.code, "add --yes" in ended.err) == (2, True)
    assert users(data / "watchword.db") == {"ada", "bob"}


def _refused_untouched(run: Run, data: Path, name: str, message: str, **extra: str) -> None:
    before = {each.name: each.read_bytes() for each in data.iterdir()}
    ended = run("restore", name, "--yes", **extra)
    assert ended.code != 0
    assert message in ended.err
    assert "Traceback" not in ended.err
    assert "hint: " in ended.err
    assert {each.name: each.read_bytes() for each in data.iterdir()} == before


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_service_that_runs(run: Run, data: Path, serve: Serve, workers: str) -> None:
    """It holds the database from its start to its end."""
    service = serve("--workers", workers)
    ended = run("restore", "backup.db", "--yes")
    assert (ended.code, "is in use by another process; nothing was changed" in ended.err) == (1, True)
    assert service.stop().code == 0
    assert kept(data) == []
    assert users(data / "watchword.db") == {"ada", "bob"}
    assert run("restore", "backup.db", "--yes").code == 0


@contextlib.contextmanager
def _process(code: str, *arguments: str) -> Iterator[None]:
    """Another process that does this, says so, and goes on until it is told to end."""
    program = f"import sys\n{code}\nprint('ready', flush=True)\nsys.stdin.read()"
    command = [sys.executable, "-c", program, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
        yield
        other.communicate()


def test_any_program_that_uses_sqlite(run: Run, data: Path) -> None:
    """Such as a version of Watchword that knows no lock beside the file; also while the backup itself is open."""
    code = "import sqlite3; c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA journal_mode=WAL');"
    code += " c.execute('SELECT 1 FROM ww_users').fetchall()"
    for file, message in ((data / "watchword.db", "is in use by another"), (data.parent / "backup.db", "is in use as")):
        with _process(code, str(file)):
            ended = run("restore", "backup.db", "--yes")
            assert (ended.code, message in ended.err) == (1, True), ended.err
            assert users(data / "watchword.db") == {"ada", "bob"}


def test_a_command_waits_for_no_restore(run: Run, data: Path) -> None:
    """While a database is being replaced none is opened, and the message says what goes on."""
    with (data / "watchword.db.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = run("users", "list")
    assert ended.code == 1
    assert ended.err.splitlines() == [
        "error: The database is being replaced by `watchword restore`",
        "hint: wait until that has ended, then try again",
    ]
    assert run("users", "list").code == 0


@pytest.mark.usefixtures("data")
def test_what_the_backup_does_not_know_is_told(run: Run) -> None:
    """Each list that the page names is named in the terminal too."""
    page = (Path(__file__).parents[2] / "docs/guides/restore-a-backup.md").read_text("utf-8")
    lists = set(re.findall(r"`watchword ([a-z-]+ list)`", page.partition("No command can tell")[2]))
    assert len(lists) == 5
    said = run("db", "restored", "--yes").out
    assert {each for each in lists if each in said} == lists


def test_root_restores_for_the_services_user(run: Run, data: Path) -> None:
    """What root makes belongs to the owner of the database, who could not open it otherwise."""
    (data / "watchword.db.lock").unlink()
    owner = 12345 if os.geteuid() == 0 else os.geteuid()
    for each in (data, data / "watchword.db"):
        os.chown(each, owner, -1)
    assert run("restore", "backup.db", "--yes").code == 0
    assert {each.stat().st_uid for each in data.iterdir() if each.name != "master.secret"} == {owner}


def _is_refused(url: str) -> bool:
    """Whether there is no port to connect to; an answer, or a connection that ends without one, is no refusal."""
    try:
        urllib.request.urlopen(url + "/livez", timeout=5).close()
    except urllib.error.URLError as error:
        return isinstance(error.reason, ConnectionRefusedError)
    except OSError:
        return False
    return False


def test_the_port_is_free_when_the_database_is(data: Path, serve: Serve) -> None:
    """A script that waits for the port need not wait for anything else."""
    for _ in range(3):
        service = serve()
        service.process.terminate()
        while not _is_refused(service.url):
            pass
        with alone(data / "watchword.db"):
            assert not (data / "watchword.db-wal").exists()
        ended = service.ended()
        assert (ended.code, ended.err) == (0, "")


async def test_whoever_comes_while_the_service_stops_is_answered() -> None:
    """The listener is closed by then, and the port is taken all the same."""
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    async with port_kept([listener]):
        listener.close()
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
        writer.close()
        await writer.wait_closed()
        with pytest.raises(OSError, match="in use"):
            socket.create_server(address)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
