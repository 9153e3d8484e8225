"""What the service counts about itself: each meter is a row of `METERS`. No metrics library is known here.

`docs/guides/metrics.md` and the tests read the same table. A label has few values, all known before the first request:
never a name, an id, an address or anything that a client typed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

OTHER = "other"
"""Stands for any value of a label that is not in the table."""


@dataclass(frozen=True, slots=True, eq=False)  # compared by identity: it is looked up for each request
class Meter:
    """One meter.

    :param labels: label → its values; empty for values that `Meters.declare` names.
    :param bounds: upper bounds of a histogram's buckets.
    :param together: how a level of several processes becomes one; of those alive only.
    """

    name: str
    kind: Literal["counter", "histogram", "level"]
    means: str
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    bounds: tuple[float, ...] = ()
    together: Literal["sum", "max", "min"] = "sum"


_SHORT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_LONG = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_ENDS = ("limited", "busy", "failed", "cancelled")

# fmt: off
REQUESTS = Meter("watchword_requests_total", "counter", "Requests answered, by route and class of status; `gone`: the client hung up first.", (("route", ()), ("status", ("2xx", "3xx", "4xx", "5xx", "gone"))))
REQUEST_SECONDS = Meter("watchword_request_seconds", "histogram", "Time from a request to its answer. A guard's request for the feed waits up to half a minute by design.", (("route", ()),), _LONG)
LOG_INS = Meter("watchword_log_ins_total", "counter", "Tries to log in. `refused`: wrong password or unknown user; `second_factor`: another proof must follow; `limited`: a limit was used up; `busy`: too many hashes were waiting; `failed`: a fault of ours; `cancelled`: stopped before its end.", (("result", ("ok", "second_factor", "refused", *_ENDS)),))
REGISTRATIONS = Meter("watchword_registrations_total", "counter", "Tries to register. `taken`: the name or address is in use; `refused`: invalid, or registration is closed.", (("result", ("ok", "taken", "refused", *_ENDS)),))
REFRESHES = Meter("watchword_refreshes_total", "counter", "Refresh tokens sent. `rotated`: replaced; `grace`, `grace_elsewhere`: answered with the same successor again; `rolled_back`: newer than the restored database; the others were refused, and `refresh_token_reused` ended a session.", (("result", ("rotated", "grace", "grace_elsewhere", "rolled_back", "refresh_token_reused", "refresh_superseded", "refresh_token_invalid", "session_ended", "failed")),))
LIMITED = Meter("watchword_limit_refusals_total", "counter", "Attempts refused because a limit was used up, by limit.", (("limit", ()),))
HASH_QUEUE = Meter("watchword_hash_queue", "level", "Passwords being hashed or waiting for it.")
HASH_WAIT = Meter("watchword_hash_wait_seconds", "histogram", "Time that a password waited for a thread.", bounds=_LONG)
HASH_REFUSALS = Meter("watchword_hash_refusals_total", "counter", "Passwords refused because the queue, or a network's share of it, was full.")
DATABASE_IN_USE = Meter("watchword_database_connections_in_use", "level", "PostgreSQL connections in use; on SQLite, processes that are writing.")
DATABASE_WAITING = Meter("watchword_database_waiting", "level", "Calls that wait for a connection; on SQLite, units that wait for the next commit.")
DATABASE_SECONDS = Meter("watchword_database_seconds", "histogram", "Time of a database call, waiting included.", (("call", ("one", "all", "scan", "run", "change", "transact")),), _SHORT)
DATABASE_FAILURES = Meter("watchword_database_failures_total", "counter", "Database calls that failed because the database was not available.", (("call", ("one", "all", "scan", "run", "change", "transact")),))
COMMIT_GROUP = Meter("watchword_commit_group_units", "histogram", "Units that shared one commit (SQLite).", bounds=(1, 2, 4, 8, 16, 32, 64, 128, 256))
REVOKED = Meter("watchword_revocations_total", "counter", "Entries published in the list of revocations; `every_user` is one for all.", (("kind", ("session", "user", "key", "scope", "audience", "every_user")),))
FEED_AGE = Meter("watchword_feed_age_seconds", "level", "Time since a process last knew all revocations; the oldest process counts.", together="max")
KEY_AGE = Meter("watchword_signing_key_age_seconds", "level", "Age of the key that signs; 0 under a shared secret.", together="max")
CAN_SIGN = Meter("watchword_can_sign", "level", "1 while every process has a signing key that is accepted, else 0.", together="min")
LOOP_LAG = Meter("watchword_event_loop_lag_seconds", "histogram", "How late the event loop ran a timer; everything else is as late.", bounds=_SHORT)
PROCESSES = Meter("watchword_processes", "level", "Processes that serve.")
SAMPLED_AT = Meter("watchword_sampled_timestamp_seconds", "level", "When a process last measured its levels (Unix time); the one longest ago counts. It stands still when an event loop does.", together="min")
WEBHOOKS = Meter("watchword_webhooks_total", "counter", "Webhooks handed over. `taken`: the receiver took it; `not_taken`: it is tried again later; `given_up`: that was the last try.", (("result", ("taken", "not_taken", "given_up")),))
WEBHOOKS_DISABLED = Meter("watchword_webhooks_disabled_total", "counter", "Endpoints of webhooks that were disabled because they took nothing for long.")
RESTARTS = Meter("watchword_worker_restarts_total", "counter", "Worker processes that ended and were replaced.")
BUILD = Meter("watchword_build_info", "level", "Always 1; the labels say what runs.", (("version", ()), ("database", ("sqlite", "postgresql"))), together="max")
# fmt: on

METERS = (
    REQUESTS, REQUEST_SECONDS, LOG_INS, REGISTRATIONS, REFRESHES, LIMITED, HASH_QUEUE, HASH_WAIT, HASH_REFUSALS,
    DATABASE_IN_USE, DATABASE_WAITING, DATABASE_SECONDS, DATABASE_FAILURES, COMMIT_GROUP, REVOKED, FEED_AGE, KEY_AGE,
    CAN_SIGN, LOOP_LAG, PROCESSES, SAMPLED_AT, WEBHOOKS, WEBHOOKS_DISABLED, RESTARTS, BUILD,
)  # fmt: skip


class Meters(Protocol):
    """Counts. Nothing here waits or raises; values of a label outside the table count as `other`."""

    @property
    def on(self) -> bool:
        """Tell whether anyone reads the numbers: what is costly to measure may be left out."""
        ...

    def declare(self, meter: Meter, values: Iterable[str]) -> None:
        """Name the values of a meter's first label, where the table leaves them open."""
        ...

    def count(self, meter: Meter, *labels: str, by: int = 1) -> None:
        """Add to a counter."""
        ...

    def observe(self, meter: Meter, value: float, *labels: str) -> None:
        """Add a value to a histogram."""
        ...

    def level(self, meter: Meter, value: float, *labels: str) -> None:
        """Set a level."""
        ...


class Unmetered:
    """Counts nothing."""

    on = False

    def declare(self, meter: Meter, values: Iterable[str]) -> None:
        """Do nothing."""

    def count(self, meter: Meter, *labels: str, by: int = 1) -> None:
        """Do nothing."""

    def observe(self, meter: Meter, value: float, *labels: str) -> None:
        """Do nothing."""

    def level(self, meter: Meter, value: float, *labels: str) -> None:
        """Do nothing."""


UNMETERED: Meters = Unmetered()
