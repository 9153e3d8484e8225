"""The key ring in memory: what signs and what verifies, followed as the rows change.

However many processes start on an empty database at once, a partial unique index lets one key become active; the
others read that one. What changes when is in `tokens.rotation`, the changes themselves are in `key_store`.
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
_ROWS = f"SELECT kid, algorithm, status, public_jwk, sealed_private {OF_THE_PUBLISHED}"

_REPLACED = "another master secret has taken over in the database, and this process was started without it"
_START_AGAIN = "give this process the secret that has taken over, first in its list, and start it again"

Fingerprint = tuple[tuple[str, str], ...]
"""(kid, status) of every published key: nothing else of a row ever changes what the ring is."""


class KeyRing:
    """What signs, what verifies, and what others may see of it. Never changed: `Keys` replaces it as a whole.

    `published` is the key set document, `version` names its content: another set, another version.

    :param verification: what the service itself accepts.
    :param published: what others may accept, if that is not the same: under a shared secret, which is never shown
        and never stands beside public keys, those that signed before it.
    """

    def __init__(
        self,
        signing: SigningKey,
        verification: tuple[VerificationKey, ...],
        *,
        published: tuple[VerificationKey, ...] | None = None,
    ) -> None:
        self.signing = signing
        self.key_set = KeySet(verification)
        self.published = public_key_set(verification if published is None else published)
        self.version = sha256(self.published).hexdigest()[:32]
        self.algorithms = tuple(sorted({key.algorithm for key in verification}))
        # Else no one would accept what it signs, and neither would we.
        self.signs = self.key_set.find(signing.kid) is not None

    def to_sign_with(self) -> SigningKey:
        """The key that signs. Raises `StorageUnavailable` when it is published no more: it was revoked, and this
        process cannot read the one that signs in its place.
        """
        if not self.signs:
            raise StorageUnavailable("There is no signing key just now.")
        return self.signing


class Keys:
    """The key ring as it is now. Who signs or verifies asks for `ring` each time: a change is one assignment.

    Until `open` the ring of a service without a shared secret holds a key that no one knows: enough for a command
    beside the service, which signs nothing. A command may have been given other settings than the service, and would
    make a key of the wrong algorithm.
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
        # Under a shared secret no key of ours signs, and none is made.
        self._algorithm = settings.algorithm if shared is None else None
        self._every = None if settings.key_rotation is None else int(settings.key_rotation.total_seconds())
        self._seen: Fingerprint | None = None
        self._unreadable: Fingerprint | None = None
        self._master_listed = True
        self._reloading = asyncio.Lock()
        self._public: dict[str, VerificationKey] = {}

    @property
    def usable(self) -> bool:
        """Whether what is signed here is accepted, and the database's master secret is one of ours."""
        return self.ring.signs and self._master_listed

    async def open(self) -> None:
        """Take what signs and what is published from the database; the active key is made when there is none.

        Raises `SettingsError` when it is sealed under another master secret, and `StorageUnavailable`.
        """
        rows = await self._rows()
        self._use(rows, self._unsealed(rows))

    async def reload(self) -> bool:
        """Read the keys again; whether what signs or what is published has changed.

        Called four times a second under load: nearly always it compares two or three short rows and unseals nothing. A
        key that cannot be read, because this process was not started with the secret that sealed it, is reported once
        and tried again; the one that signed so far goes on as long as it is published, for a day after an ordinary
        rotation, and not at all after an emergency. Raises `StorageUnavailable`.
        """
        async with self._reloading:  # or what was read first could be put in force last
            await self._compare_master()
            return await self._reload()

    async def _compare_master(self) -> None:
        """Another secret may have taken over while this process ran: it has to be started again, with that one."""
        kept = await check_value(self._database)
        listed = kept is None or self._master.follow(kept)
        if self._master_listed and not listed:
            # Neither text names the setting: the log would hide what stands behind its name.
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
        """What verifies is as the rows say, what signs is as before; said once, and looked at again each time."""
        if self._unreadable == _fingerprint(rows):
            return
        self._use(rows, self.ring.signing)
        self._seen, self._unreadable = None, _fingerprint(rows)
        (fault,) = error.faults
        still = self.ring.signing.kid if self.ring.signs else None
        _log.error("signing_key_unreadable", reason=fault.message, hint=_START_AGAIN, still_signing=still)

    async def follow_schedule(self) -> bool:
        """Do what is due by now; whether the ring has changed. Any number of processes may do so at once.

        Raises `StorageUnavailable`.
        """
        async with self._reloading:
            await self._compare_master()
        if self._master_listed:  # a key that was sealed now could be read by no one who was started since
            await self.store.follow(Schedule(self._algorithm, self._every))
        return await self.reload()

    async def _rows(self) -> list[Row]:
        """All that is published, in one read: what signs and what verifies belong to the same moment."""
        rows = await self._database.all(_ROWS)
        if self._algorithm is None or self._active(rows) is not None:
            return rows
        await self.store.make_active(self._algorithm)
        return await self._database.all(_ROWS)

    def _active(self, rows: list[Row]) -> Row | None:
        return next((row for row in rows if row["status"] == "active" and row["algorithm"] == self._algorithm), None)

    def _unsealed(self, rows: list[Row]) -> SigningKey:
        """The key that signs. Raises `SettingsError`, and `StorageUnavailable` when someone else took it away."""
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
        self.ring = KeyRing(signing, (signing.verification_key,) if shared else published, published=published)
        self._public = public
        self._seen, self._unreadable = _fingerprint(rows), None


def _fingerprint(rows: list[Row]) -> Fingerprint:
    return tuple((row["kid"], row["status"]) for row in rows)


def _public(row: Row) -> VerificationKey:
    return VerificationKey.from_jwk(msgspec.json.decode(row["public_jwk"]))
