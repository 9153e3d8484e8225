"""A user of another system, as an import says: read, checked, and made into the row to insert. Pure."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

import msgspec

from watchword.errors import InvalidInput
from watchword.identity import identifiers, old_hashes, roles, user_data
from watchword.identity.hash_costs import MARK, cost_of
from watchword.identity.issuing import NO_ACCOUNTS
from watchword.identity.old_hashes import UnknownHash
from watchword.ids import new_id
from watchword.tokens.needs import ACCOUNT_PREFIX

_EXTERNAL = re.compile(r"[!-~]{1,255}")
_LAST = 253_402_300_799  # the last second of the year 9999

_ABSENT = msgspec.Raw()

Time = str | int | float | None


class Record(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One user, in the form that import and export share. Times are RFC 3339 or seconds since 1970 UTC.

    :param id: an id of Watchword, which an export holds; taken for the external id where there is none.
    :param external_id: what the other system calls the user.
    :param password_hash: see `old_hashes`.
    :param public_metadata: a JSON object, not read yet: of two equal names in it msgspec would take the last.
    """

    id: str | int | None = None
    external_id: str | int | None = None
    username: str | None = None
    email: str | None = None
    email_verified: bool | None = None
    email_verified_at: Time = None
    roles: tuple[str, ...] | None = None
    created_at: Time = None
    last_login_at: Time = None
    disabled: bool | None = None
    disabled_at: Time = None
    password_hash: str | None = None
    password_set_at: Time = None
    name: str | None = None
    public_metadata: msgspec.Raw = _ABSENT
    private_metadata: msgspec.Raw = _ABSENT


FIELDS = Record.__struct_fields__


class Refused(Exception):
    """Says in a few words why a record is not taken in."""


class Arrival(NamedTuple):
    """A user to insert. The fields are columns of `ww_users`, and `kind`."""

    id: str
    external_id: str | None
    username: str | None
    username_key: str | None
    email: str | None
    email_key: str | None
    email_verified_at: int | None
    roles: str
    created_at: int
    last_login_at: int | None
    disabled_at: int | None
    password_hash: str | None
    password_set_at: int | None
    name: str | None
    public_metadata: str
    private_metadata: str
    kind: str | None
    """Of the password hash."""

    @property
    def family(self) -> str | None:
        """Return the work that its password hash takes."""
        return None if self.kind is None else cost_of(self.kind).family


def arrival_of(record: Record, *, now: int, keep_ids: bool) -> Arrival:
    """Return the user to insert. Raises `Refused`.

    :param keep_ids: the id of the other system becomes the user's id, and so the `sub` of their tokens. An export of
        Watchword has both: there it is `id`, which is in the tokens that are out.
    """
    own = _id(record.id)
    external = _id(record.external_id) or own
    kept = (own or external) if keep_ids else None
    if keep_ids and kept is None:
        raise Refused("there is no id to keep")
    username, email = _named(record)
    password_hash, kind = _hashed(record.password_hash)
    created = _time("created_at", record.created_at, now)
    verified = _time("email_verified_at", record.email_verified_at, now)
    disabled = _time("disabled_at", record.disabled_at, now)
    password_set = _time("password_set_at", record.password_set_at, now)
    return Arrival(
        id=kept or new_id(),
        external_id=external,
        username=None if username is None else username.text,
        username_key=None if username is None else username.key,
        email=None if email is None else email.text,
        email_key=None if email is None else email.key,
        email_verified_at=None if email is None else verified or (now if record.email_verified else None),
        roles=_roles(record.roles or ()),
        created_at=now if created is None else created,
        last_login_at=_time("last_login_at", record.last_login_at, now),
        disabled_at=disabled if disabled is not None else (now if record.disabled else None),
        password_hash=password_hash,
        password_set_at=None if password_hash is None else password_set or created or now,
        name=_name(record.name),
        public_metadata=_metadata(record.public_metadata, "public_metadata"),
        private_metadata=_metadata(record.private_metadata, "private_metadata"),
        kind=kind,
    )


def _id(given: str | int | None) -> str | None:
    if given is None:
        return None
    text = str(given)
    if not _EXTERNAL.fullmatch(text):
        raise Refused("an id has 1 to 255 printable ASCII characters, without blanks")
    if text.startswith(ACCOUNT_PREFIX):  # as `sub` it would stand for a program
        raise Refused(f"an id that begins with {ACCOUNT_PREFIX} is a service account's")
    if text in NO_ACCOUNTS:  # as `sub` it would be the `client_id` too, as a program's is
        raise Refused(f"{text} is no user's id here: it is what tokens name a client by")
    return text


def _named(record: Record) -> tuple[identifiers.Identifier | None, identifiers.Identifier | None]:
    try:
        username = identifiers.imported_username(record.username) if record.username else None
        email = identifiers.email(record.email, private=True) if record.email else None
    except InvalidInput as error:
        raise Refused("; ".join(each.message.rstrip(".") for each in error.errors)) from None
    if username is None and email is None:
        raise Refused("there is neither a username nor an e-mail address")
    return username, email


def _name(given: str | None) -> str | None:
    try:
        return user_data.checked_name(given) if given else None
    except InvalidInput as error:
        raise Refused(f"the name: {error.errors[0].message.rstrip('.')}") from None


def _metadata(given: msgspec.Raw, field: str) -> str:
    data = bytes(given)
    if data in (b"", b"null", b"{}"):
        return user_data.NOTHING
    try:
        return user_data.metadata_of(data, field)
    except InvalidInput as error:
        raise Refused(f"{field}: {error.errors[0].message.rstrip('.')}") from None


def _hashed(text: str | None) -> tuple[str | None, str | None]:
    if not text:
        return None, None
    try:
        return MARK + text, MARK + old_hashes.read(text).kind
    except UnknownHash as error:
        raise Refused(f"the password hash: {error}") from None


@lru_cache(maxsize=1024)  # many users have the same few
def _roles(given: tuple[str, ...]) -> str:
    try:
        return " ".join(roles.checked(given))
    except InvalidInput as error:
        raise Refused(error.errors[0].message.rstrip(".")) from None


def _time(name: str, given: Time, now: int) -> int | None:
    """Return seconds since 1970, no later than now: a time without a zone may be hours ahead."""
    if given is None or given == "":
        return None
    seconds: float | None = None
    if isinstance(given, str):
        with suppress(ValueError, OverflowError):
            at = datetime.fromisoformat(given)
            seconds = (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
    else:
        seconds = given
    if seconds is None or not 0 <= seconds <= _LAST:
        raise Refused(f"{name} is no time from 1970 to 9999 such as 2024-05-31T12:00:00Z")
    return min(int(seconds), now)
