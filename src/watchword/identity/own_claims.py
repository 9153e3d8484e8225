"""A service's own claims in access tokens: made from a user's data, by the setting or by a function.

Each log-in and each refresh makes them anew from the user's row, together with the version that the token gets.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from watchword import claim_names
from watchword.errors import FieldError, InvalidInput
from watchword.identity import user_data
from watchword.identity.user_row import User
from watchword.settings.claims import FIELDS, Mapped
from watchword.storage.database import Database, Tx
from watchword.tally import Log, Sample
from watchword.tokens.claims import frozen
from watchword.tokens.frozen import FrozenMapping

MOST_BYTES: Final = 640
"""Of all own claims of a token, written as JSON: with the longest of everything else our verifiers still read it."""

Claims = Mapping[str, Any]
NO_CLAIMS: Final[Claims] = FrozenMapping()
Path = tuple[str, ...]

_PATHS = "claims"
_encode = msgspec.json.Encoder().encode
_left_out = Sample(Log("watchword.claims"), "claim_left_out")


class TokenUser(msgspec.Struct, frozen=True, kw_only=True):
    """The user that a token is made for, as a `claims=` function sees them. Deeply immutable.

    Neither the e-mail address nor the private metadata is here: a token's holder, and every log that it falls into,
    can read it.
    """

    id: str
    username: str | None
    name: str | None
    external_id: str | None
    roles: tuple[str, ...]
    public_metadata: Mapping[str, Any]


ClaimsFunction = Callable[[TokenUser], Mapping[str, Any]]


class ClaimsFault(RuntimeError):
    """A `claims=` function that failed, or returned what no token can hold. Nothing was stored."""


class OwnClaims(Protocol):
    """Makes own claims."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns of `ww_users` whose values it needs, in this order."""
        ...

    @property
    def paths(self) -> frozenset[Path]:
        """Return which parts of a user's data are in tokens."""
        ...

    @property
    def may_fail(self) -> bool:
        """Return whether making them may fail: a refresh then does it before anything is stored."""
        ...

    def of(self, user_id: str, roles: tuple[str, ...], values: Sequence[Any]) -> Claims:
        """Return a user's claims. Raises `ClaimsFault` where it may fail."""
        ...

    def require_fit(self, user: User, changed: Collection[str] = ()) -> None:
        """Refuse data that no token could hold, before it is stored. Raises `InvalidInput`.

        :param changed: the fields that someone has written: the error names one of these.
        """
        ...


class MappedClaims:
    """Claims by `WATCHWORD_CLAIMS`. Making them never fails.

    What does not fit any more, since the setting has changed, is left out and logged: an API that needs it refuses.
    """

    may_fail = False

    def __init__(self, mapping: Sequence[Mapped] = ()) -> None:
        self._mapping = tuple(mapping)
        self.paths = frozenset(each.path for each in mapping)
        fields = {path[0] for path in self.paths}
        self.columns = tuple(field for field in FIELDS if field in fields)

    def of(self, user_id: str, roles: tuple[str, ...], values: Sequence[Any]) -> Claims:  # noqa: ARG002
        """Return a user's claims, without those that have no value."""
        if not self._mapping:
            return NO_CLAIMS
        found = self._found(dict(zip(self.columns, values, strict=True)))
        return found if len(_encode(found)) <= MOST_BYTES else _cut(found, user_id)

    def require_fit(self, user: User, changed: Collection[str] = ()) -> None:
        """Refuse data that no token could hold. Raises `InvalidInput`."""
        size = len(_encode(self._found({name: getattr(user, name) for name in self.columns})))
        if size > MOST_BYTES:
            likely = "public_metadata" if "public_metadata" in self.columns else self.columns[0]
            field = next((each for each in self.columns if each in changed), likely)
            message = (
                f"Tokens would carry {size:,} bytes of the user's data (WATCHWORD_CLAIMS); they hold {MOST_BYTES:,}."
            )
            raise InvalidInput(FieldError(field, "too_large", message))

    def _found(self, data: dict[str, Any]) -> dict[str, Any]:
        if "public_metadata" in data:
            data["public_metadata"] = user_data.read_metadata(data["public_metadata"])
        pairs = ((each.claim, _at(data, each.path)) for each in self._mapping)
        return {claim: value for claim, value in pairs if value is not None}


