"""The outbox: a row for each mail, written in the transaction of what it tells of, deleted once it is sent.

`queue` says how rows are claimed and tried again. A mail that is sent twice has one `Message-ID`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from watchword.clock import Clock
from watchword.identity.one_time import Issued
from watchword.identity.queue import Queue
from watchword.ids import new_id
from watchword.languages import LONGEST_ACCEPTED
from watchword.storage.database import Database, Row, Tx

WAITS: Final = (10, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800)
"""Seconds before each further try. After the last one the mail is given up."""

NOTICE_SECONDS: Final = 2 * 86_400
"""How long a mail without a link is of use."""

_QUEUE: Final = Queue(
    "ww_outbox",
    "id, template, recipient, language, content, one_time_id, seed, created_at, expires_at, tries, user_id",
    waits=WAITS,
)
_WHOSE: Final = "UPDATE ww_outbox SET user_id = :user WHERE id = :id AND user_id IS NULL"
_FORGET: Final = "DELETE FROM ww_outbox WHERE user_id = :user AND failed_at IS NOT NULL"
_NO_ONES: Final = """
DELETE FROM ww_outbox WHERE id = :id AND failed_at IS NOT NULL AND user_id IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM ww_users WHERE ww_users.id = ww_outbox.user_id)
"""


class Claimed(NamedTuple):
    """A mail that this process may send until its claim ends.

    :param recipient: None: the address of its link, if anyone has it.
    :param user_id: whose account it is about, where that is known.
    """

    id: str
    template: str
    recipient: str | None
    language: str
    content: Mapping[str, str]
    one_time_id: str | None
    seed: str | None
    created_at: int
    expires_at: int
    tries: int
    user_id: str | None


class Failed(msgspec.Struct, frozen=True):
    """A mail that was given up, for an operator."""

    id: str
    template: str
    recipient: str | None
    created_at: int
    failed_at: int
    expires_at: int
    tries: int
    fault: str | None


class Outbox:
    """The outbox of one database.

    :param enabled: False where there is no mail server and no developer's terminal: nothing is written.
    """

    def __init__(self, database: Database, clock: Clock, *, enabled: bool) -> None:
        self._database = database
        self._clock = clock
        self.enabled = enabled

    async def add(
        self,
        tx: Tx,
        template: str,
        *,
        recipient: str | None,
        language: str,
        user_id: str | None,
        content: Mapping[str, str] | None = None,
        one_time: Issued | None = None,
    ) -> None:
        """Write a mail, in the unit of what it tells of.

        :param recipient: None: the user who has the address of `one_time` when it is sent.
        :param language: an `Accept-Language`.
        :param user_id: whose account it is about; None where that is found when it is sent, or it is no one's yet.
        :param content: what the template shows; nothing secret.
        """
        if not self.enabled:
            return
        now = self._clock.now()
        await tx.run(
            "INSERT INTO ww_outbox (id, template, recipient, language, content, one_time_id, seed, created_at, due_at,"
            " expires_at, tries, user_id) VALUES (:id, :template, CAST(:recipient AS TEXT), :language, :content,"
            " CAST(:one_time AS TEXT), CAST(:seed AS TEXT), :now, :now, :expires, 0,"
            " CAST(:user AS TEXT))",
            id=new_id(),
            template=template,
            recipient=recipient,
            language=language[:LONGEST_ACCEPTED],
            content=msgspec.json.encode(content or {}).decode(),
            one_time=None if one_time is None else one_time.id,
            seed=None if one_time is None else one_time.seed,
            now=now,
            expires=now + NOTICE_SECONDS if one_time is None else one_time.expires_at,
            user=user_id,
        )

    async def claim(self) -> list[Claimed]:
        """Claim what is due, oldest first, and count a try of each. With nothing due, nothing is written."""
        rows = await _QUEUE.claim(self._database, now=self._clock.now())
        return sorted(map(_claimed, rows))

    async def sent(self, mail: Claimed) -> None:
        """Delete a mail that was sent, or that there is no one to send to."""
        await self._database.run("DELETE FROM ww_outbox WHERE id = :id", id=mail.id)

    async def not_sent(self, mail: Claimed, fault: str, *, final: bool) -> bool:
        """Note why a mail was not taken, and when it is tried again; return whether it was given up.

        Why may hold the address. So whose it is is noted, and what is given up of a deleted user is deleted at once.
        A process whose claim has ended meanwhile changes nothing.
        """
        now = self._clock.now()
        wait = None if final else _QUEUE.wait(mail.tries)
        if wait is not None and now + wait >= mail.expires_at:
            wait = None
        if mail.user_id is not None:
            await self._database.run(_WHOSE, user=mail.user_id, id=mail.id)
        await _QUEUE.put_off(self._database, mail.id, mail.tries, fault, now=now, wait=wait)
        if wait is None:
            await self._database.run(_NO_ONES, id=mail.id)
        return wait is None

    async def failed(self, *, limit: int = 200) -> list[Failed]:
        """Return mails that were given up, oldest first."""
        rows = await self._database.scan(
            "SELECT id, template, recipient, created_at, failed_at, expires_at, tries, fault FROM ww_outbox"
            " WHERE failed_at IS NOT NULL ORDER BY failed_at, id LIMIT :limit",
            limit=limit,
        )
        return [Failed(*row) for row in rows]

    async def retry(self, mail_id: str | None) -> int:
        """Send one mail again that was given up, or all of them; return how many. Links that expired are left out."""
        now = self._clock.now()
        return await self._database.run(
            "UPDATE ww_outbox SET failed_at = NULL, tries = 0, due_at = :now"
            " WHERE failed_at IS NOT NULL AND expires_at > :now AND (id = :id OR :id = '')",
            now=now,
            id=mail_id or "",
        )


def _claimed(row: Row) -> Claimed:
    return Claimed(
        row["id"],
        row["template"],
        row["recipient"],
        row["language"],
        msgspec.json.decode(row["content"], type=dict[str, str]),
        row["one_time_id"],
        row["seed"],
        row["created_at"],
        row["expires_at"],
        row["tries"],
        row["user_id"],
    )


async def forget_given_up(tx: Tx, user_id: str) -> None:
    """Delete a user's mails that were given up, in the unit that deletes the user.

    Those that wait are sent still: someone who took the account over may have closed it.
    """
    await tx.run(_FORGET, user=user_id)
