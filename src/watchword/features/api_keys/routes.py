"""API keys over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from watchword.features.api_keys.service import OwnApiKeys
from watchword.identity.api_keys import KeyRecord
from watchword.web.route import AccessToken, Call, Reply, Route
from watchword.web.views import instant

RECENT = 900
"""Seconds: who makes a key has logged in so recently."""


class NewApiKey(msgspec.Struct, forbid_unknown_fields=True):
    """What the key is called, what it may do, and for how long."""

    name: Annotated[str, Meta(description="What it is for; 1 to 64 characters.", examples=["nightly report"])]
    scope: (
        Annotated[
            str, Meta(description="Scopes with spaces between, of those that you have; all if left out, none if empty.")
        ]
        | UnsetType
    ) = UNSET
    resource: Annotated[str, Meta(description="The audience of the only API that it is for.")] | UnsetType = UNSET
    expires_in: Annotated[int, Meta(description="Seconds; 90 days if left out, 400 days at most.")] | UnsetType = UNSET


class Rotation(msgspec.Struct, forbid_unknown_fields=True):
    """For how long the former key goes on: 0, or from the life of an access token to 30 days; a day if left out."""

    overlap: Annotated[int, Meta(description="Seconds.")] | UnsetType = UNSET


class ApiKeyView(msgspec.Struct, frozen=True):
    """A key without its secret. `last_used_at` is its last exchange; `replaced_by` the key that rotation made.

    `resource` is null for any API, and an id for one that was deleted: such a key opens nothing.
    """

    id: str
    name: str
    scope: str
    resource: str | None
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    replaced_by: str | None


class MadeApiKey(msgspec.Struct, frozen=True):
    """A new key. `key` is shown once: the service keeps a hash of it."""

    key: str
    about: ApiKeyView


class ApiKeyList(msgspec.Struct, frozen=True):
    """The caller's keys, oldest first."""

    items: tuple[ApiKeyView, ...]


SOME_KEY = "wwk_AaIkXbrTfZKJoteUYESEDKD74oH7tyzWp_2lNhgc3itiY1MRhvQG40fbLoJZPSk-"
_SOME = ApiKeyView(
    id="01a2245d-bad3-7d92-89a2-d79460448410",
    name="nightly report",
    scope="orders:read",
    resource=None,
    created_at=datetime(2026, 11, 28, 10, 15, tzinfo=UTC),
    expires_at=datetime(2027, 2, 26, 10, 15, tzinfo=UTC),
    last_used_at=None,
    replaced_by=None,
)
_MADE = MadeApiKey(SOME_KEY, _SOME)


class ApiKeyRoutes:
    """The routes of `OwnApiKeys`."""

    def __init__(self, keys: OwnApiKeys) -> None:
        self._keys = keys

    def table(self) -> tuple[Route, ...]:
        """Return this feature's routes."""
        bearer, recent = AccessToken(), AccessToken(max_age=RECENT)
        return (
            Route(method="POST", path="/api-keys", handler=self.create, access=recent, body=NewApiKey,
                  summary="Make an API key, which is shown once", answers={201: MadeApiKey}, limits=("change",),
                  example=NewApiKey("nightly report"), shown={201: _MADE},
                  problems=("invalid_scope", "invalid_target", "too_many_keys")),
            Route(method="GET", path="/api-keys", handler=self.list, access=bearer,
                  summary="The caller's API keys", answers={200: ApiKeyList}, shown={200: ApiKeyList((_SOME,))}),
            Route(method="POST", path="/api-keys/{id}/rotate", handler=self.rotate, access=recent, body=Rotation,
                  may_be_empty=True, summary="Put a new API key in the place of one", answers={201: MadeApiKey},
                  limits=("change",), example=Rotation(86_400), shown={201: _MADE},
                  problems=("not_found", "invalid_target", "too_many_keys")),
            Route(method="DELETE", path="/api-keys/{id}", handler=self.revoke, access=bearer,
                  summary="Revoke an API key; its tokens are refused", answers={204: None},
                  problems=("not_found", "invalid_target")),
        )  # fmt: skip

    async def create(self, call: Call) -> Reply:
        """`POST /api-keys`."""
        body: NewApiKey = call.body
        key, text = await self._keys.create(
            call.claims,
            name=body.name,
            scope=None if body.scope is UNSET else body.scope,
            resource=None if body.resource is UNSET else body.resource,
            seconds=None if body.expires_in is UNSET else body.expires_in,
            client=call.client,
        )
        return Reply(MadeApiKey(text, self._view(key)), 201)

    async def list(self, call: Call) -> Reply:
        """`GET /api-keys`."""
        return Reply(ApiKeyList(tuple(map(self._view, await self._keys.all(call.claims)))))

    async def rotate(self, call: Call) -> Reply:
        """`POST /api-keys/{id}/rotate`."""
        body: Rotation = call.body or Rotation()
        overlap = None if body.overlap is UNSET else body.overlap
        _, key, text = await self._keys.rotate(call.claims, call.params["id"], overlap=overlap, client=call.client)
        return Reply(MadeApiKey(text, self._view(key)), 201)

    async def revoke(self, call: Call) -> Reply:
        """`DELETE /api-keys/{id}`."""
        await self._keys.revoke(call.claims, call.params["id"], client=call.client)
        return Reply(None, 204)

    def _view(self, key: KeyRecord) -> ApiKeyView:
        used = None if key.last_used_at is None else instant(key.last_used_at)
        return ApiKeyView(
            key.id, key.name, " ".join(key.scopes), self._keys.audience(key), instant(key.created_at),
            instant(key.expires_at), used, key.replaced_by,
        )  # fmt: skip
