"""An API calls another one for a user: token exchange (RFC 8693).

The new token is the user's, for one other API, with no more scopes and no longer life than the token that was shown. It
has that token's `sub`, `sid` and `ver`, so whatever refuses that one refuses this one. `act` names who acts, with the
`ver` of their own tokens, so what refuses those refuses this one too. It has no roles.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from watchword.clock import Clock
from watchword.errors import Refused, TokenError, Unauthenticated
from watchword.identity import audit
from watchword.identity.api_keys import Exchanged
from watchword.identity.audit import Client
from watchword.identity.issuing import AccessGrant, TokenIssuer
from watchword.identity.rights import Api, Asked, Rights, Table, listed, read_scopes
from watchword.identity.service_accounts.account import Account
from watchword.identity.sessions.sessions import Sessions
from watchword.identity.takes import takes_of
from watchword.identity.throttle import Throttle
from watchword.identity.verifying import AccessVerifier
from watchword.storage.database import Database, Row, Tx
from watchword.storage.ephemeral import Ephemeral, is_first
from watchword.tally import Log, Sample
from watchword.tokens.claims import AccessClaims
from watchword.tokens.frozen import thawed
from watchword.tokens.needs import is_machine

LONGEST: Final = 300
"""Seconds that such a token lives at most: it is asked for where it is needed."""
MOST_ACTORS: Final = 4
"""How many clients may act one behind the other."""
_HOUR: Final = 3600
_USER: Final = """
SELECT roles, token_version, (SELECT ww_rights.version FROM ww_rights WHERE ww_rights.id = 1) AS rights{}
FROM ww_users WHERE id = :id AND disabled_at IS NULL
"""


class _NotAccepted(Exception):
    """Says for the log why a subject token cannot be exchanged. The answer is the same for each."""


class Exchanging:
    """Exchanges users' access tokens."""

    def __init__(
        self,
        database: Database,
        ephemeral: Ephemeral,
        issuer: TokenIssuer,
        rights: Rights,
        verifier: AccessVerifier,
        sessions: Sessions,
        throttle: Throttle,
        clock: Clock,
    ) -> None:
        self._database = database
        self._ephemeral = ephemeral
        self._issuer = issuer
        self._rights = rights
        self._verifier = verifier
        self._sessions = sessions
        self._throttle = throttle
        self._clock = clock
        self._user = _USER.format("".join(f", {name}" for name in issuer.own_claims.columns))
        self._refusals = Sample(Log("watchword.clients"), "exchange_refused")

    async def exchange(
        self, account: Account, subject_token: str, scope: str | None, resource: str | None, *, client: Client
    ) -> Exchanged:
        """Return a token with which an API, which has proved who it is, calls another one on the user's behalf.

        :param subject_token: an access token of a user, which was sent to this API.
        :param resource: the other API's audience.
        :raises Refused: `unauthorized_client`: it may exchange nothing; `invalid_request` alike for every subject token
            that is not accepted (section 2.2.2), the log has the reason; `invalid_target`, `invalid_scope`.
        """
        try:
            return await self._exchange(account, subject_token, scope, resource, client)
        except _NotAccepted as fault:
            self._refusals.add(
                client_id=account.id, reason=str(fault), address=client.address, request_id=client.request_id
            )
            raise Refused("This subject token is not accepted.", code="invalid_request") from None

    async def _exchange(
        self, account: Account, subject_token: str, scope: str | None, resource: str | None, client: Client
    ) -> Exchanged:
        if not account.exchanges:
            raise Refused("This client may exchange no tokens.", code="unauthorized_client")
        await self._throttle.take(*takes_of("client", client.address, account.id), client=client, user=account.id)
        claims, row = await self._subject(subject_token)
        await self._rights.reach(row["rights"])
        signer, now, table = self._issuer.require_key(), self._clock.now(), self._rights.table
        _require_sent_to(table, account, claims)
        target = _target(table, account, resource)
        grant = AccessGrant(
            claims.sub, str(claims.sid), account.id, self._scope(claims, row, target, scope), (), claims.ver or 0,
            auth_time=claims.auth_time, amr=claims.amr, issued_at=now, not_after=min(claims.exp, now + LONGEST),
            audience=target.audience, rights=table.version, claims=self._issuer.claims_of(claims.sub, (), row),
            act=_actors(account, claims),
        )  # fmt: skip
        await self._note(account, claims, target, now, client)
        return Exchanged(self._issuer.access_token(grant, signer), self._issuer.expires_at(grant) - now, grant.scope)

    async def _subject(self, token: str) -> tuple[AccessClaims, Row]:
        """Return a user's claims, and the user's row; the database decides whether the session still lives."""
        try:
            claims = self._verifier.verify_for_any(token)
        except TokenError as error:
            raise _NotAccepted(error.code) from None
        if is_machine(claims):
            raise _NotAccepted("it is a client's or an API key's, and no user's")
        if claims.sid is None or not await self._sessions.is_live(claims.sid):
            raise _NotAccepted("its session has ended")
        row = await self._database.one(self._user, id=claims.sub)
        if row is None or (claims.ver or 0) < row["token_version"]:
            raise _NotAccepted("its user is disabled or deleted, or was changed since")
        return claims, row

    def _scope(self, claims: AccessClaims, row: Row, target: Api, asked: str | None) -> str:
        """Return what token, user and API have in common, or of it what is asked for. Raises `Refused`."""
        allowed = Asked(claims.scopes)
        try:
            held = self._rights.grant(tuple(row["roles"].split()), "", target.id, allowed).scope
        except Unauthenticated as error:
            raise _no_target() from error
        if not asked:
            return held
        beyond = read_scopes(asked) - frozenset(held.split())
        if beyond:
            raise Refused(f"The token does not have these scopes there: {listed(beyond)}.", code="invalid_scope")
        return " ".join(sorted(read_scopes(asked)))

    async def _note(self, account: Account, claims: AccessClaims, target: Api, now: int, client: Client) -> None:
        """Record the first of an hour, for each account, session and API."""
        name = sha256(f"{account.id} {claims.sid} {target.id}".encode()).hexdigest()[:40]
        if not await is_first(self._ephemeral, f"exchanged:{name}", lifetime=_HOUR, now=now):
            return

        async def unit(tx: Tx) -> None:
            await audit.record(
                tx, "token_exchanged", at=now, client=client, user=claims.sub, session=claims.sid,
                detail={"client": account.id, "api": target.id},
            )  # fmt: skip

        await self._database.transact(unit)


