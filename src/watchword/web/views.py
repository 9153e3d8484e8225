"""Answers that several features give: a user, and a session's tokens."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from watchword.identity.sessions.sessions import Tokens
from watchword.identity.users import User


def instant(seconds: int) -> datetime:
    """Convert seconds since 1970 to an aware time, which msgspec writes as RFC 3339 UTC."""
    return datetime.fromtimestamp(seconds, UTC)


SOME_ACCESS_TOKEN = "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiIwMTk3ZjFhMiJ9.c2lnbmF0dXJl"  # noqa: S105 - an example
SOME_REFRESH_TOKEN = "wwr_Xo8Yt1qzQm7bB2n5c9d4e6f8g0hJkLmNpQrStUvWxYz"  # noqa: S105 - the same


class UserView(msgspec.Struct, frozen=True):
    """A user, as they and administrators see them. Times are RFC 3339 UTC."""

    id: str
    username: str | None
    email: str | None
    email_verified: bool
    roles: tuple[str, ...]
    created_at: datetime
    updated_at: datetime
    last_login_at: datetime | None

    @classmethod
    def of(cls, user: User) -> UserView:
        """Return the view of a user."""
        return cls(
            user.id,
            user.username,
            user.email,
            user.email_verified_at is not None,
            user.roles,
            instant(user.created_at),
            instant(user.updated_at),
            None if user.last_login_at is None else instant(user.last_login_at),
        )


SOME_USER = UserView(
    id="0197f1a2-5b6c-7d8e-9f00-112233445566",
    username="testuser",
    email="test@example.com",
    email_verified=False,
    roles=(),
    created_at=datetime(2026, 11, 28, 9, 30, tzinfo=UTC),
    updated_at=datetime(2026, 11, 28, 9, 30, tzinfo=UTC),
    last_login_at=None,
)


class SignedIn(msgspec.Struct, frozen=True):
    """The browser door's answer, without the refresh token, which is in the cookie. `expires_in` is in seconds."""

    access_token: str
    token_type: str
    expires_in: int
    user: UserView

    @classmethod
    def of(cls, user: User, tokens: Tokens) -> SignedIn:
        """Return the answer to a log-in."""
        return cls(tokens.access_token, "Bearer", tokens.expires_in, UserView.of(user))


SOME_SIGNED_IN = SignedIn(SOME_ACCESS_TOKEN, "Bearer", 900, SOME_USER)
