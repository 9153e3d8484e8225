"""What a check of the guard costs in process. Run as `python -m bench.guard_checks PART`: one part, JSON on stdout.

`seen`        a token that the guard has verified before, its text new each time, as a request brings it
`first_sight` tokens that it has never seen, beside the bare signature check and beside joserfc
`million`     1,000,000 revocations: the memory they take, and a look-up
"""

from __future__ import annotations

import gc
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from watchword import api_keys, base64url
from watchword.clock import SystemClock, elapsed
from watchword.guard import Guard
from watchword.guard.following.waiting import Pending
from watchword.guard.requirement import Requirement
from watchword.tokens.keys import KeySet, SigningKey, VerificationKey
from watchword.tokens.needs import KEY_CLIENT
from watchword.tokens.revocations import RevocationSet
from watchword.tokens.sign import sign_access
from watchword.tokens.verify import Policy, Verifier

ISSUER, AUDIENCE = "https://auth.example", "orders"
LIFE = 900
BATCH, BATCHES, WARM = 1000, 300, 30
TOKENS = 32  # callers whose tokens come in turn
FIRST_SIGHTS = 2000
LIVE = 1_000_000
LOOKED_UP = 100_000
RANDOM = random.Random(11)
T = TypeVar("T")


def some_id() -> str:
    """Return a UUID, the same ones in every run."""
    digits = f"{RANDOM.getrandbits(128):032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def token(key: SigningKey, client_id: str = "watchword") -> str:
    """Sign a token with the claims that the service's own have."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "sub": some_id(),
        "aud": AUDIENCE,
        "exp": now + LIFE,
        "iat": now,
        "jti": some_id(),
        "client_id": client_id,
        "sid": some_id(),
        "scope": "orders:read orders:write",
        "roles": ["clerk"],
        "ver": 1,
        "auth_time": now,
        "amr": ["pwd"],
    }
    return sign_access(claims, key)


def revocations(count: int) -> RevocationSet:
    """Make a list of sessions that have been ended, as log-outs fill it."""
    made, now = RevocationSet(), int(time.time())
    for place in range(count):
        made.add("session", some_id(), 0, now + place % LIFE)
    return made


# A token seen before ------------------------------------------------------------------------------------------------


def seen() -> dict[str, float]:
    """Time `Guard.verify` and the check of a header, with a list of 10,000 revocations.

    A text keeps its hash once it has been asked for. No request brings one that has been hashed, so neither do we;
    what the same objects cost is shown beside, for that is how other libraries publish their figures.
    """
    key = SigningKey.generate("ES256")
    live = revocations(10_000)
    guard = Guard.offline(
        ISSUER,
        audience=AUDIENCE,
        keys=KeySet([key.verification_key]),
        revocations=live,
        clock=SystemClock(),
    )
    # As of a guard that follows a service; one that is offline is settled for ever.
    guard._judge.standing.settle(elapsed() + 3600, SystemClock().now() + 3600)  # noqa: SLF001
    tokens = [token(key).encode() for _ in range(TOKENS)]
    headers = [bytearray(b"Bearer " + each) for each in tokens]
    for each in tokens:
        guard.verify(each.decode())

    def after_a_change(each: str) -> object:
        live.begin_state()  # as each revocation of somebody else's token leaves it
        return guard.verify(each)

    same = [each.decode() for each in tokens]
    turns = [place % TOKENS for place in range(BATCH)]
    scoped = guard.require(scopes="orders:read")
    by_key, keys = _with_keys(guard, key)
    return {
        "verify": per_call(guard.verify, lambda: [tokens[turn].decode() for turn in turns]),
        "verify, same objects": per_call(guard.verify, lambda: [same[turn] for turn in turns]),
        "check a header": per_call(guard.check, lambda: [bytes(headers[turn]) for turn in turns]),
        "check a header, and a scope": per_call(scoped.check, lambda: [bytes(headers[turn]) for turn in turns]),
        "an API key": per_call(by_key.check, lambda: [bytes(keys[turn]) for turn in turns]),
        "list changed": per_call(after_a_change, lambda: [tokens[turn].decode() for turn in turns]),
    }


def _with_keys(guard: Guard, signing: SigningKey) -> tuple[Requirement, list[bytearray]]:
    """Let a guard exchange API keys, as at a service, and see some; return what takes them, and their headers."""

    class Exchange:
        def exchange(self, _: str) -> Generator[Pending, None, str]:
            yield from ()
            return token(signing, KEY_CLIENT)

    guard._judge.keys = Exchange()  # type: ignore[assignment]  # noqa: SLF001
    needs = guard.require(scopes="orders:read", api_keys=True)
    headers = [bytearray(f"Bearer {api_keys.make(some_id()).text}".encode()) for _ in range(TOKENS)]
    for each in headers:
        needs.check(bytes(each))
        assert needs.recall(bytes(each)) is not None
    return needs, headers


def per_call(call: Callable[[T], object], make: Callable[[], Sequence[T]]) -> float:
    """Return the median over the batches of the microseconds of a call, the loop included."""
    times = []
    for _ in range(WARM + BATCHES):
        batch = make()
        started = time.perf_counter_ns()
        for each in batch:
            call(each)
        times.append(time.perf_counter_ns() - started)
    return statistics.median(times[WARM:]) / BATCH / 1000


# First sight --------------------------------------------------------------------------------------------------------


def first_sight() -> dict[str, float]:
    """Time the first verification of each of many tokens beside the peers' of the same token, in turn."""
    return _es256() | _hs256()


