"""What a token may hold: the table role → scopes, and the APIs that tokens are issued for.

The tables have one version. It rises with each change, and a token carries the version that it was issued under. So a
change that takes something away refuses exactly the tokens from before: whichever process issued them, and whether it
had heard of the change or not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Final, NamedTuple

from watchword.errors import Refused, StorageUnavailable, Unauthenticated
from watchword.identity.scopes import MOST_TEXT
from watchword.settings.scopes import EVERY_USER, is_scope
from watchword.storage.database import Database, Tx

VERSION: Final = "SELECT version FROM ww_rights WHERE id = 1"
_ROLES: Final = "SELECT role, scope FROM ww_role_scopes"
_APIS: Final = "SELECT id, name, audience, scopes FROM ww_apis"
_OWN_AUDIENCE: Final = "audience"
_REMEMBERED: Final = 4096
_SHOWN: Final = 5


class Api(NamedTuple):
    """An API that tokens are issued for.

    :param id: empty for the service's own audience.
    :param audience: `aud` of its tokens.
    :param scopes: those that it knows; None: all, for the service's own audience while no API is registered for it.
    """

    id: str
    name: str
    audience: str
    scopes: frozenset[str] | None


class Asked(NamedTuple):
    """What a client asks for, in a log-in or in a refresh.

    :param scopes: None: all there are.
    :param api: an API's id, empty for the service's own audience; None: whichever the session is for.
    """

    scopes: frozenset[str] | None = None
    api: str | None = None


EVERYTHING: Final = Asked()


class Granted(NamedTuple):
    """What a token gets: its `scope`, its `aud`, and the version of the tables that say so."""

    scope: str
    audience: str
    version: int


class Table:
    """The tables at one version. Immutable.

    :param by_role: role → scopes; `*` stands for every user.
    :param apis: without the service's own audience, unless it is registered.
    :param audience: the service's own.
    """

    def __init__(
        self, version: int, by_role: Mapping[str, frozenset[str]], apis: Collection[Api], *, audience: str
    ) -> None:
        self.version = version
        self.by_role = MappingProxyType(dict(by_role))
        self.apis: Mapping[str, Api] = MappingProxyType({api.id: api for api in apis})
        self.by_audience: Mapping[str, Api] = MappingProxyType({api.audience: api for api in apis})
        self.own = self.by_audience.get(audience, Api("", "", audience, None))
        known = [*self.by_role.values(), *(api.scopes or frozenset() for api in apis)]
        self.scopes = frozenset[str]().union(*known)
        self._texts: dict[tuple[tuple[str, ...], str, str], str] = {}

    def api(self, api: str | None) -> Api | None:
        """Return an API by what a session keeps of it; None for one that is no more."""
        return self.own if not api else self.apis.get(api)

    def is_same(self, one: str, other: str) -> bool:
        """Tell whether two ids mean one API: the service's own audience has another id once it is registered."""
        return one == other or self.api(one) is self.own is self.api(other)

    def known_to(self, api: Api) -> frozenset[str]:
        """Return the scopes that a token for an API could hold."""
        return self.scopes if api.scopes is None else api.scopes

    def given(self, *roles: str) -> frozenset[str]:
        """Return what these roles give, together with what every user has."""
        return self.by_role.get(EVERY_USER, frozenset[str]()).union(*(self.by_role.get(role, ()) for role in roles))

    def of(self, roles: tuple[str, ...], api: Api) -> frozenset[str]:
        """Return what a user with these roles may have at an API."""
        given = self.given(*roles)
        return given if api.scopes is None else given & api.scopes

    def text(self, roles: tuple[str, ...], api: Api, limit: str) -> str:
        """Return a token's `scope`.

        :param limit: the scopes that the session is limited to, or empty.
        """
        key = (roles, api.id, limit)
        known = self._texts.get(key)
        if known is None:
            found = self.of(roles, api)
            known = " ".join(sorted(found.intersection(limit.split()) if limit else found))
            if len(self._texts) >= _REMEMBERED:
                self._texts.clear()
            self._texts[key] = known
        return known


