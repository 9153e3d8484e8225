"""Every route, and by what it is bounded: what it stores, hashes, and tells about other users.

A cell names the limits that end it (as `WATCHWORD_<NAME>_LIMIT`), or says why there is nothing to end. `tries` are what
a single user (from ever new addresses), a single address (with ever new users) or a stranger would do over and over;
the test walks them. `docs/security/bounds.md` is written from this table.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tests.bounds import page_tries as by
from tests.bounds import tries as do
from tests.features.api import Api

Try = Callable[[Api, int], Awaitable[object]]

NOTHING = "nothing"
PER_SESSION = "one record an hour and session"
PER_MAIL = "once for each mail, and five codes"
PER_LOG_IN = "as often as logged in"
IN_PLACE = "in place, no growth; " + PER_SESSION
OF_STRANGERS = "`login`, `login_account`, `session`"
LOG_IN = "`login_device`, " + OF_STRANGERS
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


def _administers(route: str, *tries: Try) -> Bound:
    """A request of an administrator: each counts, whatever it does."""
    return Bound(route, ("`admin`", "`admin`"), (NOTHING, NOTHING), ("`admin`", "`admin`"), tries)


_PROOF = ((LOG_IN, LOG_IN_ADDRESS), (LOG_IN, LOG_IN_ADDRESS))

_MAIL = (("–", "`mail_address`"), (NOTHING, NOTHING), (NOTHING, NOTHING))
_LINK = ((PER_MAIL, PER_MAIL), (PER_MAIL, PER_MAIL), (NOTHING, NOTHING))
_CODE = ((PER_MAIL, "`mail_code`"), (PER_MAIL, "`mail_code`"), (NOTHING, NOTHING))
_CONFIRM = (_CODE[0], (f"{PER_MAIL}; a password: {OF_STRANGERS}", f"`mail_code`, {LOG_IN_ADDRESS}"))

BOUNDS: tuple[Bound, ...] = (
    Bound(
        "POST /register",
        ("–", "`register`, `mail`, `mail_address`"),
        ("–", "`register`, `conflict`"),
        ("–", "`register`, `conflict`"),
        (do.register, do.register_taken, do.register_with_address),
    ),
    _reads("GET /profile", do.get("/profile")),
    Bound(
        "PATCH /profile",
        ("`change`", "`change_address`"),
        (LOG_IN, LOG_IN_ADDRESS),
        ("`change`, `conflict`", "`change_address`, `conflict`"),
        (do.rename, do.rename_many, do.same_name, do.taken_name, do.taken_name_many, do.flip_address, do.same_address,
         do.wrong_password_for_address, do.move_wrongly_at_home),
    ),
    Bound("DELETE /profile", *_PROOF, (NOTHING, NOTHING), (do.close_wrongly, do.close_wrongly_at_home, do.close_many)),
    Bound("POST /login", *_PROOF, (NOTHING, NOTHING),
          (do.log_in, do.log_in_many, do.log_in_wrongly, do.log_in_wrongly_many, do.log_in_as_nobody,
           do.log_in_wrongly_at_home, do.log_in_wrongly_on_new_devices, do.log_in_wrongly_at_home_many)),
    Bound("POST /password/forgot", *_MAIL, (do.forgot_many,)),
    Bound("POST /password/reset", *_CODE, (do.reset_wrongly, do.reset_by_garbage)),
    Bound("POST /login/code", *_MAIL, (do.ask_code_many,)),
    Bound("POST /login/code/confirm",
          ("`code`, `code_account`, `session`", "`code_address`, `session_address`"),
          (NOTHING, NOTHING), (NOTHING, NOTHING),
          (do.log_in_by_code, do.log_in_by_wrong_code, do.log_in_by_wrong_code_many)),
    Bound("POST /email/verification", *_MAIL, (do.ask_again_many,)),
    Bound("POST /email/verify", *_CONFIRM, ("–", "`conflict`"),
          (do.verify_wrongly, do.verify_taken, do.verify_by_password, do.verify_by_wrong_password)),
    Bound("POST /email/undo", *_LINK, (do.undo_wrongly,)),
    Bound("POST /profile/email", ("`login_device`, `login`, `login_account`, `session`, `change`, `mail`",
                                  "`login_address`, `session_address`, `change_address`, `mail_address`"),
          (LOG_IN, LOG_IN_ADDRESS), (NOTHING, NOTHING),
          (do.ask_to_change, do.ask_to_change_many, do.ask_to_change_wrongly, do.ask_to_change_wrongly_at_home)),
    Bound("POST /profile/password", *_PROOF, (NOTHING, NOTHING),
          (do.change_password, do.change_password_wrongly, do.change_wrongly_at_home)),
    Bound("POST /refresh", (IN_PLACE, IN_PLACE), (NOTHING, NOTHING), (NOTHING, NOTHING),
          (do.refresh, do.refresh_garbage, do.refresh_copies, do.refresh_elsewhere)),
    _ends("POST /logout", do.log_out, do.log_out_garbage),
    _reads("GET /profile/activity", do.get("/profile/activity")),
    _reads("GET /sessions", do.get("/sessions")),
    _ends("DELETE /sessions", do.end_others, do.end_others_of_many),
    _ends("DELETE /sessions/{id}", do.end_one),
    Bound("POST /token", (f"{OF_STRANGERS}, `legacy`, `client`, `api_key`, `api_key_each`",
                          f"{LOG_IN_ADDRESS}, `client_proof`, `api_key_address`"),
          (OF_STRANGERS, LOG_IN_ADDRESS),
          (NOTHING, NOTHING),
          (do.token, do.token_wrongly, do.exchange, do.exchange_garbage, do.exchange_key, do.exchange_made_up_key,
           do.account_token, do.account_token_wrongly, do.exchange_for_user)),
    Bound("POST /api-keys", ("`change`", "`change_address`"), (NOTHING, NOTHING), (NOTHING, NOTHING),
          (do.make_key, do.make_key_many)),
    _reads("GET /api-keys", do.get("/api-keys")),
    Bound("POST /api-keys/{id}/rotate", ("`change`", "`change_address`"), (NOTHING, NOTHING), (NOTHING, NOTHING),
          (do.rotate_key,)),
    Bound("DELETE /api-keys/{id}", ("as often as made", "as often as made"), (NOTHING, NOTHING), (NOTHING, NOTHING),
          (do.make_and_delete_key, do.delete_no_key)),
    Bound("POST /introspect", ("`client`, `inspection`", "`client_proof`"), (NOTHING, NOTHING), (NOTHING, NOTHING),
          (do.introspect, do.introspect_as_account, do.introspect_as_no_account, do.introspect_by_assertion)),
    Bound("POST /revoke", (f"{PER_LOG_IN}, `client`, `inspection`", f"{PER_LOG_IN}, `client_proof`"),
          (NOTHING, NOTHING), (NOTHING, NOTHING),
          (do.revoke, do.revoke_as_account, do.revoke_as_no_account, do.revoke_by_assertion)),
    *(_administers(route, do.administer(*route.split())) for route in (
        "GET /admin/users", "GET /admin/users/{id}", "PATCH /admin/users/{id}", "DELETE /admin/users/{id}",
        "PUT /admin/users/{id}/roles", "GET /admin/users/{id}/sessions", "DELETE /admin/users/{id}/sessions",
        "GET /admin/sessions", "GET /admin/audit", "DELETE /admin/sessions/{id}", "GET /admin/keys",
        "POST /admin/keys/rotate", "POST /admin/keys/revoke", "GET /admin/scopes", "PUT /admin/scopes/{role}",
        "GET /admin/apis", "POST /admin/apis", "PATCH /admin/apis/{name}", "DELETE /admin/apis/{name}",
        "GET /admin/users/{id}/metadata", "PATCH /admin/users/{id}/metadata",
    )),
    *(_administers(route, do.administer_webhooks(*route.split())) for route in (
        "GET /admin/webhooks", "POST /admin/webhooks", "DELETE /admin/webhooks/{id}",
        "POST /admin/webhooks/{id}/enable", "POST /admin/webhooks/{id}/secret", "POST /admin/webhooks/{id}/test",
        "GET /admin/webhooks/{id}/failed", "POST /admin/webhooks/{id}/retry",
    )),
    Bound("POST /admin/first", ("–", "once for each start, by who reads what it prints"), ("–", "`conflict`"),
          ("–", "`conflict`"), (do.make_first_wrongly, do.make_first_taken)),
    Bound("POST /admin/users", ("`admin`", "`admin`, `mail_address`"), ("`admin`", "`admin`"),
          ("`admin`", "`admin`"), (do.make_users, do.invite_someone_new)),
    Bound("POST /admin/users/{id}/invitation", ("`admin`", "`admin`, `mail_address`"), (NOTHING, NOTHING),
          ("`admin`", "`admin`"), (do.invite,)),
    _reads("GET /.well-known/jwks.json", do.get("/.well-known/jwks.json")),
    _reads("GET /.well-known/oauth-authorization-server", do.get("/.well-known/oauth-authorization-server")),
    _reads("GET /.well-known/openid-configuration", do.get("/.well-known/openid-configuration")),
    _reads("GET /revocations", do.get("/revocations?wait=0")),
    _reads("GET /verify", do.get("/verify")),
    _reads("GET /livez", do.get("/livez")),
    _reads("GET /readyz", do.get("/readyz")),
    _reads("GET /healthz", do.get("/healthz")),
    Bound("POST /account/login", *_PROOF, (NOTHING, NOTHING),
          (by.log_in, by.log_in_many, by.log_in_wrongly, by.log_in_wrongly_many, by.log_in_as_nobody,
           by.log_in_wrongly_at_home, by.log_in_wrongly_at_home_many)),
    Bound("POST /account/register", ("–", "`register`, `mail`, `mail_address`"), ("–", "`register`, `conflict`"),
          ("–", "`register`, `conflict`"), (by.register, by.register_taken, by.register_with_address)),
    Bound("POST /account/forgotten", *_MAIL, (by.forgotten_many,)),
    Bound("POST /account/reset", *_CODE, (by.reset_wrongly,)),
    Bound("POST /account/code", *_MAIL, (by.ask_code_many,)),
    Bound("POST /account/code/confirm",
          ("`code`, `code_account`, `session`", "`code_address`, `session_address`"),
          (NOTHING, NOTHING), (NOTHING, NOTHING),
          (by.log_in_by_code, by.log_in_by_wrong_code, by.log_in_by_wrong_code_many)),
    Bound("POST /account/verify", *_MAIL, (by.verify_many,)),
    Bound("POST /account/confirm", *_CONFIRM, ("–", "`conflict`"),
          (by.confirm_wrongly, by.confirm_taken, by.confirm_by_password, by.confirm_by_wrong_password)),
    Bound("POST /account/password", *_PROOF, (NOTHING, NOTHING),
          (by.change_password, by.change_password_wrongly, by.change_password_wrongly_at_home)),
    Bound("POST /account/email", ("`change`", "`change_address`"), (LOG_IN, LOG_IN_ADDRESS),
          ("`change`, `conflict`", "`change_address`, `conflict`"),
          (by.change_address, by.change_address_wrongly, by.change_address_wrongly_at_home, by.taken_address,
           by.taken_address_many)),
    Bound("POST /account/close", *_PROOF, (NOTHING, NOTHING),
          (by.close_wrongly, by.close_wrongly_at_home, by.close_many)),
    _ends("POST /account/sessions/end", by.end_others, by.end_one),
    _ends("POST /account/logout", by.log_out, by.log_out_without_a_token),
    _reads("GET /account", by.get("/account")),
    _reads("GET /account/login", by.get("/account/login")),
    _reads("GET /account/register", by.get("/account/register")),
    _reads("GET /account/forgotten", by.get("/account/forgotten")),
    _reads("GET /account/reset", by.get("/account/reset")),
    _reads("GET /account/code", by.get("/account/code")),
    _reads("GET /account/code/confirm", by.get("/account/code/confirm")),
    _reads("GET /account/verify", by.get("/account/verify")),
    _reads("GET /account/confirm", by.get("/account/confirm")),
    _reads("GET /account/password", by.get("/account/password")),
    _reads("GET /account/email", by.get("/account/email")),
    _reads("GET /account/close", by.get("/account/close")),
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
* **{PER_MAIL}**: what a link or a code does is done once, and asking for one is limited. Without a valid one nothing is
  stored and nothing is hashed.
* **{PER_LOG_IN}**: what is ended was opened by a log-in, and those are limited. Ending has no limit of its own: logging
  out always works, and with nothing to end nothing is stored.
* **Rows of one user**: a hundred sessions that have not ended; the others are swept a day after their end. No statement
  reads them all (`tests/identity/test_query_plans.py`).
* **When space is short** log-out, ending sessions and disabling an account still work: see
  [storage](../features/sessions.md#when-the-disk-is-full).
* **Made-up API keys** store, hash and tell nothing, and the database is not asked about each: see
  [made-up keys](api-keys.md#made-up-keys).
* The pages of the documentation and of the problems store, hash and tell nothing.
"""


def page() -> str:
    """`docs/security/bounds.md`."""
    rows = (" | ".join((f"`{row.route}`", *row.writes, *row.hashes, *row.tells)) for row in BOUNDS)
    return _HEAD + "".join(f"| {row} |\n" for row in rows) + _FOOT
