"""Secrets that a test hands out, to look for where none may be."""

from __future__ import annotations

import base64
import re
import secrets
import sqlite3
from contextlib import closing
from urllib.parse import quote

from tests.e2e.server import Server


class Canaries:
    """Secrets to look for."""

    def __init__(self) -> None:
        self._kept: set[str] = set()
        self._codes: set[str] = set()

    def keep(self, secret: str) -> str:
        """Remember one; answers it."""
        self._kept.add(secret)
        return secret

    def keep_code(self, code: str) -> str:
        """Remember six digits, which are looked for as a number of their own; answers them."""
        self._codes.add(code)
        return code

    def fresh(self, name: str) -> str:
        """A new one that is easy to find."""
        return self.keep(f"canary-{name}-{secrets.token_hex(12)}")

    def found_in(self, text: str) -> list[str]:
        """The remembered secrets of which some spelling is in the text."""
        found = [secret for secret in self._kept if any(spelling in text for spelling in _spellings(secret))]
        return found + [code for code in self._codes if re.search(rf"(?<![0-9]){code}(?![0-9])", text)]


def _spellings(secret: str) -> set[str]:
    """As it is, percent-encoded, in hexadecimal, in base64 at each of the three offsets, and the telling part alone."""
    raw_bytes = secret.encode()
    spellings = {secret, quote(secret), raw_bytes.hex(), secret[:-1], secret[7:] if len(secret) > 40 else secret}
    for offset in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # Without its ends, which depend on what stands beside it.
            spellings.add(encode(b"\0" * offset + raw_bytes)[4:-4].decode())
    return spellings


def everything_stored(server: Server) -> str:
    """E-1: every value of every table, as text; the audit trail included."""
    with closing(sqlite3.connect(server.data / "watchword.db")) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return "\n".join(str(row) for table in tables for row in database.execute(f"SELECT * FROM {table}"))
