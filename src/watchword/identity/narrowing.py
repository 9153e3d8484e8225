"""What a narrowed token or session may do at the service itself.

Someone who asks for fewer scopes hands a token to a program that needs no more. No scope stands for the account, so
what was narrowed may do nothing with it: it shows whose it is, ends itself, and handles API keys that may no more.
A session for one other API is narrowed in the same way.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from watchword.errors import Refused, TokenError
from watchword.identity.rights import Table, listed
from watchword.storage.database import Tx
from watchword.tokens.claims import AccessClaims

CLAIM: Final = "narrowed"
"""Of each token that was narrowed, at its log-in or its refresh: scopes alone do not show it."""


def require_whole(claims: AccessClaims) -> None:
    """Refuse a token that was narrowed. Raises `TokenError` (`token_narrowed`)."""
    if CLAIM in claims.extra:
        raise narrowed()


def is_whole(scope: str, api: str | None, table: Table) -> bool:
    """Tell whether a session, by what its row keeps, may do what its user may at the service."""
    return not scope and table.api(api) is table.own


def narrowed() -> TokenError:
    """Make the refusal of what was narrowed."""
    message = "This token is limited to some scopes, so it may do nothing with the account. Log in without `scope`."
    return TokenError(message, code="token_narrowed")


class Reach(NamedTuple):
    """What a caller may give to an API key at most.

    :param scopes: None: all that the user has.
    :param api: the only API: its id, empty for the service's own audience, None for any.
    """

    scopes: frozenset[str] | None
    api: str | None

    def check_scopes(self, scopes: frozenset[str]) -> None:
        """Raise `Refused` (`invalid_scope`), which names what the caller was not given."""
        beyond = frozenset[str]() if self.scopes is None else scopes - self.scopes
        if beyond:
            raise Refused(f"This session was not given these scopes: {listed(beyond)}.", code="invalid_scope")

    def check_api(self, api: str | None, table: Table) -> None:
        """Raise `Refused` (`invalid_target`) for a key of another API, or of any, where the caller has one."""
        if self.api is not None and (api is None or table.api(api) is not table.api(self.api)):
            raise Refused("This session is for another API.", code="invalid_target")


async def reach_of(tx: Tx, caller: AccessClaims) -> Reach:
    """Return what the caller's token and session reach, in a unit that has locked the session."""
    row = await tx.one("SELECT scope, api FROM ww_sessions WHERE id = :id", id=caller.sid)
    assert row is not None, "this unit has locked the session"
    limits = [frozenset(row["scope"].split())] if row["scope"] else []
    if CLAIM in caller.extra:
        limits.append(caller.scopes)
    return Reach(frozenset.intersection(*limits) if limits else None, row["api"])
