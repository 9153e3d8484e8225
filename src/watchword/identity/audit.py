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
    """The client: its address, its user agent (at most 256 characters), the request's id, its `Accept-Language`."""

    address: str
    agent: str
    request_id: str
    language: str = ""


class Operator(NamedTuple):
    """Someone who changes other people's accounts: an administrator, or a command where `user_id` is None."""

    user_id: str | None


CONFIRMED = {"email": "confirmed"}
"""Detail of what also confirms an e-mail address."""

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
_BY = {"by": "`legacy_token`: by a token of the application that was there before."}
_EMAIL = {"email": "`confirmed`: the link or code showed that the address is the user's, which was not known before."}
_KEY = {"kid": "The key's id.", "algorithm": "What it signs with."}
_WEBHOOK = {"webhook": "The endpoint's id."}
_API = {"api": "The API's id.", "name": "Its name."}
_API_KEY = {"key": "The API key's id.", "name": "Its name."}
_ACCOUNT = {"client": "The service account's id."}
_NAMED_ACCOUNT = {**_ACCOUNT, "name": "Its name."}
_GUARD = {"guard": "The guard key's id.", "name": "Its name."}

# fmt: off
EVENTS: tuple[Event, ...] = (
    Event("user_created", "A user registered, or an operator made the account.", detail=_EMAIL),
    Event("users_imported", "An operator imported users of another system; one record for each batch.", detail={
        "count": "How many.", "source": "`file`, or the name of the system that they were read from.",
    }),
    Event("users_exported", "An operator began to write all users to a file.", detail={"hashes": "`with` or `without` the hashes of passwords."}),
    Event("user_changed", "A user changed username, e-mail address or name, or an operator did.", detail={"fields": "Which, separated by spaces."}),
    Event("user_deleted", "A user closed the account, or an operator deleted it."),
    Event("user_invited", "An operator had a link sent to a user, by which to set a password."),
    Event("user_disabled", "An operator disabled an account; its sessions have ended."),
    Event("user_enabled", "An operator enabled an account again."),
    Event("roles_changed", "An operator set the roles of a user."),
    Event("metadata_changed", "An operator replaced metadata of a user.", detail={"fields": "Which, separated by spaces."}),
    Event("password_changed", "A user changed the password; every session from before has ended."),
    Event("password_set", "An operator set the password of a user; every session from before has ended."),
    Event("log_in", "Someone tried to log in.", {
        "ok": "The session was opened.", **_REFUSED,
        "unverified": "The proof was right, and the e-mail address is not confirmed: refused.",
        "no_scope": "The proof was right, and the account has none of the scopes that were asked for: refused.",
    }, {**_BY, **_EMAIL}),
    Event("email_verified", "A user confirmed the e-mail address by a link or a code that was sent to it."),
    Event("email_change_undone", "A former e-mail address came back by the link in its notice; every session has ended and the password is removed."),
    Event("password_reset", "A user set a new password by a link or a code that was sent by mail; every session has ended.", detail=_EMAIL),
    Event("log_in_pending", "The first factor of a log-in was right; a second one must follow.", detail=_BY),
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
    Event("session_ended", "A session was ended by its user, by a log-in or by an operator.", detail={
        "reason": "`too_many`: the oldest made room; `replaced`: the log-in came from the same browser; `operator`. The user's own have none.",
    }),
    Event("sessions_ended", "An operator ended all sessions of a user.", detail={"count": "How many."}),
    Event("other_sessions_ended", "A user ended all sessions but the current one.", detail={"count": "How many."}),
    Event("scopes_changed", "An operator, or the setting, changed which scopes a role gives; `*` is every user.", detail={
        "role": "The role.", "added": "Scopes.", "removed": "Scopes: tokens that hold them are refused.",
    }),
    Event("api_created", "An operator registered an API.", detail=_API),
    Event("api_changed", "An operator changed an API's audience, or the scopes that it knows.", detail=_API),
    Event("api_deleted", "An operator deleted an API; its tokens are refused, its sessions are over.", detail=_API),
    Event("api_key_created", "A user made an API key.", detail=_API_KEY),
    Event("api_key_rotated", "A user put a new API key in the place of one.", detail={**_API_KEY, "replaced_by": "The new key's id."}),
    Event("api_key_revoked", "A user or an operator revoked an API key; its tokens are refused.", detail=_API_KEY),
    Event("client_created", "An operator made a service account.", detail=_NAMED_ACCOUNT),
    Event("client_secret_rotated", "An operator gave a service account a new secret.", detail=_NAMED_ACCOUNT),
    Event("client_disabled", "An operator disabled a service account; its tokens are refused.", detail=_NAMED_ACCOUNT),
    Event("client_enabled", "An operator enabled a service account again.", detail=_NAMED_ACCOUNT),
    Event("client_deleted", "An operator deleted a service account; its tokens are refused.", detail=_NAMED_ACCOUNT),
    Event("client_used", "A service account showed its secret or key. Of each outcome there is one an hour and account.", {
        "ok": "It is the account.", "refused": "The secret or the assertion was wrong, or the account is disabled.",
    }, _ACCOUNT),
    Event("token_exchanged", "A service account got a token to call another API for a user; one an hour, session and API.", detail={
        **_ACCOUNT, "api": "The other API's id.",
    }),
    Event("key_created", "A signing key was made.", detail={**_KEY, "status": "`next` or `active`."}),
    Event("key_activated", "A signing key signs from now on.", detail=_KEY),
    Event("key_retired", "A signing key signs no more; its tokens stay valid.", detail=_KEY),
    Event("key_removed", "A signing key is needed no more, and its private half is gone.", detail=_KEY),
    Event("key_revoked", "A signing key was revoked; its tokens are refused.", detail=_KEY),
    Event("guard_key_created", "A key for a guard was made.", detail=_GUARD),
    Event("guard_key_revoked", "A guard's key was revoked.", detail=_GUARD),
    Event("webhook_created", "An endpoint of webhooks was added.", detail={**_WEBHOOK, "host": "The host of its URL."}),
    Event("webhook_removed", "An endpoint of webhooks was removed.", detail=_WEBHOOK),
    Event("webhook_secret_rotated", "The secret that signs an endpoint's webhooks was replaced.", detail=_WEBHOOK),
    Event("webhook_enabled", "An endpoint that was disabled is sent webhooks again.", detail=_WEBHOOK),
    Event("webhook_disabled", "The service disabled an endpoint of webhooks.", detail={**_WEBHOOK, "reason": "`failing`: it took nothing for long; `gone`: it answered 410."}),
    Event("webhook_replayed", "An operator had events sent to an endpoint again; one record for each batch.", detail={**_WEBHOOK, "count": "How many."}),
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