class ComputedClaims:
    """Claims by a function of the application that embeds the service."""

    may_fail = True
    columns = FIELDS
    paths = frozenset((field,) for field in FIELDS)

    def __init__(self, function: ClaimsFunction) -> None:
        self._function = function

    def of(self, user_id: str, roles: tuple[str, ...], values: Sequence[Any]) -> Claims:
        """Return what the function says of a user. Raises `ClaimsFault`."""
        data = dict(zip(FIELDS, values, strict=True))
        data["public_metadata"] = frozen(user_data.read_metadata(data["public_metadata"]))
        try:
            found = self._function(TokenUser(id=user_id, roles=roles, **data))
        except Exception as error:
            # Whatever it raised is a fault of the application, and never an answer to the user who logs in.
            raise ClaimsFault("the claims= function raised an error") from error
        return _checked(found)

    def require_fit(self, user: User, changed: Collection[str] = ()) -> None:
        """Ask nothing: the function is asked at each log-in."""


def _checked(found: object) -> Claims:
    if hasattr(found, "close") and hasattr(found, "send"):
        found.close()
        raise ClaimsFault("claims= must be a plain function, not an asynchronous one")
    if not isinstance(found, Mapping):
        raise ClaimsFault(f"the claims= function returned {type(found).__name__}, not a mapping")
    plain: dict[Any, Any] = {name: value for name, value in _plain(found).items() if value is not None}
    for name in plain:
        fault = claim_names.fault_of(name) if isinstance(name, str) else "is no text"
        if fault:
            raise ClaimsFault(f"the claims= function returned {name!a}, which {fault}")
    if other := claim_names.alike(plain):
        raise ClaimsFault(f"the claims= function returned {other!a} twice, but for capitals")
    if (wrong := user_data.fault_in(plain)) is not None:
        raise ClaimsFault(f"the claims= function returned what no token can hold: {wrong}")
    size = len(_encode(plain))
    if size > MOST_BYTES:
        raise ClaimsFault(f"the claims= function returned {size:,} bytes of JSON; a token holds {MOST_BYTES:,}")
    return plain


def _plain(value: Any, depth: int = 0) -> Any:
    """Return mappings as dicts and tuples as lists. Deeper than a token may be, values stay as they are."""
    if depth > user_data.DEEPEST:
        return value
    if isinstance(value, Mapping):
        return {name: _plain(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, depth + 1) for inner in value]
    return value


def _cut(found: dict[str, Any], user_id: str) -> Claims:
    """Keep the claims that fit, in the order of the setting."""
    kept: dict[str, Any] = {}
    for claim, value in found.items():
        if len(_encode({**kept, claim: value})) <= MOST_BYTES:
            kept[claim] = value
        else:
            _left_out.add(reason="too_large", claim=claim, user_id=user_id)
    return kept


def _at(value: Any, path: Path) -> Any:
    """Return what stands at a path, or None."""
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value


async def note_paths(database: Database, paths: frozenset[Path]) -> None:
    """Keep which parts of users' data were ever in tokens; called before serving.

    Commands, and services with other settings, have to know. None is taken out: it would only save a few refreshes.
    """
    wanted = {".".join(path) for path in paths}

    async def unit(tx: Tx) -> None:
        await tx.run("INSERT INTO ww_meta (name, value) VALUES (:name, '') ON CONFLICT (name) DO NOTHING", name=_PATHS)
        # This locks the row: of two services that start at once neither is lost.
        row = await tx.one("UPDATE ww_meta SET value = value WHERE name = :name RETURNING value", name=_PATHS)
        known = set() if row is None else set(row["value"].split())
        if not wanted <= known:
            value = " ".join(sorted(known | wanted))
            await tx.run("UPDATE ww_meta SET value = :value WHERE name = :name", name=_PATHS, value=value)

    if wanted:
        await database.transact(unit)


async def in_tokens(tx: Tx, before: User, after: User) -> bool:
    """Tell whether a change of a user touches what tokens may carry, in the unit of that change."""
    row = await tx.one("SELECT value FROM ww_meta WHERE name = :name", name=_PATHS)
    paths = [] if row is None else [tuple(each.split(".")) for each in row["value"].split()]
    if not paths:
        return False
    old, new = _data(before), _data(after)
    # As JSON: to Python true, 1 and 1.0 are the same.
    return any(_encode(_at(old, path)) != _encode(_at(new, path)) for path in paths)


def _data(user: User) -> dict[str, Any]:
    data = {name: getattr(user, name) for name in FIELDS}
    return {**data, "public_metadata": user_data.read_metadata(user.public_metadata)}
