"""The key ring in memory, which follows the rows.

A partial unique index lets one key become active, however many processes start at once; the others read it.
`tokens.rotation` decides what changes when, `key_store` makes the changes.
"""

from __future__ import annotations

import asyncio
from hashlib import sha256

import msgspec

from watchword.clock import Clock
from watchword.errors import SettingsError, StorageUnavailable
from watchword.identity.keys.master import Master, check_value
from watchword.identity.keys.store import ABOUT, OF_THE_PUBLISHED, KeyStore
from watchword.identity.revocation import Revocations
from watchword.settings import Settings
from watchword.storage.database import Database, Row
from watchword.tally import Log
from watchword.tokens.jwks import public_key_set
from watchword.tokens.keys import KeySet, SigningKey, VerificationKey
from watchword.tokens.rotation import Schedule

_log = Log("watchword.keys")

_FINGERPRINT = f"SELECT kid, status {OF_THE_PUBLISHED}"
_ROWS = f"SELECT kid, algorithm, status, public_jwk, sealed_private, activated_at {OF_THE_PUBLISHED}"

_REPLACED = "another master secret has taken over in the database, and this process was started without it"
_START_AGAIN = "give this process the secret that has taken over, first in its list, and start it again"

Fingerprint = tuple[tuple[str, str], ...]
"""(kid, status) of every published key: nothing else of a row ever changes what the ring is."""


class KeyRing:
    """What signs, what verifies, and what others may see. It is immutable: `Keys` replaces it.

    `published` is the key set document; `version` names its content.

    :param signs_since: when the key became active, in seconds since 1970 UTC; None for a shared secret.
    :param verification: what the service itself accepts.
    :param published: what others may accept, if different: under a shared secret, the keys that signed before it. The
        secret is never published, nor combined with public keys.
    """

    def __init__(
        self,
        signing: SigningKey,
        verification: tuple[VerificationKey, ...],
        *,
        published: tuple[VerificationKey, ...] | None = None,
        signs_since: int | None = None,
    ) -> None:
        self.signing = signing
        self.signs_since = signs_since
        self.key_set = KeySet(verification)
        self.published = public_key_set(verification if published is None else published)
        self.version = sha256(self.published).hexdigest()[:32]
        self.algorithms = tuple(sorted({key.algorithm for key in verification}))
        # Else neither others nor we would accept what it signs.
        self.signs = self.key_set.find(signing.kid) is not None

    def to_sign_with(self) -> SigningKey:
        """Return the key that signs.

        Raises `StorageUnavailable` when it was revoked and this process cannot read its successor.
        """
        if not self.signs:
            raise StorageUnavailable("There is no signing key just now.")
        return self.signing


