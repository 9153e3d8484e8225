"""Verify access tokens of the application that was there before, until a day. Pure: no clock, no I/O.

These tokens were made under other rules: `exp` and `iat` may be missing, the user stands in any claim. So the operator
names one key or key set, one claim, and what it holds. Nothing is guessed, and no token is tried as two things.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Final, NamedTuple

from watchword import strict_json
from watchword.errors import InvalidKey, TokenError
from watchword.known_secrets import check_shared_secret
from watchword.tokens import compact
from watchword.tokens.claims import MAX_CLAIMS_DEPTH, MAX_ID, MAX_TIME, AccessClaims, frozen
from watchword.tokens.keys import KeySet, VerificationKey
from watchword.tokens.raw import verify_compact
from watchword.tokens.revocations import RevocationSet, mark_of
from watchword.tokens.verify import revoked

KINDS: Final = ("id", "external", "username")
LEAST_SECRET: Final = 16
"""Bytes. Below 32, HS256 is weaker than RFC 7518 wants; an unknown secret of 16 cannot be guessed all the same."""

MOST_AHEAD: Final = 180 * 86_400
"""Seconds until the day, at the start."""

LEEWAY: Final = 5
"""Seconds by which a token may begin in the future: another machine made it."""

_SUBJECT: Final = re.compile(rf"([A-Za-z0-9_-]{{1,64}}(?:\.[A-Za-z0-9_-]{{1,64}}){{0,3}}):({'|'.join(KINDS)})")
_PATH: Final = re.compile(r"[A-Za-z0-9_-]{1,64}(?:\.[A-Za-z0-9_-]{1,64}){0,3}")
_MOST_IN_A_NAME: Final = 254
_HMAC_BLOCK: Final = 64
_KID: Final = "legacy"
_KEY_MARK: Final = mark_of(_KID)
# Claims by which libraries tell their kinds of token apart, and the kinds that open an API.
_KIND_CLAIMS: Final = ("type", "token_type", "token_use", "typ")
_ACCESS: Final = frozenset({"access", "bearer", "sliding"})
_TYPES: Final = frozenset({"jwt", "application/jwt"})


class Subject(NamedTuple):
    """Which claim names the user, and what it holds.

    :param path: the claim, and for one inside an object the way to it.
    :param kind: `id`: the user's id, where ids were kept; `external`: the old id, where they were not; `username`.
    """

    path: tuple[str, ...]
    kind: str

    @classmethod
    def of(cls, text: str) -> Subject:
        """Read `user_id:id`, `user.id:external` or `sub:username`. :raises ValueError: anything else."""
        found = _SUBJECT.fullmatch(text)
        if found is None:
            raise ValueError(f"write a claim and what it holds ({', '.join(KINDS)}), such as user_id:id")
        return cls(tuple(found[1].split(".")), found[2])


class Legacy:
    """What is accepted of the application that was there before.

    :param until: the day, `2027-01-31` or a `date`, from whose beginning in UTC nothing is accepted.
    :param subject: as in `Subject.of`.
    :param secret: the secret of its HS256 tokens. Its characters are the key, as in the old application.
    :param keys: or its public keys.
    :param audience: what `aud` must hold; without it a token that has an `aud` is refused.
    :param roles: the claim with the user's roles, a list of texts; without it a caller has none.
    :raises InvalidKey: the secret is known or short, or the keys are no public ones.
    :raises ValueError: another option is unusable. :raises TypeError: it is of another kind.
    """

    __slots__ = ("_algorithms", "_audience", "_keys", "_roles", "_secret", "subject", "until")

    def __init__(
        self,
        *,
        until: date | str,
        subject: str,
        secret: str | bytes | None = None,
        keys: KeySet | None = None,
        audience: str | None = None,
        roles: str | None = None,
    ) -> None:
        if (secret is None) is (keys is None):
            raise ValueError("legacy: give secret or keys, and one of them only")
        self.until = beginning_of(until)
        self.subject = Subject.of(subject)
        self._secret = None if secret is None else _bytes(secret)
        self._keys = _public(keys) if self._secret is None else KeySet([secret_key(self._secret)])
        self._algorithms = frozenset(key.algorithm for key in self._keys)
        if audience == "":
            raise ValueError("legacy: audience is empty")
        self._audience = audience
        if roles is not None and not _PATH.fullmatch(roles):
            raise ValueError("legacy: roles is the name of a claim")
        self._roles = None if roles is None else tuple(roles.split("."))

    def __repr__(self) -> str:
        return f"<Legacy until {datetime.fromtimestamp(self.until, UTC).date()} by {'.'.join(self.subject.path)}>"

    def require_sane(self, now: int) -> None:
        """Refuse a day that is too far ahead: old tokens have none of the protection of new ones.

        :raises ValueError: it is.
        """
        if self.until - now > MOST_AHEAD:
            raise ValueError(f"legacy: until is more than {MOST_AHEAD // 86_400} days ahead")

    def shares(self, secret: bytes) -> bool:
        """Tell whether this is the same secret: anyone who makes old tokens could then make new ones."""
        return self._secret is not None and self._secret.rstrip(b"\0") == secret.rstrip(b"\0")

    def concerns(self, token: object) -> bool:
        """Tell from the header whether this is for `verify`. Tokens of ours say `at+jwt`: each token has one judge."""
        try:
            return _is_plain(compact.read_header(compact.split(token).header))
        except TokenError:
            return False

    def verify(self, token: str, *, now: int, revocations: RevocationSet | None = None) -> AccessClaims:
        """Return the claims of a good token.

        `sub` is the user's id where the claim holds that, else `external:<old id>` or `username:<name>`, which no
        revocation of a user can name. `exp` is never after the day. There are no scopes, no session, no version and no
        time of a log-in. The old claims are in `extra["legacy"]`.

        :raises TokenError: any other token, and every token from the day on.
        """
        if now >= self.until:
            raise _over()
        if not _is_plain(compact.read_header(compact.split(token).header)):
            raise TokenError("The token is of another kind.")
        payload = verify_compact(token, self._keys, algorithms=self._algorithms)
        claims = self._read(payload, now)
        if revocations is not None and revocations.refuses(claims):
            raise revoked()
        return claims

    def validity(self, claims: AccessClaims) -> tuple[int, int]:
        """Return the first second at which these claims are valid, and the first at which no longer."""
        return max(claims.iat, claims.nbf or 0) - LEEWAY, claims.exp

    def untimely(self, claims: AccessClaims, now: int) -> TokenError:
        """Return the error for a token outside of its life."""
        if now >= self.until:
            return _over()
        if now >= claims.exp:
            return TokenError("The token has expired.", code="token_expired")
        return TokenError("The token is not valid yet.", code="token_not_yet_valid")

    def _read(self, payload: bytes, now: int) -> AccessClaims:
        try:
            found = strict_json.read_object(payload, max_depth=MAX_CLAIMS_DEPTH)
        except ValueError as error:
            raise compact.malformed("The token's claims cannot be read.") from error
        _check_kind(found)
        self._check_audience(found)
        exp = _time(found, "exp")
        value = self.value_in(found)
        sub = value if self.subject.kind == "id" else f"{self.subject.kind}:{value}"
        claims = AccessClaims(
            iss=found["iss"] if type(found.get("iss")) is str else "",
            sub=sub, aud=(), exp=self.until if exp is None else min(exp, self.until), iat=_time(found, "iat") or 0,
            nbf=_time(found, "nbf"), jti="", client_id="", sid=None, scopes=frozenset(), roles=self._roles_in(found),
            ver=None, auth_time=None, amr=(), kid=_KID, extra=frozen({"legacy": found}), session_mark=None,
            user_mark=mark_of(sub), key_mark=_KEY_MARK,
        )  # fmt: skip
        begin, end = self.validity(claims)
        if not begin <= now < end:
            raise self.untimely(claims, now)
        return claims

    def value_in(self, found: Mapping[str, Any]) -> str:
        """Return what names the user: a text, or a whole number as text. 1.0 and true are no ids."""
        value = _at(found, self.subject.path)
        if self.subject.kind == "username":
            if type(value) is str and 0 < len(value) <= _MOST_IN_A_NAME and value.isprintable():
                return value
        elif type(value) is int or (type(value) is str and value.isascii()):
            text = str(value)
            if 0 < len(text) <= MAX_ID and text.isprintable() and " " not in text:
                return text
        raise TokenError(f"The token's claim {'.'.join(self.subject.path)} is missing or not acceptable.")

    def _check_audience(self, found: dict[str, Any]) -> None:
        named = found.get("aud", [])
        listed = [named] if type(named) is str else named
        if type(listed) is not list or (self._audience is None and listed):
            raise TokenError("The token is for an audience that is not expected.")
        if self._audience is not None and self._audience not in [each for each in listed if type(each) is str]:
            raise TokenError("The token is for another audience.")

    def _roles_in(self, found: dict[str, Any]) -> frozenset[str]:
        if self._roles is None:
            return frozenset()
        listed = _at(found, self._roles)
        if type(listed) is not list or not all(type(each) is str for each in listed):
            raise TokenError("The token's roles are not a list of texts.")
        return frozenset(listed)


def beginning_of(day: date | str) -> int:
    """Return the first second of a day in UTC. :raises ValueError: no such day. :raises TypeError: no date."""
    if isinstance(day, datetime) or not isinstance(day, date | str):
        raise TypeError("legacy: until is a day, such as 2027-01-31")
    if isinstance(day, str):
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", day, re.ASCII):
            raise ValueError("legacy: until is a day, such as 2027-01-31")
        day = date.fromisoformat(day)
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def secret_key(secret: bytes) -> VerificationKey:
    """Return the key of HS256 tokens. :raises InvalidKey: the secret is known, repeating or under 16 bytes."""
    check_shared_secret(secret, least=LEAST_SECRET)
    # HMAC fills a short key up with zeros itself (RFC 2104 section 2), so this is the same key.
    return VerificationKey.shared_secret(secret if len(secret) >= _HMAC_BLOCK else secret.ljust(_HMAC_BLOCK, b"\0"))


def _over() -> TokenError:
    return TokenError("Tokens of the application that was here before are not accepted any more.")


def _bytes(secret: str | bytes) -> bytes:
    if not isinstance(secret, str | bytes):
        raise TypeError("legacy: secret is a text or bytes")
    return secret.encode() if isinstance(secret, str) else secret


def _public(keys: object) -> KeySet:
    if not isinstance(keys, KeySet) or not len(keys) or any(key.symmetric for key in keys):
        raise InvalidKey("legacy: keys is a KeySet of public keys; a secret is given as secret")
    return keys


def _is_plain(header: dict[str, Any]) -> bool:
    typ = header.get("typ", "JWT")
    return type(typ) is str and typ.lower() in _TYPES


def _check_kind(found: dict[str, Any]) -> None:
    """Refuse refresh tokens, and links in mails, which are signed with the same key."""
    for name in _KIND_CLAIMS:
        kind = found.get(name, "access")
        if type(kind) is not str or kind.lower() not in _ACCESS:
            raise TokenError(f"The token's claim {name} says that it is no access token.")


def _time(found: dict[str, Any], name: str) -> int | None:
    if name not in found:
        return None
    value = found[name]
    if type(value) not in (int, float) or not 0 <= value <= MAX_TIME:
        raise TokenError(f"The token's claim {name} is not acceptable.")
    return int(value)


def _at(found: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = found
    for name in path:
        if type(value) is not dict:
            return None
        value = value.get(name)
    return value
