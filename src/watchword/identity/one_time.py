"""Links and codes that may be used once (OWASP Forgot Password sheet).

Neither is stored. Both are derived from a random seed, which waits in the outbox with its mail, and a sub-key of the
master secret: a stolen database opens nothing, and nor does the master secret alone. The seed goes with the mail; what
stays is the SHA-256 of the link's token, and a MAC of the code, whose six digits a plain hash would not protect.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from watchword import base64url, opaque
from watchword.clock import Clock
from watchword.identity.keys.master import Master
from watchword.ids import new_id
from watchword.storage.database import Database, Row, Tx

TRIES: Final = 5
"""Codes that may be tried with one handle."""

CODE_SECONDS: Final = 600
DIGITS: Final = 6
LINK_PREFIX: Final = "wwl_"
HANDLE_PREFIX: Final = "wwh_"
LIFETIMES: Final = {
    "reset": 1800,
    "invite": 3 * 86_400,
    "first_admin": 1800,
    "verify": 86_400,
    "register": 86_400,
    "change": 86_400,
    "login": CODE_SECONDS,
    "undo": 7 * 86_400,
}
"""Purpose → seconds that the link may be used."""

UNDO: Final = "undo"
_SEED_BYTES = 16
_COLUMNS = "id, purpose, address_key, user_id, detail"
_OPEN = "used_at IS NULL AND expires_at > :now"
_INSERT = """
INSERT INTO ww_one_time (id, purpose, address_key, user_id, detail, handle_hash, token_hash, code_mac, tries,
    created_at, code_until, expires_at)
VALUES (:id, :purpose, :address, CAST(:user AS TEXT), :detail, :handle, :token, :code, :tries, :now, :code_until,
    :expires)
"""
_OPEN_UNDO = f"""
SELECT {_COLUMNS}, expires_at FROM ww_one_time WHERE id = (SELECT MAX(id) FROM ww_one_time
    WHERE user_id = :user AND purpose = '{UNDO}' AND address_key <> :but AND {_OPEN})
"""
_OLDEST_UNDO = f"SELECT MIN(id) AS id FROM ww_one_time WHERE user_id = :user AND purpose = '{UNDO}' AND {_OPEN}"
_TRY = f"""
UPDATE ww_one_time SET tries = tries - 1
WHERE handle_hash = :handle AND tries > 0 AND code_until > :now AND {_OPEN}
RETURNING {_COLUMNS}, code_mac
"""


class Issued(NamedTuple):
    """A new link and code.

    :param seed: goes into the outbox, and nowhere else.
    :param handle: goes to the client that asked, and nowhere else: the code works with it only.
    """

    id: str
    seed: str
    handle: str
    expires_at: int


class Found(NamedTuple):
    """A link or a code that may be used.

    :param user_id: None before the mail was sent, and for an account that is not there yet.
    :param detail: what is done when it is used.
    :param by_code: shown by a code and its handle, not by a link.
    """

    id: str
    purpose: str
    address_key: str
    user_id: str | None
    detail: Mapping[str, str]
    by_code: bool = False


class Derived(NamedTuple):
    """What a mail carries."""

    token: str
    code: str


class OneTime:
    """The links and codes of one database. Every method may raise `StorageUnavailable`."""

    def __init__(self, database: Database, master: Master, clock: Clock) -> None:
        self._database = database
        self._keys = master.keys("one-time")
        self._clock = clock

    async def issue(
        self, tx: Tx, purpose: str, address_key: str, *, user_id: str | None = None, detail: Mapping[str, str]
    ) -> Issued:
        """Make a link and a code, in the caller's unit. It does the same for every address."""
        now, one_time_id = self._clock.now(), new_id()
        seed, handle = os.urandom(_SEED_BYTES), opaque.make_secret(HANDLE_PREFIX)
        derived = _derived(self._keys[0], seed)
        await tx.run(
            _INSERT,
            id=one_time_id,
            purpose=purpose,
            address=address_key,
            user=user_id,
            detail=msgspec.json.encode(detail).decode(),
            handle=opaque.fingerprint(handle.encode()),
            token=opaque.fingerprint(derived.token.encode()),
            code=_code_mac(self._keys[0], one_time_id, derived.code),
            tries=TRIES,
            now=now,
            code_until=now + CODE_SECONDS,
            expires=now + LIFETIMES[purpose],
        )
        return Issued(one_time_id, seed.hex(), handle, now + LIFETIMES[purpose])

    async def derive(self, one_time_id: str, seed: str) -> Derived | None:
        """Return what the mail carries; None when it is gone, or made under a master secret that is not listed."""
        row = await self._database.one("SELECT token_hash FROM ww_one_time WHERE id = :id", id=one_time_id)
        if row is None:
            return None
        for key in self._keys:
            derived = _derived(key, bytes.fromhex(seed))
            if hmac.compare_digest(opaque.fingerprint(derived.token.encode()), row["token_hash"]):
                return derived
        return None

    async def bind(self, one_time_id: str, user_id: str) -> None:
        """Say whose it is, once: found when its mail is sent."""
        await self._database.run(
            "UPDATE ww_one_time SET user_id = :user WHERE id = :id AND user_id IS NULL", id=one_time_id, user=user_id
        )

    async def find(self, token: str, purposes: tuple[str, ...]) -> Found | None:
        """Return what a link would do, and change nothing."""
        if not opaque.looks_like(token, LINK_PREFIX):
            return None
        row = await self._database.one(
            f"SELECT {_COLUMNS} FROM ww_one_time WHERE token_hash = :token AND {_OPEN}",
            token=opaque.fingerprint(token.encode()),
            now=self._clock.now(),
        )
        return None if row is None or row["purpose"] not in purposes else _found(row)

    async def try_code(self, handle: str, code: str, purposes: tuple[str, ...]) -> Found | None:
        """Return what a code would do, and take one of its tries. A right one is used by `use`, not yet here."""
        if not opaque.looks_like(handle, HANDLE_PREFIX):
            return None
        row = await self._database.change(_TRY, handle=opaque.fingerprint(handle.encode()), now=self._clock.now())
        if row is None:
            return None
        macs = [_code_mac(key, row["id"], _digits(code)) for key in self._keys]
        right = sum(hmac.compare_digest(mac, row["code_mac"]) for mac in macs) > 0  # each is compared
        return _found(row)._replace(by_code=True) if right and row["purpose"] in purposes else None

    async def address_of(self, handle: str) -> str | None:
        """Return the address that a handle was asked for."""
        if not opaque.looks_like(handle, HANDLE_PREFIX):
            return None
        row = await self._database.one(
            "SELECT address_key FROM ww_one_time WHERE handle_hash = :handle",
            handle=opaque.fingerprint(handle.encode()),
        )
        return None if row is None else str(row["address_key"])

    async def use(self, tx: Tx, found: Found) -> bool:
        """Use it up, in the unit of what it does. However many try at once, one gets True."""
        used = await tx.run(
            f"UPDATE ww_one_time SET used_at = :now, detail = '{{}}' WHERE id = :id AND {_OPEN}",
            id=found.id,
            now=self._clock.now(),
        )
        return used == 1


