"""Change the tables of rights: which scopes a role gives, and which APIs tokens are issued for.

One unit for each change. Its first statement raises the version, which locks: two changes follow each other. Its last
ones refuse the tokens from before with what was taken away.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from watchword.clock import Clock
from watchword.errors import Conflict, FieldError, InvalidInput, NotFound
from watchword.identity import audit, roles, scopes
from watchword.identity.audit import LOCAL, Client
from watchword.identity.revocation import Published, Revocations, refuse_rights
from watchword.identity.rights import Api, Rights, Table, read_table
from watchword.ids import new_id
from watchword.settings.rules import LONGEST_AUDIENCE
from watchword.settings.scopes import EVERY_USER, RoleScopes
from watchword.storage.database import Tx, Unit

MOST_APIS: Final = 200
MOST_PAIRS: Final = 10_000
"""Rows of role and scope."""

_NAME_MAX: Final = 64
_RAISE = "UPDATE ww_rights SET version = version + 1 WHERE id = 1 RETURNING version"
_GIVE = "INSERT INTO ww_role_scopes (role, scope) VALUES (:role, :scope)"
_TAKE = "DELETE FROM ww_role_scopes WHERE role = :role AND scope = :scope"
_MAKE = "INSERT INTO ww_apis (id, name, audience, scopes, created_at) VALUES (:id, :name, :audience, :scopes, :now)"
_CHANGE = "UPDATE ww_apis SET audience = :audience, scopes = :scopes WHERE id = :id"
_DELETE = "DELETE FROM ww_apis WHERE id = :id"

Scopes = frozenset[str]
_Edit = Callable[[Tx, Table, int], Awaitable[None]]
"""Changes rows of the table that it is given, at a time. What it leaves as it was is not stored."""


class Operation(NamedTuple):
    """Who changes the tables.

    :param actor: the administrator's id; None for a command, and for the setting.
    :param check: awaited first in the unit; raises when they may not, or not any more.
    """

    client: Client
    actor: str | None
    check: Unit[None]


class Lost(NamedTuple):
    """What a change takes away: of at least one role, at one audience; audiences of which nothing is left."""

    scopes: Scopes
    audiences: frozenset[str]


class _Unchanged(Exception):
    """Undoes the unit, which has raised the version."""

    def __init__(self, table: Table) -> None:
        super().__init__()
        self.table = table


class Granting:
    """Changes the tables.

    :param given: the setting, where it says what roles give: the table cannot be changed otherwise.
    """

    def __init__(
        self,
        rights: Rights,
        revocations: Revocations,
        clock: Clock,
        given: RoleScopes | None,
    ) -> None:
        self._rights = rights
        self._revocations = revocations
        self._clock = clock
        self.given = given

    async def follow_setting(self) -> None:
        """Make the table what the setting says, at the start of a service. Raises `InvalidInput`, `StorageError`."""
        if self.given is None:
            return
        given = {role: frozenset(found) for role, found in self.given}

        async def edit(tx: Tx, before: Table, now: int) -> None:
            for role in sorted(given.keys() | before.by_role.keys()):
                await _set(tx, before, role, given.get(role, frozenset()), _SETTING, now)

        await self._commit(edit, _SETTING)

    async def set_scopes(self, role: str, change: Callable[[Scopes], Scopes], by: Operation) -> Scopes:
        """Change a role's scopes by a function of those there are; return them.

        :param role: `*` stands for every user.
        :raises Conflict: the setting says what roles give.
        :raises InvalidInput: a malformed role or scope; more than fits.
        """
        if self.given is not None:
            raise Conflict("The setting WATCHWORD_SCOPES says which scopes roles give. Change it there, and restart.")
        if role != EVERY_USER:
            roles.checked((role,))

        async def edit(tx: Tx, before: Table, now: int) -> None:
            held = before.by_role.get(role, frozenset[str]())
            await _set(tx, before, role, frozenset(scopes.checked(tuple(change(held)))), by, now)

        return (await self._commit(edit, by)).by_role.get(role, frozenset())

    async def create_api(self, name: str, audience: str, known: Scopes, by: Operation) -> Api:
        """Register an API.

        :raises InvalidInput: a name, audience or scope that cannot be.
        :raises Conflict: `name_taken`: name or audience are in use.
        """
        made = Api(new_id(), _checked_name(name), checked_audience(audience), frozenset(scopes.checked(tuple(known))))

        async def edit(tx: Tx, before: Table, now: int) -> None:
            _require_free(before, made)
            if len(before.apis) >= MOST_APIS:
                raise InvalidInput(FieldError("name", "too_many", f"There are {MOST_APIS} APIs at most."))
            await tx.run(_MAKE, id=made.id, name=made.name, audience=made.audience, scopes=_text(made), now=now)
            await _record(tx, "api_created", by, now, {"api": made.id, "name": made.name})

        await self._commit(edit, by)
        return made

    async def change_api(
        self, name: str, *, audience: str | None, change: Callable[[Scopes], Scopes], by: Operation
    ) -> Api:
        """Change an API's audience, or the scopes that it knows by a function of those; return it.

        Its sessions go on, and their next tokens have the new audience. Raises `NotFound`, else as `create_api`.
        """
        changed: list[Api] = []

        async def edit(tx: Tx, before: Table, now: int) -> None:
            api = _found(before, name)
            new = api._replace(
                audience=api.audience if audience is None else checked_audience(audience),
                scopes=frozenset(scopes.checked(tuple(change(api.scopes or frozenset())))),
            )
            changed[:] = [new]
            if new == api:
                return
            _require_free(before, new)
            await tx.run(_CHANGE, id=new.id, audience=new.audience, scopes=_text(new))
            await _record(tx, "api_changed", by, now, {"api": new.id, "name": new.name})

        await self._commit(edit, by)
        return changed[0]

    async def delete_api(self, name: str, by: Operation) -> Api:
        """Delete an API: its tokens are refused, its sessions are over. Raises `NotFound`."""
        gone: list[Api] = []

        async def edit(tx: Tx, before: Table, now: int) -> None:
            gone[:] = [api := _found(before, name)]
            await tx.run(_DELETE, id=api.id)
            await _record(tx, "api_deleted", by, now, {"api": api.id, "name": api.name})

        await self._commit(edit, by)
        return gone[0]

    async def _commit(self, edit: _Edit, by: Operation) -> Table:
        """Run a change in a unit; refuse what was taken away; return the tables after it."""
        now, audience = self._clock.now(), self._rights.audience

        async def unit(tx: Tx) -> tuple[Table, Published]:
            await by.check(tx)
            row = await tx.one(_RAISE)
            assert row is not None, "the row is made with the first start"
            version = int(row["version"])
            before = await read_table(tx, version - 1, audience)
            await edit(tx, before, now)
            after = await read_table(tx, version, audience)
            if (before.by_role, before.apis) == (after.by_role, after.apis):
                raise _Unchanged(before)
            _require_fits(after)
            lost = lost_by(before, after)
            return after, await refuse_rights(tx, *lost, version, now=now)

        try:
            table = await self._revocations.commit(unit)
        except _Unchanged as same:
            return same.table
        await self._rights.reach(table.version)
        return table


def lost_by(before: Table, after: Table) -> Lost:
    """Return what tokens issued before must not hold any more.

    A scope counts as soon as one role loses it at one audience: tokens do not say which role gave it. The holders who
    keep it by another role refresh once.
    """
    now_there = {before.own.audience: after.own, **after.by_audience}
    # Roles and APIs one after the other: their product would keep every request waiting for seconds.
    taken = frozenset[str]().union(*(before.given(role) - after.given(role) for role in {*before.by_role, EVERY_USER}))
    scopes_lost: set[str] = set()
    for audience, api in {before.own.audience: before.own, **before.by_audience}.items():
        then = now_there.get(audience)
        if then is not None:
            known = before.known_to(api)
            # Also what no role gives: service accounts may hold it.
            scopes_lost |= (known & taken) | (known - after.known_to(then))
    return Lost(frozenset(scopes_lost), frozenset(before.by_audience.keys() - now_there.keys()))


def checked_audience(audience: str) -> str:
    """Return an API's audience. Raises `InvalidInput` for anything that cannot stand in `aud` and in a command."""
    printable = audience.isascii() and audience.isprintable() and not set(' "\\,#') & set(audience)
    if not printable or not 1 <= len(audience) <= LONGEST_AUDIENCE:
        message = f"An audience is a URL or a name, without spaces, quotes, commas and '#'; at most {LONGEST_AUDIENCE}."
        raise InvalidInput(FieldError("audience", "characters", message))
    return audience


