"""What these tests do over and over: people, log-ins, and what SQLite was really asked."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any

from watchword.identity import password_factor
from watchword.identity.administration import Administration, unchecked
from watchword.identity.audit import Client
from watchword.identity.factors import Candidate, Confirmed, Factor, Proof, Prove
from watchword.identity.issuing import FIRST_PARTY
from watchword.identity.kernel import Kernel
from watchword.identity.login import LoggedIn
from watchword.identity.revocation import Published
from watchword.identity.rights import EVERYTHING, Asked
from watchword.identity.sessions.sessions import Tokens
from watchword.identity.users import User
from watchword.storage.database import Tx
from watchword.tokens.claims import AccessClaims

HOME = Client("192.0.2.10", "Firefox", "request-1")
AWAY = Client("198.51.100.7", "curl", "request-2")
PASSWORD = "plum-orbit-canvas"
OTHER_PASSWORD = "velvet-anchor-ripple"
MINUTE, HOUR, DAY = 60, 3600, 86_400

Opener = Callable[..., AbstractAsyncContextManager[Kernel]]
Recorded = dict[str, Any]


async def _yes(_: Candidate | None) -> Proof | None:
    return Proof("pwd")


async def _no(_: Candidate | None) -> Proof | None:
    return None


proven = Factor(_yes)
"""A factor that anyone satisfies, so that a log-in costs no hash."""

unproven = Factor(_no)
"""A factor that no one satisfies."""


async def change_password(
    kernel: Kernel, caller: AccessClaims, confirmed: Confirmed, password_hash: str, *, client: Client, client_id: str
) -> LoggedIn:
    """Change a password as its feature does, with a hash that is ready."""
    return await password_factor.change_password(
        kernel.login, kernel.users, caller, confirmed, password_hash, client=client, client_id=client_id
    )


async def join(kernel: Kernel, username: str = "alice", *, password: str | None = None, **given: Any) -> User:
    """Make a user; without a password unless one is given."""
    return await kernel.users.create(
        **{
            "username": username,
            "email": f"{username}@example.org",
            "password": password,
            "client": HOME,
            "check": unchecked,
            **given,
        }
    )


def operator(kernel: Kernel, *, client: Client = HOME) -> Administration:
    """What an operator may do by a command, which asks no session."""
    return Administration(kernel, client=client, check=unchecked)


async def give_roles(kernel: Kernel, user_id: str, roles: tuple[str, ...], *, client: Client = HOME) -> User:
    """Give a user exactly these roles."""
    return await operator(kernel, client=client).change_roles(user_id, lambda _: frozenset(roles))


async def stored(kernel: Kernel, user: User) -> User:
    """The user as the database has them now."""
    found = await kernel.users.find(user.id)
    assert found is not None
    return found


async def log_in(
    kernel: Kernel,
    who: str = "alice",
    *,
    prove: Prove | Factor = proven,
    client: Client = HOME,
    replacing: str | None = None,
    asked: Asked = EVERYTHING,
) -> LoggedIn:
    """Log in through the pipeline."""
    factor = prove if isinstance(prove, Factor) else Factor(prove)
    return await kernel.login.attempt(
        who, factor, client=client, client_id=FIRST_PARTY, replacing=replacing, asked=asked
    )


def known_device(kernel: Kernel, logged_in: LoggedIn) -> str:
    """The cookie that the browser door sets after a log-in."""
    return kernel.known_devices.remember(None, logged_in.user.id, logged_in.version)


async def refresh(kernel: Kernel, token: str, *, client: Client = HOME, client_id: str = FIRST_PARTY) -> Tokens:
    """Refresh as the first-party client."""
    return await kernel.sessions.refresh(token, client_id=client_id, client=client)


def claims_of(kernel: Kernel, of: Tokens | LoggedIn) -> AccessClaims:
    """Verify the access token as the service does."""
    tokens = of.tokens if isinstance(of, LoggedIn) else of
    return kernel.verifier.verify(tokens.access_token)


async def reset_password(kernel: Kernel, user_id: str, password_hash: str = "$argon2id$new") -> None:
    """Set a password as a reset does: one unit, published last."""

    async def unit(tx: Tx) -> tuple[None, Published]:
        now = kernel.clock.now()
        return None, await kernel.users.set_password(tx, user_id, password_hash, now=now, reason="reset")

    await kernel.revocations.commit(unit)


_BY_TIME = frozenset({"ww_audit", "ww_guard_keys", "ww_sessions", "ww_users"})


async def recorded(kernel: Kernel, table: str, order: str = "rowid") -> list[Recorded]:
    """All rows of a table, oldest first."""
    if order == "rowid" and kernel.settings.database_path is None:
        order = "id" if table in _BY_TIME else "ctid"  # PostgreSQL: where the row lies, when no one updates it
    rows = await kernel.database.scan(f"SELECT * FROM {table} ORDER BY {order}")
    return [dict(row) for row in rows]  # type: ignore[call-overload]


async def session_row(kernel: Kernel, session_id: str | None) -> Recorded:
    """One session as it is stored."""
    row = await kernel.database.one("SELECT * FROM ww_sessions WHERE id = :id", id=session_id)
    assert row is not None
    return dict(row)  # type: ignore[call-overload]


async def entries(kernel: Kernel) -> list[Recorded]:
    """What has been published, in order."""
    return await recorded(kernel, "ww_revocations", "seq")


async def everything(kernel: Kernel) -> dict[str, list[Recorded]]:
    """The whole content that a unit may touch, to be compared with itself later."""
    return {
        table: await recorded(kernel, table)
        for table in ("ww_users", "ww_sessions", "ww_feed", "ww_revocations", "ww_audit")
    }


def meddle(kernel: Kernel, script: str) -> None:
    """Do something to the file behind the service's back, as an operator or a fault would."""
    connection = sqlite3.connect(kernel.settings.database_path, timeout=5)
    try:
        connection.executescript(script)
    finally:
        connection.close()


