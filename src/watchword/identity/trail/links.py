"""What is hashed, and how checkpoints are signed. Pure: no clock, no I/O.

    digest of a record's personal fields = SHA-256(tag ‖ salt ‖ JSON of [address, agent])
    hash of a record                     = SHA-256(tag ‖ hash before it ‖ JSON of the other fields and that digest)
    MAC of a checkpoint                  = HMAC-SHA-256(sub-key "audit", JSON of what it says)

Address and agent enter as a digest, so that erasing them, and the salt, leaves the chain whole. Without the salt, which
has 128 random bits, the digest tells nothing: no list of addresses can be tried.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

from watchword.identity.keys.master import Master
from watchword.storage.database import Row

LABEL: Final = "audit"
GENESIS: Final = "0" * 64
"""The hash before the first record."""

FIELDS: Final = ("id", "at", "event", "outcome", "actor_id", "user_id", "session_id", "request_id", "detail")
_PERSONAL: Final = b"watchword audit personal 1\n"
_RECORD: Final = b"watchword audit record 1\n"


class Checkpoint(NamedTuple):
    """A signed statement: the chain had this hash at this position.

    :param newest_at: the time of the newest record since the checkpoint before.
    :param signer: the id of the master secret that signed.
    :param cut_at: when the records up to here were given up, and may be missing since.
    """

    position: int
    hash: str
    at: int
    newest_at: int
    signer: str
    mac: str
    cut_at: int | None
    cut_mac: str | None


def personal_digest(salt: str, address: str, agent: str) -> str:
    """Return the digest that stands for address and agent. `salt` is 32 hexadecimal digits."""
    return sha256(_PERSONAL + salt.encode() + msgspec.json.encode([address, agent])).hexdigest()


def record_hash(before: str, row: Row, personal: str) -> str:
    """Return the hash of a record behind another one, whose hash is `before`."""
    told = msgspec.json.encode([*(row[name] for name in FIELDS), personal])
    return sha256(_RECORD + before.encode() + told).hexdigest()


def checkpoint_mac(key: bytes, position: int, chained: str, at: int, newest_at: int) -> str:
    """Return the MAC of a checkpoint."""
    return _mac(key, ["checkpoint", position, chained, at, newest_at])


def cut_mac(key: bytes, position: int, chained: str, cut_at: int) -> str:
    """Return the MAC of the statement that records up to a checkpoint were given up."""
    return _mac(key, ["cut", position, chained, cut_at])


def _mac(key: bytes, told: Sequence[str | int]) -> str:
    return hmac.new(key, msgspec.json.encode(told), sha256).hexdigest()


def is_signed(master: Master, point: Checkpoint) -> bool:
    """Return whether a listed master secret has signed the checkpoint."""
    macs = (checkpoint_mac(key, point.position, point.hash, point.at, point.newest_at) for key in master.keys(LABEL))
    return any(hmac.compare_digest(mac.encode(), point.mac.encode()) for mac in macs)


def is_cut(master: Master, point: Checkpoint) -> bool:
    """Return whether a listed master secret has signed that records up to the checkpoint were given up."""
    if point.cut_at is None or point.cut_mac is None:
        return False
    macs = [cut_mac(key, point.position, point.hash, point.cut_at) for key in master.keys(LABEL)]
    return any(hmac.compare_digest(mac.encode(), point.cut_mac.encode()) for mac in macs)
