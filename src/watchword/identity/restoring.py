"""After a restored backup: what the database forgot must stay dead.

It forgot later ends of sessions, changes of passwords and revocations of keys, and which links in mails and which
assertions of clients were used. So stolen ones would be good again. Everything issued is refused, everyone logs in
again, and guards load the revocations afresh.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from watchword.clock import Clock
from watchword.identity import audit
from watchword.identity.audit import LOCAL
from watchword.identity.keys import store as key_store
from watchword.identity.keys.store import KeyStore, Revoked
from watchword.identity.revocation import SKEW, Entry, EveryUser, Published, Revocations, legacy_until
from watchword.identity.service_accounts.proving import refuse_from_before
from watchword.ids import new_id
from watchword.storage.database import Tx
from watchword.tokens.rotation import LONGEST_TOKEN

FAR_AHEAD: Final = 1_000_000
"""By so much the versions of users and of rights rise: beyond any that was reached after the backup was made."""


_STILL_GOOD: Final = """
SELECT
    (SELECT COUNT(*) FROM ww_api_keys k JOIN ww_users u ON u.id = k.user_id
     WHERE k.expires_at > :now AND u.disabled_at IS NULL) AS api_keys,
    (SELECT COUNT(*) FROM ww_clients WHERE disabled_at IS NULL) AS accounts,
    (SELECT COUNT(*) FROM ww_guard_keys WHERE revoked_at IS NULL) AS guard_keys
"""


class StillGood(NamedTuple):
    """How many keys and accounts are as they were in the backup: no one can tell which of them were ended since."""

    api_keys: int
    accounts: int
    guard_keys: int


class Restored(NamedTuple):
    """What was done.

    :param feed_id: the revocation list's new name.
    :param entries: users and service accounts put on that list; only a shared secret needs that.
    """

    feed_id: str
    sessions: int
    users: int
    keys: Revoked
    entries: int
    good: StillGood


async def note_restored(revocations: Revocations, store: KeyStore, clock: Clock, *, shared_secret: bool) -> Restored:
    """Refuse everything issued before, in one transaction. Raises `StorageUnavailable`, and has done nothing then.

    Each signing key of the backup is revoked. One entry refuses every access token, also of users that are not
    in the backup, and a key revoked since the backup signs no more.

    :param shared_secret: tokens are signed with a shared secret, which cannot be revoked here: the tokens of every user
        and service account are.
    """
    spares = await store.spares()
    now = clock.now()
    feed_id = new_id()

    async def unit(tx: Tx) -> tuple[Restored, Published]:
        users = await tx.run("UPDATE ww_users SET token_version = token_version + :far", far=FAR_AHEAD)
        clients = await tx.all("UPDATE ww_clients SET version = version + :far RETURNING id, version", far=FAR_AHEAD)
        sessions = await tx.run(
            "UPDATE ww_sessions SET ended_at = :now, end_reason = 'restored' WHERE ended_at IS NULL", now=now
        )
        await tx.run("UPDATE ww_rights SET version = version + :far", far=FAR_AHEAD)
        await tx.run("DELETE FROM ww_outbox")  # mail that was sent long ago, and links that were used since
        await tx.run("DELETE FROM ww_one_time")
        await refuse_from_before(tx, now)
        keys, entries = await key_store.revoke_in(tx, None, spares, now, LOCAL)
        row = await tx.one(_STILL_GOOD, now=now)
        assert row is not None, "three counts are a row"
        good = StillGood(row["api_keys"], row["accounts"], row["guard_keys"])
        detail = {"users": str(users), "sessions": str(sessions), "keys": " ".join(keys.kids), "feed": feed_id}
        await audit.record(tx, "database_restored", at=now, client=LOCAL, detail=detail)
        await tx.run("UPDATE ww_feed SET feed_id = :feed WHERE id = 1", feed=feed_id)
        # No key that signs means a shared secret too, whatever this command was told of the service's settings.
        if not shared_secret and keys.signing:
            return Restored(feed_id, sessions, users, keys, 0, good), entries
        # Until the longest-lived token from before has expired.
        until = max(now + LONGEST_TOKEN, await legacy_until(tx)) + SKEW
        refused: list[Entry | EveryUser] = [EveryUser(until)]
        refused += [Entry("user", each["id"], each["version"], until) for each in clients]
        return Restored(feed_id, sessions, users, keys, users + len(clients), good), [*refused, *entries]

    return await revocations.commit(unit)
