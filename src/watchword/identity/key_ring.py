"""The signing keys: made at the first start, sealed at rest, one of them active.

However many processes start on an empty database at once, a partial unique index lets one key become active; the
others read that one.
"""

from __future__ import annotations

import msgspec

from watchword.clock import Clock
from watchword.identity.master import Master
from watchword.settings import Settings
from watchword.storage.database import Database
from watchword.tokens.jwks import public_key_set
from watchword.tokens.keys import KeySet, SigningKey, VerificationKey

_INSERT = """
INSERT INTO ww_signing_keys (kid, algorithm, status, public_jwk, sealed_private, created_at, activated_at)
VALUES (:kid, :algorithm, 'active', :public, :sealed, :now, :now) ON CONFLICT DO NOTHING
"""


class KeyRing:
    """What signs, what verifies, and what others may see of it. Immutable; load a new one when the keys change."""

    def __init__(self, signing: SigningKey, verification: tuple[VerificationKey, ...]) -> None:
        self.signing = signing
        self.key_set = KeySet(verification)
        # A shared secret has no public half: the published set is empty then.
        self.published = public_key_set(key for key in verification if not key.symmetric)
        self.algorithms = tuple(sorted({key.algorithm for key in verification}))


async def load(database: Database, master: Master, settings: Settings, clock: Clock) -> KeyRing:
    """The key ring that the settings ask for; the active key is made when there is none.

    Raises `SettingsError` when the keys are sealed under another master secret.
    """
    if settings.jwt_secret is not None:
        secret_key = SigningKey.shared_secret(settings.jwt_secret, settings.algorithm)
        return KeyRing(secret_key, (secret_key.verification_key,))
    await _reseal(database, master)
    signing = await _active(database, master, settings.algorithm)
    if signing is None:
        await _make(database, master, settings.algorithm, clock.now())
        signing = await _active(database, master, settings.algorithm)
    assert signing is not None, "the insert above or somebody else's made it"
    rows = await database.all("SELECT public_jwk FROM ww_signing_keys WHERE status IN ('next', 'active', 'retired')")
    keys = (VerificationKey.from_jwk(msgspec.json.decode(row["public_jwk"])) for row in rows)
    return KeyRing(signing, tuple(keys))


async def _active(database: Database, master: Master, algorithm: str) -> SigningKey | None:
    row = await database.one(
        "SELECT kid, sealed_private FROM ww_signing_keys WHERE algorithm = :algorithm AND status = 'active'",
        algorithm=algorithm,
    )
    if row is None:
        return None
    private = master.unseal(row["sealed_private"], about=_about(row["kid"]))
    return SigningKey.from_jwk(msgspec.json.decode(private))


async def _make(database: Database, master: Master, algorithm: str, now: int) -> None:
    key = SigningKey.generate(algorithm)
    await database.run(
        _INSERT,
        kid=key.kid,
        algorithm=algorithm,
        public=msgspec.json.encode(key.public_jwk()).decode(),
        sealed=master.seal(msgspec.json.encode(key.to_private_jwk()), about=_about(key.kid)),
        now=now,
    )


async def _reseal(database: Database, master: Master) -> None:
    """Seal with the current master secret what one before it sealed, so that this one can be taken off the list."""
    for row in await database.all("SELECT kid, sealed_private FROM ww_signing_keys"):
        sealed, about = row["sealed_private"], _about(row["kid"])
        if not master.sealed_by_current(sealed):
            await database.run(
                "UPDATE ww_signing_keys SET sealed_private = :new WHERE kid = :kid AND sealed_private = :old",
                new=master.seal(master.unseal(sealed, about=about), about=about),
                kid=row["kid"],
                old=sealed,
            )


def _about(kid: str) -> str:
    return f"signing key {kid}"
