"""Password hashes that other systems made: what each form looks like, what it costs, whether a password matches.

A stored hash that was imported begins with `MARK`. Those systems hashed the password as it was typed, and bcrypt there
ignored bytes past 72; ours are hashed after NFKC. The mark keeps the two apart.

Costs are bounded when a hash is read: a hostile file must not make a log-in take a minute or a gigabyte.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from typing import NamedTuple

import argon2
import bcrypt

from watchword.identity.hash_costs import MARK

LONGEST_HASH = 512
MOST_ITERATIONS = {"sha1": 3_000_000, "sha256": 3_000_000, "sha512": 2_000_000}
"""Of PBKDF2; a second or two. Django 5.2 writes 1,000,000."""
LOWEST_BCRYPT, HIGHEST_BCRYPT = 4, 14
MOST_KIB = 262_144
"""Memory of one Argon2 or scrypt hash: 256 MiB."""
MOST_WORK = 1_048_576
"""KiB filled, over all passes: four times the most memory."""
MOST_LANES, MOST_BLOCKS = 16, 64
MOST_TURNS = 128
"""Passes times lanes of Argon2. OWASP's lists have 5 at most, libraries' defaults 32."""
_SHORTEST_SALT = 8
_SHORTEST_KEY, _LONGEST_KEY = 16, 128  # bytes; a shorter one would be guessed
_BCRYPT_BYTES, _BCRYPT_SALT, _BCRYPT_KEY = 72, 22, 31


class OldHash(NamedTuple):
    """A hash that was understood.

    :param kind: algorithm and parameters, without salt and key; `hash_costs` reads it.
    :param key: what the function must return; compared in constant time.
    :param compute: password as typed → the bytes to compare with `key`.
    """

    kind: str
    key: bytes
    compute: Callable[[bytes], bytes]


class UnknownHash(ValueError):
    """Says why a hash is refused. The message quotes nothing of it."""


def read(text: str) -> OldHash:
    """Return a hash without its mark, understood. Raises `UnknownHash`."""
    if len(text) > LONGEST_HASH or not text.isascii() or not text.isprintable():
        raise UnknownHash(f"a hash has at most {LONGEST_HASH} printable ASCII characters")
    for form, reader in _FORMS:
        found = form.fullmatch(text)
        if found is not None:
            return reader(*found.groups())
    raise UnknownHash("no form of password hash that is known")


def matches(password: str, text: str, normal: bytes) -> bool:
    """Return whether a password matches a hash without its mark. A malformed one matches nothing.

    Two spellings are tried: as typed, and normalised. Keyboards differ, and some systems normalised. For most
    passwords, which are ASCII, both are one. How often the work is done depends on the password only.

    :param normal: the NFKC bytes of the password.
    """
    try:
        old = read(text)
    except UnknownHash:
        return False
    found = [hmac.compare_digest(_computed(old, each), old.key) for each in spellings(password, normal)]
    return any(found)  # of all of them: an early end would be a matter of time


def spellings(password: str, normal: bytes) -> tuple[bytes, ...]:
    """Return the bytes that a password may have had in another system: as typed, and normalised."""
    return tuple(dict.fromkeys((password.encode(), normal)))


def _computed(old: OldHash, spelling: bytes) -> bytes:
    try:
        return old.compute(spelling)
    except (ValueError, argon2.exceptions.Argon2Error):  # the library refuses these parameters
        return b""


def kind_of(text: str) -> str:
    """Return the kind of a hash with its mark: parameters without salt and key."""
    try:
        return MARK + read(text[len(MARK) :]).kind
    except UnknownHash:
        return MARK


def sample_of(text: str) -> str:
    """Return a hash of the same kind, with its mark, of a password that no one knows."""
    old = read(text)
    if old.kind.startswith("$2b$"):
        return f"{MARK}{old.kind}${_bcrypt_text(22)}{_bcrypt_text(31)}"
    if old.kind.startswith("pbkdf2:"):
        _, digest, iterations = old.kind.split(":")
        key = secrets.token_hex(hashlib.new(digest).digest_size)
        return f"{MARK}pbkdf2:{digest}:{iterations}${secrets.token_hex(8)}${key}"
    if old.kind.startswith("scrypt:"):
        return f"{MARK}{old.kind}${secrets.token_hex(8)}${secrets.token_hex(64)}"
    return f"{MARK}{old.kind}${_b64(secrets.token_bytes(16))}${_b64(secrets.token_bytes(32))}"


# --- bcrypt --------------------------------------------------------------------------------------------------------


def _bcrypt(setting: str, password: bytes) -> bytes:
    # Compare the key alone: programs differ in the unused bits at the end of a salt.
    return bcrypt.hashpw(password[:_BCRYPT_BYTES], setting.encode())[-_BCRYPT_KEY:]


def _plain_bcrypt(_prefix: str, cost: str, rest: str) -> OldHash:
    # The variants differ in faults of their first programs only, and not in what correct ones compute.
    kind = _bcrypt_kind(cost)
    return OldHash(kind, rest[_BCRYPT_SALT:].encode(), lambda password: _bcrypt(f"{kind}${rest}", password))


def _bcrypt_kind(cost: str) -> str:
    if not LOWEST_BCRYPT <= int(cost) <= HIGHEST_BCRYPT:
        raise UnknownHash(f"bcrypt's cost must be {LOWEST_BCRYPT} to {HIGHEST_BCRYPT}")
    return f"$2b${int(cost):02}"


def _django_bcrypt(prefix: str, cost: str, rest: str) -> OldHash:
    """`bcrypt$$2b$12$…`: bcrypt of the password."""
    return _plain_bcrypt(prefix, cost, rest)


def _django_bcrypt_sha256(prefix: str, cost: str, rest: str) -> OldHash:
    """`bcrypt_sha256$$2b$12$…`: bcrypt of the SHA-256 in hexadecimal digits."""
    inner = _plain_bcrypt(prefix, cost, rest)
    return inner._replace(compute=lambda password: inner.compute(hashlib.sha256(password).hexdigest().encode()))


def _passlib_bcrypt_sha256(_prefix: str, cost: str, salt: str, rest: str) -> OldHash:
    """`$bcrypt-sha256$v=2,t=2b,r=12$salt$key`: bcrypt of the base64 of HMAC-SHA-256, keyed with the salt."""
    inner = _plain_bcrypt("2b", cost, salt + rest)

    def compute(password: bytes) -> bytes:
        return inner.compute(base64.b64encode(hmac.digest(salt.encode(), password, "sha256")))

    return inner._replace(compute=compute)


def _passlib_bcrypt_sha256_first(_prefix: str, cost: str, salt: str, rest: str) -> OldHash:
    """`$bcrypt-sha256$2b,12$salt$key`: bcrypt of the base64 of the SHA-256."""
    inner = _plain_bcrypt("2b", cost, salt + rest)
    return inner._replace(compute=lambda password: inner.compute(base64.b64encode(hashlib.sha256(password).digest())))


def _bcrypt_text(length: int) -> str:
    # The last character of a salt and of a key has fewer bits; a dot has none.
    letters = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    return "".join(secrets.choice(letters) for _ in range(length - 1)) + "."


# --- PBKDF2 --------------------------------------------------------------------------------------------------------


def _pbkdf2(digest: str, iterations: str, salt: bytes, key: bytes) -> OldHash:
    count = int(iterations)
    if not 1 <= count <= MOST_ITERATIONS[digest]:
        raise UnknownHash(f"PBKDF2 with {digest} may have 1 to {MOST_ITERATIONS[digest]:,} iterations")
    size = hashlib.new(digest).digest_size
    if len(key) != size:
        raise UnknownHash(f"a PBKDF2 key by {digest} has {size} bytes")
    kind = f"pbkdf2:{digest}:{count}"
    return OldHash(kind, key, lambda password: hashlib.pbkdf2_hmac(digest, password, salt, count))


def _django_pbkdf2(digest: str, iterations: str, salt: str, key: str) -> OldHash:
    """`pbkdf2_sha256$600000$salt$key`, the key in base64."""
    return _pbkdf2(digest, iterations, salt.encode(), _bytes(key))


def _werkzeug_pbkdf2(digest: str, iterations: str, salt: str, key: str) -> OldHash:
    """`pbkdf2:sha256:600000$salt$key`, the key in hexadecimal digits."""
    return _pbkdf2(digest, iterations, salt.encode(), _hex(key))


def _passlib_pbkdf2(digest: str | None, iterations: str, salt: str, key: str) -> OldHash:
    """`$pbkdf2-sha256$29000$salt$key`, both in base64 with `.` for `+`."""
    return _pbkdf2(digest or "sha1", iterations, _bytes(salt), _bytes(key))


# --- scrypt --------------------------------------------------------------------------------------------------------


def _scrypt(numbers: tuple[int, int, int], salt: bytes, key: bytes) -> OldHash:
    n, r, p = numbers
    if n == 1 or n & (n - 1):
        raise UnknownHash("scrypt's N is a power of two")
    if not (1 <= r <= MOST_BLOCKS and 1 <= p <= MOST_LANES and n * r <= 8 * MOST_KIB and n * r * p <= 8 * MOST_WORK):
        raise UnknownHash(f"scrypt may take {MOST_KIB // 1024} MiB")
    if not _SHORTEST_KEY <= len(key) <= _LONGEST_KEY:
        raise UnknownHash(f"a scrypt key has {_SHORTEST_KEY} to {_LONGEST_KEY} bytes")
    kind = f"scrypt:{n}:{r}:{p}"

    def compute(password: bytes) -> bytes:
        memory = 132 * n * r * p + 4096 * r * p + (1 << 20)  # OpenSSL counts a little more than 128 N r
        return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=len(key))

    return OldHash(kind, key, compute)


def _werkzeug_scrypt(n: str, r: str, p: str, salt: str, key: str) -> OldHash:
    """`scrypt:32768:8:1$salt$key`, the key in hexadecimal digits."""
    return _scrypt((int(n), int(r), int(p)), salt.encode(), _hex(key))


def _django_scrypt(n: str, salt: str, r: str, p: str, key: str) -> OldHash:
    """`scrypt$16384$salt$8$5$key`, the key in base64."""
    return _scrypt((int(n), int(r), int(p)), salt.encode(), _bytes(key))


def _passlib_scrypt(ln: str, r: str, p: str, salt: str, key: str) -> OldHash:
    """`$scrypt$ln=16,r=8,p=1$salt$key`."""
    return _scrypt((1 << int(ln), int(r), int(p)), _bytes(salt), _bytes(key))


def _better_auth(salt: str, key: str) -> OldHash:
    """`salt:key`, both in hexadecimal digits, the first taken as text: what better-auth writes."""
    return _scrypt((16384, 16, 1), salt.encode(), _hex(key))


# --- Argon2 --------------------------------------------------------------------------------------------------------


def _argon2(variant: str, version: str | None, memory: str, time: str, lanes: str, salt: str, key: str) -> OldHash:
    kib, passes, threads = int(memory), int(time), int(lanes)
    bounded = kib * passes <= MOST_WORK and passes * threads <= MOST_TURNS  # each lane of each pass starts a thread
    if not (8 * threads <= kib <= MOST_KIB and bounded and 1 <= threads <= MOST_LANES):
        raise UnknownHash(
            f"Argon2 may take {MOST_KIB // 1024} MiB in {MOST_WORK // MOST_KIB} passes, {MOST_LANES} lanes"
        )
    kind = f"$argon2{variant}$v={version or 16}$m={kib},t={passes},p={threads}"
    wanted, salted = _bytes(key), _bytes(salt)
    if not _SHORTEST_KEY <= len(wanted) <= _LONGEST_KEY or len(salted) < _SHORTEST_SALT:
        raise UnknownHash(f"Argon2 has a salt of 8 bytes or more, and a key of {_SHORTEST_KEY} to {_LONGEST_KEY}")

    def compute(password: bytes) -> bytes:
        return argon2.low_level.hash_secret_raw(
            password, salted, passes, kib, threads, len(wanted), _VARIANTS[variant], int(version or 16)
        )

    return OldHash(kind, wanted, compute)


_VARIANTS = {"i": argon2.Type.I, "d": argon2.Type.D, "id": argon2.Type.ID}


# --- Text ----------------------------------------------------------------------------------------------------------


def _bytes(text: str) -> bytes:
    """Decode base64, with or without padding, with `+` or passlib's `.`."""
    plain = text.rstrip("=").replace(".", "+")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except binascii.Error:
        raise UnknownHash("its salt or its key is no base64") from None


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise UnknownHash("its key has an odd number of hexadecimal digits") from None


