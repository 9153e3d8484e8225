"""The master secret: its file, its check value, and what it seals."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from tests.identity.scenes import Opener, join, log_in, meddle, recorded, refresh
from tests.identity.starting import at_once
from watchword import base64url
from watchword.errors import SettingsError
from watchword.identity.keys import master
from watchword.identity.keys.master import SECRET_FILE, Master

OLD, NEW, NEWEST = (sha256(name).digest() for name in (b"old", b"new", b"newest"))


def hint_of(caught: pytest.ExceptionInfo[SettingsError]) -> str:
    (fault,) = caught.value.faults
    assert fault.setting == "WATCHWORD_SECRET"
    return fault.hint


# --- The file -----------------------------------------------------------------------------------------------------


def test_of_processes_that_start_at_once_one_makes_the_file(tmp_path: Path) -> None:
    """⚑ Eight real processes on an empty directory: one secret, mode 0600, and no temporary file is left."""
    program = (
        "from pathlib import Path\nfrom watchword.identity.keys.master import load_or_make\n"
        "ready()\nprint(load_or_make(Path(sys.argv[1])).hex())"
    )
    secrets = at_once(program, str(tmp_path), processes=8)
    assert len(set(secrets)) == 1
    assert len(bytes.fromhex(secrets[0])) == 32
    assert [path.name for path in tmp_path.iterdir()] == [SECRET_FILE]
    assert stat.S_IMODE((tmp_path / SECRET_FILE).stat().st_mode) == 0o600


def test_the_file_that_is_there_is_never_replaced(tmp_path: Path) -> None:
    """⚑ A starter that found no file and then lost the race keeps the winner's: linking does not overwrite."""
    first = master.load_or_make(tmp_path)
    master._make(tmp_path / SECRET_FILE)
    assert master.load_or_make(tmp_path) == first


def test_the_file_is_whole_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """⚑ It is written, synced and private under another name first: a power cut leaves no empty secret."""
    steps: list[str] = []
    real_sync, real_link = os.fsync, os.link

    def sync(descriptor: int) -> None:
        steps.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_sync(descriptor)

    def link(source: Path, target: Path) -> None:
        steps.append("link")
        assert len(base64url.decode(source.read_text().strip())) == 32
        assert stat.S_IMODE(source.stat().st_mode) == 0o600
        assert not target.exists()
        real_link(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "link", link)
    before = os.umask(0)
    try:
        master.load_or_make(tmp_path)
    finally:
        os.umask(before)
    assert steps == ["file", "link", "directory"]


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602])
def test_j12_a_file_that_others_can_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    """Whoever could read it could forge; the hint says how to close it."""
    master.load_or_make(tmp_path)
    (tmp_path / SECRET_FILE).chmod(mode)
    with pytest.raises(SettingsError) as caught:
        master.load_or_make(tmp_path)
    assert "chmod 600" in hint_of(caught)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"c2hvcnQ\n", b"\xff\xfe\x00", b"A" * 41, b"A" * 43, "ünïcode".encode()]
)
def test_j12_a_file_that_holds_no_secret_is_a_fault_of_the_settings(tmp_path: Path, content: bytes) -> None:
    """Emptied, cut or overwritten: a sentence and a hint instead of a traceback, and nothing replaces it."""
    path = tmp_path / SECRET_FILE
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SettingsError) as caught:
        master.load_or_make(tmp_path)
    assert "backup" in hint_of(caught)
    assert path.read_bytes() == content


@pytest.mark.sqlite
@pytest.mark.parametrize("mode", [0o644, 0o604, 0o606])
@pytest.mark.parametrize("suffix", ["", "-wal"])
async def test_j12_a_database_that_others_can_read_is_refused(
    open_kernel: Opener, tmp_path: Path, mode: int, suffix: str
) -> None:
    """Password hashes are in it, and in its log: as a backup that was put back with `cp` and a wide umask."""
    async with open_kernel():
        pass
    file = tmp_path / f"watchword.db{suffix}"
    file.touch()
    file.chmod(mode)
    with pytest.raises(SettingsError) as caught:
        async with open_kernel():
            pass
    (fault,) = caught.value.faults
    assert fault.setting == "WATCHWORD_DATABASE_URL"
    assert fault.hint == f"run: chmod 600 {file}"
    file.chmod(0o600)
    async with open_kernel():
        pass


