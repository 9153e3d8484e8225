"""`python -m watchword.cli.audit_page`: prints `docs/reference/audit.md`, made from the table of audit events."""

from __future__ import annotations

from watchword.identity.audit import EVENTS, Event

_INTRODUCTION = """\
# Audit records

<!-- Made from the code by `make docs`. Change src/watchword/identity/audit.py, not this page. -->

Each record is a row of the table `ww_audit`, written in the transaction of what it records. `WATCHWORD_AUDIT_RETENTION`
says how long it is kept.

| column | what it holds |
|---|---|
| `id` | the record's id; ids are in the order of time |
| `at` | when it happened, in seconds since 1970 |
| `event` | what happened, from the table below |
| `outcome` | `ok`, `refused`, the code of a refresh, or the name of the limit that was reached |
| `actor_id` | the user who did it, if one is known |
| `user_id` | the user whose account it is about, if one is known |
| `session_id` | the session that it is about, if there is one |
| `address` | the client's address; `local` for a command |
| `agent` | what the client calls itself |
| `request_id` | the id of the request, as in the log |
| `detail` | a JSON object with the fields below; it holds no secret, no username and no e-mail address |

| event | what has happened | detail |
|---|---|---|
"""


def page() -> str:
    """Return the page's text."""
    return _INTRODUCTION + "".join(_row(name, event) for name, event in EVENTS.items())


def _row(name: str, event: Event) -> str:
    detail = ", ".join(f"`{field}`" for field in sorted(event.detail))
    return f"| `{name}` | {event.meaning} | {detail or '–'} |\n"


if __name__ == "__main__":
    print(page(), end="")
