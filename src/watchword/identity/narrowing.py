"""What a narrowed token or session may do at the service itself.

Someone who asks for fewer scopes hands a token to a program that needs no more. No scope stands for the account, so
what was narrowed may do nothing with it: it shows whose it is, and ends itself. It makes no API keys either, which
would outlive its session. A session for one other API is narrowed in the same way.
"""

from __future__ import annotations

from typing import Final

from watchword.errors import Refused, TokenError
from watchword.identity.rights import Api, Table
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


async def require_whole_session(tx: Tx, caller: AccessClaims) -> str | None:
    """Refuse a caller whose token or session was narrowed, in a unit that has locked the session.

    The row is asked too: tokens from before an update do not tell. Raises `TokenError` (`token_narrowed`).

    :returns: the session's only API: its id, empty for the service's own audience, None for any.
    """
    require_whole(caller)
    row = await tx.one("SELECT scope, api FROM ww_sessions WHERE id = :id", id=caller.sid)
    assert row is not None, "this unit has locked the session"
    if row["scope"]:
        raise narrowed()
    api: str | None = row["api"]
    return api


def check_api(api: str | None, of_session: str | None, table: Table) -> None:
    """Raise `Refused` (`invalid_target`) for a key of another API, or of any, where the session has one."""
    if of_session is not None and (api is None or table.api(api) is not table.api(of_session)):
        raise Refused("This session is for another API.", code="invalid_target")


def require_api(api: str | None, table: Table) -> Api:
    """Return the API that a new key is for. Raises `Refused` (`invalid_target`) for one that is no more."""
    found = table.api(api)
    if found is None:
        raise Refused("The API of this key is no more. Make another key.", code="invalid_target")
    return found