class Keys:
    """The current key ring. Callers read `ring` each time: a change is one assignment.

    Until `open`, without a shared secret, the ring holds a random key. A command beside the service signs nothing, and
    with other settings would make a key of the wrong algorithm.
    """

    def __init__(
        self, database: Database, revocations: Revocations, master: Master, settings: Settings, clock: Clock
    ) -> None:
        shared = settings.jwt_secret
        signing = SigningKey.generate("ES256") if shared is None else SigningKey.shared_secret(shared, "HS256")
        self.ring = KeyRing(signing, (signing.verification_key,), published=())
        self.store = KeyStore(database, revocations, master, clock)
        self._database = database
        self._master = master
        # Under a shared secret no key of ours signs.
        self._algorithm = settings.algorithm if shared is None else None
        self._every = None if settings.key_rotation is None else int(settings.key_rotation.total_seconds())
        self._seen: Fingerprint | None = None
        self._unreadable: Fingerprint | None = None
        self._master_listed = True
        self._reloading = asyncio.Lock()
        self._public: dict[str, VerificationKey] = {}

    @property
    def usable(self) -> bool:
        """Return whether our signatures are accepted and the database's master secret is ours."""
        return self.ring.signs and self._master_listed

    async def open(self) -> None:
        """Read the keys; make the active key when there is none.

        Raises `SettingsError` when it is sealed under another master secret, and `StorageUnavailable`.
        """
        rows = await self._rows()
        self._use(rows, self._unsealed(rows))

    async def reload(self) -> bool:
        """Read the keys again; return whether the ring has changed.

        It may run four times a second, and usually unseals nothing. A key sealed
        under an unknown secret is logged once and tried again. The previous key signs while published: a day after an
        ordinary rotation, not at all after an emergency. Raises `StorageUnavailable`.
        """
        async with self._reloading:  # or an older read could win
            await self._compare_master()
            return await self._reload()

    async def _compare_master(self) -> None:
        """Notice that another secret took over: this process must be restarted with it."""
        kept = await check_value(self._database)
        listed = kept is None or self._master.follow(kept)
        if self._master_listed and not listed:
            # Neither text names the setting: the log would redact what follows its name.
            _log.error("master_replaced", reason=_REPLACED, hint=_START_AGAIN)
        self._master_listed = listed

    async def _reload(self) -> bool:
        if self._seen == _fingerprint(await self._database.all(_FINGERPRINT)):
            return False
        before, rows = self.ring, await self._rows()
        try:
            self._use(rows, self._unsealed(rows))
        except SettingsError as error:
            self._go_on_without(rows, error)
        return self.ring.version != before.version or self.ring.signing.kid != before.signing.kid

    def _go_on_without(self, rows: list[Row], error: SettingsError) -> None:
        """Verify by the rows and sign as before; log it once, and try again each time."""
        if self._unreadable == _fingerprint(rows):
            return
        self._use(rows, self.ring.signing)
        self._seen, self._unreadable = None, _fingerprint(rows)
        (fault,) = error.faults
        still = self.ring.signing.kid if self.ring.signs else None
        _log.error("signing_key_unreadable", reason=fault.message, hint=_START_AGAIN, still_signing=still)

    async def follow_schedule(self) -> bool:
        """Do what is due; return whether the ring has changed. Any number of processes may call it at once.

        Raises `StorageUnavailable`.
        """
        async with self._reloading:
            await self._compare_master()
        if self._master_listed:  # processes started since could not read a key sealed now
            await self.store.follow(Schedule(self._algorithm, self._every))
        return await self.reload()

    async def _rows(self) -> list[Row]:
        """Return all that is published, in one read, so that signing and verifying match."""
        rows = await self._database.all(_ROWS)
        if self._algorithm is None or self._active(rows) is not None:
            return rows
        await self.store.make_active(self._algorithm)
        return await self._database.all(_ROWS)

    def _active(self, rows: list[Row]) -> Row | None:
        return next((row for row in rows if row["status"] == "active" and row["algorithm"] == self._algorithm), None)

    def _unsealed(self, rows: list[Row]) -> SigningKey:
        """Return the key that signs. Raises `SettingsError`, and `StorageUnavailable` when it has been removed."""
        if self._algorithm is None:
            return self.ring.signing
        active = self._active(rows)
        if active is None:
            raise StorageUnavailable("There is no active signing key just now.")
        if active["kid"] == self.ring.signing.kid:
            return self.ring.signing
        private = self._master.unseal(active["sealed_private"], about=ABOUT.format(active["kid"]))
        return SigningKey.from_jwk(msgspec.json.decode(private))

    def _use(self, rows: list[Row], signing: SigningKey) -> None:
        public = {row["kid"]: self._public.get(row["kid"]) or _public(row) for row in rows}
        published = tuple(public.values())
        shared = signing.verification_key.symmetric
        since = next((row["activated_at"] for row in rows if row["kid"] == signing.kid and not shared), None)
        accepted = (signing.verification_key,) if shared else published
        self.ring = KeyRing(signing, accepted, published=published, signs_since=since)
        self._public = public
        self._seen, self._unreadable = _fingerprint(rows), None


def _fingerprint(rows: list[Row]) -> Fingerprint:
    return tuple((row["kid"], row["status"]) for row in rows)


def _public(row: Row) -> VerificationKey:
    return VerificationKey.from_jwk(msgspec.json.decode(row["public_jwk"]))
