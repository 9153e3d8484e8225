"""A new master secret takes over, and no one is logged out.

`docs/guides/rotate-keys.md` has the order: all processes read the new secret's values, then all use it, then it takes
over here, then the old one may go.
"""

from __future__ import annotations

from typing import NamedTuple

from watchword.clock import Clock
from watchword.errors import Fault, SettingsError
from watchword.identity import audit
from watchword.identity.audit import LOCAL
from watchword.identity.keys.master import CHECK_NAME, Master, check_value
from watchword.identity.keys.store import ABOUT
from watchword.identity.sessions.row import IS_LIVE
from watchword.identity.trail.chain import Chain
from watchword.identity.webhooks import endpoints
from watchword.storage.database import Database, Tx
from watchword.tally import Log

_log = Log("watchword.keys")

_SINCE_NAME = "master_since"
_SUPERSEDED = "master_superseded:"
"""With its check value behind it: the name of the row that tells of a secret which another took over from."""

_SUPERSEDE = f"""
INSERT INTO ww_meta (name, value) SELECT '{_SUPERSEDED}' || value, :now FROM ww_meta
WHERE name = :name AND value <> :current ON CONFLICT (name) DO NOTHING
"""


class SealedColumn(NamedTuple):
    """A column of sealed values.

    :param about: what a value is bound to, with `{}` for the row's key.
    """

    table: str
    key: str
    column: str
    about: str


_PUT_FIRST = "put the secret in force first in the list"
_OR_GO_BACK = f"{_PUT_FIRST}; to go back to the earlier one after all: watchword secret rotate --go-back"

SEALED = (
    SealedColumn("ww_signing_keys", "kid", "sealed_private", ABOUT),
    SealedColumn("ww_webhooks", "id", "sealed_secret", endpoints.ABOUT),
    SealedColumn("ww_webhooks", "id", "sealed_former", endpoints.ABOUT_FORMER),
)
"""Every column of the schema whose name begins with `sealed_`."""


class Resealed(NamedTuple):
    """How far the current secret has taken over.

    :param values: sealed values that were sealed again.
    :param sessions: live sessions not refreshed since: an earlier secret made their refresh tokens.
    :param until: when the last of these ends if it is not refreshed; None without any.
    """

    values: int
    sessions: int
    until: int | None


async def start(master: Master, database: Database, clock: Clock) -> None:
    """Let the first secret take over before the service serves, unless the list's order is wrong.

    Such a list works and logs no one out, but the newer secret's values stay. Raises as `take_over` does.
    """
    if await take_over(master, database, clock) is not None:
        return
    # The earlier secret makes refresh tokens again: which one is still needed is counted anew.
    await database.run("DELETE FROM ww_meta WHERE name = :name", name=_SINCE_NAME)
    in_force = await _in_force(master, database)
    _log.warning("master_list_in_wrong_order", first=master.ids[0], in_force=in_force, hint=_PUT_FIRST)


async def take_over(master: Master, database: Database, clock: Clock, *, go_back: bool = False) -> int | None:
    """Seal everything with the first master secret; return how many values. Each start calls it.

    Returns None, with nothing changed, when a later secret has taken over from it, unless `go_back`. Raises
    `SettingsError`, with nothing changed, when a value was sealed by an unlisted secret.
    """
    now = clock.now()
    current, *_ = master.check_values()

    async def unit(tx: Tx) -> int | None:
        if go_back:
            await tx.run("DELETE FROM ww_meta WHERE name = :name", name=_SUPERSEDED + current)
        elif await tx.one("SELECT value FROM ww_meta WHERE name = :name", name=_SUPERSEDED + current) is not None:
            return None
        await tx.run(_SUPERSEDE, name=CHECK_NAME, current=current, now=str(now))
        count = sum([await _reseal(tx, master, column) for column in SEALED])
        taken = await tx.run(
            "UPDATE ww_meta SET value = :value WHERE name = :name AND value <> :value", name=CHECK_NAME, value=current
        )
        if taken:
            # Until `since` is set, any session may have an earlier refresh token.
            await tx.run("DELETE FROM ww_meta WHERE name = :name", name=_SINCE_NAME)
        if taken or count:
            detail = {"secret": master.ids[0], "values": str(count)}
            await audit.record(tx, "master_secret_rotated", at=now, client=LOCAL, detail=detail)
        return count

    count = await database.transact(unit)
    if count is not None:
        master.follow(current)
    return count


async def rotate(master: Master, database: Database, clock: Clock, *, go_back: bool = False) -> Resealed:
    """Take over, and return whether the earlier secrets are still needed. It may be called again to ask that.

    At the first call, every process must already use the current secret.

    :param go_back: the first secret takes over although another has taken over from it.
    :raises SettingsError: the list's order is wrong, or a value was sealed by an unlisted secret.
    """
    count = await take_over(master, database, clock, go_back=go_back)
    if count is None:
        in_force = await _in_force(master, database)
        message = f"begins with a secret (id {master.ids[0]}) that another one (id {in_force}) has superseded"
        raise SettingsError((Fault("WATCHWORD_SECRET", f"{message}: wrong order?", _OR_GO_BACK),))
    await Chain(database, master).sign_again()
    now = clock.now()
    await database.run(
        "INSERT INTO ww_meta (name, value) VALUES (:name, :now) ON CONFLICT (name) DO NOTHING",
        name=_SINCE_NAME,
        now=str(now),
    )
    since = await database.one("SELECT value FROM ww_meta WHERE name = :name", name=_SINCE_NAME)
    # No index serves this: a scan visits all sessions and blocks no one.
    (left,) = await database.scan(
        "SELECT COUNT(*) AS sessions, MAX(idle_expires_at) AS until FROM ww_sessions"
        f" WHERE rotated_at <= :since AND {IS_LIVE}",
        since=now if since is None else int(since["value"]),
        now=now,
    )
    return Resealed(count, left["sessions"], left["until"])


async def _in_force(master: Master, database: Database) -> str:
    ids = dict(zip(master.check_values(), master.ids, strict=True))
    return ids.get(await check_value(database) or "", "unknown")


async def _reseal(tx: Tx, master: Master, where: SealedColumn) -> int:
    count = 0
    for row in await tx.all(f"SELECT {where.key}, {where.column} FROM {where.table} WHERE {where.column} <> ''"):
        key, sealed = row[0], row[1]
        if master.sealed_by_current(sealed):
            continue
        about = where.about.format(key)
        count += await tx.run(
            f"UPDATE {where.table} SET {where.column} = :new WHERE {where.key} = :key AND {where.column} = :old",
            new=master.reseal(sealed, about=about),
            key=key,
            old=sealed,
        )
    return count