@pytest.mark.sqlite
async def test_a13_the_secret_in_the_file_is_not_shared(open_kernel: Opener, tmp_path: Path) -> None:
    """WATCHWORD_JWT_SECRET_FILE=…/master.secret: whoever verifies tokens would hold the master secret."""
    async with open_kernel():
        pass
    with pytest.raises(SettingsError) as caught:
        async with open_kernel(jwt_secret=(tmp_path / SECRET_FILE).read_text().strip()):
            pass
    assert caught.value.faults[0].setting == "WATCHWORD_JWT_SECRET"


@pytest.mark.sqlite
async def test_the_service_keeps_its_secret_across_starts(open_kernel: Opener, tmp_path: Path) -> None:
    """What it made at the first start it uses at the second: sessions go on."""
    async with open_kernel() as kernel:
        await join(kernel)
        token = (await log_in(kernel)).tokens.refresh_token
    assert stat.S_IMODE((tmp_path / SECRET_FILE).stat().st_mode) == 0o600
    async with open_kernel() as kernel:
        await refresh(kernel, token)


# --- The check value ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jwt_secret", [None, "q7Zs0e1Yk2Vb9Xc4Nf6Tj8Hm3Lp5Rw-Ud"], ids=["ES256", "HS256"])
async def test_another_master_secret_is_refused(open_kernel: Opener, jwt_secret: str | None) -> None:
    """⚑ A database and a secret that do not belong together do not start, and nothing is changed by trying.

    Also where no signing key is sealed: the check value alone tells.
    """
    async with open_kernel(secret=(OLD,), jwt_secret=jwt_secret) as kernel:
        before = await recorded(kernel, "ww_meta")
    with pytest.raises(SettingsError) as caught:
        async with open_kernel(secret=(NEW,), jwt_secret=jwt_secret):
            pass
    assert "secret that this database was made with" in hint_of(caught)
    async with open_kernel(secret=(OLD,), jwt_secret=jwt_secret) as kernel:
        assert await recorded(kernel, "ww_meta") == before


@pytest.mark.sqlite
@pytest.mark.parametrize("serves", [True, False])
async def test_a_lost_secret_file_is_not_replaced_in_silence(
    open_kernel: Opener, tmp_path: Path, *, serves: bool
) -> None:
    """⚑ Without its file an existing database does not start on a fresh secret; none is made, and the file is named.

    One that was made would belong to nothing, and be kept with the backups.
    """
    async with open_kernel(secret=(OLD,)):
        pass
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(SettingsError) as caught:
        async with open_kernel(serves=serves):
            pass
    assert f"{tmp_path / SECRET_FILE} is missing" in caught.value.message
    assert "restore that file" in hint_of(caught)
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.sqlite
async def test_with_another_master_secret_the_schema_stays_as_it_is(open_kernel: Opener) -> None:
    """⚑ Not even a migration is applied."""
    async with open_kernel(secret=(OLD,)) as kernel:
        pass
    with closing(sqlite3.connect(kernel.settings.database_path)) as file:
        file.executescript(
            "DROP INDEX ww_signing_keys_next;DELETE FROM ww_schema WHERE version = (SELECT max(version) FROM ww_schema)"
        )
        before = file.execute("SELECT * FROM ww_schema").fetchall()
    with pytest.raises(SettingsError):
        async with open_kernel(secret=(NEW,)):
            pass
    with closing(sqlite3.connect(kernel.settings.database_path)) as file:
        assert file.execute("SELECT * FROM ww_schema").fetchall() == before


