"""After a restored backup: what the database forgot must stay dead.

It forgot later ends of sessions, changes of passwords and revocations of keys, so stolen tokens and keys would be good
again. Everything issued is refused, everyone logs in again, and guards load the revocations afresh.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from watchword.clock import Clock
from watchword.identity import audit, revocation
from watchword.identity.audit import LOCAL
from watchword.identity.keys import store as key_store
from watchword.identity.keys.store import KeyStore, Revoked
from watchword.ids import new_id
from watchword.storage.database import Database, Tx
from watchword.tokens.rotation import LONGEST_TOKEN

FAR_AHEAD: Final = 1_000_000
"""By so much token versions rise: beyond any that was reached after the backup was made."""


class Restored(NamedTuple):
    """What was done.

    :param feed_id: the revocation list's new name.
    :param entries: users put on that list; only a shared secret needs that.
    """

    feed_id: str
    sessions: int
    users: int
    keys: Revoked
    entries: int


async def note_restored(database: Database, store: KeyStore, clock: Clock, *, shared_secret: bool) -> Restored:
    """Refuse everything issued before, in one transaction. Raises `StorageUnavailable`, with nothing done.

    Each signing key of the backup is revoked. One entry refuses every access token, also of users whom the backup
    lacks, and a key revoked since the backup signs no more.

    :param shared_secret: tokens are signed with a shared secret, which cannot be revoked here: every user's tokens are.
    """
    spares = await store.spares()
    now = clock.now()
    feed_id = new_id()

    async def unit(tx: Tx) -> Restored:
        users = await tx.run("UPDATE ww_users SET token_version = token_version + :far", far=FAR_AHEAD)
        sessions = await tx.run(
            "UPDATE ww_sessions SET ended_at = :now, end_reason = 'restored' WHERE ended_at IS NULL", now=now
        )
        keys, entries = await key_store.revoke_in(tx, None, spares, now, LOCAL)
        detail = {"users": str(users), "sessions": str(sessions), "keys": " ".join(keys.kids), "feed": feed_id}
        await audit.record(tx, "database_restored", at=now, client=LOCAL, detail=detail)
        await tx.run("UPDATE ww_feed SET feed_id = :feed WHERE id = 1", feed=feed_id)
        # No signing key means a shared secret too, whatever this command's settings say.
        refused = await _refuse_everybody(tx, now) if shared_secret or not keys.signing else 0
        await revocation.publish(tx, *entries)
        return Restored(feed_id, sessions, users, keys, refused)

    return await database.transact(unit)


async def _refuse_everybody(tx: Tx, now: int) -> int:
    """Add an entry for each user, until the longest-lived earlier token has expired."""
    row = await tx.one("SELECT COUNT(*) AS users FROM ww_users")
    users = 0 if row is None else int(row["users"])
    reserved = await tx.one("UPDATE ww_feed SET head = head + :users WHERE id = 1 RETURNING head", users=users)
    assert reserved is not None, "the feed's row is made with the first start"
    return await tx.run(
        "INSERT INTO ww_revocations (seq, kind, subject, min_version, expires_at)"
        " SELECT :first + ROW_NUMBER() OVER (ORDER BY id), 'user', id, token_version, CAST(:until AS BIGINT)"
        " FROM ww_users",
        first=reserved["head"] - users,
        until=now + LONGEST_TOKEN + revocation.SKEW,
    )
