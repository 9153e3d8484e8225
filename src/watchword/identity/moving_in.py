"""Take in users of another system, a batch at a time.

A batch is one transaction: after a fault, or the end of the process, all of it is in or nothing. A second run finds
what is in, and goes on. Between batches others get their turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from functools import cache
from typing import NamedTuple

from watchword.clock import Clock
from watchword.identity import audit
from watchword.identity.arrivals import Arrival
from watchword.identity.audit import LOCAL
from watchword.identity.hash_costs import MARK, cost_of
from watchword.identity.old_hashes import sample_of
from watchword.storage.database import Database, Row, Tx, Value

BATCH = 500
"""Users in one transaction: some tens of milliseconds, for which others wait. Fewer cost a flush of the disk each, and
each flush writes the pages of four indexes again."""

_TOGETHER = 20
"""Rows, or keys, in one statement: SQLite looks for each parameter among all, so that more of them take longer."""

MOST_FAMILIES = 8
"""Kinds of work that the password hashes of a database take: each failed log-in does all of them."""

_COLUMNS = tuple(name for name in Arrival._fields if name != "kind")
_KNOW_KIND = "INSERT INTO ww_password_kinds (kind, sample) VALUES (:kind, :sample) ON CONFLICT (kind) DO NOTHING"


class State(Enum):
    """What became of a user."""

    NEW = "new"
    KNOWN = "known"  # from an earlier run
    REFUSED = "refused"


class Outcome(NamedTuple):
    """What became of one user. `reason` says why one is refused."""

    state: State
    reason: str = ""


_NEW, _KNOWN = Outcome(State.NEW), Outcome(State.KNOWN)
_Rows = dict[str, dict[str, Row]]
"""Column → value → the user who has it."""


class MovingIn:
    """One run of an import.

    :param source: for the audit trail: `file`, or the name of a preset.
    :param dry: nothing is stored. What earlier lines would take is remembered instead, about 300 bytes a user.
    """

    def __init__(self, database: Database, clock: Clock, *, source: str, dry: bool = False) -> None:
        self._database = database
        self._clock = clock
        self._source = source
        self._dry = dry
        self._began = clock.now()
        self._kinds: set[str] = set()
        self._families: set[str] = set()
        self._taken: set[tuple[str, str]] = set()

    async def begin(self) -> None:
        """Read which kinds of password hash there are."""
        rows = await self._database.all("SELECT kind, sample FROM ww_password_kinds")
        self._kinds = {row["kind"] for row in rows}
        self._families = {cost_of(kind).family for kind in self._kinds}

    async def take(self, batch: Sequence[Arrival]) -> list[Outcome]:
        """Take in at most `BATCH` users; return what became of each."""
        refused: dict[int, str] = {}
        first: dict[str, int] = {}
        for at, each in enumerate(batch):
            reason = self._one_kind_too_many(each)
            if first.setdefault(each.id, at) != at:
                reason = "the id is that of an earlier line"
            if reason:
                refused[at] = reason
        able = [each for at, each in enumerate(batch) if at not in refused]
        kinds = {each.kind: each for each in able if each.kind not in self._kinds}

        async def unit(tx: Tx) -> dict[str, Outcome]:
            return await self._store(tx, able, kinds.values())

        outcomes = await self._tried(able) if self._dry else await self._database.transact(unit, upkeep=True)
        self._kinds.update(kind for kind in kinds if kind is not None)
        return [
            Outcome(State.REFUSED, refused[at]) if at in refused else outcomes[each.id] for at, each in enumerate(batch)
        ]

    def _one_kind_too_many(self, arrival: Arrival) -> str:
        family = arrival.family
        if family is None or family in self._families:
            return ""
        if len(self._families) >= MOST_FAMILIES:
            return f"the password hash: there are {MOST_FAMILIES} kinds already, and each failed log-in pays for all"
        self._families.add(family)
        return ""

    async def _store(self, tx: Tx, able: list[Arrival], kinds: Iterable[Arrival]) -> dict[str, Outcome]:
        """Insert those that may come in. The indexes decide, also about anyone who registers meanwhile."""
        outcomes = await _doubly_meant(tx, able)
        free = [each for each in able if each.id not in outcomes]
        for each in kinds:  # every failed log-in pays for these from the moment that the users are there
            if each.password_hash is not None:
                sample = sample_of(each.password_hash.removeprefix(MARK))
                await tx.run(_KNOW_KIND, kind=each.kind, sample=sample)
        stored = await _insert(tx, free, self._began) if free else set()
        if stored:
            detail = {"count": str(len(stored)), "source": self._source}
            await audit.record(tx, "users_imported", at=self._clock.now(), client=LOCAL, detail=detail)
        outcomes |= dict.fromkeys(stored, _NEW)
        left = [each for each in free if each.id not in stored]
        rows = await _holders(tx, left) if left else {}
        return outcomes | {each.id: self._explained(each, rows) for each in left}

    async def _tried(self, able: list[Arrival]) -> dict[str, Outcome]:
        """Tell what `_store` would do."""
        outcomes = await _doubly_meant(self._database, able)
        rows = await _holders(self._database, able)
        for each in able:
            if each.id in outcomes:
                continue
            marks = _unique(each)
            held = any(value in rows[column] for column, value in marks)
            again = [what for what, value in marks if (what, value) in self._taken]
            if held:
                outcomes[each.id] = self._explained(each, rows)
            elif again:
                outcomes[each.id] = Outcome(State.REFUSED, f"the {_CALLED[again[0]]} is that of an earlier line")
            else:
                self._taken.update(marks)
                outcomes[each.id] = _NEW
        return outcomes

    def _explained(self, arrival: Arrival, rows: _Rows) -> Outcome:
        """Tell why an index was against a user: the same one is in already, or someone else has the name."""
        found = [(column, rows[column][value]) for column, value in _unique(arrival) if value in rows[column]]
        for column, row in found:
            same_names = (row["username_key"], row["email_key"]) == (arrival.username_key, arrival.email_key)
            same = row["external_id"] == arrival.external_id and row["imported_at"] is not None
            if same and (same_names or (arrival.external_id is not None and row["imported_at"] < self._began)):
                return _KNOWN  # renamed since, perhaps
            if column == "external_id" and not same_names:
                return Outcome(State.REFUSED, f"the external id is that of an earlier line, and of {_who(row)}")
        if not found:
            return Outcome(State.REFUSED, "the user who had the same name was deleted at this moment; run it again")
        column, row = found[0]
        return Outcome(State.REFUSED, f"the {_CALLED[column]} is that of {_who(row)}")


_CALLED = {"external_id": "external id", "username_key": "username", "email_key": "e-mail address", "id": "id"}


def _who(row: Row) -> str:
    external = "" if row["external_id"] is None else f", external id {row['external_id']}"
    return f"user {row['id']}{external}"


def _unique(arrival: Arrival) -> list[tuple[str, str]]:
    """Return the columns by which users are told apart, and what they hold."""
    return [(column, value) for column in _CALLED if (value := getattr(arrival, column)) is not None]


async def _doubly_meant(reads: Tx | Database, arrivals: list[Arrival]) -> dict[str, Outcome]:
    """Refuse a username that reads as the address of someone else, and an address that is another's username."""
    names = {
        each.username_key: each
        for each in arrivals
        if each.username_key and "@" in each.username_key and each.username_key != each.email_key
    }
    addresses = {each.email_key: each for each in arrivals if each.email_key}
    outcomes = {
        each.id: Outcome(State.REFUSED, "the username is the e-mail address of another line")
        for key, each in names.items()
        if key in addresses
    }
    for column, other, wanted in (("email_key", "username_key", names), ("username_key", "email_key", addresses)):
        for row in await _among(reads, column, list(wanted)):
            if row[other] != row[column]:
                what = "username is the e-mail address" if column == "email_key" else "e-mail address is the username"
                outcomes[wanted[row[column]].id] = Outcome(State.REFUSED, f"the {what} of {_who(row)}")
    return outcomes


