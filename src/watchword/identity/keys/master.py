"""The master secret: sub-keys by label, sealed values, and the file of a generated secret.

The database alone and the master secret alone are useless to a thief. Refresh tokens need a handle, stored as a hash,
*and* a MAC under a sub-key; signing keys are sealed with AES-256-GCM.
"""

from __future__ import annotations

import contextlib
import os
import secrets as random_source
from functools import cache
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from watchword import base64url
from watchword.errors import Fault, SettingsError
from watchword.platforms import create_private, sync, sync_directory
from watchword.settings.private_files import check_file, check_folder
from watchword.settings.values import secrets as read_secrets
from watchword.settings.written import meant
from watchword.storage.database import Database
from watchword.storage.migrate import require, status

SECRET_BYTES = 32
SECRET_FILE = "master.secret"  # noqa: S105 - the name of a file
_NONCE_BYTES = 12
CHECK_NAME = "master_check"


@cache
def _derive(secret: bytes, label: str) -> bytes:
    """Derive 32 bytes with HKDF-SHA-256 (RFC 5869); they reveal nothing about other labels."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"watchword/{label}".encode()).derive(secret)


class Master:
    """One to three master secrets, current first. The current one makes values, all read them.

    Sealing uses the database's secret until the current one has taken over: other processes may know
    no other. See `follow`.

    :param secrets: each at least 32 bytes.
    """

    def __init__(self, secrets: tuple[bytes, ...]) -> None:
        self._secrets = secrets
        self._in_force = secrets[0]

    def __repr__(self) -> str:
        return f"Master({len(self._secrets)} secrets)"

    def keys(self, label: str) -> tuple[bytes, ...]:
        """Return a label's sub-keys, current first."""
        return tuple(_derive(secret, label) for secret in self._secrets)

    def seal(self, value: bytes, *, about: str) -> str:
        """Encrypt a value. `about` names its row: moved to another row, the value does not open.

        The text is `<id of the secret>.<base64url of nonce and ciphertext>`.
        """
        return _sealed(self._in_force, value, about)

    def reseal(self, text: str, *, about: str) -> str:
        """Seal a sealed value with the current secret. Raises `SettingsError` as `unseal` does."""
        return _sealed(self._secrets[0], self.unseal(text, about=about), about)

    def unseal(self, text: str, *, about: str) -> bytes:
        """Decrypt a sealed value with the listed secret that made it.

        Raises `SettingsError` when none did.
        """
        secret_id, _, encoded = text.partition(".")
        for secret in self._secrets:
            if _secret_id(secret) != secret_id:
                continue
            with contextlib.suppress(InvalidTag, ValueError):
                sealed = base64url.decode(encoded.rstrip("="))
                return AESGCM(_derive(secret, "seal")).decrypt(
                    sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], about.encode()
                )
        raise _mismatch(f"the database holds {about} sealed under another master secret")

    def sealed_by_current(self, text: str) -> bool:
        """Return whether the current secret made this sealed value."""
        return text.partition(".")[0] == _secret_id(self._secrets[0])

    @property
    def ids(self) -> tuple[str, ...]:
        """Return the secrets' ids, current first: they begin sealed values and reveal nothing."""
        return tuple(_secret_id(secret) for secret in self._secrets)

    def check_values(self) -> tuple[str, ...]:
        """Return what the database stores to recognise each secret; it reveals nothing."""
        return tuple(_derive(secret, "check").hex() for secret in self._secrets)

    def follow(self, known: str) -> bool:
        """Seal with the secret of this check value from now on; return whether it is listed."""
        for secret, value in zip(self._secrets, self.check_values(), strict=True):
            if value == known:
                self._in_force = secret
                return True
        return False


def _sealed(secret: bytes, value: bytes, about: str) -> str:
    nonce = os.urandom(_NONCE_BYTES)
    sealed = nonce + AESGCM(_derive(secret, "seal")).encrypt(nonce, value, about.encode())
    return f"{_secret_id(secret)}.{base64url.encode_text(sealed)}"


def _secret_id(secret: bytes) -> str:
    return _derive(secret, "id")[:6].hex()


def _mismatch(message: str) -> SettingsError:
    hint = (
        "start with the secret that this database was made with: WATCHWORD_SECRET, WATCHWORD_SECRET_FILE or the data"
        " directory's file"
    )
    return SettingsError((Fault("WATCHWORD_SECRET", message, hint),))


async def check_value(database: Database) -> str | None:
    """Return the check value of the secret that seals the database, or None."""
    row = await database.one("SELECT value FROM ww_meta WHERE name = :name", name=CHECK_NAME)
    return None if row is None else str(row["value"])


async def known_to(database: Database) -> str | None:
    """Return `check_value`, also without a schema. Raises `SchemaMismatch` if the database is not ours."""
    if not (await status(database)).version:
        return None
    await require(database, ("ww_meta",))
    return await check_value(database)


def follow(master: Master, known: str | None) -> None:
    """Seal as the database is sealed. Raises `SettingsError` when its secret is not listed."""
    if known is None or not master.follow(known):
        raise _mismatch("this database was made under another master secret")


async def check(master: Master, database: Database) -> None:
    """Write a check value into a new database; refuse one made under another secret.

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
    """Return the master secret stored beside an existing database.

    Raises `SettingsError` when the file is missing, readable by others or malformed.
    """
    path = data_dir / SECRET_FILE
    if not path.exists():
        message = f"is not set, and {path} is missing"
        hint = "restore that file from where you keep it, or set WATCHWORD_SECRET to what the service has"
        raise SettingsError((Fault("WATCHWORD_SECRET", message, hint),))
    return _read(path)


def load_or_make(data_dir: Path) -> bytes:
    """Return the master secret beside an embedded database, whose directory exists; make it at the first start.

    It is written to a temporary file, synced and linked into place: of two processes one wins, and the other reads the
    winner's. Raises `SettingsError` when the file is readable by others or malformed.
    """
    path = data_dir / SECRET_FILE
    if not path.exists():
        _make(path)
    return _read(path)


def _read(path: Path) -> bytes:
    check_folder(path.parent, "WATCHWORD_DATA_DIR")
    check_file(path, "WATCHWORD_SECRET", "the master secret is in it")
    try:
        (secret,) = read_secrets(meant(path.read_text("utf-8-sig")))  # as for WATCHWORD_SECRET
    except ValueError:
        hint = "restore it from a backup; without it the database's signing keys cannot be read"
        raise SettingsError((Fault("WATCHWORD_SECRET", f"{path} does not hold a secret", hint),)) from None
    return secret


def _make(path: Path) -> None:
    temporary = path.with_name(f".{SECRET_FILE}.{os.getpid()}.{random_source.token_hex(4)}")
    try:
        with os.fdopen(create_private(temporary), "wb") as file:
            file.write(base64url.encode(os.urandom(SECRET_BYTES)) + b"\n")
            file.flush()
            sync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)
