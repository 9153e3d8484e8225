"""Says in words whether a token of the application that was there before opens a session here, and why not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from watchword.clock import rfc3339
from watchword.errors import TokenError
from watchword.identity.explained import Explained, shown
from watchword.identity.factors import Candidate
from watchword.identity.kernel import Kernel
from watchword.identity.legacy_factor import LegacyFactor
from watchword.identity.user_row import LOOK_UP, User
from watchword.tokens.claims import AccessClaims
from watchword.tokens.legacy import Legacy

_ADVICE: Final = (
    "Its key is WATCHWORD_LEGACY_JWT_SECRET or WATCHWORD_LEGACY_JWKS, its audience WATCHWORD_LEGACY_AUDIENCE,"
    " and the claim that names its user WATCHWORD_LEGACY_SUBJECT."
)


async def explain_legacy(kernel: Kernel, legacy: Legacy, token: str) -> Explained:
    """Explain a token for which `legacy.concerns` is true. Raises `StorageUnavailable`."""
    now, facts = kernel.clock.now(), {"accepted_until": str(datetime.fromtimestamp(legacy.until, UTC).date())}
    if now >= legacy.until:
        over = f"Such tokens have been refused since {facts['accepted_until']} (WATCHWORD_LEGACY_UNTIL)."
        return Explained("legacy", False, "token_invalid", [over], facts)
    try:
        claims = legacy.verify(token, now=now)
    except TokenError as error:
        advice = [_ADVICE] if error.code == "token_invalid" else []
        return Explained("legacy", False, error.code, [error.message, *advice], facts)
    factor = LegacyFactor(legacy, kernel.database, kernel.clock)
    named = factor.named_in(claims)
    row = await kernel.database.one(LOOK_UP[named.kind], key=named.key)
    user = None if row is None else User.of(row)
    facts |= _facts(legacy, claims, user)
    if user is None:
        means = f"No user here has this {'username' if named.kind == 'username' else 'id of the old application'}."
        return Explained("legacy", False, "invalid_request", [means], facts)
    fault = await factor.fault_of(claims, Candidate(user))
    return Explained("legacy", not fault, "invalid_request" if fault else None, [fault] if fault else [], facts)


def _facts(legacy: Legacy, claims: AccessClaims, user: User | None) -> dict[str, str]:
    path = ".".join(legacy.subject.path)
    return {
        f"claim {path}": shown(claims.sub.removeprefix(f"{legacy.subject.kind}:")),
        "issued_at": rfc3339(claims.iat) if claims.iat else "",
        "expires_at": rfc3339(claims.exp),
        "user_id": "" if user is None else user.id,
        "user": "" if user is None else user.username or user.email or "",
    }