async def _holders(reads: Tx | Database, arrivals: list[Arrival]) -> _Rows:
    """Return who has the names and ids of these arrivals."""
    rows: _Rows = {}
    for column in _CALLED:
        wanted = [value for each in arrivals if (value := getattr(each, column)) is not None]
        rows[column] = {row[column]: row for row in await _among(reads, column, wanted)}
    return rows


async def _among(reads: Tx | Database, column: str, values: list[str]) -> list[Row]:
    found: list[Row] = []
    for some in range(0, len(values), _TOGETHER):
        given = {f"v{number}": value for number, value in enumerate(values[some : some + _TOGETHER])}
        found += await reads.all(
            "SELECT id, external_id, username_key, email_key, imported_at FROM ww_users"
            f" WHERE {column} IN ({', '.join(f':{name}' for name in given)})",
            **given,
        )
    return found


async def _insert(tx: Tx, arrivals: list[Arrival], now: int) -> set[str]:
    """Insert users, but for those that an index refuses; return the ids of those who are in."""
    stored: set[str] = set()
    for some in range(0, len(arrivals), _TOGETHER):
        values: dict[str, Value] = {"now": now}
        for number, arrival in enumerate(arrivals[some : some + _TOGETHER]):
            values.update(zip(_parameters(number), arrival, strict=False))
        rows = await tx.all(_inserting(len(arrivals[some : some + _TOGETHER])), **values)
        stored.update(row["id"] for row in rows)
    return stored


@cache
def _parameters(number: int) -> tuple[str, ...]:
    return tuple(f"{column}_{number}" for column in _COLUMNS)


@cache
def _inserting(count: int) -> str:
    rows = ", ".join(
        "(" + ", ".join(f":{name}" for name in _parameters(number)) + ", 1, :now, :now)" for number in range(count)
    )
    return (
        f"INSERT INTO ww_users ({', '.join(_COLUMNS)}, token_version, updated_at, imported_at) VALUES {rows}"
        " ON CONFLICT DO NOTHING RETURNING id"
    )
