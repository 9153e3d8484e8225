"""What a service account is: one row."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import msgspec

from watchword.ids import new_id
from watchword.storage.database import Row
from watchword.tokens.needs import ACCOUNT_PREFIX

SECRET_PREFIX: Final = "wws_"  # noqa: S105 - what secrets begin with
COLUMNS: Final = (
    "id, name, scopes, apis, serves, exchanges, introspects, public_key, version, created_at, disabled_at, last_used_at"
)
_ID: Final = re.compile(rf"{ACCOUNT_PREFIX}[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}")


class Account(msgspec.Struct, frozen=True):
    """A service account without its secret. Times are seconds since 1970 UTC.

    :param apis: ids of the APIs that it gets tokens for; none: the service's own audience.
    :param serves: id of the API that it is; empty: what has the service's own audience.
    :param exchanges: ids of the APIs that it may call on a user's behalf.
    :param introspects: whether it may ask about every token; else about its own.
    :param public_key: a JWK as JSON, by which it proves who it is; None: it has a secret.
    :param version: `ver` of its tokens; older ones are refused.
    """

    id: str
    name: str
    scopes: tuple[str, ...]
    apis: tuple[str, ...]
    serves: str
    exchanges: tuple[str, ...]
    introspects: bool
    public_key: str | None
    version: int
    created_at: int
    disabled_at: int | None
    last_used_at: int | None

    @classmethod
    def of(cls, row: Row) -> Account:
        """Read a row with these columns."""
        return cls(
            id=row["id"], name=row["name"], scopes=tuple(row["scopes"].split()), apis=tuple(row["apis"].split()),
            serves=row["serves"], exchanges=tuple(row["exchanges"].split()), introspects=bool(row["introspects"]),
            public_key=row["public_key"], version=row["version"], created_at=row["created_at"],
            disabled_at=row["disabled_at"], last_used_at=row["last_used_at"],
        )  # fmt: skip


class Shown(NamedTuple):
    """What a service account shows of itself: its id, and a secret or a signed assertion."""

    client_id: str
    secret: str | None = None
    assertion: str | None = None


def new_account_id() -> str:
    """Make an id that no user can have."""
    return ACCOUNT_PREFIX + new_id()


def is_account_id(text: str) -> bool:
    """Tell whether this has the form of a service account's id."""
    return _ID.fullmatch(text) is not None
