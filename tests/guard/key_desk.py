"""A `Service`'s token endpoint for API keys. The product's own code says which are genuine and what they may do."""

from __future__ import annotations

import time
from typing import NamedTuple

from tests.guard.service import Handler, Service
from watchword import api_keys
from watchword.ids import new_id


class Kept(NamedTuple):
    """What a service keeps of a key."""

    made: api_keys.Made
    scopes: frozenset[str]


class KeyDesk:
    """Makes keys of ada's, exchanges and revokes them."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._kept: dict[str, Kept] = {}
        service.misbehave["/token"] = self._answer

    def make(self, *scopes: str) -> str:
        """A key with these scopes."""
        key_id = new_id()
        self._kept[key_id] = Kept(api_keys.make(key_id), frozenset(scopes))
        return self._kept[key_id].made.text

    def revoke(self, key: str) -> None:
        """End a key, and those made of it."""
        key_id = api_keys.read(key).id
        del self._kept[key_id]
        self._service.revoke("session", key_id)

    def _answer(self, handler: Handler) -> None:
        token = self._token(handler.form())
        if token is None:
            handler.send(b'{"error":"invalid_request"}', status=400)
        else:
            handler.say({"access_token": token, "token_type": "Bearer", "expires_in": 900})

    def _token(self, form: dict[str, str]) -> str | None:
        key = api_keys.read(form["subject_token"])
        kept = self._kept.get(key.id)
        if kept is None:
            return None
        limits = api_keys.limits_of(key, secret_hash=kept.made.secret_hash, public=kept.made.public)
        if limits is None or limits.resource not in (None, form["resource"]):
            return None
        if limits.until is not None and limits.until <= time.time():
            return None
        scopes = kept.scopes if limits.scopes is None else kept.scopes & limits.scopes
        return self._service.token(user_id="ada", session_id=key.id, scopes=sorted(scopes), client_id="api_key")
