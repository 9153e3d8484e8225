"""Verifying access tokens, in one fixed order.

    size → characters and two dots → header → refused parameters → typ → alg → kid → the key's algorithm → canonical
    base64url → length of the signature → signature → payload → types → iss, aud, exp, nbf, iat, longest life
    → revocation → scope, role, time of the log-in

A claims object exists only after the last step. Any fault is a `TokenError`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from watchword import strict_json
from watchword.errors import TokenError
from watchword.tokens import compact
from watchword.tokens.algorithms import ALGORITHMS
from watchword.tokens.cache import DEFAULT_SIZE, TokenCache
from watchword.tokens.claims import MAX_CLAIMS_DEPTH, AccessClaims, read_claims
from watchword.tokens.compact import MAX_TOKEN, Parts
from watchword.tokens.issuers import compared
from watchword.tokens.keys import KeySet, VerificationKey
from watchword.tokens.needs import NOTHING, Needs
from watchword.tokens.revocations import RevocationSet

MAX_LEEWAY: Final = 60
DAY: Final = 86_400
_MAX_KNOWN_HEADERS: Final = 256


@dataclass(frozen=True, slots=True)
class Policy:
    """What a verifier accepts.

    :param issuer: the only `iss`, compared as a whole string.
    :param audience: must be a member of `aud`.
    :param algorithms: the only `alg` values; there is no default.
    :param leeway: seconds by which a token may begin (`iat`, `nbf`) in the future; 0 for own tokens, at most 60. Its
        end (`exp`) is never forgiven.
    :param max_lifetime: the longest `exp - iat` in seconds; guards against eternal tokens.
    :param types: the accepted `typ` values; `application/` in front of them is accepted too.
    :param foreign: tokens of another issuer, which may have fractions in their times and lack `jti` and `client_id`.
    :raises ValueError: a policy that makes no sense.
    """

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    leeway: int = 0
    max_lifetime: int = DAY
    types: tuple[str, ...] = ("at+jwt",)
    foreign: bool = False

    def __post_init__(self) -> None:
        _require(bool(self.issuer) and bool(self.audience), "issuer and audience are not empty")
        for names in (self.algorithms, self.types):
            _require(type(names) is tuple and len(names) > 0, "algorithms and types are tuples, not empty")
        _require(all(name in ALGORITHMS for name in self.algorithms), "an algorithm is unknown")
        kinds = {ALGORITHMS[name].symmetric for name in self.algorithms}
        _require(len(kinds) == 1, "shared secrets and public keys are not accepted side by side")
        whole = type(self.leeway) is int
        _require(whole and 0 <= self.leeway <= MAX_LEEWAY, "the leeway is 0 to 60 whole seconds")
        _require(self.max_lifetime > 0, "the longest life is positive")


class Verifier:
    """A policy, a key set and the tokens verified under them: one object, never changed.

    When the keys change, make another verifier (`with_keys`) and replace the one reference to this one. A verification
    that is still under way in another thread then ends in this object's cache, never in the new one's; were key set
    and cache two references, an old key's token could get into the new keys' cache.
    """

    __slots__ = ("_accepted_types", "_audience", "_cache", "_headers", "_size", "key_set", "policy")

    def __init__(self, policy: Policy, key_set: KeySet, *, cache_size: int = DEFAULT_SIZE) -> None:
        self.policy = policy
        self.key_set = key_set
        self._size = cache_size
        self._audience = policy.audience
        self._accepted_types = _with_application(policy.types)
        # (first valid second, first invalid second, claims)
        self._cache: TokenCache[tuple[int, int, AccessClaims]] = TokenCache(cache_size)
        # Header segments of genuine tokens, which repeat with each token that a key signs.
        self._headers: dict[bytes, VerificationKey] = {}

    def with_keys(self, key_set: KeySet) -> Verifier:
        """A verifier with the same policy, other keys, and nothing remembered."""
        return Verifier(self.policy, key_set, cache_size=self._size)

    def verify(
        self,
        token: str,
        *,
        now: int,
        revocations: RevocationSet | None = None,
        needs: Needs = NOTHING,
    ) -> AccessClaims:
        """Verify an access token.

        :param now: seconds since 1970 UTC.
        :param revocations: what has been revoked; checked on every call, also for a remembered token.
        :param needs: roles, scopes or a recent log-in that are asked for.
        :raises TokenError: `token_malformed`, `token_invalid`, `token_expired`, `token_not_yet_valid` (also an `iat`
            in the future), `token_revoked`, `scope_missing`, `role_missing`,
            `reauthentication_required`.
        """
        try:
            if len(token) > MAX_TOKEN:  # before the look-up, which hashes the whole string
                raise compact.malformed("The token is too long.")
            entry = self._cache.young.get(token)
        except TypeError:
            raise compact.malformed("The token is not a string.") from None
        if entry is None:
            entry = self._cache.find_old(token) or self._first_sight(token, now, revocations)
        valid_from, valid_until, claims = entry
        if not valid_from <= now < valid_until:
            raise self.untimely(claims, now)
        if self._audience not in claims.aud:
            raise TokenError("The token is for another audience.")
        if revocations is not None and revocations.refuses(claims):
            raise revoked()
        if needs is not NOTHING:
            needs.check(claims, now=now)
        return claims

    def verify_genuine(self, token: str, *, revocations: RevocationSet | None = None) -> AccessClaims:
        """The claims of a token of ours that may have expired or been revoked since: to end its session, no more.

        :param revocations: only to tell a revoked key from an unknown one.
        :raises TokenError: `token_malformed`, `token_invalid`; `token_revoked` where its key is gone.
        """
        if not isinstance(token, str):
            raise compact.malformed("The token is not a string.")
        parts = compact.split(token)
        key = self._choose_key(parts.header, revocations)
        claims = self._read(check_signature(parts, key), key)
        self._check_addressed(claims)
        return claims

    def validity(self, claims: AccessClaims) -> tuple[int, int]:
        """The first second at which a token with these claims is valid here, and the first at which no longer."""
        return _begin(claims) - self.policy.leeway, claims.exp

    def untimely(self, claims: AccessClaims, now: int) -> TokenError:
        """The error for a token outside of its lifetime: after it, or before it, and then by how much."""
        if now >= claims.exp:
            return TokenError("The token has expired.", code="token_expired")
        error = TokenError("The token is not valid yet.", code="token_not_yet_valid")
        error.early_by = _begin(claims) - now
        return error

    def _first_sight(self, token: str, now: int, revocations: RevocationSet | None) -> tuple[int, int, AccessClaims]:
        if not isinstance(token, str):
            raise compact.malformed("The token is not a string.")
        parts = compact.split(token)
        key = self._headers.get(parts.header)
        new_header = key is None
        if key is None:
            key = self._choose_key(parts.header, revocations)
        payload = check_signature(parts, key)
        if new_header and len(self._headers) < _MAX_KNOWN_HEADERS:
            self._headers[parts.header] = key
        claims = self._read(payload, key)
        entry = self._check(claims, now)
        self._cache.put(token, entry)
        return entry

    def _choose_key(self, segment: bytes, revocations: RevocationSet | None) -> VerificationKey:
        header = compact.read_header(segment)
        typ = header.get("typ")
        if type(typ) is not str or not typ.isascii() or typ.lower() not in self._accepted_types:
            raise TokenError("The token is of another kind.")
        algorithm = compact.header_algorithm(header)
        if algorithm not in self.policy.algorithms:
            raise TokenError("The token's algorithm is not accepted.")
        kid = compact.header_kid(header, own=not self.policy.foreign)
        key = None if kid is None else self.key_set.find(kid)
        if key is None:
            # A revoked key has left the key set. Clients renew what was revoked and give up what is invalid, so both
            # must not look alike. The signature was not checked: the token is refused either way.
            if kid is not None and revocations is not None and revocations.refuses_key(kid):
                raise revoked()
            raise TokenError("The token was signed with an unknown key.")
        if key.algorithm != algorithm:
            raise TokenError("The token's algorithm is not the key's.")
        return key

    def _read(self, payload: bytes, key: VerificationKey) -> AccessClaims:
        return read_payload(payload, key, foreign=self.policy.foreign)

    def _check(self, claims: AccessClaims, now: int) -> tuple[int, int, AccessClaims]:
        policy = self.policy
        self._check_addressed(claims)
        valid_from, valid_until = self.validity(claims)
        if not valid_from <= now < valid_until:
            raise self.untimely(claims, now)
        if claims.exp - claims.iat > policy.max_lifetime:
            raise TokenError("The token lives longer than is accepted.")
        return valid_from, valid_until, claims

    def _check_addressed(self, claims: AccessClaims) -> None:
        if claims.iss != self.policy.issuer:
            slip = compared(claims.iss, self.policy.issuer)
            shown = f", {claims.iss!a:.200} in place of {self.policy.issuer!a}{slip}" if slip else ""
            raise TokenError(f"The token is from another issuer{shown}.")
        if self.policy.audience not in claims.aud:
            raise TokenError("The token is for another audience.")


def check_signature(parts: Parts, key: VerificationKey) -> bytes:
    """Decode all parts canonically, check the signature's length and the signature; give the payload.

    :raises TokenError: `token_malformed` or `token_invalid`.
    """
    payload = compact.decode_segment(parts.payload)
    signature = compact.decode_segment(parts.signature)
    if len(signature) != key.signature_bytes or not key.matches(signature, parts.signing_input):
        raise TokenError("The token's signature is not valid.")
    return payload


def read_payload(payload: bytes, key: VerificationKey, *, foreign: bool = False) -> AccessClaims:
    """The claims in a payload whose signature was checked; none of their values is.

    :raises TokenError: `token_malformed` or `token_invalid`.
    """
    try:
        found = strict_json.read_object(payload, max_depth=MAX_CLAIMS_DEPTH)
    except ValueError as error:
        raise compact.malformed("The token's claims cannot be read.") from error
    return read_claims(found, kid=key.kid, key_mark=key.mark, foreign=foreign)


def claimed(token: object, name: str) -> str | None:
    """The text of a claim in a token of which nothing was checked: only to choose who checks it."""
    try:
        if not isinstance(token, str):
            return None
        payload = compact.decode_segment(compact.split(token).payload)
        value = strict_json.read_object(payload, max_depth=MAX_CLAIMS_DEPTH).get(name)
    except (TokenError, ValueError):
        return None
    return value if type(value) is str else None


def revoked() -> TokenError:
    """The error for a token that the list of revocations refuses."""
    return TokenError("The token has been revoked.", code="token_revoked")


def _begin(claims: AccessClaims) -> int:
    return max(claims.iat, claims.nbf or 0)


def _with_application(types: tuple[str, ...]) -> frozenset[str]:
    plain = frozenset(name.lower().removeprefix("application/") for name in types)
    return plain | {f"application/{name}" for name in plain if "/" not in name}


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(f"policy: {message}")
