"""Says in words why a token is accepted or refused. For an operator; it changes nothing.

The verifier decides whether an access token is accepted, and `rule.decide` what a refresh token means. This only adds
what they keep to themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from watchword import claim_names, opaque
from watchword.clock import rfc3339
from watchword.errors import TokenError
from watchword.identity.explained import Explained, shown
from watchword.identity.explaining_legacy import explain_legacy
from watchword.identity.kernel import Kernel
from watchword.identity.legacy_factor import legacy_of
from watchword.identity.sessions.row import READ, state_of
from watchword.identity.sessions.rule import Verdict, decide
from watchword.storage.database import Row
from watchword.tokens import compact
from watchword.tokens.claims import AccessClaims
from watchword.tokens.frozen import thawed
from watchword.tokens.keys import KeySet, SigningKey, VerificationKey
from watchword.tokens.rotation import LONGEST_TOKEN, PUBLISHED
from watchword.tokens.verify import Policy, Verifier, check_signature, read_payload

ENDS: Final[Mapping[str, str]] = {
    "logged_out": "by a log-out",
    "ended": "by its user, in the list of sessions",
    "operator": "by an operator",
    "disabled": "because the account was disabled",
    "deleted": "because the account was deleted",
    "password_changed": "because the password was changed",
    "password_reset": "because the password was reset by a link",
    "password_set": "because an operator set the password",
    "email_change_undone": "because a change of the e-mail address was undone",
    "refresh_reuse": "because a refresh token was used twice: it may have been stolen",
    "too_many": "because newer sessions of the user needed its place",
    "replaced": "because a log-in in the same browser replaced it",
    "restored": "because a backup was put in place",
}
_KEYS = (
    "SELECT kid, algorithm, status, public_jwk, retired_at, revoked_at FROM ww_signing_keys ORDER BY created_at, kid"
)
_SESSION = """
SELECT user_id, ended_at, end_reason, expires_at, idle_expires_at FROM ww_sessions WHERE id = :id
"""
_OTHER_KINDS: Final = {
    opaque.GUARD_PREFIX: "This is the key of a guard, and no user's token: `watchword guards list` shows them.",
    "wwl_": "This is a link from a mail, and no token: it is opened in a browser, once.",
}


async def explain_token(kernel: Kernel, text: str) -> Explained:
    """Explain a token of any kind. Raises `StorageUnavailable`, `SettingsError`."""
    token = text.strip()
    if token[:7].lower() == "bearer ":
        token = token[7:].strip()
    for prefix, means in _OTHER_KINDS.items():
        if token.startswith(prefix):
            return Explained("none", False, "token_malformed", [means], {})
    if opaque.is_refresh(token):
        return await _refresh(kernel, token)
    legacy = legacy_of(kernel.settings, kernel.clock)  # the kernel of a command has none
    if legacy is not None and legacy.concerns(token):
        return await explain_legacy(kernel, legacy, token)
    return await _Access(kernel).explain(token)


class _Access:
    """Explains one access token."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._settings = kernel.settings
        self._now = kernel.clock.now()
        self._facts: dict[str, str] = {}
        self._reasons: list[str] = []
        self._audience = kernel.settings.audience
        self._code = "token_revoked"

    async def explain(self, token: str) -> Explained:
        rows = {row["kid"]: row for row in await self._kernel.database.scan(_KEYS)}
        try:
            claims, key = self._genuine(token, self._keys(rows))
        except TokenError as error:
            return self._refused(error.code, error.message)
        self._tell(claims)
        self._check_addressed(claims)
        self._check_key(rows.get(claims.kid))
        await self._check_session(claims)
        await self._check_user(claims)
        if lost := self._kernel.revocations.refused.lost(claims):
            self._reasons.append(f"Since it was issued, rights that it has were taken away: {' '.join(sorted(lost))}.")
        return self._decided(token, key)

    def _keys(self, rows: Mapping[str, Row]) -> dict[str, VerificationKey]:
        """Return every key that ever signed here: which of them are accepted is asked later."""
        shared = self._settings.jwt_secret
        if shared is not None:
            key = SigningKey.shared_secret(shared, "HS256").verification_key
            return {key.kid: key}
        return {kid: VerificationKey.from_jwk(msgspec.json.decode(row["public_jwk"])) for kid, row in rows.items()}

    def _genuine(self, token: str, keys: Mapping[str, VerificationKey]) -> tuple[AccessClaims, VerificationKey]:
        """Return the claims of a token that one of these keys has signed. Raises `TokenError` with what is wrong."""
        parts = compact.split(token)
        header = compact.read_header(parts.header)
        typ, algorithm = header.get("typ"), compact.header_algorithm(header)
        kid = compact.header_kid(header, own=False)
        self._facts |= {"typ": shown(typ), "alg": shown(algorithm), "kid": shown(kid)}
        if not isinstance(typ, str) or typ.lower() not in ("at+jwt", "application/at+jwt"):
            raise TokenError(
                f"Its kind (typ) is {shown(typ)}; an access token's is at+jwt. Is it another kind of token?"
                " Those of the application that was here before count where WATCHWORD_LEGACY_UNTIL says so."
            )
        if kid is None:
            raise TokenError("It names no signing key (kid): this service did not issue it.")
        key = keys.get(kid)
        if key is None:
            means = "another service issued it, or this one with another database or shared secret"
            raise TokenError(f"No key of this service has the id {shown(kid)}: {means}.")
        if key.algorithm != algorithm:
            raise TokenError(f"Its algorithm is {shown(algorithm)} and its key's is {key.algorithm}: it was forged.")
        try:
            payload = check_signature(parts, key)
        except TokenError as error:
            if error.code != "token_invalid":
                raise
            raise TokenError("Its signature is not valid: it was changed, or cut off when it was copied.") from error
        return read_payload(payload, key), key

    def _tell(self, claims: AccessClaims) -> None:
        self._facts |= {
            "issuer": shown(claims.iss),
            "audience": " ".join(map(shown, claims.aud)),
            "user_id": shown(claims.sub),
            "session_id": shown(claims.sid),
            "client_id": shown(claims.client_id),
            "issued_at": rfc3339(claims.iat),
            "expires_at": rfc3339(claims.exp),
            "roles": " ".join(sorted(claims.roles)),
            "scope": " ".join(sorted(claims.scopes)),
            "version": str(claims.ver),
        }
        own = {name: value for name, value in claims.extra.items() if not claim_names.fault_of(name)}
        self._facts |= {f"claim {name}": shown(thawed(value)) for name, value in own.items()}

    def _check_addressed(self, claims: AccessClaims) -> None:
        issuer, audience = self._settings.public_url, self._settings.audience
        if claims.iss != issuer:
            self._reasons.append(f"Its issuer is {shown(claims.iss)}; this service is {issuer} (WATCHWORD_PUBLIC_URL).")
        api = next((each for each in self._kernel.rights.table.apis.values() if each.audience in claims.aud), None)
        if api is not None:
            self._facts["api"] = api.name
            self._audience = api.audience
        elif audience not in claims.aud:
            found = self._facts["audience"]
            self._reasons.append(f"It is for the audience {found}; here it is {audience} (WATCHWORD_AUDIENCE).")
        if self._now >= claims.exp:
            self._reasons.append(f"It expired at {rfc3339(claims.exp)}, {_ago(self._now - claims.exp)} ago.")
        begin = max(claims.iat, claims.nbf or 0)
        if self._now < begin:
            early = _ago(begin - self._now)
            self._reasons.append(f"It is valid from {rfc3339(begin)}, in {early}: is the clock of this machine behind?")
        if claims.exp - claims.iat > LONGEST_TOKEN:
            self._reasons.append(f"It lives longer than any token of this service ({_ago(LONGEST_TOKEN)}).")

    def _check_key(self, row: Row | None) -> None:
        if row is None or row["status"] in PUBLISHED:
            return
        if row["revoked_at"] is not None:
            self._reasons.append(f"Its signing key was revoked at {rfc3339(row['revoked_at'])}.")
        else:
            self._code = "token_invalid"
            self._reasons.append("Its signing key is no longer published: all of its tokens have expired.")

    async def _check_session(self, claims: AccessClaims) -> None:
        if claims.sid is None:
            return
        row = await self._kernel.database.one(_SESSION, id=claims.sid)
        if row is None:
            self._reasons.append(
                "Its session is not there any more: it ended more than a day ago, or in another database."
            )
        elif row["ended_at"] is not None:
            self._reasons.append(_ended(row))

    async def _check_user(self, claims: AccessClaims) -> None:
        user = await self._kernel.users.find(claims.sub)
        if user is None:
            self._reasons.append("Its user does not exist: the account was deleted, or is in another database.")
            return
        self._facts["user"] = user.username or user.email or ""
        if user.disabled_at is not None:
            self._reasons.append(f"The account was disabled at {rfc3339(user.disabled_at)}.")
        if (claims.ver or 0) < user.token_version:
            self._reasons.append(
                f"It has version {claims.ver} and the user's tokens have version {user.token_version} by now: since it"
                " was issued the password, the roles or the address were changed, or the account was disabled."
            )

    def _decided(self, token: str, key: VerificationKey) -> Explained:
        """Let the verifier decide, with the keys that are accepted now and the revocations that are known."""
        policy = Policy(
            issuer=self._settings.public_url,
            audience=self._audience,
            algorithms=(key.algorithm,),
            max_lifetime=LONGEST_TOKEN,
        )
        try:
            Verifier(policy, KeySet((key,))).verify(token, now=self._now, revocations=self._kernel.revocations.refused)
        except TokenError as error:
            return self._refused(error.code, error.message)
        if self._reasons:
            return Explained("access", False, self._code, self._reasons, self._facts)
        return Explained("access", True, None, [], self._facts)

    def _refused(self, code: str, message: str) -> Explained:
        return Explained("access", False, code, self._reasons or [message], self._facts)


