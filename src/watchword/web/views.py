"""Answers that several features give: a user, and a session's tokens."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from watchword.errors import FieldError, InvalidInput
from watchword.identity.asking import Asked
from watchword.identity.sessions.sessions import Tokens
from watchword.identity.user_data import read_metadata
from watchword.identity.users import User


def instant(seconds: int) -> datetime:
    """Convert seconds since 1970 to an aware time, which msgspec writes as RFC 3339 UTC."""
    return datetime.fromtimestamp(seconds, UTC)


SOME_ACCESS_TOKEN = "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiIwMTk3ZjFhMiJ9.c2lnbmF0dXJl"  # noqa: S105 - an example
SOME_REFRESH_TOKEN = "wwr_Xo8Yt1qzQm7bB2n5c9d4e6f8g0hJkLmNpQrStUvWxYz"  # noqa: S105 - the same


class UserView(msgspec.Struct, frozen=True):
    """A user, as they see themselves. Times are RFC 3339 UTC.

    `public_metadata` is what operators keep with the user; they alone write it.
    """

    id: str
    username: str | None
    email: str | None
    email_verified: bool
    roles: tuple[str, ...]
    created_at: datetime
    updated_at: datetime
    last_login_at: datetime | None
    name: str | None
    public_metadata: dict[str, Any]

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
            user.name,
            read_metadata(user.public_metadata),
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
    name="Test User",
    public_metadata={"tenant": "acme"},
)


class SignedIn(msgspec.Struct, frozen=True):
    """The browser door's answer, without the refresh token, which is in the cookie. `expires_in` is in seconds.

    `scope` is what the access token has.
    """

    access_token: str
    token_type: str
    expires_in: int
    scope: str
    user: UserView

    @classmethod
    def of(cls, user: User, tokens: Tokens) -> SignedIn:
        """Return the answer to a log-in."""
        return cls(tokens.access_token, "Bearer", tokens.expires_in, tokens.scope, UserView.of(user))


Scope = Annotated[
    str, Meta(description="What the access token is to be limited to: scopes with spaces between; all if left out.")
]
Resource = Annotated[
    str, Meta(description="The audience of the API that it is for; the service's own audience if left out.")
]


class AskedView(msgspec.Struct, frozen=True):
    """A mail is on its way, if the address is one that gets it. The handle goes with the code in it.

    `expires_in`: seconds that the code may be used.
    """

    handle: str
    expires_in: int

    @classmethod
    def of(cls, asked: Asked) -> AskedView:
        """Return the answer to a request for a mail."""
        return cls(asked.handle, asked.expires_in)


SOME_LINK = "wwl_k2Jf8sQy0vTn5cRw7bLp3xGd9hMz1aUe6iOjKtVBYrE"


class LinkOrCode(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A link's token, or a code with its handle."""

    token: (
        Annotated[str, Meta(description="What stands after `/links/` in the mail.", examples=[SOME_LINK])] | UnsetType
    ) = UNSET
    handle: Annotated[str, Meta(description="Instead, with `code`: what was answered to the request.")] | UnsetType = (
        UNSET
    )
    code: Annotated[str, Meta(description="The six digits in the mail.")] | UnsetType = UNSET


def link_or_code(body: LinkOrCode) -> tuple[str | None, str | None, str | None]:
    """Return token, handle and code, of which the first or the others are given. Raises `InvalidInput`."""
    if body.token is not UNSET:
        if body.handle is not UNSET or body.code is not UNSET:
            raise InvalidInput(FieldError("token", "ambiguous", "Give a token, or a handle and a code, not both."))
        return body.token, None, None
    if body.handle is UNSET or body.code is UNSET:
        raise InvalidInput(FieldError("token", "required", "A token is needed, or a handle and a code."))
    return None, body.handle, body.code


SOME_ASKED = AskedView("wwh_p3k1Qf0mJt2bVx8sYd6hLr9eUw4cZa7gNi5oTqMuEyB", 600)
SOME_SIGNED_IN = SignedIn(SOME_ACCESS_TOKEN, "Bearer", 900, "orders:read", SOME_USER)
