"""What checking a password hash takes, told from its kind: so that every failed log-in can take the same.

Hashes of one family do the same work, some more of it. A failure pays for the most expensive of each family and not for
each kind, since ten years of Django are a dozen numbers of iterations.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import bcrypt

MARK = "~"
"""Begins a stored hash that was imported, and its kind."""

_BCRYPT = re.compile(r"(~?)\$2[abxy]\$(\d\d)")
_PBKDF2 = re.compile(r"(~?pbkdf2:(sha1|sha256|sha512)):(\d{1,9})")
_UNKNOWN_SALT = "." * 22
_BCRYPT_BYTES = 72


class Cost(NamedTuple):
    """What one check takes.

    :param family: which work. Imported hashes are families of their own: some passwords are tried in two spellings.
    :param units: how much of it: rounds of bcrypt, iterations of PBKDF2. Other families have one size.
    """

    family: str
    units: int = 1


@lru_cache(maxsize=1024)
def cost_of(kind: str) -> Cost:
    """Return what checking a hash of this kind takes."""
    if found := _BCRYPT.fullmatch(kind):
        return Cost(f"{found[1]}bcrypt", 1 << int(found[2]))
    if found := _PBKDF2.fullmatch(kind):
        return Cost(found[1], int(found[3]))
    return Cost(kind)


def work_off(spellings: Iterable[bytes], cost: Cost, most: int) -> None:
    """Do the work by which a family's most expensive hash exceeds one that was just checked."""
    for spelling in spellings:
        if cost.family.endswith("bcrypt"):
            _bcrypt(spelling, cost.units, most)
        elif cost.units < most and ":" in cost.family:
            digest = cost.family.partition(":")[2]
            hashlib.pbkdf2_hmac(digest, spelling, _UNKNOWN_SALT.encode(), most - cost.units)


def _bcrypt(spelling: bytes, done: int, most: int) -> None:
    """Do `most - done` rounds, both powers of two: once `done`, then twice that, and so on."""
    while done < most:
        bcrypt.hashpw(spelling[:_BCRYPT_BYTES], f"$2b${done.bit_length() - 1:02}${_UNKNOWN_SALT}".encode())
        done *= 2