async def test_secrets_rotate_all_the_way(open_kernel: Opener) -> None:
    """new,old → new → newest,new → newest: the signing key stays, and each old secret can really go."""
    kids = set()
    for secrets in ((OLD,), (NEW, OLD), (NEW,), (NEWEST, NEW), (NEWEST,)):
        async with open_kernel(secret=secrets) as kernel:
            kids.add(kernel.keys.ring.signing.kid)
            meta = str(await recorded(kernel, "ww_meta"))
            assert not any(secret.hex() in meta for secret in secrets)
    assert len(kids) == 1
    with pytest.raises(SettingsError):
        async with open_kernel(secret=(OLD,)):
            pass


async def test_at_most_three_master_secrets(open_kernel: Opener) -> None:
    """The MAC of a refresh token is tried against each, so the list is short."""
    four = tuple(sha256(bytes([n])).digest() for n in range(4))
    with pytest.raises(SettingsError):
        async with open_kernel(secret=four):
            pass
    async with open_kernel(secret=four[:3]):
        pass


# --- Sealing ------------------------------------------------------------------------------------------------------


def test_what_is_sealed_opens_only_in_its_row() -> None:
    """AES-256-GCM with the row's name as associated data; a value that was moved does not open."""
    keeper = Master((OLD,))
    sealed = keeper.seal(b"private", about="signing key a")
    assert keeper.unseal(sealed, about="signing key a") == b"private"
    with pytest.raises(SettingsError):
        keeper.unseal(sealed, about="signing key b")


def test_what_is_sealed_says_nothing_and_never_twice_the_same() -> None:
    """A fresh nonce each time; neither the value nor the secret is in the text."""
    keeper = Master((OLD,))
    texts = {keeper.seal(b"private", about="x") for _ in range(50)}
    assert len(texts) == 50
    raw = base64url.decode(texts.pop().partition(".")[2])
    assert b"private" not in raw
    assert OLD not in raw


@pytest.mark.parametrize("place", [0, 5, 12, 30, -1])
def test_a_sealed_value_that_was_changed_does_not_open(place: int) -> None:
    """Nonce, ciphertext and tag are all covered."""
    keeper = Master((OLD,))
    secret_id, _, text = keeper.seal(b"private" * 4, about="x").partition(".")
    raw = bytearray(base64url.decode(text))
    raw[place] ^= 1
    with pytest.raises(SettingsError):
        keeper.unseal(f"{secret_id}.{base64url.encode_text(raw)}", about="x")


def test_a_sealed_value_that_is_no_base64url_does_not_open() -> None:
    """It is the same error as for another secret, and no crash."""
    keeper = Master((OLD,))
    with pytest.raises(SettingsError):
        keeper.unseal(keeper.seal(b"private", about="x") + "!", about="x")


def test_a_listed_older_secret_still_opens_and_a_dropped_one_does_not() -> None:
    """The text carries an id of the secret that made it."""
    sealed = Master((OLD,)).seal(b"private", about="x")
    assert Master((NEW, OLD)).unseal(sealed, about="x") == b"private"
    assert not Master((NEW, OLD)).sealed_by_current(sealed)
    with pytest.raises(SettingsError):
        Master((NEW,)).unseal(sealed, about="x")


def test_sub_keys_of_different_labels_have_nothing_in_common() -> None:
    """RFC 5869 with the label in `info`; current first; the check value is none of them; nothing is shown."""
    keeper = Master((NEW, OLD))
    assert keeper.keys("refresh") == (Master((NEW,)).keys("refresh")[0], Master((OLD,)).keys("refresh")[0])
    derived = [*keeper.keys("refresh"), *keeper.keys("seal"), *map(bytes.fromhex, keeper.check_values()), NEW, OLD]
    assert len(set(derived)) == len(derived)
    assert repr(keeper) == "Master(2 secrets)"


@pytest.mark.sqlite
async def test_a_signing_key_in_anothers_row_does_not_start(open_kernel: Opener) -> None:
    """Somebody with write access to the database cannot make one key sign under another's name."""
    async with open_kernel() as kernel:
        meddle(kernel, "UPDATE ww_signing_keys SET kid = 'another'")
    with pytest.raises(SettingsError):
        async with open_kernel():
            pass
