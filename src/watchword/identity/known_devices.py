"""Where users have logged in before: a browser shows it by a cookie, and then has a quota of failed log-ins of its own.

The cookie is no credential. It logs no one in, names no one, and opens nothing: a stolen one yields the few guesses of
its quota. Beside the link in a mail it shows that an address may be confirmed (`showing`). The notice of a new device
(`devices`) does not ask it: a thief of the cookie must not silence the mail.

It holds up to five marks, one for each user of the browser, newest first. A mark is base64url of

    id (12 random bytes) ‖ time of the log-in (5 bytes) ‖ MAC (16 bytes) over both, the user and the user's version

under a sub-key of the master secret. A change of the password, like everything else that raises the version, makes all
marks of a user worthless, and nothing has to be stored for that. A request for a mail keeps the cookie until its row is
swept: whose browser asked is judged where the mail is sent, so that the answer takes no longer for a known address.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Final, NamedTuple

from watchword import base64url
from watchword.clock import Clock
from watchword.identity.devices import DEVICE_SECONDS
from watchword.identity.keys.master import Master
from watchword.opaque import MAC_BYTES, short_mac

MOST_USERS: Final = 5
"""Marks in one cookie: users of one browser."""

REGISTERED: Final = 0
"""The version in the mark of a browser in which someone has registered. It gives no quota: no user has it."""

_ID_BYTES = 12
_TIME_BYTES = 5
_BODY_BYTES = _ID_BYTES + _TIME_BYTES
_MARK_CHARS = ((_BODY_BYTES + MAC_BYTES) * 4 + 2) // 3
_BETWEEN = "."
LONGEST: Final = MOST_USERS * (_MARK_CHARS + len(_BETWEEN)) - len(_BETWEEN)
"""Characters of a full cookie; a longer one is not read."""


class Shown(NamedTuple):
    """Who has just shown to be a user, and the user's version since: the browser may remember it."""

    user_id: str
    version: int


class _Mark(NamedTuple):
    text: str
    body: bytes
    mac: bytes

    @property
    def id(self) -> str:
        return self.body[:_ID_BYTES].hex()

    @property
    def made_at(self) -> int:
        return int.from_bytes(self.body[_ID_BYTES:], "big")


class KnownDevices:
    """Makes marks and recognises them."""

    def __init__(self, master: Master, clock: Clock) -> None:
        self._keys = master.keys("device")
        self._clock = clock

    def recognise(self, shown: str | None, user_id: str, version: int) -> str | None:
        """Return the id of the device, or None where this user has not logged in, or not with this version.

        The work is the same for every user, known or not.

        :param shown: the cookie as it was sent; anything may be in it.
        """
        found = None
        for mark in self._fresh(shown):
            if self._is_genuine(mark, user_id, version):
                found = found or mark.id
        return found

    def remember(self, shown: str | None, user_id: str, version: int) -> str:
        """Return the cookie after a log-in of this user, a reset by mail or a registration: a new mark before others'.

        A new id each time: what a thief has used up of an old one's quota is not the owner's.
        """
        body = secrets.token_bytes(_ID_BYTES) + self._clock.now().to_bytes(_TIME_BYTES, "big")
        mark = base64url.encode_text(body + short_mac(self._keys[0], _about(body, user_id, version)))
        older = {version, REGISTERED}
        others = [
            one.text for one in self._fresh(shown) if not any(self._is_genuine(one, user_id, each) for each in older)
        ]
        return _BETWEEN.join([mark, *others][:MOST_USERS])

    def _fresh(self, shown: str | None) -> list[_Mark]:
        """Return the marks of a cookie that are not too old. They may be forged."""
        if shown is None or len(shown) > LONGEST:
            return []
        oldest = self._clock.now() - DEVICE_SECONDS
        return [mark for mark in map(_mark, shown.split(_BETWEEN)) if mark is not None and mark.made_at > oldest]

    def _is_genuine(self, mark: _Mark, user_id: str, version: int) -> bool:
        about = _about(mark.body, user_id, version)
        return any(hmac.compare_digest(short_mac(key, about), mark.mac) for key in self._keys)


def _mark(text: str) -> _Mark | None:
    if len(text) != _MARK_CHARS:
        return None
    try:
        raw = base64url.decode(text)
    except ValueError:
        return None
    return _Mark(text, raw[:_BODY_BYTES], raw[_BODY_BYTES:])


def _about(body: bytes, user_id: str, version: int) -> bytes:
    # The user comes last: all before it has a fixed length, so no two users share what is signed.
    return b"%b%b%b" % (body, version.to_bytes(8, "big", signed=True), user_id.encode())
