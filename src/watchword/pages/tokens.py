"""The token in each form of the account: made for one session, known to its pages only (OWASP CSRF sheet).

It does not change with the refresh token, so that two open tabs do not refuse each other's forms.
"""

from __future__ import annotations

import hmac

from watchword import base64url


class FormTokens:
    """Makes and checks the tokens.

    :param keys: sub-keys of the master secret, current first.
    """

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        self._keys = keys

    def of(self, session_id: str) -> str:
        """Return the token of a session."""
        return _token(self._keys[0], session_id)

    def fits(self, session_id: str, shown: str) -> bool:
        """Tell whether a token is this session's, under any listed secret."""
        sent = shown.encode("utf-8", "replace")
        return sum(hmac.compare_digest(_token(key, session_id).encode(), sent) for key in self._keys) > 0


def _token(key: bytes, session_id: str) -> str:
    return base64url.encode_text(hmac.digest(key, session_id.encode(), "sha256"))
