"""Writes columns of a user's row, and refuses older tokens where they may carry what has changed."""

from __future__ import annotations

from collections.abc import Mapping

from watchword.errors import NotFound
from watchword.identity import own_claims, revocation
from watchword.identity.revocation import Published
from watchword.identity.user_row import COLUMNS, User
from watchword.storage.database import Tx

# The value is the same: this locks the row, so that what is compared is what was there.
_LOCK = f"UPDATE ww_users SET updated_at = updated_at WHERE id = :id RETURNING {COLUMNS}"
_RAISE = f"UPDATE ww_users SET token_version = token_version + 1 WHERE id = :id RETURNING {COLUMNS}"


async def write(
    tx: Tx, user_id: str, values: Mapping[str, str | None], *, now: int, raises: bool = False
) -> tuple[User, Published]:
    """Write these columns, in the caller's unit; return the user, and what to publish. Sessions stay.

    :param values: column → text; the names stand in the code.
    :param raises: older tokens are refused in any case.
    :raises NotFound: no such user.
    """
    row = await tx.one(_LOCK, id=user_id)
    if row is None:
        raise NotFound("There is no such user.")
    before = User.of(row)
    sets = ", ".join(f"{name} = CAST(:{name} AS TEXT)" for name in values)
    row = await tx.one(
        f"UPDATE ww_users SET {sets}, updated_at = :now WHERE id = :id RETURNING {COLUMNS}",
        now=now,
        id=user_id,
        **values,
    )
    assert row is not None, "this unit has locked the row"
    after = User.of(row)
    if not raises and not await own_claims.in_tokens(tx, before, after):
        return after, ()
    row = await tx.one(_RAISE, id=user_id)
    assert row is not None, "this unit has locked the row"
    changed = User.of(row)
    return changed, await revocation.refuse_user(tx, user_id, changed.token_version, now=now)