async def forget_all(tx: Tx, user_id: str, *, undo_too: bool = False) -> None:
    """Refuse every link and code of a user from now on, in the unit that changes a credential.

    :param undo_too: also the link that takes back a change of address. Someone who has taken an account over must not
        be able to do away with it by one more change.
    """
    kept = "" if undo_too else UNDO
    await tx.run("DELETE FROM ww_one_time WHERE user_id = :user AND purpose <> :kept", user=user_id, kept=kept)


async def forget_undos(tx: Tx, user_id: str, *, since: str) -> None:
    """Refuse the links that take a change of address back, from the one with this id on; older ones stay.

    The oldest is the owner's. Someone who has taken an account over and changed its address twice has the next one, and
    must not do away with the owner's by using it.
    """
    await tx.run(
        "DELETE FROM ww_one_time WHERE user_id = :user AND purpose = :undo AND id >= :since",
        user=user_id,
        undo=UNDO,
        since=since,
    )


async def forget_all_but_the_oldest_undo(tx: Tx, user_id: str, *, now: int) -> None:
    """Refuse every link and code of a user but the oldest link that takes a change of address back."""
    oldest = await tx.one(_OLDEST_UNDO, user=user_id, now=now)
    await tx.run(
        "DELETE FROM ww_one_time WHERE user_id = :user AND id <> :kept",
        user=user_id,
        kept=(oldest and oldest["id"]) or "",
    )


class Undo(NamedTuple):
    """A link that still takes a change of address back.

    :param email: the former address, as it was stored.
    """

    email: str
    expires_at: int


async def open_undo(reader: Database | Tx, user_id: str, *, now: int, but: str = "") -> Undo | None:
    """Return the newest link by which someone can take this account back, or None.

    :param but: the key of an address whose own link does not count.
    """
    row = await reader.one(_OPEN_UNDO, user=user_id, now=now, but=but)
    return None if row is None else Undo(_found(row).detail["email"], row["expires_at"])


async def forget_invitations(tx: Tx, user_id: str) -> None:
    """Refuse a user's invitations from now on, in the unit that writes another: one link is enough."""
    await tx.run("DELETE FROM ww_one_time WHERE user_id = :user AND purpose = 'invite'", user=user_id)


def _found(row: Row) -> Found:
    detail = msgspec.json.decode(row["detail"], type=dict[str, str])
    return Found(row["id"], row["purpose"], row["address_key"], row["user_id"], detail)


def _derived(key: bytes, seed: bytes) -> Derived:
    token = LINK_PREFIX + base64url.encode_text(hmac.digest(key, b"link" + seed, "sha256"))
    number = int.from_bytes(hmac.digest(key, b"code" + seed, "sha256")[:16], "big")
    return Derived(token, f"{number % 10**DIGITS:0{DIGITS}d}")


def _code_mac(key: bytes, one_time_id: str, code: str) -> str:
    return hmac.digest(key, f"mac {one_time_id} {code}".encode(), "sha256").hex()


def _digits(code: str) -> str:
    """Return a code as typed, without the spaces and dashes that people put between digits."""
    return "".join(letter for letter in code[: 4 * DIGITS] if letter not in " -\u00a0\u2009")
