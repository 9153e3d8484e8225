"""Audit records: who did what to whom, when, from where, and how it ended (ASVS 16.3). No HTTP."""

from __future__ import annotations

from types import MappingProxyType
from typing import NamedTuple

import msgspec

from watchword.ids import new_id
from watchword.storage.database import Tx


class Client(NamedTuple):
    """The other end of a request: its address, what it calls itself (at most 256 characters), the request's id."""

    address: str
    agent: str
    request_id: str


class Event(NamedTuple):
    """One kind of audit record.

    :param meaning: what has happened, for readers of the documentation.
    :param detail: the fields that its detail may have.
    """

    meaning: str
    detail: frozenset[str] = frozenset()


_KEY = frozenset({"kid", "algorithm"})
_GUARD_KEY = frozenset({"guard", "name"})

# What is not in this table cannot be written. `docs/reference/audit.md` is made from it.
EVENTS = MappingProxyType(
    {
        "log_in": Event("A log-in succeeded or was refused."),
        "log_in_pending": Event("The first factor of a log-in was right; a second one must follow."),
        "confirm": Event("A user who is logged in gave a wrong password for a change."),
        "logged_out": Event("A user logged out."),
        "session_ended": Event(
            "A user ended a session, or a log-in did: it replaced one, or there were too many.", frozenset({"reason"})
        ),
        "other_sessions_ended": Event("A user ended all sessions but the present one.", frozenset({"count"})),
        "refresh": Event(
            "A refresh token was refused, or answered again for another address. Reuse ends the session.",
            frozenset({"class"}),
        ),
        "storage_rollback": Event(
            "A session's refresh token was newer than its row: the database has lost commits.",
            frozenset({"stored", "presented"}),
        ),
        "user_created": Event("A user registered, or was made by a command."),
        "user_changed": Event("A user changed the username or the e-mail address.", frozenset({"fields"})),
        "password_changed": Event("A user set a new password; all sessions but a new one ended."),
        "user_disabled": Event("A user was disabled; all sessions ended."),
        "user_enabled": Event("A user was enabled."),
        "roles_changed": Event("A user's roles were set."),
        "user_deleted": Event("A user deleted their account."),
        "limit_reached": Event("A limit was used up: one record a window and subject."),
        "guard_key_created": Event("A guard key was made.", _GUARD_KEY),
        "guard_key_revoked": Event("A guard key was revoked.", _GUARD_KEY),
        "key_created": Event("A signing key was made.", _KEY | {"status"}),
        "key_activated": Event("A signing key began to sign.", _KEY),
        "key_retired": Event("A signing key stopped signing; its tokens stay valid.", _KEY),
        "key_revoked": Event("A signing key was revoked; its tokens are refused.", _KEY),
        "key_removed": Event("A signing key that no token needs was deleted.", _KEY),
        "master_secret_rotated": Event(
            "Sealed values went over to a new master secret.", frozenset({"secret", "values"})
        ),
        "database_restored": Event(
            "A backup was put in place; everything it knew as valid is refused.",
            frozenset({"users", "sessions", "keys", "feed"}),
        ),
    }
)

LOCAL = Client(address="local", agent="watchword", request_id="")

_INSERT = """
INSERT INTO ww_audit (id, at, event, outcome, actor_id, user_id, session_id, address, agent, request_id, detail)
VALUES (:id, :at, :event, :outcome, :actor, :user, :session, :address, :agent, :request, :detail)
"""


async def record(
    tx: Tx,
    event: str,
    *,
    at: int,
    client: Client,
    outcome: str = "ok",
    actor: str | None = None,
    user: str | None = None,
    session: str | None = None,
    detail: dict[str, str] | None = None,
) -> None:
    """Write one record, in the transaction of what it records. `detail` holds no secret and no personal data.

    :raises ValueError: the table of events does not have this event, or this field of its detail.
    """
    _check_known(event, detail or {})
    await tx.run(
        _INSERT,
        id=new_id(),
        at=at,
        event=event,
        outcome=outcome,
        actor=actor,
        user=user,
        session=session,
        address=client.address,
        agent=client.agent,
        request=client.request_id,
        detail=msgspec.json.encode(detail or {}).decode(),
    )


def _check_known(event: str, detail: dict[str, str]) -> None:
    known = EVENTS.get(event)
    if known is None:
        raise ValueError(f"{event} is not in the table of audit events: add it to EVENTS in identity/audit.py")
    if unknown := detail.keys() - known.detail:
        raise ValueError(f"{event} has no detail {', '.join(sorted(unknown))}: add it to EVENTS in identity/audit.py")
