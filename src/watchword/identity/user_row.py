"""A user's row: its columns, its type, its insertion."""

from __future__ import annotations

import msgspec

from watchword.identity.identifiers import Identifier
from watchword.storage.database import Row, Tx

COLUMNS = (
    "id, username, email, email_verified_at, roles, token_version, created_at, updated_at, last_login_at, disabled_at"
)


class User(msgspec.Struct, frozen=True):
    """A user without the password hash, so no answer can carry it."""

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
        )

    @property
    def identifiers(self) -> tuple[str, ...]:
        """Return the username and the e-mail address, where set."""
        return tuple(text for text in (self.username, self.email) if text is not None)


async def insert(tx: Tx, user: User, named: dict[str, Identifier], password_hash: str | None) -> None:
    """Insert a user, in the caller's unit. Raises `UniqueViolation` for a taken name."""
    await tx.run(
        "INSERT INTO ww_users (id, username, username_key, email, email_key, password_hash, roles, token_version,"
        " created_at, updated_at, password_set_at) VALUES (:id, CAST(:username AS TEXT), CAST(:username_key AS TEXT),"
        " CAST(:email AS TEXT), CAST(:email_key AS TEXT), CAST(:hash AS TEXT), :roles, 1, :now, :now,"
        " CAST(:set_at AS BIGINT))",
        id=user.id,
        username=user.username,
        username_key=named["username"].key if "username" in named else None,
        email=user.email,
        email_key=named["email"].key if "email" in named else None,
        hash=password_hash,
        roles=" ".join(user.roles),
        now=user.created_at,
        set_at=None if password_hash is None else user.created_at,
    )
