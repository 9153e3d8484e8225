"""What administrators are shown. No secret and no hash is in any of these."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from watchword.identity.administration import Metadata
from watchword.identity.user_data import read_metadata
from watchword.identity.users import User
from watchword.web.views import SOME_USER, instant


def maybe_instant(seconds: int | None) -> datetime | None:
    """Convert a time that may be missing."""
    return None if seconds is None else instant(seconds)


class AdminUserView(msgspec.Struct, frozen=True):
    """A user, as administrators see them. `external_id` is what the system said that they were imported from."""

    id: str
    username: str | None
    email: str | None
    email_verified_at: datetime | None
    roles: tuple[str, ...]
    created_at: datetime
    updated_at: datetime
    last_login_at: datetime | None
    disabled_at: datetime | None
    external_id: str | None
    name: str | None
    public_metadata: dict[str, Any]

    @classmethod
    def of(cls, user: User) -> AdminUserView:
        """Return the view of a user."""
        return cls(
            user.id,
            user.username,
            user.email,
            maybe_instant(user.email_verified_at),
            user.roles,
            instant(user.created_at),
            instant(user.updated_at),
            maybe_instant(user.last_login_at),
            maybe_instant(user.disabled_at),
            user.external_id,
            user.name,
            read_metadata(user.public_metadata),
        )


class MetadataView(msgspec.Struct, frozen=True):
    """What is kept with a user. They may read the public part; the private part is for administrators only."""

    public_metadata: dict[str, Any]
    private_metadata: dict[str, Any]

    @classmethod
    def of(cls, metadata: Metadata) -> MetadataView:
        """Return the view of a user's metadata."""
        return cls(read_metadata(metadata.public), read_metadata(metadata.private))


class UserList(msgspec.Struct, frozen=True):
    """A page of users; `next_cursor` is null on the last one."""

    items: tuple[AdminUserView, ...]
    next_cursor: str | None


SOMEONE = AdminUserView(
    id=SOME_USER.id,
    username=SOME_USER.username,
    email=SOME_USER.email,
    email_verified_at=datetime(2026, 11, 28, 9, 35, tzinfo=UTC),
    roles=("reader",),
    created_at=SOME_USER.created_at,
    updated_at=SOME_USER.updated_at,
    last_login_at=None,
    disabled_at=None,
    external_id=None,
    name="Grace Hopper",
    public_metadata={"tenant": "acme"},
)
SOME_METADATA = MetadataView(public_metadata={"tenant": "acme"}, private_metadata={"customer": 4711})
