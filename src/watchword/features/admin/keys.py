"""Signing keys over HTTP, for administrators, as `watchword keys` lists, rotates and revokes them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from watchword.errors import Conflict, FieldError, InvalidInput
from watchword.features.admin.gate import Gate
from watchword.features.admin.views import SOMEONE, maybe_instant
from watchword.identity.audit import Client
from watchword.identity.kernel import Kernel
from watchword.identity.keys.store import Revoked, StoredKey
from watchword.tokens.claims import AccessClaims
from watchword.tokens.rotation import published_long_enough, published_until, signing_pair
from watchword.web.route import AccessToken, Call, Reply, Route
from watchword.web.views import instant


class KeyView(msgspec.Struct, frozen=True):
    """A signing key without its private half. A retired one is published until its last token has expired."""

    kid: str
    algorithm: str
    status: str
    created_at: datetime
    activated_at: datetime | None
    retired_at: datetime | None
    published_until: datetime | None

    @classmethod
    def of(cls, key: StoredKey) -> KeyView:
        """Return the view of a key."""
        state = key.state
        return cls(
            state.kid,
            state.algorithm,
            state.status,
            instant(state.created_at),
            maybe_instant(state.activated_at),
            maybe_instant(state.retired_at),
            maybe_instant(key.revoked_at or published_until(state)),
        )


class KeyList(msgspec.Struct, frozen=True):
    """Every key that there ever was, oldest first."""

    items: tuple[KeyView, ...]


class RotateKeys(msgspec.Struct, forbid_unknown_fields=True):
    """Whether to go on although some verifiers may not know the next key yet."""

    early: Annotated[
        bool, Meta(description="Let it sign although it was published less than a day ago.", examples=[True])
    ] = False


class Rotated(msgspec.Struct, frozen=True):
    """The key that signs from now on, and the one that has stopped. What that one signed stays good."""

    signing: str
    retired: str


class RevokeKeys(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which key; or all of them."""

    kid: Annotated[str, Meta(description="The key's id.")] | UnsetType = UNSET
    all: Annotated[bool, Meta(description="Instead: every published key.", examples=[True])] | UnsetType = UNSET


class RevokedKeys(msgspec.Struct, frozen=True):
    """The keys whose tokens are refused from now on, and those that sign in their place."""

    revoked: tuple[str, ...]
    signing: tuple[str, ...]


class KeyAdministration:
    """Signing keys, by administrators. Every method raises as `Gate.admit`."""

    def __init__(self, kernel: Kernel, gate: Gate) -> None:
        self._keys = kernel.keys
        self._clock = kernel.clock
        self._gate = gate
        self._algorithm = kernel.settings.algorithm
        self._shared = kernel.settings.jwt_secret is not None

    async def all(self, caller: AccessClaims, *, client: Client) -> list[StoredKey]:
        """Return every key, oldest first."""
        await self._gate.admit(caller, client)
        return await self._keys.store.all()

    async def rotate(self, caller: AccessClaims, *, early: bool, client: Client) -> Rotated:
        """Let the next key sign now; tokens signed so far stay good.

        :param early: although some verifiers may not know it yet.
        :raises Conflict: `key_too_new`; `conflict` when they were changed just now, or sign nothing.
        """
        await self._gate.admit(caller, client)
        if self._shared:
            raise _unused()
        pair = signing_pair(await self._keys.store.published(), self._algorithm)
        if pair is None:
            raise Conflict("There is no active signing key.")
        active, upcoming = pair
        if not early and (upcoming is None or not published_long_enough(upcoming, self._clock.now())):
            raise Conflict("The next key has not been published for a day yet.", code="key_too_new")
        signing = await self._keys.store.promote(
            active, upcoming, client=client, actor=caller.sub, check=self._gate.check(caller)
        )
        await self._keys.reload()
        return Rotated(signing, active.kid)

    async def revoke(self, caller: AccessClaims, kid: str | None, *, client: Client) -> Revoked:
        """Refuse what a key has signed, or every published one, at once and for ever. No user is logged out.

        :raises NotFound: there is no such key.
        :raises Conflict: `conflict` when the keys were changed just now, or sign nothing and all of them are meant.
        """
        await self._gate.admit(caller, client)
        if self._shared and kid is None:  # it would not refuse the tokens, as the name says
            raise _unused()
        kids = None if kid is None else (kid,)
        check = self._gate.check(caller)
        done = await self._keys.store.revoke(kids, client=client, actor=caller.sub, check=check)
        await self._keys.reload()
        return done


def _unused() -> Conflict:
    return Conflict(
        "Tokens are signed with WATCHWORD_JWT_SECRET: these keys sign nothing. Replace that secret instead."
    )


_KID = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
_NEXT = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
_KEY = KeyView(_KID, "ES256", "active", SOMEONE.created_at, SOMEONE.created_at, None, None)


class KeyRoutes:
    """The routes of `KeyAdministration`."""

    def __init__(self, keys: KeyAdministration, access: AccessToken) -> None:
        self._keys = keys
        self._access = access

    def table(self) -> tuple[Route, ...]:
        """Return the routes of keys."""
        may = self._access
        return (
            Route(method="GET", path="/admin/keys", handler=self.list, access=may, summary="Signing keys, oldest first",
                  answers={200: KeyList}, limits=("admin",), shown={200: KeyList((_KEY,))}),
            Route(method="POST", path="/admin/keys/rotate", handler=self.rotate, access=may, body=RotateKeys,
                  may_be_empty=True, summary="Let the next key sign now", answers={200: Rotated}, limits=("admin",),
                  example=RotateKeys(early=True), shown={200: Rotated(_NEXT, _KID)},
                  problems=("key_too_new", "conflict")),
            Route(method="POST", path="/admin/keys/revoke", handler=self.revoke, access=may, body=RevokeKeys,
                  summary="In an emergency: refuse what a key has signed, or all of them", answers={200: RevokedKeys},
                  limits=("admin",), example=RevokeKeys(all=True), shown={200: RevokedKeys((_KID,), (_NEXT,))},
                  problems=("not_found", "conflict")),
        )  # fmt: skip

    async def list(self, call: Call) -> Reply:
        """`GET /admin/keys`."""
        found = await self._keys.all(call.claims, client=call.client)
        return Reply(KeyList(tuple(KeyView.of(key) for key in found)))

    async def rotate(self, call: Call) -> Reply:
        """`POST /admin/keys/rotate`."""
        body: RotateKeys = call.body or RotateKeys()
        return Reply(await self._keys.rotate(call.claims, early=body.early, client=call.client))

    async def revoke(self, call: Call) -> Reply:
        """`POST /admin/keys/revoke`."""
        body: RevokeKeys = call.body
        if (body.kid is UNSET) != (body.all is True):
            raise InvalidInput(FieldError("kid", "required", "Give a `kid`, or `all`: true, not both."))
        kid = None if body.kid is UNSET else body.kid
        done = await self._keys.revoke(call.claims, kid, client=call.client)
        return Reply(RevokedKeys(done.kids, done.signing))
