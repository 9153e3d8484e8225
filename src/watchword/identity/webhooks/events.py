"""Which audit records are told to webhooks, and as what. Pure.

An event says by ids what happened to which user; no name, address or device. A receiver that needs more asks for it,
with credentials of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from watchword.clock import rfc3339
from watchword.errors import FieldError, InvalidInput

VERSION: Final = 1
"""Of the payload. A field that is added leaves it; one that changes its meaning or goes raises it."""

TYPES: Final[Mapping[str, str]] = {
    "user.created": "An account was made. `email_verified`: its address was confirmed before, by a link.",
    "user.verified": "The user showed that the e-mail address is theirs.",
    "user.changed": "What `fields` names has changed: `username`, `email`, `name`, `public_metadata`,"
    " `private_metadata`, `roles`, `password`.",
    "user.disabled": "An operator disabled the account; `sessions.ended` follows.",
    "user.enabled": "An operator enabled the account again.",
    "user.deleted": "The account is gone; the id is never used again.",
    "users.imported": "An operator imported `count` users; there is no event for each.",
    "session.reused": "A refresh token was used twice, so it may have been stolen; `session.ended` follows.",
    "session.ended": "One session has ended. `reason`: `logged_out`, `ended` by its user, `operator`, `too_many`,"
    " `replaced` by a log-in, `refresh_reuse`.",
    "sessions.ended": "Every session of the user has ended but `kept_session_id`, where that is not null. `reason`:"
    " `ended` by the user, `operator`, `password_changed`, `password_set`, `password_reset`, `email_change_undone`,"
    " `disabled`, `deleted`.",
    "service.restored": "A backup was put in place: every session has ended, and later events are forgotten.",
    "webhook.test": "An operator tries the endpoint.",
}
TEST: Final = "webhook.test"

MOST_TYPES: Final = 16
_LONGEST: Final = 64
OF_ONE: Final = 8
"""One more than the events that one record may have."""


class Event(NamedTuple):
    """An event.

    :param id: of its record, so that a replay has the same one.
    :param user_id: whose; empty for one of no user.
    :param place: in the order of the chain.
    """

    id: str
    type: str
    user_id: str
    place: int
    at: int
    data: dict[str, Any]


class Recorded(NamedTuple):
    """The columns of an audit record that events are made of."""

    id: str
    position: int
    at: int
    event: str
    outcome: str
    user_id: str | None
    session_id: str | None
    detail: str


COLUMNS: Final = ", ".join(Recorded._fields)

_Made = tuple[str, dict[str, Any]]


def events_of(record: Recorded) -> list[Event]:
    """Return what a record tells, in order; nothing for most of them."""
    user = {} if record.user_id is None else {"user_id": record.user_id}
    return [
        Event(
            f"evt_{record.id.replace('-', '')}_{number}",
            kind,
            record.user_id or "",
            record.position * OF_ONE + number,
            record.at,
            {**user, **data},
        )
        for number, (kind, data) in enumerate(_told(record))
    ]


def body(event_type: str, at: int, data: dict[str, Any]) -> bytes:
    """Write what is sent: the same bytes at each try."""
    return msgspec.json.encode({"type": event_type, "timestamp": rfc3339(at), "version": VERSION, "data": data})


def checked(patterns: Iterable[str]) -> tuple[str, ...]:
    """Return which events an endpoint wants: names, `user.*` or `*`. Raises `InvalidInput`."""
    wanted = tuple(dict.fromkeys(each for pattern in patterns if (each := pattern.strip())))
    unknown = [each for each in wanted if not any(fits(each, kind) for kind in TYPES)]
    if not wanted or unknown or len(wanted) > MOST_TYPES:
        what = f"There is no event {unknown[0][:_LONGEST]!a}. " if unknown else "Name one to sixteen. "
        raise InvalidInput(
            FieldError("events", "unknown", f"{what}Events are: {', '.join(TYPES)}; user.* or * fits many.")
        )
    return wanted


def fits(pattern: str, kind: str) -> bool:
    """Tell whether a name or pattern means a type."""
    return pattern in ("*", kind) or (pattern.endswith(".*") and kind.startswith(pattern[:-1]))


def _told(record: Recorded) -> Iterable[_Made]:
    event, detail = record.event, _detail(record.detail)
    confirmed = detail.get("email") == "confirmed"
    if confirmed and event in ("log_in", "password_reset"):
        yield "user.verified", {}
    if event in _CHANGES:
        fields, reason = _CHANGES[event]
        yield "user.changed", {"fields": fields or detail.get("fields", "").split()}
        if reason:
            yield _all_ended(reason, record.session_id)
    elif event in _ACCOUNTS:
        kind, reason = _ACCOUNTS[event]
        if event == "user_deleted":  # last, as no event of this user follows
            yield _all_ended(reason)
        yield kind, {"email_verified": confirmed} if event == "user_created" else {}
        if event == "user_disabled":
            yield _all_ended(reason)
    elif event == "users_imported":
        yield "users.imported", {"count": int(count) if (count := detail.get("count", "")).isdecimal() else 0}
    elif event == "database_restored":
        yield "service.restored", {}
    else:
        yield from _told_of_sessions(record, detail)


def _told_of_sessions(record: Recorded, detail: Mapping[str, str]) -> Iterable[_Made]:
    one = {"session_id": record.session_id}
    match record.event, record.outcome:
        case "logged_out", _:
            yield "session.ended", {**one, "reason": "logged_out"}
        case "session_ended", _:
            yield "session.ended", {**one, "reason": detail.get("reason", "ended")}
        case "refresh", "refresh_token_reused":
            yield "session.reused", one
            yield "session.ended", {**one, "reason": "refresh_reuse"}
        case "sessions_ended", _:
            yield _all_ended("operator")
        case "other_sessions_ended", _:
            yield _all_ended("ended", record.session_id)


_ACCOUNTS: Final = {
    "user_created": ("user.created", ""),
    "email_verified": ("user.verified", ""),
    "user_disabled": ("user.disabled", "disabled"),
    "user_enabled": ("user.enabled", ""),
    "user_deleted": ("user.deleted", "deleted"),
}
# Record → the fields that change, if it does not name them itself; and why every session ends, if it does.
_CHANGES: Final[Mapping[str, tuple[list[str], str]]] = {
    "user_changed": ([], ""),
    "metadata_changed": ([], ""),
    "roles_changed": (["roles"], ""),
    "password_changed": (["password"], "password_changed"),
    "password_set": (["password"], "password_set"),
    "password_reset": (["password"], "password_reset"),
    "email_change_undone": (["email", "password"], "email_change_undone"),
}
TOLD: Final = (
    *_ACCOUNTS, *_CHANGES, "users_imported", "database_restored", "log_in", "logged_out", "session_ended",
    "refresh", "sessions_ended", "other_sessions_ended",
)  # fmt: skip
"""The audit events of which some records are told."""


def _all_ended(reason: str, kept: str | None = None) -> _Made:
    return "sessions.ended", {"reason": reason, "kept_session_id": kept}


def _detail(text: str) -> Mapping[str, str]:
    try:
        return msgspec.json.decode(text, type=dict[str, str])
    except msgspec.MsgspecError:  # changed behind our back, which `watchword audit verify` finds
        return {}