async def unchecked(_: Tx) -> None:
    """Ask nothing: who runs a command, or registers, has no session that could have ended."""


_SETTING = Operation(LOCAL, None, unchecked)


async def _set(tx: Tx, before: Table, role: str, wanted: Scopes, by: Operation, now: int) -> None:
    held = before.by_role.get(role, frozenset[str]())
    for scope in sorted(held - wanted):
        await tx.run(_TAKE, role=role, scope=scope)
    for scope in sorted(wanted - held):
        await tx.run(_GIVE, role=role, scope=scope)
    if wanted != held:
        detail = {"role": role, "added": " ".join(sorted(wanted - held)), "removed": " ".join(sorted(held - wanted))}
        await _record(tx, "scopes_changed", by, now, {name: text for name, text in detail.items() if text})


async def _record(tx: Tx, event: str, by: Operation, now: int, detail: dict[str, str]) -> None:
    await audit.record(tx, event, at=now, client=by.client, actor=by.actor, detail=detail)


def _require_fits(table: Table) -> None:
    """Refuse tables whose tokens would be too large: no log-in may fail later."""
    if sum(map(len, table.by_role.values())) > MOST_PAIRS:
        raise InvalidInput(FieldError("scopes", "too_many", f"All roles together give at most {MOST_PAIRS} scopes."))
    given = frozenset[str]().union(*table.by_role.values())
    if table.own.scopes is None and len(" ".join(given)) > scopes.MOST_TEXT:
        message = (
            f"All scopes together have more than the {scopes.MOST_TEXT} characters that a token can hold. Register an "
            "API for the service's own audience, to say which of them its tokens hold."
        )
        raise InvalidInput(FieldError("scopes", "too_many", message))


def _require_free(table: Table, api: Api) -> None:
    for other in table.apis.values():
        if other.id != api.id and (other.name == api.name or other.audience == api.audience):
            raise Conflict("There is an API of this name or audience already.", code="name_taken")


def _found(table: Table, name: str) -> Api:
    for api in table.apis.values():
        if api.name == name:
            return api
    raise NotFound("There is no such API.")


def _checked_name(name: str) -> str:
    plain = name.isascii() and all(c.isalnum() or c in "._-" for c in name)
    if not 1 <= len(name) <= _NAME_MAX or not plain or not name.strip("."):  # programs take `/..` out of an address
        message = f"An API's name has letters, digits, '.', '_' and '-'; at most {_NAME_MAX}, and not dots alone."
        raise InvalidInput(FieldError("name", "characters", message))
    return name


def _text(api: Api) -> str:
    return " ".join(sorted(api.scopes or ()))