def _es256() -> dict[str, float]:
    """`cryptography` gets the signature as it wants it, decoded and in DER, and a key that it has read before."""
    key = SigningKey.generate("ES256")
    verifier = Verifier(Policy(ISSUER, AUDIENCE, ("ES256",)), KeySet([key.verification_key]))
    public, algorithm = _public(key), ec.ECDSA(hashes.SHA256())
    tokens = [token(key) for _ in range(FIRST_SIGHTS)]
    bare = {each: _signed(each) for each in tokens}
    ours, peer = beside(tokens, _ours(verifier), lambda each: public.verify(*bare[each], algorithm))
    return {"ES256": ours, "cryptography": peer, "ES256 ÷ cryptography": ours / peer}


def _hs256() -> dict[str, float]:
    """joserfc decodes and then validates the claims; `decode` alone is shown beside."""
    from joserfc import jwt
    from joserfc.jwk import OctKey

    secret = sha256(b"throw-away").digest()
    key = SigningKey.shared_secret(secret)
    registry = jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": ISSUER},
        aud={"essential": True, "value": AUDIENCE},
        exp={"essential": True},
    )
    theirs = OctKey.import_key(secret)
    policy = Policy(ISSUER, AUDIENCE, ("HS256",))
    keys = KeySet([VerificationKey.shared_secret(secret)])

    def decode(each: str) -> object:
        return jwt.decode(each, theirs, algorithms=["HS256"])

    def verify(each: str) -> object:
        found = jwt.decode(each, theirs, algorithms=["HS256"])
        registry.validate(found.claims)
        return found

    tokens = [token(key) for _ in range(FIRST_SIGHTS)]
    ours, whole = beside(tokens, _ours(Verifier(policy, keys)), verify)
    again, part = beside(tokens, _ours(Verifier(policy, keys)), decode)
    return {
        "HS256": ours,
        "joserfc": whole,
        "joserfc, decode alone": part,
        "HS256 ÷ joserfc": ours / whole,
        "HS256 ÷ joserfc, decode alone": again / part,
    }


def beside(tokens: list[str], ours: Callable[[str], object], peer: Callable[[str], object]) -> tuple[float, float]:
    """Return the median microseconds of both; who comes first with a token changes from one to the next."""
    times: dict[int, list[int]] = {0: [], 1: []}
    for turn, each in enumerate(tokens):
        for side in (0, 1) if turn % 2 else (1, 0):
            call = peer if side else ours
            started = time.perf_counter_ns()
            call(each)
            times[side].append(time.perf_counter_ns() - started)
    warm = len(tokens) // 10
    return statistics.median(times[0][warm:]) / 1000, statistics.median(times[1][warm:]) / 1000


def _ours(verifier: Verifier) -> Callable[[str], object]:
    nothing, clock = RevocationSet(), SystemClock()
    return lambda each: verifier.verify(each, now=clock.now(), revocations=nothing)


def _public(key: SigningKey) -> ec.EllipticCurvePublicKey:
    jwk = key.verification_key.public_jwk()
    x, y = (int.from_bytes(base64url.decode(jwk[name].encode()), "big") for name in ("x", "y"))
    return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()


def _signed(text: str) -> tuple[bytes, bytes]:
    """Return a token's signature in DER and what it is the signature of."""
    signing_input, _, signature = text.encode().rpartition(b".")
    raw = base64url.decode(signature)
    return encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")), signing_input


# A million revocations ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Marks:
    """What the list looks at of a token."""

    session_mark: int
    user_mark: int
    key_mark: int
    ver: int = 1
    rver: int | None = None
    scopes: frozenset[str] = frozenset()
    aud: tuple[str, ...] = ()
    actors: tuple[tuple[int, int], ...] = ()


def million() -> dict[str, float]:
    """Fill the list and see what the process has grown by; then look up tokens in it that all differ."""
    gc.collect()
    before = resident()
    live = revocations(LIVE)
    gc.collect()
    grown = resident() - before
    good = [Marks(RANDOM.getrandbits(128), RANDOM.getrandbits(128), 1) for _ in range(LOOKED_UP)]
    known = list(live._sessions)  # noqa: SLF001
    bad = [Marks(mark, 2, 1) for mark in RANDOM.sample(known, LOOKED_UP)]
    del known
    assert not any(map(live.refuses, good))
    assert all(map(live.refuses, bad))
    return {
        "entries": len(live),
        "MB": grown / 1e6,
        "look-up, not in it": look_up(live, good),
        "look-up, in it": look_up(live, bad),
    }


def look_up(live: RevocationSet, tokens: list[Marks]) -> float:
    """Return the median microseconds of a look-up, each of another token, so that no cache of the machine helps."""
    batches = [tokens[start : start + BATCH] for start in range(0, len(tokens), BATCH)]
    turn = iter(batches * (-(-(WARM + BATCHES) // len(batches))))
    return per_call(live.refuses, lambda: next(turn))


def resident() -> int:
    """Return this process's resident memory in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


PARTS: dict[str, Callable[[], dict[str, float]]] = {"seen": seen, "first_sight": first_sight, "million": million}

if __name__ == "__main__":
    json.dump(PARTS[sys.argv[1]](), sys.stdout)