class Rights:
    """The tables as this process knows them. Readers take `table` once: a change is one assignment.

    :param audience: the service's own.
    """

    def __init__(self, database: Database, audience: str) -> None:
        self._database = database
        self.audience = audience
        self._reading = asyncio.Lock()
        self.table = Table(0, {}, (), audience=audience)

    async def catch_up(self) -> bool:
        """Read the tables if they have changed; return whether they had. Raises `StorageUnavailable`."""
        async with self._reading:  # or an older read could win
            row = await self._database.one(VERSION)
            assert row is not None, "the row is made with the first start"
            version = int(row["version"])
            if version == self.table.version:
                return False
            # The version was read first: under an older one than their own, rows refuse too much, never too little.
            self.table = await read_table(self._database, version, self.audience)
            return True

    async def reach(self, version: int) -> None:
        """Know the tables at least at this version, unless the database does not answer now.

        Then tokens are issued by the tables from before: guards refuse what was taken away since.
        """
        if self.table.version < version:
            with suppress(StorageUnavailable):
                await self.catch_up()

    def asked(self, scope: str | None, resource: str | None) -> Asked:
        """Read what a client asks for. Nothing, or an empty text, asks for all.

        :param scope: RFC 6749 section 3.3.
        :param resource: RFC 8707: an API's audience.
        :raises Refused: `invalid_scope`, which names unknown ones; `invalid_target`.
        """
        table = self.table
        api = None if not resource else _target(table, resource)
        if not scope:
            return Asked(None, None if api is None else api.id)
        names = read_scopes(scope)
        unknown = names - (table.scopes if api is None else table.known_to(api))
        if unknown:
            where = "here" if api is None else "to this API"
            raise Refused(f"These scopes are not known {where}: {listed(unknown)}.", code="invalid_scope")
        return Asked(names, None if api is None else api.id)

    def of(self, roles: tuple[str, ...], api: Api | None = None) -> frozenset[str]:
        """Return what a user with these roles may have at most, at an API or for the service's own audience."""
        table = self.table
        return table.of(roles, table.own if api is None else api)

    def limit(self, roles: tuple[str, ...], asked: Asked) -> str:
        """Return what a log-in that asks for scopes limits its session to: those of them that the user has."""
        table = self.table
        api = table.api(asked.api)
        if asked.scopes is None or api is None:
            return ""
        return " ".join(sorted(table.of(roles, api) & asked.scopes))

    def grant(
        self, roles: tuple[str, ...], limit: str, api: str | None, asked: Asked = EVERYTHING, *, version: int = 0
    ) -> Granted:
        """Return what the next token of a session gets.

        :param limit: the scopes that the session is limited to, or empty.
        :param api: what the session keeps of its API.
        :param asked: what this token is to be narrowed to; checked by `narrows`.
        :param version: of the tables under which the session's API was found.
        :raises Unauthenticated: `session_ended`: the API is no more.
        :raises StorageUnavailable: this process has not heard of the API yet.
        """
        table = self.table
        target = table.api(asked.api if api is None else api)
        if target is None:
            if table.version < version:
                raise StorageUnavailable("The session's API is not known here just now.")
            raise api_gone()
        text = table.text(roles, target, limit)
        if asked.scopes is not None:
            text = " ".join(each for each in text.split() if each in asked.scopes)
        return Granted(text, target.audience, table.version)


async def create_rights(database: Database) -> None:
    """Insert the tables' version at the first start."""
    await database.run("INSERT INTO ww_rights (id, version) VALUES (1, 1) ON CONFLICT (id) DO NOTHING")


async def note_audience(database: Database, audience: str) -> None:
    """Keep the service's own audience, before serving: commands may have other settings."""
    await database.run(
        "INSERT INTO ww_meta (name, value) VALUES (:name, :own) ON CONFLICT (name) DO UPDATE SET value = :own"
        " WHERE ww_meta.value <> :own",
        name=_OWN_AUDIENCE,
        own=audience,
    )


async def noted_audience(database: Database, otherwise: str) -> str:
    """Return the own audience of the service that started last, for a command."""
    row = await database.one("SELECT value FROM ww_meta WHERE name = :name", name=_OWN_AUDIENCE)
    return otherwise if row is None else str(row["value"])


def narrows(asked: Asked, limit: str, api: str | None, table: Table) -> None:
    """Check that this asks for no more than a session was given (RFC 6749 section 6, RFC 8707 section 2.2).

    Raises `Refused` (`invalid_scope`, `invalid_target`).
    """
    if asked.api is not None and api is not None and not table.is_same(asked.api, api):
        raise Refused("This session is for another API.", code="invalid_target")
    beyond = (asked.scopes or frozenset()) - frozenset(limit.split()) if limit else frozenset()
    if beyond:
        raise Refused(f"This session was not given these scopes: {listed(beyond)}.", code="invalid_scope")
    target = table.api(asked.api if api is None else api)
    unknown = frozenset() if target is None else (asked.scopes or frozenset()) - table.known_to(target)
    if unknown:
        raise Refused(f"These scopes are not known to this API: {listed(unknown)}.", code="invalid_scope")


def api_gone() -> Unauthenticated:
    """Return the error for a session whose API was deleted."""
    return Unauthenticated("The API that this session was for is no more. Log in again.", code="session_ended")


def listed(names: Collection[str]) -> str:
    """Return some scopes for a message."""
    found = sorted(names)
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more


def _target(table: Table, resource: str) -> Api:
    api = table.own if resource == table.own.audience else table.by_audience.get(resource)
    if api is None:
        raise Refused("No API is registered for this resource.", code="invalid_target")
    return api


def read_scopes(scope: str) -> frozenset[str]:
    """Read scopes that are asked for (RFC 6749 section 3.3). Raises `Refused` (`invalid_scope`)."""
    names = scope.split(" ")
    if len(scope) > MOST_TEXT or not all(map(is_scope, names)):
        message = f"A scope has letters, digits and _-.:/ and stands between single spaces; {MOST_TEXT} in all."
        raise Refused(message, code="invalid_scope")
    return frozenset(names)


async def read_table(reader: Database | Tx, version: int, audience: str) -> Table:
    """Read the tables, in a unit or outside. Raises `StorageUnavailable`."""
    by_role: dict[str, set[str]] = {}
    for row in await reader.all(_ROLES):
        by_role.setdefault(row["role"], set()).add(row["scope"])
    apis = await reader.all(_APIS)
    found = [Api(row["id"], row["name"], row["audience"], frozenset(row["scopes"].split())) for row in apis]
    return Table(version, {role: frozenset(given) for role, given in by_role.items()}, found, audience=audience)
