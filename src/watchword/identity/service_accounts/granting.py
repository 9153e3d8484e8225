"""What service accounts get: tokens of their own (RFC 6749 section 4.4)."""

from __future__ import annotations

from typing import Final

from watchword.clock import Clock
from watchword.errors import Refused
from watchword.identity.api_keys import Exchanged
from watchword.identity.audit import Client
from watchword.identity.issuing import AccessGrant, TokenIssuer
from watchword.identity.revocation import SKEW, Entry, Published, Revocations
from watchword.identity.rights import VERSION, Api, Rights, Table, listed, read_scopes
from watchword.identity.service_accounts.account import Account, is_account_id
from watchword.identity.takes import takes_of
from watchword.identity.throttle import Throttle
from watchword.ids import new_id
from watchword.storage.database import Database, Tx
from watchword.tokens.claims import AccessClaims

_IS_LIVE: Final = "SELECT 1 AS live FROM ww_clients WHERE id = :id AND disabled_at IS NULL AND version <= :version"


class AccountTokens:
    """Issues and ends the tokens of service accounts."""

    def __init__(
        self,
        database: Database,
        issuer: TokenIssuer,
        rights: Rights,
        revocations: Revocations,
        throttle: Throttle,
        clock: Clock,
    ) -> None:
        self._database = database
        self._issuer = issuer
        self._rights = rights
        self._revocations = revocations
        self._throttle = throttle
        self._clock = clock

    async def issue(self, account: Account, scope: str | None, resource: str | None, *, client: Client) -> Exchanged:
        """Return a token for an account that has proved who it is. There is no session, and nothing to refresh.

        :param scope: None: all that the account has at the API.
        :param resource: an API's audience; None: the account's only one.
        :raises Refused: `invalid_scope`, `invalid_target`. Raises `TooManyAttempts`, `StorageUnavailable`.
        """
        await self._throttle.take(*takes_of("client", client.address, account.id), client=client, user=account.id)
        await self._reach()
        signer, now, table = self._issuer.require_key(), self._clock.now(), self._rights.table
        api = _api(table, self._rights, account, resource)
        grant = AccessGrant(
            account.id, new_id(), account.id, _scope(account, api, scope), (), account.version, auth_time=None, amr=(),
            issued_at=now, not_after=now + self._issuer.lifetime, audience=api.audience, rights=table.version,
        )  # fmt: skip
        return Exchanged(self._issuer.access_token(grant, signer), self._issuer.expires_at(grant) - now, grant.scope)

    async def is_live(self, claims: AccessClaims) -> bool:
        """Tell from the database whether an account's token, which was verified, still counts."""
        await self._revocations.catch_up()
        row = await self._database.one(_IS_LIVE, id=claims.sub, version=claims.ver or 0)
        return row is not None and not self._revocations.refused.refuses(claims)

    async def revoke(self, claims: AccessClaims) -> None:
        """Refuse one token of an account from now on. What has expired, or is refused already, writes nothing."""
        sid, over = claims.sid, claims.exp <= self._clock.now() or self._revocations.refused.refuses(claims)
        if sid is None or over or not is_account_id(claims.sub):
            return

        async def unit(_: Tx) -> tuple[None, Published]:
            return None, [Entry("session", sid, None, claims.exp + SKEW)]

        await self._revocations.commit(unit, ends=True)

    async def _reach(self) -> None:
        row = await self._database.one(VERSION)
        await self._rights.reach(0 if row is None else int(row["version"]))


def _api(table: Table, rights: Rights, account: Account, resource: str | None) -> Api:
    """Return the API of a token. Raises `Refused` (`invalid_target`)."""
    if not resource:
        if len(account.apis) > 1:
            raise Refused("This client has several APIs. Name one as resource.", code="invalid_target")
        found = table.api(account.apis[0]) if account.apis else table.own
    else:
        found = table.api(rights.asked(None, resource).api)
    if found is None or (found.id not in account.apis if account.apis else found is not table.own):
        raise Refused("This client gets no tokens for this API.", code="invalid_target")
    return found


def _scope(account: Account, api: Api, asked: str | None) -> str:
    """Return the scopes of a token. Raises `Refused` (`invalid_scope`)."""
    held = frozenset(account.scopes)
    if api.scopes is not None:
        held &= api.scopes
    wanted = read_scopes(asked) if asked else held
    if not wanted <= held:
        message = f"This client does not have these scopes, or the API does not know them: {listed(wanted - held)}."
        raise Refused(message, code="invalid_scope")
    if not wanted:
        raise Refused("This client has no scope that this API knows.", code="invalid_scope")
    return " ".join(sorted(wanted))
