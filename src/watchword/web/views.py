"""What answers look like when more than one feature gives them: a user, and the tokens of a session."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from watchword.identity.sessions import Tokens
from watchword.identity.users import User


def instant(seconds: int) -> datetime:
    """Seconds since 1970 as an aware time, which msgspec writes as RFC 3339 UTC."""
    return datetime.fromtimestamp(seconds, UTC)


class UserView(msgspec.Struct, frozen=True):
    """A user, as he and administrators see him. Times are RFC 3339 UTC."""

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
        """The view of a user."""
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


class SignedIn(msgspec.Struct, frozen=True):
    """The browser door's answer: the refresh token is in the cookie, never here. `expires_in` is in seconds."""

    access_token: str
    token_type: str
    expires_in: int
    user: UserView

    @classmethod
    def of(cls, user: User, tokens: Tokens) -> SignedIn:
        """The answer to a log-in."""
        return cls(tokens.access_token, "Bearer", tokens.expires_in, UserView.of(user))
