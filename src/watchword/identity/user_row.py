"""A user's row: its columns, its type, its insertion."""

from __future__ import annotations

import msgspec

from watchword.errors import UniqueViolation
from watchword.identity.identifiers import Identifier
from watchword.identity.user_data import NOTHING
from watchword.storage.database import Row, Tx

COLUMNS = (
    "id, username, email, email_verified_at, roles, token_version, created_at, updated_at, last_login_at, disabled_at,"
    " external_id, name, public_metadata"
)
# What names a user → the text that finds one. An imported username may read as an address, then with that one's key;
# the key is one user's, whichever column it stands in, and both are always looked at.
LOOK_UP = {
    "id": f"SELECT {COLUMNS} FROM ww_users WHERE id = :key",
    "username": f"SELECT {COLUMNS} FROM ww_users WHERE username_key = :key",
    "email": f"SELECT {COLUMNS} FROM ww_users WHERE email_key = :key"
    f" UNION ALL SELECT {COLUMNS} FROM ww_users WHERE username_key = :key",
    "external": f"SELECT {COLUMNS} FROM ww_users WHERE external_id = :key",
}
_NAMED_SO = "SELECT id FROM ww_users WHERE username_key = :key AND id <> :id"


class User(msgspec.Struct, frozen=True):
    """A user without the password hash and the private metadata, so no answer can carry them.

    :param external_id: of an imported user, what another system called them. Tokens carry `id`.
    :param name: what to call them; they choose it.
    :param public_metadata: JSON as it is stored; operators write it, and the user may read it.
    """

    id: str
    username: str | None
    email: str | None
    email_verified_at: int | None
    roles: tuple[str, ...]
    token_version: int
    created_at: int
    updated_at: int
    last_login_at: int | None
    disabled_at: int | None
    external_id: str | None = None
    name: str | None = None
    public_metadata: str = NOTHING

    @classmethod
    def of(cls, row: Row) -> User:
        """Read a row of `ww_users` with `COLUMNS`."""
        return cls(
            id=row["id"],
            username=row["username"],
            email=row["email"],
            email_verified_at=row["email_verified_at"],
            roles=tuple(row["roles"].split()),
            token_version=row["token_version"],
            created_at=row["created_at"],
            updated_at=row["updated_at"],
            last_login_at=row["last_login_at"],
            disabled_at=row["disabled_at"],
            external_id=row["external_id"],
            name=row["name"],
            public_metadata=row["public_metadata"],
        )

    @property
    def identifiers(self) -> tuple[str, ...]:
        """Return the username and the e-mail address, where set."""
        return tuple(text for text in (self.username, self.email) if text is not None)


async def insert(
    tx: Tx, user: User, named: dict[str, Identifier], password_hash: str | None, *, private_metadata: str = NOTHING
) -> None:
    """Insert a user, in the caller's unit. Raises `UniqueViolation` for a taken name."""
    if "email" in named:
        await require_free_address(tx, named["email"].key, user.id)
    await tx.run(
        "INSERT INTO ww_users (id, username, username_key, email, email_key, password_hash, roles, token_version,"
        " created_at, updated_at, password_set_at, email_verified_at, name, public_metadata, private_metadata)"
        " VALUES (:id, CAST(:username AS TEXT), CAST(:username_key AS TEXT),"
        " CAST(:email AS TEXT), CAST(:email_key AS TEXT), CAST(:hash AS TEXT), :roles, 1, :now, :now,"
        " CAST(:set_at AS BIGINT), CAST(:verified AS BIGINT), CAST(:name AS TEXT), :public, :private)",
        id=user.id,
        username=user.username,
        username_key=named["username"].key if "username" in named else None,
        email=user.email,
        email_key=named["email"].key if "email" in named else None,
        hash=password_hash,
        roles=" ".join(user.roles),
        now=user.created_at,
        verified=user.email_verified_at,
        set_at=None if password_hash is None else user.created_at,
        name=user.name,
        public=user.public_metadata,
        private=private_metadata,
    )


async def require_free_address(tx: Tx, key: str, user_id: str) -> None:
    """Raise `UniqueViolation` if an address is the imported username of someone else, who logs in with it."""
    if await tx.one(_NAMED_SO, key=key, id=user_id) is not None:
        raise UniqueViolation("ww_users_email")
