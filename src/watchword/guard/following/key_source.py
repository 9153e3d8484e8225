"""Finds the issuer's keys, and says when to fetch again. Pure: it does no I/O.

    metadata (RFC 8414) → its issuer is ours, byte for byte → jwks_uri at our origin → key set (RFC 7517)

After any fault the last good key set stays.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from http import HTTPStatus
from typing import Final, NamedTuple

from watchword import strict_json
from watchword.errors import InvalidKey
from watchword.guard.following.addresses import ServiceAddress
from watchword.guard.following.exchange import KEYS_LIMIT, KEYS_SECONDS, Answer, Fetch, FetchFault, check_ok
from watchword.tokens.issuers import compared
from watchword.tokens.jwks import read_key_set
from watchword.tokens.keys import KeySet

COOLDOWN: Final = 30.0
DEFAULT_AGE: Final = 300
LEAST_AGE: Final = 60
LONGEST_AGE: Final = 24 * 3600
ANNOUNCED_APART: Final = 1.0
LATE_TRIES: Final = 3
_FIRST_PAUSE: Final = 0.25
_LONGEST_HURRY: Final = 5.0
_LONGEST_PAUSE: Final = 60.0
_METADATA_DEPTH: Final = 8
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=\"?(\d{1,9})", re.IGNORECASE)
_JSON: Final = (("accept", "application/json"), ("cache-control", "no-cache"))
_JWKS: Final = (("accept", "application/jwk-set+json, application/json"), ("cache-control", "no-cache"))


class FoundKeys(NamedTuple):
    """Holds a good key set, its address, and the seconds to keep it."""

    keys: KeySet
    address: str
    max_age: int


def find_key_set(service: ServiceAddress, known: str | None = None) -> Generator[Fetch, Answer, FoundKeys]:
    """Yield what to fetch, receive answers, and return the key set.

    :param known: its last address. While it is good there, no metadata is fetched.
    :raises FetchFault: nothing usable was found.
    """
    if known is not None:
        try:
            return (yield from _key_set_at(known))
        except FetchFault:
            pass  # the metadata says where it is now
    address = yield from _key_set_address(service)
    return (yield from _key_set_at(address))


def find_by(get: Callable[[Fetch], Answer], service: ServiceAddress, known: str | None) -> FoundKeys:
    """Find the key set by `get`. :raises FetchFault, Aborted: as `find_key_set` and `get`."""
    search = find_key_set(service, known)
    try:
        fetch = next(search)
        while True:
            try:
                answer = get(fetch)
            except FetchFault as fault:
                fetch = search.throw(fault)
            else:
                fetch = search.send(answer)
    except StopIteration as end:
        found: FoundKeys = end.value
        return found


def _key_set_address(service: ServiceAddress) -> Generator[Fetch, Answer, str]:
    fault = FetchFault("no metadata")
    for url in service.metadata_urls():
        answer = yield Fetch(url, KEYS_LIMIT, KEYS_SECONDS, _JSON)
        try:
            return read_metadata(answer, service)
        except FetchFault as error:
            found_none = answer.status == HTTPStatus.NOT_FOUND
            fault = FetchFault(f"{error}: there is no Watchword service at {url}") if found_none else error
    raise fault


def _key_set_at(address: str) -> Generator[Fetch, Answer, FoundKeys]:
    answer = yield Fetch(address, KEYS_LIMIT, KEYS_SECONDS, _JWKS)
    check_ok(answer)
    try:
        keys = read_key_set(answer.body)
    except InvalidKey as error:
        raise FetchFault(f"the key set is not usable: {error.message}") from error
    return FoundKeys(keys, address, max_age_of(answer.headers.get("cache-control", "")))


def read_metadata(answer: Answer, service: ServiceAddress) -> str:
    """Return the key set's address from a metadata document.

    :raises FetchFault: not metadata, or another issuer's (RFC 8414 section 3.3; Authlib CVE-2026-104056).
    """
    check_ok(answer)
    try:
        metadata = strict_json.read_object(answer.body, max_depth=_METADATA_DEPTH)
    except ValueError as error:
        raise FetchFault("the metadata is not a JSON object") from error
    named = metadata.get("issuer")
    if named != service.issuer:
        # Mostly a slip, so the message has both.
        theirs = f"{named!a:.200}" if isinstance(named, str) else "no one"
        slip = compared(named, service.issuer)
        raise FetchFault(
            f"the metadata there names the issuer {theirs}, this guard was made for {service.issuer!a}{slip}"
            f"{'; write the issuer as it is named there' if slip else ''}"
        )
    return service.key_set_url(metadata.get("jwks_uri"))


def max_age_of(cache_control: str) -> int:
    """Return the seconds of `Cache-Control`, from a minute to a day."""
    if re.search(r"no-(?:store|cache)", cache_control, re.IGNORECASE):
        return LEAST_AGE
    found = _MAX_AGE.search(cache_control)
    return min(max(int(found[1]), LEAST_AGE), LONGEST_AGE) if found else DEFAULT_AGE


class KeySchedule:
    """Says when to fetch the key set. Times are monotonic seconds; `jitter` is 0 to 1.

    An unknown `kid` causes a fetch only 30 seconds after the last one, so invented ones cause at most two a minute.
    Announced changes are fetched at once.
    """

    def __init__(self) -> None:
        self.ready = False
        self.failures = 0
        self.under_way = False
        self.next_at = float("-inf")
        self._last: float | None = None
        self._announced = False
        self._late = 0

    def pause(self, now: float) -> float:
        """Return the seconds until the next fetch."""
        return max(self.next_at - now, 0.0)

    def begin(self, now: float) -> None:
        """Note that a fetch begins."""
        self._last, self.under_way, self._announced = now, True, False

    def succeeded(self, now: float, *, max_age: int, jitter: float, late: bool = False) -> None:
        """Plan the next fetch after a good one, a little before `max_age` ends.

        :param late: whether an announced change is missing, since a worker does not know it yet: ask three times more.
        """
        self.ready, self.under_way, self.failures = True, False, 0
        self._late = self._late + 1 if late else 0
        self._announced = self._announced or 0 < self._late <= LATE_TRIES
        self.next_at = now + (ANNOUNCED_APART if self._announced else max_age * (1.0 - 0.1 * jitter))

    def failed(self, now: float, *, jitter: float, was_announced: bool = False) -> None:
        """Plan the next fetch after a failure: soon if there are no keys or old ones."""
        self.under_way = False
        self.failures += 1
        self._announced = self._announced or was_announced
        hurry = self._announced or not self.ready
        longest = _LONGEST_HURRY if hurry else _LONGEST_PAUSE
        pause = _FIRST_PAUSE if hurry else COOLDOWN
        self.next_at = now + min(pause * 2 ** min(self.failures - 1, 10), longest) * (0.5 + 0.5 * jitter)

    def announce(self, now: float) -> None:
        """Plan a fetch at once, or after the one under way: the keys have changed."""
        self._announced = True
        soonest = now if self._last is None else max(now, self._last + ANNOUNCED_APART)
        self.next_at = min(self.next_at, soonest)

    @property
    def announced(self) -> bool:
        """Return whether an announced change still needs a fetch."""
        return self._announced

    def ask_unknown(self, now: float) -> bool:
        """Return whether a token of an unknown key should wait for a fetch."""
        if self.under_way or self.next_at <= now:
            return True
        if self._last is not None and now - self._last < COOLDOWN:
            return False
        self.next_at = now
        return True


def same_keys(one: KeySet, other: KeySet) -> bool:
    """Return whether two sets have the same keys by id."""
    return {key.kid: (key.algorithm, key.public_jwk()) for key in one} == {
        key.kid: (key.algorithm, key.public_jwk()) for key in other
    }
