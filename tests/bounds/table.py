"""Every route, and by what it is bounded: what it stores, hashes, and tells about other users.

A cell names the limits that end it (as `WATCHWORD_<NAME>_LIMIT`), or says why there is nothing to end. `tries` are what
a single user (from ever new addresses), a single address (with ever new users) or a stranger would do over and over;
the test walks them. `docs/security/bounds.md` is written from this table.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tests.bounds import tries as do
from tests.features.api import Api

Try = Callable[[Api, int], Awaitable[object]]

NOTHING = "nothing"
PER_SESSION = "one record an hour and session"
PER_LOG_IN = "as often as logged in"
IN_PLACE = "in place, no growth; " + PER_SESSION
LOG_IN = "`login`, `login_account`, `session`"
LOG_IN_ADDRESS = "`login`, `login_address`, `session_address`"


class Bound(NamedTuple):
    """One route. `writes` and `hashes` are per user and per address (strangers count by address)."""

    route: str
    writes: tuple[str, str]
    hashes: tuple[str, str]
    tells: tuple[str, str]
    tries: tuple[Try, ...]


def _reads(route: str, *tries: Try) -> Bound:
    return Bound(route, (NOTHING, NOTHING), (NOTHING, NOTHING), (NOTHING, NOTHING), tries)


def _ends(route: str, *tries: Try) -> Bound:
    return Bound(route, (PER_LOG_IN, PER_LOG_IN), (NOTHING, NOTHING), (NOTHING, NOTHING), tries)


_PROOF = ((LOG_IN, LOG_IN_ADDRESS), (LOG_IN, LOG_IN_ADDRESS))

BOUNDS: tuple[Bound, ...] = (
    Bound(
        "POST /register",
        ("–", "`register`"),
        ("–", "`register`, `conflict`"),
        ("–", "`register`, `conflict`"),
        (do.register, do.register_taken),
    ),
    _reads("GET /profile", do.get("/profile")),
    Bound(
        "PATCH /profile",
        ("`change`", "`change_address`"),
        (LOG_IN, LOG_IN_ADDRESS),
        ("`change`, `conflict`", "`change_address`, `conflict`"),
        (do.rename, do.rename_many, do.same_name, do.taken_name, do.taken_name_many, do.flip_address, do.same_address,
         do.wrong_password_for_address),
    ),
    Bound("DELETE /profile", *_PROOF, (NOTHING, NOTHING), (do.close_wrongly, do.close_many)),
    Bound("POST /login", *_PROOF, (NOTHING, NOTHING),
          (do.log_in, do.log_in_many, do.log_in_wrongly, do.log_in_wrongly_many, do.log_in_as_nobody)),
    Bound("POST /profile/password", *_PROOF, (NOTHING, NOTHING), (do.change_password, do.change_password_wrongly)),
    Bound("POST /refresh", (IN_PLACE, IN_PLACE), (NOTHING, NOTHING), (NOTHING, NOTHING),
          (do.refresh, do.refresh_garbage, do.refresh_copies, do.refresh_elsewhere)),
    _ends("POST /logout", do.log_out, do.log_out_garbage),
    _reads("GET /sessions", do.get("/sessions")),
    _ends("DELETE /sessions", do.end_others, do.end_others_of_many),
    _ends("DELETE /sessions/{id}", do.end_one),
    Bound("POST /token", *_PROOF, (NOTHING, NOTHING), (do.token, do.token_wrongly)),
    _reads("POST /introspect", do.introspect),
    _ends("POST /revoke", do.revoke),
    _reads("GET /.well-known/jwks.json", do.get("/.well-known/jwks.json")),
    _reads("GET /.well-known/oauth-authorization-server", do.get("/.well-known/oauth-authorization-server")),
    _reads("GET /.well-known/openid-configuration", do.get("/.well-known/openid-configuration")),
    _reads("GET /revocations", do.get("/revocations?wait=0")),
    _reads("GET /verify", do.get("/verify")),
    _reads("GET /livez", do.get("/livez")),
    _reads("GET /readyz", do.get("/readyz")),
    _reads("GET /healthz", do.get("/healthz")),
    _reads("GET /", do.get("/")),
)  # fmt: skip

_HEAD = """# Bounds

What one client can make the service store, hash, or tell about other users, and what ends it. Made from
`tests/bounds/table.py`; a test does each thing over and over until its limit is used up, and then counts again: nothing
more is stored, hashed or told. A stranger counts by address. The limits are settings, `WATCHWORD_<NAME>_LIMIT` in
[settings](../reference/settings.md); where one is used up the answer is 429 with `Retry-After`.

In each pair of columns the first is per user, the second per address.

| route | stores | | hashes | | tells | |
|---|---|---|---|---|---|---|
"""
_FOOT = f"""
* **{IN_PLACE}**: a refresh changes the session's row. Of each kind of refusal there is {PER_SESSION}.
* **{PER_LOG_IN}**: what is ended was opened by a log-in, and those are limited. Ending has no limit of its own: logging
  out always works, and with nothing to end nothing is stored.
* **Rows of one user**: a hundred sessions that have not ended; the others are swept a day after their end. No statement
  reads them all (`tests/identity/test_query_plans.py`).
* **When space is short** log-out, ending sessions and disabling an account still work: see
  [storage](../features/sessions.md#when-the-disk-is-full).
* The pages of the documentation and of the problems store, hash and tell nothing.
"""


def page() -> str:
    """`docs/security/bounds.md`."""
    rows = (" | ".join((f"`{row.route}`", *row.writes, *row.hashes, *row.tells)) for row in BOUNDS)
    return _HEAD + "".join(f"| {row} |\n" for row in rows) + _FOOT
