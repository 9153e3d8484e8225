"""The master secret: sub-keys by label, sealed values, and the file it lives in when no one gave one.

The database alone and the master secret alone are both useless to a thief: refresh tokens need a handle whose hash is
in the database *and* a MAC under a sub-key; signing keys are sealed with AES-256-GCM.
"""

from __future__ import annotations

import contextlib
import os
import secrets as random_source
from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import cache
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from watchword.errors import Fault, SettingsError
from watchword.platforms import create_private, sync, sync_directory
from watchword.settings.private_files import check_file, check_folder
from watchword.settings.values import secrets as read_secrets
from watchword.settings.written import meant
from watchword.storage.database import Database
from watchword.storage.migrate import status

SECRET_BYTES = 32
SECRET_FILE = "master.secret"  # noqa: S105 - the name of a file
_NONCE_BYTES = 12
CHECK_NAME = "master_check"


@cache
def _derive(secret: bytes, label: str) -> bytes:
    """HKDF-SHA-256 (RFC 5869) of a master secret: 32 bytes that say nothing about those of another label."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"watchword/{label}".encode()).derive(secret)


class Master:
    """One to three master secrets, current first: new values are made with the current one, old ones still read.

    What is sealed is sealed with the one that the database is sealed with, as long as that is not the current one yet:
    other processes may not know any other. See `follow`.

    :param secrets: each at least 32 bytes.
    """

    def __init__(self, secrets: tuple[bytes, ...]) -> None:
        self._secrets = secrets
        self._in_force = secrets[0]

    def __repr__(self) -> str:
        return f"Master({len(self._secrets)} secrets)"

    def keys(self, label: str) -> tuple[bytes, ...]:
        """The sub-keys for a label, current first."""
        return tuple(_derive(secret, label) for secret in self._secrets)

    def seal(self, value: bytes, *, about: str) -> str:
        """Encrypt a value for the database. `about` names its row: moved to another row, it does not open.

        The text is `<id of the secret>.<base64url of nonce and ciphertext>`.
        """
        return _sealed(self._in_force, value, about)

    def reseal(self, text: str, *, about: str) -> str:
        """What `seal` made, sealed with the current secret. Raises `SettingsError` as `unseal` does."""
        return _sealed(self._secrets[0], self.unseal(text, about=about), about)

    def unseal(self, text: str, *, about: str) -> bytes:
        """Decrypt what `seal` made, under whichever listed secret made it.

        Raises `SettingsError` when none of them did.
        """
        secret_id, _, encoded = text.partition(".")
        for secret in self._secrets:
            if _secret_id(secret) != secret_id:
                continue
            sealed = urlsafe_b64decode(encoded)
            with contextlib.suppress(InvalidTag):
                return AESGCM(_derive(secret, "seal")).decrypt(
                    sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], about.encode()
                )
        raise _mismatch(f"the database holds {about} sealed under another master secret")

    def sealed_by_current(self, text: str) -> bool:
        """Whether the current secret made this sealed value, and not one before it."""
        return text.partition(".")[0] == _secret_id(self._secrets[0])

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the secrets, current first: what sealed values begin with, and nothing that helps to guess one."""
        return tuple(_secret_id(secret) for secret in self._secrets)

    def check_values(self) -> tuple[str, ...]:
        """What the database keeps to recognise the secret: says nothing about it."""
        return tuple(_derive(secret, "check").hex() for secret in self._secrets)

    def follow(self, known: str) -> bool:
        """Seal with the secret that has this check value from now on; whether it is listed."""
        for secret, value in zip(self._secrets, self.check_values(), strict=True):
            if value == known:
                self._in_force = secret
                return True
        return False


def _sealed(secret: bytes, value: bytes, about: str) -> str:
    nonce = os.urandom(_NONCE_BYTES)
    sealed = nonce + AESGCM(_derive(secret, "seal")).encrypt(nonce, value, about.encode())
    return f"{_secret_id(secret)}.{urlsafe_b64encode(sealed).decode()}"


def _secret_id(secret: bytes) -> str:
    return _derive(secret, "id")[:6].hex()


def _mismatch(message: str) -> SettingsError:
    hint = (
        "start with the secret that this database was made with: WATCHWORD_SECRET, WATCHWORD_SECRET_FILE or the data"
        " directory's file"
    )
    return SettingsError((Fault("WATCHWORD_SECRET", message, hint),))


async def check_value(database: Database) -> str | None:
    """What the database keeps of the secret that it is sealed with; None: nothing."""
    row = await database.one("SELECT value FROM ww_meta WHERE name = :name", name=CHECK_NAME)
    return None if row is None else str(row["value"])


async def known_to(database: Database) -> str | None:
    """`check_value`, also of a database that has no schema yet. Raises `SchemaMismatch` if it is not ours to use."""
    return await check_value(database) if (await status(database)).version else None


def follow(master: Master, known: str | None) -> None:
    """Seal as the database is sealed. Raises `SettingsError` when it was made under another secret than these."""
    if known is None or not master.follow(known):
        raise _mismatch("this database was made under another master secret")


async def check(master: Master, database: Database) -> None:
    """Leave a check value in a new database; refuse to go on with a database made under another secret.

    Raises `SettingsError`.
    """
    current, *_ = master.check_values()
    await database.run(
        "INSERT INTO ww_meta (name, value) VALUES (:name, :value) ON CONFLICT (name) DO NOTHING",
        name=CHECK_NAME,
        value=current,
    )
    follow(master, await check_value(database))


def load(data_dir: Path) -> bytes:
    """The master secret that is kept beside a database which was made under it.

    Raises `SettingsError` when the file is missing, is readable by others or is not a secret.
    """
    path = data_dir / SECRET_FILE
    if not path.exists():
        message = f"is not set, and {path} is missing"
        hint = "restore that file from where you keep it, or set WATCHWORD_SECRET to what the service has"
        raise SettingsError((Fault("WATCHWORD_SECRET", message, hint),))
    return _read(path)


def load_or_make(data_dir: Path) -> bytes:
    """The master secret kept beside an embedded database, whose directory is there; made at the first start.

    Written to a temporary file, synced and linked into place: of two processes that start at once one wins and the
    other reads the winner's. Raises `SettingsError` when the file is readable by others or is not a secret.
    """
    path = data_dir / SECRET_FILE
    if not path.exists():
        _make(path)
    return _read(path)


def _read(path: Path) -> bytes:
    check_folder(path.parent, "WATCHWORD_DATA_DIR")
    check_file(path, "WATCHWORD_SECRET", "the master secret is in it")
    try:
        (secret,) = read_secrets(meant(path.read_text("utf-8-sig")))  # the rule of WATCHWORD_SECRET
    except ValueError:
        hint = "restore it from a backup; without it the database's signing keys cannot be read"
        raise SettingsError((Fault("WATCHWORD_SECRET", f"{path} does not hold a secret", hint),)) from None
    return secret


def _make(path: Path) -> None:
    temporary = path.with_name(f".{SECRET_FILE}.{os.getpid()}.{random_source.token_hex(4)}")
    try:
        with os.fdopen(create_private(temporary), "wb") as file:
            file.write(urlsafe_b64encode(os.urandom(SECRET_BYTES)).rstrip(b"=") + b"\n")
            file.flush()
            sync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)
