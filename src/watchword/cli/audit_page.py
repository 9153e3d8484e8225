"""Prints `docs/reference/audit.md` from the table of events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from watchword.identity.audit import EVENTS, Event

_INTRODUCTION = """\
# Audit records

<!-- Made from the code by `make docs`. Change src/watchword/identity/audit.py, not this page. -->

The table `ww_audit` in the database holds one record for each decision about an account or a key, written in the
transaction of what it records. `WATCHWORD_AUDIT_RETENTION` says how long it stays. No record holds a secret, nor the
name or the e-mail address of a user. What is not on this page cannot be written. `watchword audit` reads and verifies
them: `docs/guides/audit.md`.

| column | holds |
|---|---|
| `id` | the record's id; ids sort by time |
| `at` | when, in Unix seconds |
| `event`, `outcome` | what, and how it ended: below |
| `actor_id` | the id of the user who did it, where it was one |
| `user_id`, `session_id` | the user and the session that it is about, where that is known |
| `address`, `agent` | where the request came from; `local` and `watchword` for a command or the service itself |
| `request_id` | as in the log and in the answer's `X-Request-Id` |
| `detail` | a JSON object of texts with the fields below |
| `position`, `hash`, `personal`, `salt` | its place in the chain (`docs/security/audit-chain.md`); null before |

| event | means | outcome | detail |
|---|---|---|---|
"""


def page() -> str:
    """Return the page's text."""
    return _INTRODUCTION + "".join(_row(event) for event in EVENTS)


def _row(event: Event) -> str:
    cells = (f"`{event.name}`", event.means, "<br>".join(_told(event.outcomes)), "<br>".join(_told(event.detail)))
    return f"| {' | '.join(cells)} |\n"


def _told(names: Mapping[str, str]) -> Iterator[str]:
    return (f"`{name}`: {told}" if told else f"`{name}`" for name, told in names.items())


if __name__ == "__main__":
    print(page(), end="")
