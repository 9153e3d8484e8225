"""Who holds a session: the claims of an access token, or the session of a refresh cookie."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Holder(Protocol):
    """The caller of what changes an account. `require_live` asks the database whether this is still true."""

    @property
    def sub(self) -> str:
        """Return the user's id."""

    @property
    def sid(self) -> str | None:
        """Return the session's id."""

    @property
    def ver(self) -> int | None:
        """Return the version of the user that was seen."""

    @property
    def client_id(self) -> str:
        """Return the session's client."""


class Held(NamedTuple):
    """The session of a refresh cookie: its user, its id, the user's version now, its client.

    :param whole: neither limited to scopes nor for another API (`narrowing`): only such a session is its user's.
    """

    sub: str
    sid: str
    ver: int
    client_id: str
    whole: bool