def _require_sent_to(table: Table, account: Account, claims: AccessClaims) -> None:
    """Refuse a token that was sent to another API than the one that the client is: it was overheard, or stolen."""
    served = table.api(account.serves)
    if served is None:
        raise _NotAccepted("the API that the client serves is no more")
    if served.audience not in claims.aud:
        raise _NotAccepted(f"it is for {' '.join(claims.aud):.200}, and the client serves {served.audience}")


def _target(table: Table, account: Account, resource: str | None) -> Api:
    """Return the other API. The service's own audience is none: its routes are for the user alone."""
    found = table.by_audience.get(resource or "")
    if found is None or found is table.own or found.id == account.serves or found.id not in account.exchanges:
        raise _no_target()
    return found


def _no_target() -> Refused:
    return Refused("This client gets no tokens for this API on a user's behalf.", code="invalid_target")


def _actors(account: Account, claims: AccessClaims) -> Mapping[str, Any]:
    """Return `act`: this client, and behind it those that acted before (section 4.1)."""
    before = claims.extra.get("act")
    depth, inner = 1, before
    while isinstance(inner, Mapping):
        depth, inner = depth + 1, inner.get("act")
    if depth > MOST_ACTORS:
        raise _NotAccepted(f"more than {MOST_ACTORS} clients would act")
    return {"sub": account.id, "ver": account.version} | ({} if before is None else {"act": thawed(before)})
