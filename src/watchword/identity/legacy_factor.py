"""A token of the application that was there before, as a factor: it opens a session, so that a move logs no one out.

It counts for users who were imported, and only while nothing has happened here that takes rights away: a new password
or address, other roles, ended sessions, a disabled account. All of these raise the user's version, which an import
sets to 1.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import NamedTuple

from watchword.clock import Clock
from watchword.errors import Fault, InvalidKey, Refused, SettingsError, TokenError
from watchword.identity import identifiers
from watchword.identity.factors import Candidate, Factor, Proof
from watchword.identity.identifiers import Identifier
from watchword.identity.revocation import UNTOUCHED
from watchword.settings import Settings
from watchword.storage.database import Database, Row
from watchword.tokens.claims import AccessClaims
from watchword.tokens.jwks import read_key_set
from watchword.tokens.legacy import MOST_AHEAD, Legacy, Subject

METHOD = "legacy_token"
"""No name of RFC 8176: an API can tell from `amr` how a session began."""

_REFUSAL = "This token is not accepted. Log in with your password."
_IMPORTED = "SELECT external_id, imported_at, updated_at, password_set_at FROM ww_users WHERE id = :id"
_log = logging.getLogger("watchword.legacy")


class Shown(NamedTuple):
    """The user that a token names, and the factor that it is."""

    identifier: Identifier
    factor: Factor


class LegacyFactor:
    """Checks tokens by the settings."""

    def __init__(self, legacy: Legacy, database: Database, clock: Clock) -> None:
        self._legacy = legacy
        self._database = database
        self._clock = clock

    def read(self, token: str) -> Shown:
        """Verify a token. Another one than a good one names no one, and its factor fails.

        :raises Refused: from the day on.
        """
        now = self._clock.now()
        if now >= self._legacy.until:
            day = datetime.fromtimestamp(self._legacy.until, UTC).date()
            raise Refused(
                f"Tokens of the application that was here before have been refused since {day}. Log in.",
                code="invalid_request",
            )
        try:
            claims = self._legacy.verify(token, now=now)
        except TokenError as error:
            return Shown(Identifier("external", "", ""), self._factor(None, error.code, error.code))
        return Shown(self.named_in(claims), self._factor(claims, "changed_since", "not_imported"))

    def named_in(self, claims: AccessClaims) -> Identifier:
        """Return the identifier of a token's user. A name is looked up among usernames alone, never among addresses."""
        kind, named = self._legacy.subject.kind, claims.sub
        if kind == "username":
            text = named.removeprefix("username:")
            return Identifier("username", text, identifiers.typed(text).key)
        return Identifier("external", named, named.removeprefix("external:") if kind == "external" else named)

    async def fault_of(self, claims: AccessClaims, candidate: Candidate) -> str:
        """Say why a verified token opens no session for the user that it names; "" where it does."""
        row = await self._database.one(_IMPORTED, id=candidate.user.id)
        return "The account was deleted." if row is None else self._fault(claims, candidate, row)

    def _fault(self, claims: AccessClaims, candidate: Candidate, row: Row) -> str:
        kind, user = self._legacy.subject.kind, candidate.user
        if not candidate.allowed:
            return "The account is disabled."
        if row["imported_at"] is None or row["external_id"] is None:
            return "The account was made here: its user was never one of the old application."
        if user.token_version != UNTOUCHED:
            return "Since the import the password, address or roles were changed, or sessions were ended by someone."
        if _began_before(claims, row):
            return "It was made before the password was set in the old application."
        if kind == "id" and row["external_id"] != user.id:  # so this is not what guards call the user
            return "The ids were not kept when users were imported: WATCHWORD_LEGACY_SUBJECT is to end in :external."
        if kind == "username" and row["updated_at"] != row["imported_at"]:
            return "The user was changed since the import, and perhaps renamed to what someone else was called."
        if kind == "username" and user.username != claims.sub.removeprefix("username:"):
            return "The name is written otherwise here; in the old application that may be someone else's."
        return ""

    def _factor(self, claims: AccessClaims | None, wrong: str, unknown: str) -> Factor:
        async def prove(candidate: Candidate | None) -> Proof | None:
            user_id = "" if candidate is None else candidate.user.id
            row = await self._database.one(_IMPORTED, id=user_id)
            if claims is None or candidate is None or row is None or self._fault(claims, candidate, row):
                return None
            return Proof(METHOD, fresh=False)

        return Factor(prove, refusal=_REFUSAL, wrong=wrong, unknown=unknown, by=METHOD, counted=("legacy",))


def _began_before(claims: AccessClaims, row: Row) -> bool:
    """Tell whether the old application says that the password was set after the token was made.

    Neither may be known: a token need not have `iat`, and a user who came without dates has those of the import. A
    password that was set here has raised the version.
    """
    set_at: int | None = row["password_set_at"]
    return set_at is not None and 0 < claims.iat < set_at < row["imported_at"]


def legacy_of(settings: Settings, clock: Clock) -> Legacy | None:
    """Return what the settings say of the application that was there before, or None; warn when the day is over.

    :raises SettingsError: a value cannot be used, or the day is too far ahead.
    """
    until, subject = settings.legacy_until, settings.legacy_subject
    if until is None or subject is None:
        return None
    try:
        Subject.of(subject)
    except ValueError as error:
        raise _fault("SUBJECT", f"is {subject[:60]!a}", str(error)) from error
    try:
        keys = None if settings.legacy_jwks is None else read_key_set(settings.legacy_jwks.encode())
    except InvalidKey as error:
        raise _fault("JWKS", error.message, 'give the public keys: {"keys": [...]}') from error
    legacy = Legacy(
        until=until,
        subject=subject,
        secret=settings.legacy_jwt_secret,
        keys=keys,
        audience=settings.legacy_audience,
    )
    if legacy.until - clock.now() > MOST_AHEAD:
        raise _fault("UNTIL", "is too far ahead", f"choose a day in the next {MOST_AHEAD // 86_400} days")
    if clock.now() >= legacy.until:
        _log.warning("WATCHWORD_LEGACY_UNTIL is over: remove the settings WATCHWORD_LEGACY_..., and forget the secret")
    return legacy


def _fault(name: str, message: str, hint: str) -> SettingsError:
    return SettingsError((Fault(f"WATCHWORD_LEGACY_{name}", message, hint),))
