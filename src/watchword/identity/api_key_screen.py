"""Tells made-up API keys from those to look up, so that a flood of them costs no read of the database each.

* An id ends in a tag, which only the services of one database can make. With another tag there is no such key.
* What proves a key is remembered once it was looked up, and refuses another secret with the same id. It never changes
  while the key is there. Everything else about the key, its end too, is read at each exchange.
* Signatures of weakened keys that were good are remembered. One that is refused all the same, since it has ended or its
  limit is used up, would cost eight checks each time.
* An id that was not found, or whose key has ended, is not looked up again for half a minute. No key that is made later
  gets it; but a database that lost its last minutes may have an ended key as it was.

Ids from before there were tags are looked up at a rate, which does not count those that were found before.
"""

from __future__ import annotations

import hmac
import os
from collections import OrderedDict
from typing import Final, NamedTuple, TypeVar

from watchword import api_keys, base64url
from watchword.api_keys import ApiKey, Known, Limits, limits_of
from watchword.errors import Overloaded, Refused
from watchword.ids import new_id
from watchword.opaque import short_mac
from watchword.rate import Rate
from watchword.storage.database import Database, Row

ABSENT_FOR: Final = 30
"""Seconds, as guards do not send a refused key again."""
MOST_KEPT: Final = 8192
"""Keys whose proof is remembered, and apart from them ids without a key."""
UNTAGGED_PER_SECOND: Final = 100
UNTAGGED_FOR: Final = 401 * 86_400
"""Seconds from the upgrade on: the longest life of a key, and a day in which older services may still make some."""
_TAG: Final = 8  # hex digits
_VERSION: Final = 14  # where it stands in a UUID
_SECRET: Final = 32
_NAME: Final = "api_key_ids"
_KEPT: Final = "SELECT value FROM ww_meta WHERE name = :name"
T = TypeVar("T")


class KeyIds(NamedTuple):
    """Makes the ids of one database's keys: UUIDv8 (RFC 9562 section 5.8), a time, random bits, and a tag over both.

    :param secret: of the tags. Who knows it can cause reads, and nothing else.
    :param untagged_until: until then there may be keys from before, whose ids are UUIDv7.
    """

    secret: bytes
    untagged_until: int

    def make(self) -> str:
        """Return a new id. They sort by their time, as those from before."""
        plain = new_id()
        return self._tagged(f"{plain[:_VERSION]}8{plain[_VERSION + 1 : -_TAG]}")

    def are_like(self, key_id: str) -> bool:
        """Tell whether the tag is right."""
        return hmac.compare_digest(self._tagged(key_id[:-_TAG]), key_id)

    def may_be_older(self, key_id: str, now: int) -> bool:
        """Tell whether it may be from before there were tags."""
        return key_id[_VERSION] == "7" and now < self.untagged_until

    def _tagged(self, head: str) -> str:
        return head + short_mac(self.secret, head.encode()).hex()[:_TAG]


async def load_key_ids(database: Database, now: int) -> KeyIds:
    """Return what makes this database's ids, which the first start makes, before it makes the feed.

    It never changes, or no key would be found again. So it does not depend on the master secret, and is in each backup.
    """
    row = await database.one(_KEPT, name=_NAME)
    if row is None:
        # Users may come later, by an older service that runs beside this one.
        is_old = await database.one("SELECT id FROM ww_feed WHERE id = 1") is not None
        await database.run(
            "INSERT INTO ww_meta (name, value) VALUES (:name, :value) ON CONFLICT (name) DO NOTHING",
            name=_NAME,
            value=f"{base64url.encode_text(os.urandom(_SECRET))} {now + UNTAGGED_FOR if is_old else 0}",
        )
        row = await database.one(_KEPT, name=_NAME)
    assert row is not None, "it was there, or was made"
    secret, until = row["value"].split()
    return KeyIds(base64url.decode(secret), int(until))


class _Proof(NamedTuple):
    """What proves a key."""

    secret_hash: str
    public: bytes

    def limits(self, key: ApiKey, now: int, known: Known) -> Limits:
        """Return what a presented key may do at most. Raises `Refused`."""
        found = limits_of(key, secret_hash=self.secret_hash, public=self.public, known=known)
        if found is None or (found.until is not None and found.until <= now):
            raise not_accepted()
        return found


class _Signatures:
    """Marks of good signatures, the latest."""

    def __init__(self) -> None:
        self._marks: OrderedDict[str, bool] = OrderedDict()

    def __contains__(self, mark: bytes) -> bool:
        return mark.hex() in self._marks

    def add(self, mark: bytes) -> None:
        _keep(self._marks, mark.hex(), True)


class KeyScreen:
    """Knows of the keys that this process has looked up. Of one event loop."""

    def __init__(self, ids: KeyIds) -> None:
        self.ids = ids
        self._found: OrderedDict[str, _Proof] = OrderedDict()
        self._absent: OrderedDict[str, int] = OrderedDict()
        self._signatures = _Signatures()
        self._untagged = Rate(UNTAGGED_PER_SECOND, UNTAGGED_PER_SECOND)

    def read(self, text: str, now: int) -> tuple[ApiKey, Limits | None]:
        """Return a key, and what it may do at most where its proof is known; None: it is to be looked up.

        :raises Refused: it is not accepted, whatever the database says.
        :raises Overloaded: its id is from before there were tags, and too many such are looked up.
        """
        try:
            key = api_keys.read(text)
        except api_keys.KeyFault as error:
            raise Refused(str(error), code="invalid_request") from None
        return key, self._known(key, now)

    def _known(self, key: ApiKey, now: int) -> Limits | None:
        proof = self._found.get(key.id)
        if proof is not None:
            self._found.move_to_end(key.id)
            return proof.limits(key, now, self._signatures)
        if now < self._absent.get(key.id, 0) <= now + ABSENT_FOR:  # or the clock was set back
            raise not_accepted()
        if not self.ids.are_like(key.id):
            if not self.ids.may_be_older(key.id, now):
                raise not_accepted()
            if not self._untagged.grants(now):
                raise Overloaded("Too many API keys are being looked at. Try again in a moment.")
        return None

    def found(self, key: ApiKey, row: Row, now: int) -> Limits:
        """Remember what proves the key with this id; return what this one may do at most. Raises `Refused`."""
        proof = _Proof(row["secret_hash"], base64url.decode(row["public_key"]))
        _keep(self._found, key.id, proof)
        return proof.limits(key, now, self._signatures)

    def absent(self, key: ApiKey, now: int) -> Refused:
        """Remember that there is no key with this id, or none any more; return the refusal."""
        self._found.pop(key.id, None)
        _keep(self._absent, key.id, now + ABSENT_FOR)
        return not_accepted()


def _keep(kept: OrderedDict[str, T], key_id: str, value: T) -> None:
    kept[key_id] = value
    kept.move_to_end(key_id)
    if len(kept) > MOST_KEPT:
        kept.popitem(last=False)


def not_accepted() -> Refused:
    """Make the one answer to every key that is not accepted."""
    return Refused("This API key is not accepted.", code="invalid_request")
