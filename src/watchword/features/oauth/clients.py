"""Callers of OAuth endpoints: the first-party client, which is public, a guard by its key, or a service account."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote_plus

from watchword.authorization import likely_token, read_basic
from watchword.errors import Refused, Unauthenticated
from watchword.identity.guard_keys import GuardKeys
from watchword.identity.issuing import FIRST_PARTY
from watchword.identity.service_accounts.account import SECRET_PREFIX, Shown
from watchword.identity.service_accounts.assertion import TYPE
from watchword.opaque import looks_like
from watchword.tokens.needs import ACCOUNT_PREFIX
from watchword.tokens.verify import claimed


class Credentials(NamedTuple):
    """What a caller sends: a guard key, a client's name, both or neither."""

    guard_key: str | None
    client_id: str | None


def read_credentials(authorization: str | None, client_id: str | None, client_secret: str | None) -> Credentials:
    """Read `Authorization: Bearer <key>`, `Basic <name>:<key>`, or the form's `client_id` and `client_secret`.

    Raises `Refused` (`invalid_client`, `authorization_malformed`, `invalid_request` for two ways at once).
    """
    if authorization is None:
        return Credentials(client_secret, client_id)
    if client_secret is not None:
        raise Refused("There are two credentials in this request.", code="invalid_request")
    guard_key = likely_token(authorization)
    if guard_key is not None:
        return Credentials(guard_key, client_id)
    name, secret = _basic(authorization)
    if name and client_id not in (None, name):
        raise Refused("The client is called by two names.", code="invalid_client")
    return Credentials(secret or None, name or client_id)


async def require_guard(guard_keys: GuardKeys, secret: str, *, hint: str = "") -> None:
    """Check a guard key. Raises `Unauthenticated` (`invalid_client`) for one that is not in use, with a hint."""
    if await guard_keys.find(secret) is None:
        raise Unauthenticated(f"This guard key is not in use. {hint}".rstrip(), code="invalid_client")


class ClientFields(NamedTuple):
    """What a form says of its client; None for what it leaves out."""

    client_id: str | None
    client_secret: str | None
    assertion: str | None
    assertion_type: str | None


def read_account(authorization: str | None, form: ClientFields) -> Shown | None:
    """Read what a service account shows: one of `Basic`, `client_secret`, `client_assertion`. None: it is no account.

    Raises `Refused` (`invalid_client`; `invalid_request` for two ways at once).
    """
    ways = [form.client_secret, form.assertion, authorization]
    if form.assertion is not None or form.assertion_type is not None:
        _require_one(ways)
        return _asserted(form)
    name, secret = form.client_id, form.client_secret
    if authorization is not None and authorization[:6].lower() == "basic ":
        named, shown = _basic(authorization)
        if named.startswith(ACCOUNT_PREFIX):
            _require_one(ways)
            if name not in (None, named):
                raise Refused("The client is called by two names.", code="invalid_client")
            return Shown(named, shown)
    if name is None or not name.startswith(ACCOUNT_PREFIX):
        return None
    _require_one(ways)
    return Shown(name, secret)


def _asserted(form: ClientFields) -> Shown:
    if form.assertion is None:
        raise Refused("The parameter client_assertion is missing.", code="invalid_request")
    if form.assertion_type != TYPE:
        raise Refused(f"The parameter client_assertion_type must be {TYPE}.", code="invalid_request")
    named = claimed(form.assertion, "sub") or ""  # unverified: only whose key is asked
    if form.client_id not in (None, named):
        raise Refused("The client is called by two names.", code="invalid_client")
    return Shown(named, assertion=form.assertion)


def _require_one(ways: list[str | None]) -> None:
    if sum(each is not None for each in ways) > 1:
        raise Refused("There are two credentials in this request.", code="invalid_request")


def check_client(authorization: str | None, client_id: str | None, client_secret: str | None) -> None:
    """Check that the client is the first-party one, which is public and has no secret.

    An empty `Authorization: Basic` (`Og==`), which Swagger and FastAPI's form send, is no client.
    Raises `Refused` (`invalid_client`, `invalid_request`).
    """
    named = {FIRST_PARTY} if client_id is None else {client_id}
    name, secret = ("", "") if authorization is None else _basic(authorization)
    if any(each is not None and each.startswith(ACCOUNT_PREFIX) for each in (client_id, name)):
        raise not_for_accounts()
    if any(looks_like(each, SECRET_PREFIX) for each in (secret, client_secret or "")):
        raise no_account()
    if secret:
        raise Refused("This client has no secret. Leave it out.", code="invalid_client")
    if client_secret or named | {name or FIRST_PARTY} != {FIRST_PARTY}:
        raise Refused("There is no such client. Leave client_id and client_secret out.", code="invalid_client")


def no_account() -> Refused:
    """Make the error where a service account is needed, or its secret stands beside another name."""
    message = (
        f"A service account sends its id as client_id, which begins with {ACCOUNT_PREFIX}, with its secret or its "
        "assertion."
    )
    return Refused(message, code="invalid_client")


def not_for_accounts() -> Refused:
    """Make the error for a service account at a grant that is for people."""
    return Refused("A service account may not use this grant: it has client_credentials.", code="invalid_client")


def _basic(authorization: str) -> tuple[str, str]:
    found = read_basic(authorization)
    if found is None:
        raise Refused("This endpoint knows no such Authorization scheme.", code="invalid_client")
    name, secret = found
    # RFC 6749 section 2.3.1: both are form-encoded before they are put together.
    return unquote_plus(name), unquote_plus(secret)
