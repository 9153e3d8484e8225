"""Audit records: who did what to whom, when, from where, and how it ended (ASVS 16.3). No HTTP.

`docs/reference/audit.md` is made from `EVENTS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from watchword.ids import new_id
from watchword.settings.table import LIMITS
from watchword.storage.database import Tx


class Client(NamedTuple):
    """The client: its address, its user agent (at most 256 characters), the request's id."""

    address: str
    agent: str
    request_id: str


LOCAL = Client(address="local", agent="watchword", request_id="")


@dataclass(frozen=True, slots=True)
class Event:
    """One kind of record.

    :param outcomes: outcome → when.
    :param detail: optional field → meaning; never a secret or personal data.
    """

    name: str
    means: str
    outcomes: Mapping[str, str] = field(default_factory=lambda: {"ok": ""})
    detail: Mapping[str, str] = field(default_factory=dict)

    def check(self, outcome: str, detail: Mapping[str, str]) -> None:
        """Refuse an outcome or a detail outside the table. Raises `ValueError`."""
        if outcome not in self.outcomes:
            raise ValueError(f"{self.name} has no outcome {outcome!r} in watchword.identity.audit.EVENTS")
        unknown = ", ".join(sorted(detail.keys() - self.detail.keys()))
        if unknown:
            raise ValueError(f"{self.name} has no detail {unknown} in watchword.identity.audit.EVENTS")


_REFUSED = {"refused": "The proof was wrong, the account is disabled or has changed meanwhile, or there is none."}
_KEY = {"kid": "The key's id.", "algorithm": "What it signs with."}
_GUARD = {"guard": "The guard key's id.", "name": "Its name."}

# fmt: off
EVENTS: tuple[Event, ...] = (
    Event("user_created", "A user registered, or an operator made the account."),
    Event("user_changed", "A user changed username or e-mail address.", detail={"fields": "Which, separated by spaces."}),
    Event("user_deleted", "A user closed the account."),
    Event("user_disabled", "An operator disabled an account; its sessions have ended."),
    Event("user_enabled", "An operator enabled an account again."),
    Event("roles_changed", "An operator set the roles of a user."),
    Event("password_changed", "A user changed the password; every session from before has ended."),
    Event("log_in", "Someone tried to log in.", {"ok": "The session was opened.", **_REFUSED}),
    Event("log_in_pending", "The first factor of a log-in was right; a second one must follow."),
    Event("confirm", "A user was asked for the password before a change of the account. Only failures are recorded.", _REFUSED),
    Event("limit_reached", "A limit was used up; once for each window of each subject. The outcome is the limit's name.", {row.limit: row.purpose for row in LIMITS}),
    Event(
        "refresh", "A refresh token was sent that was not simply replaced. Of each outcome there is one an hour and session.",
        {
            "refresh_token_reused": "It had been used before: the session has been ended.",
            "refresh_superseded": "It had been replaced, and the newer one is in use: refused.",
            "refresh_token_invalid": "It belongs to another client: refused.",
            "session_ended": "Its session had ended: refused.",
            "grace_elsewhere": "It had just been used, and came from another place: it yielded the same successor.",
        },
        {"class": "Of reuse: `one_behind` for the token before the current one, `stale` for older ones."},
    ),
    Event("storage_rollback", "The database is older than a refresh token that was sent, as after restoring a copy.", detail={
        "stored": "The generation in the database.", "presented": "The generation that was sent.",
    }),
    Event("logged_out", "A log-out ended the session."),
    Event("session_ended", "A session was ended by its user or by a log-in.", detail={
        "reason": "`too_many`: the oldest made room; `replaced`: the log-in came from the same browser. The user's own have none.",
    }),
    Event("other_sessions_ended", "A user ended all sessions but the current one.", detail={"count": "How many."}),
    Event("key_created", "A signing key was made.", detail={**_KEY, "status": "`next` or `active`."}),
    Event("key_activated", "A signing key signs from now on.", detail=_KEY),
    Event("key_retired", "A signing key signs no more; its tokens stay valid.", detail=_KEY),
    Event("key_removed", "A signing key is needed no more, and its private half is gone.", detail=_KEY),
    Event("key_revoked", "A signing key was revoked; its tokens are refused.", detail=_KEY),
    Event("guard_key_created", "A key for a guard was made.", detail=_GUARD),
    Event("guard_key_revoked", "A guard's key was revoked.", detail=_GUARD),
    Event("master_secret_rotated", "What the master secret seals was sealed with another one.", detail={
        "secret": "The new secret's id, from which it cannot be computed.", "values": "How many were sealed anew.",
    }),
    Event("database_restored", "A backup was put in place; everything issued before is refused.", detail={
        "users": "How many.", "sessions": "How many were ended.", "keys": "The ids of the signing keys that were revoked.",
        "feed": "The id of the new list of revocations.",
    }),
)
# fmt: on

_BY_NAME = {event.name: event for event in EVENTS}

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
    """Write a record, in the transaction of what it records. Raises `ValueError` for anything outside `EVENTS`."""
    known = _BY_NAME.get(event)
    if known is None:
        raise ValueError(f"{event!r} is no event in watchword.identity.audit.EVENTS")
    known.check(outcome, detail or {})
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