async def _refresh(kernel: Kernel, token: str) -> Explained:
    found = opaque.decode_refresh(token, kernel.master.keys("refresh"))
    if found is None:
        means = "It was not made with this master secret: it was changed, cut off in copying, or is another service's."
        return Explained("refresh", False, "refresh_token_invalid", [means], {})
    facts = {"generation": str(found.generation)}
    row = await kernel.database.one(READ, handle=opaque.fingerprint(found.handle))
    if row is None:
        means = "Its session is not there: it ended more than a day ago, or in another database."
        return Explained("refresh", False, "session_ended", [means], facts)
    facts |= {"session_id": row["id"], "user_id": row["user_id"], "session_generation": str(row["generation"])}
    now, state = kernel.clock.now(), state_of(row)
    grace = int(kernel.settings.refresh_grace.total_seconds())
    verdict = decide(state, found.generation, now, grace=grace, elsewhere=False)
    if verdict in (Verdict.ROTATE, Verdict.ROLLED_BACK):
        return Explained("refresh", True, None, [], facts)
    code, means = await _refused_refresh(kernel, row, verdict, now)
    return Explained("refresh", verdict is Verdict.GRACE, None if verdict is Verdict.GRACE else code, [means], facts)


async def _refused_refresh(kernel: Kernel, row: Row, verdict: Verdict, now: int) -> tuple[str, str]:
    if verdict is Verdict.GRACE:
        return "", "It was replaced a moment ago, and still yields the same successor, once the answer was lost."
    if verdict is Verdict.SUPERSEDED:
        return "refresh_superseded", "It was replaced, and a newer one of the session is in use: this is an old copy."
    if verdict is Verdict.REUSE:
        means = f"It was replaced at {rfc3339(row['rotated_at'])} or before. Sent again it ends the session."
        if row["retry_mac"] and row["retry_generation"] == row["generation"]:
            means += (
                " Only the one just before the newest, with the retry key of its replacement, still gets the newest."
            )
        return "refresh_token_reused", means
    session = await kernel.database.one(_SESSION, id=row["id"])
    if session is not None and session["ended_at"] is not None:
        return "session_ended", _ended(session)
    if not row["user_active"]:
        return "session_ended", "The account was disabled or deleted."
    if not row["api_is_there"]:
        return "session_ended", "The API that the session was for was deleted."
    until = min(row["expires_at"], row["idle_expires_at"])
    why = (
        "was not used for too long" if row["idle_expires_at"] <= now < row["expires_at"] else "reached its longest life"
    )
    return "session_ended", f"Its session ended at {rfc3339(until)}: it {why}."


def _ended(row: Row) -> str:
    why = ENDS.get(row["end_reason"] or "", "")
    return f"Its session ended at {rfc3339(row['ended_at'])} {why}".rstrip() + "."


def _ago(seconds: int) -> str:
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} seconds"
