"""Which kinds of program a user logs in with, and from which networks: a new one is told of by mail.

No device is identified. What is stored is a hash of the program's kind, the system's and the network; a mail names the
kind, never the User-Agent as it was sent: an address in it would become a link in a mail of ours.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from watchword.addresses import neighbourhood
from watchword.identity.audit import Client
from watchword.storage.database import Tx

DEVICE_SECONDS: Final = 90 * 86_400
"""How long a device stays known that does not come back."""

MOST_NEW: Final = 5
"""New devices a day that a user is told of: a mailbox is not flooded."""

_DAY = 86_400
# The first that is found counts: others name themselves beside it.
_PROGRAMS = (
    ("Edg", "Edge"), ("OPR/", "Opera"), ("SamsungBrowser", "Samsung Internet"), ("Firefox", "Firefox"),
    ("FxiOS", "Firefox"), ("CriOS", "Chrome"), ("Chrome", "Chrome"), ("Safari", "Safari"), ("okhttp", "an app"),
    ("Dart", "an app"), ("CFNetwork", "an app"), ("curl", "curl"), ("python", "Python"), ("Python", "Python"),
    ("node", "Node.js"), ("axios", "Node.js"),
)  # fmt: skip
_SYSTEMS = (
    ("Windows", "Windows"), ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"), ("Linux", "Linux"),
)  # fmt: skip


def kind_of(agent: str) -> str:
    """Return the kind of program behind a User-Agent, in words of ours: `Firefox on Linux`."""
    program = next((name for mark, name in _PROGRAMS if mark in agent), "an unknown program")
    system = next((name for mark, name in _SYSTEMS if mark in agent), "")
    return f"{program} on {system}" if system else program


async def is_new(tx: Tx, user_id: str, client: Client, *, now: int, seen_before: bool) -> bool:
    """Remember the device of a log-in, in its unit; return whether the user should be told of it.

    The first device of a user is no news, unless they were there before: their devices were forgotten, or known to the
    application that they were imported from. No more than five a day are news.

    :param seen_before: they have logged in before.
    """
    device = sha256(f"{kind_of(client.agent)} {neighbourhood(client.address)}".encode()).hexdigest()[:32]
    known = await tx.run(
        "UPDATE ww_devices SET seen_at = :now WHERE user_id = :user AND device = :device",
        now=now,
        user=user_id,
        device=device,
    )
    if known:
        return False
    rows = await tx.all(
        "SELECT created_at FROM ww_devices WHERE user_id = :user ORDER BY user_id, device LIMIT 100", user=user_id
    )
    await tx.run(
        "INSERT INTO ww_devices (user_id, device, created_at, seen_at) VALUES (:user, :device, :now, :now)"
        " ON CONFLICT (user_id, device) DO NOTHING",
        user=user_id,
        device=device,
        now=now,
    )
    if not rows:
        return seen_before or await _imported(tx, user_id)
    return sum(1 for row in rows if row["created_at"] > now - _DAY) < MOST_NEW


async def _imported(tx: Tx, user_id: str) -> bool:
    row = await tx.one("SELECT imported_at FROM ww_users WHERE id = :id", id=user_id)
    return row is not None and row["imported_at"] is not None