def refuse_inserts(kernel: Kernel, table: str) -> None:
    """From now on every INSERT into that table fails."""
    meddle(
        kernel,
        f"CREATE TRIGGER fault BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'injected fault'); END",
    )


def file_contents(kernel: Kernel) -> bytes:
    """Every byte of the database, its log included: what a thief of the disk has."""
    path = kernel.settings.database_path
    return b"".join(part.read_bytes() for part in path.parent.glob(f"{path.name}*"))


class Statements:
    """What SQLite executed, in order, values included."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    @property
    def of_the_product(self) -> list[str]:
        """Without the frame that the writer puts around units."""
        frame = ("BEGIN", "SAVEPOINT", "RELEASE", "ROLLBACK", "COMMIT", "PRAGMA")
        return [statement for statement in self.seen if not statement.startswith(frame)]

    @property
    def units(self) -> list[list[str]]:
        """The statements of each unit."""
        found: list[list[str]] = []
        inside = False
        for statement in self.seen:
            if statement.startswith("SAVEPOINT"):
                inside = True
                found.append([])
            elif statement.startswith(("RELEASE", "ROLLBACK")):
                inside = False
            elif inside:
                found[-1].append(statement)
        return found


@contextmanager
def statements(kernel: Kernel) -> Iterator[Statements]:
    """Listen to both connections of the kernel's database."""
    listening = Statements()
    connections = (kernel.database._writer._connection, kernel.database._reader)  # type: ignore[attr-defined]
    for connection in connections:
        connection.set_trace_callback(lambda sql: listening.seen.append(sql.strip()))
    try:
        yield listening
    finally:
        for connection in connections:
            connection.set_trace_callback(None)


_WRITES = re.compile(r"(?:UPDATE|INSERT INTO|DELETE FROM)\s+(ww_\w+)")


def written_table(statement: str) -> str | None:
    """Which table a statement writes to."""
    match = _WRITES.match(statement)
    return None if match is None else match[1]
