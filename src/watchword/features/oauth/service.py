"""The rules of the token endpoint (RFC 6749). No HTTP."""

from __future__ import annotations

from base64 import b64decode

from watchword.errors import Refused, Unauthenticated
from watchword.identity.audit import Peer
from watchword.identity.issuing import FIRST_PARTY
from watchword.identity.kernel import Kernel
from watchword.identity.password_factor import PasswordFactor
from watchword.identity.sessions import Tokens

PASSWORD = "password"  # noqa: S105 - the name of a grant
REFRESH = "refresh_token"


class TokenEndpoint:
    """Turns a grant into tokens."""

    def __init__(self, kernel: Kernel) -> None:
        self._login = kernel.login
        self._sessions = kernel.sessions
        self._factor = PasswordFactor(kernel.hasher, kernel.users)
        self.grants = (PASSWORD, REFRESH) if kernel.settings.password_grant else (REFRESH,)

    async def password(self, username: str, password: str, *, peer: Peer) -> Tokens:
        """The resource owner's password (section 4.3): for first-party clients, and for Swagger's Authorize button.

        Raises `Refused` (`invalid_grant`) for every cause of a failed log-in alike.
        """
        try:
            logged_in = await self._login.attempt(
                username, self._factor.prove(password, peer.address), peer=peer, client_id=FIRST_PARTY
            )
        except Unauthenticated as error:
            raise Refused(error.message, code="invalid_grant") from error
        return logged_in.tokens

    async def refresh(self, presented: str, *, peer: Peer) -> Tokens:
        """The next tokens of a session (section 6). Raises `Unauthenticated`, which says which way it failed."""
        return await self._sessions.refresh(presented, client_id=FIRST_PARTY, peer=peer)


def check_client(authorization: str | None, client_id: str | None, client_secret: str | None) -> None:
    """The only client there is yet is the first-party one, which is public and has no secret.

    An empty name and password in `Authorization: Basic` (`Og==`), which Swagger and FastAPI's form send, is no client.
    Raises `Refused` (`invalid_client`, `invalid_request`).
    """
    named = {FIRST_PARTY} if client_id is None else {client_id}
    if authorization is not None:
        name, secret = _basic(authorization)
        if secret or client_secret:
            raise Refused("This client has no secret.", code="invalid_client")
        if name:
            named.add(name)
    if client_secret or named != {FIRST_PARTY}:
        raise Refused("There is no such client.", code="invalid_client")


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise Refused("The token endpoint knows no such Authorization scheme.", code="invalid_client")
    try:
        name, colon, secret = b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        raise Refused("The Authorization header cannot be read.", code="invalid_client") from None
    if not colon:
        raise Refused("The Authorization header cannot be read.", code="invalid_client")
    return name, secret