_NUMBER = r"([1-9]\d{0,8})"
_B64 = r"([A-Za-z0-9+/.]+={0,2})"
_HEX = r"([0-9a-f]+)"
_SALT = r"([^$]+)"
_CRYPT = r"\$(2[aby])\$(\d\d)\$([./A-Za-z0-9]{53})"
_ARGON2 = rf"\$argon2(id|i|d)(?:\$v=(16|19))?\$m={_NUMBER},t={_NUMBER},p={_NUMBER}\${_B64}\${_B64}"
_PASSLIB_BCRYPT = r"\$([./A-Za-z0-9]{22})\$([./A-Za-z0-9]{31})"

# Form → what reads it. Which system hashes how stands in docs/guides/move-in.md.
_FORMS: tuple[tuple[re.Pattern[str], Callable[..., OldHash]], ...] = (
    (re.compile(_CRYPT), _plain_bcrypt),
    (re.compile(_ARGON2), _argon2),
    (re.compile("argon2" + _ARGON2), _argon2),  # Django
    (re.compile(r"bcrypt\$" + _CRYPT), _django_bcrypt),
    (re.compile(r"bcrypt_sha256\$" + _CRYPT), _django_bcrypt_sha256),
    (re.compile(rf"pbkdf2_(sha1|sha256)\${_NUMBER}\${_SALT}\${_B64}"), _django_pbkdf2),
    (re.compile(rf"scrypt\${_NUMBER}\${_SALT}\${_NUMBER}\${_NUMBER}\${_B64}"), _django_scrypt),
    (re.compile(rf"pbkdf2:(sha1|sha256|sha512):{_NUMBER}\${_SALT}\${_HEX}"), _werkzeug_pbkdf2),
    (re.compile(rf"scrypt:{_NUMBER}:{_NUMBER}:{_NUMBER}\${_SALT}\${_HEX}"), _werkzeug_scrypt),
    (re.compile(rf"\$pbkdf2(?:-(sha256|sha512))?\${_NUMBER}\${_B64}\${_B64}"), _passlib_pbkdf2),
    (re.compile(r"\$bcrypt-sha256\$v=2,t=(2b),r=(\d\d?)" + _PASSLIB_BCRYPT), _passlib_bcrypt_sha256),
    (re.compile(r"\$bcrypt-sha256\$(2[ab]),(\d\d?)" + _PASSLIB_BCRYPT), _passlib_bcrypt_sha256_first),
    (re.compile(rf"\$scrypt\$ln=(\d\d?),r={_NUMBER},p={_NUMBER}\${_B64}\${_B64}"), _passlib_scrypt),
    (re.compile(r"([0-9a-f]{32}):([0-9a-f]{128})"), _better_auth),
)
