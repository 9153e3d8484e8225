"""Exchanges API keys for access tokens at the service: each once, for all who wait for it.

A form or checksum that is wrong costs no request. A key that the service refused is not sent again for half a minute,
and keys that this guard has not seen to be good share a rate: made-up ones cannot make it flood the service, nor keep
out a key that was good here before. What is weakened from one key cannot push out what is known of another.

The guard shows its guard key. Without one the service counts the exchanges of all its callers against its address, and
some of them can use that up for the others.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator
from hashlib import sha256
from http import HTTPStatus
from math import ceil
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from watchword import api_keys, strict_json
from watchword.clock import elapsed
from watchword.errors import TokenError, WatchwordError
from watchword.guard.following.addresses import ServiceAddress
from watchword.guard.following.events import Events
from watchword.guard.following.exchange import (
    Aborted,
    Answer,
    Fetch,
    FetchFault,
    check_ok,
    seconds_to_wait,
)
from watchword.guard.following.flight import Flight
from watchword.guard.following.waiting import Pending
from watchword.guard.refusals import Unready
from watchword.rate import Rate

if TYPE_CHECKING:
    from watchword.guard.following.http_client import HttpClient

SECONDS: Final = 4.0
"""For one exchange."""
REFUSED_FOR: Final = 30.0
"""A key whose limit is used up is not sent again for as long either, or until its window ends."""
LIMITED_APART: Final = 60.0
"""Seconds between two events of used-up limits: callers decide how often there is one."""
MOST_REFUSED: Final = 4096
MOST_GOOD: Final = 4096
"""Keys, by id."""
MOST_FORMS: Final = 8
"""Of each: itself, and what was weakened from it."""
MOST_AT_ONCE: Final = 8
STRANGERS_PER_SECOND: Final = 10.0
MOST_STRANGERS: Final = 50.0
"""Exchanges at once of keys that were not good here before; then `STRANGERS_PER_SECOND`."""
_LIMIT: Final = 32 * 1024
_KEPT_CLIENTS: Final = 2
_GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_REFUSALS: Final = frozenset((HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN))
_LONGEST_WAIT: Final = 86_400
Refuse = Callable[[], WatchwordError]
"""Makes the error of each who waits: one that is raised twice grows its traceback."""


class KeyExchange:
    """Exchanges keys for one guard. Threads share it.

    :param audience: of the guard; the token is for it.
    :param guard_key: what the guard shows, to be counted as a guard.
    """

    def __init__(
        self,
        service: ServiceAddress,
        audience: str,
        *,
        guard_key: str | None = None,
        open_client: Callable[[], HttpClient],
        events: Events,
        now: Callable[[], float] = elapsed,
    ) -> None:
        self._service = service
        self._audience = audience
        self._headers = () if guard_key is None else (("authorization", f"Bearer {guard_key}"),)
        self._open_client = open_client
        self._events = events
        self._now = now
        self._found_this_process()

    def _found_this_process(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._flights: dict[bytes, _Exchange] = {}
        self._clients: list[HttpClient] = []
        self._failures = 0
        self._refused: dict[bytes, tuple[float, Refuse]] = {}
        self._good: dict[str, dict[bytes, None]] = {}
        self._limited_told_at = float("-inf")
        self._strangers = Rate(MOST_STRANGERS, STRANGERS_PER_SECOND)

    def exchange(self, key: str) -> Generator[Pending, None, str]:
        """Return the access token of a key; yield what to wait for.

        :raises TokenError: it is no key, or the service refuses it. :raises Unready: that cannot be found out now.
        """
        try:
            key_id = api_keys.read(key).id
        except api_keys.KeyFault as fault:
            raise TokenError(str(fault)) from None
        flight = self._flight(key, key_id)
        try:
            yield flight
        finally:
            flight.is_left = not flight.begun
        return flight.outcome()

    def close(self) -> None:
        """Close the kept connections. The next exchange opens one."""
        with self._lock:
            clients, self._clients = self._clients, []
        for client in clients:
            client.close()

    def _flight(self, key: str, key_id: str) -> _Exchange:
        """Return the exchange of this key that is under way, or begin one."""
        if self._process != os.getpid():
            self._found_this_process()  # a forked child has neither these connections nor these threads
        mark = sha256(key.encode()).digest()  # keys that are wrong are not kept
        with self._lock:
            now = self._now()
            until, refuse = self._refused.get(mark, (now, refused))
            if until > now:
                raise refuse()
            self._flights = {each: known for each, known in self._flights.items() if known.takes_place}
            flight = self._flights.get(mark)
            if flight is None:
                known = mark in self._good.get(key_id, ())
                if len(self._flights) >= MOST_AT_ONCE or not (known or self._strangers.grants(now)):
                    raise Unready("Too many API keys are being looked at. Try again in a moment.", code="overloaded")
                flight = self._flights[mark] = _Exchange(lambda: self._ask(key, key_id, mark))
            return flight

    def _ask(self, key: str, key_id: str, mark: bytes) -> str | Refuse:
        """Return the token, or what makes the error of each who waits for it."""
        refusal: Refuse = unreachable
        token, wait = None, 0.0
        try:
            answer = self._answer(key)
            if answer.status in _REFUSALS:
                refusal, wait = refused, REFUSED_FOR
            elif answer.status == HTTPStatus.TOO_MANY_REQUESTS:
                ends_at = self._now() + self._told_limit(answer, key_id)
                refusal, wait = self._limited_until(ends_at), min(ends_at - self._now(), REFUSED_FOR)
            else:
                token = _token(answer)
        except (FetchFault, Aborted) as fault:
            self._failures += 1
            self._events.emit(
                "key_exchange_failed", service=self._service.url, reason=str(fault), failures=self._failures
            )
        except Exception as error:  # noqa: BLE001  the request is refused, and says no more
            self._events.defect(error)
        with self._lock:
            self._flights.pop(mark, None)
            if token is not None:
                self._failures = 0
                self._note_good(key_id, mark)
                return token
            if refusal is refused:
                self._good.get(key_id, {}).pop(mark, None)
            if wait:
                _keep(self._refused, mark, (self._now() + wait, refusal), MOST_REFUSED)
            return refusal

    def _note_good(self, key_id: str, mark: bytes) -> None:
        forms = self._good.pop(key_id, {})
        _keep(forms, mark, None, MOST_FORMS)
        _keep(self._good, key_id, forms, MOST_GOOD)

    def _told_limit(self, answer: Answer, key_id: str) -> int:
        """Report a used-up limit; return the seconds to wait."""
        seconds = max(seconds_to_wait(answer, most=_LONGEST_WAIT) or 1, 1)
        with self._lock:
            now = self._now()
            told = now - self._limited_told_at < LIMITED_APART
            if not told:
                self._limited_told_at = now
        if not told:
            settings = "WATCHWORD_API_KEY_EACH_LIMIT of this key or WATCHWORD_API_KEY_LIMIT of its owner"
            if not self._headers:
                settings += ", or WATCHWORD_API_KEY_ADDRESS_LIMIT of this guard, which shows no guard key"
            self._events.emit(
                "key_exchange_limited", service=self._service.url, key=key_id, settings=settings, retry_after=seconds
            )
        return seconds

    def _limited_until(self, ends_at: float) -> Refuse:
        return lambda: limited(ends_at - self._now())

    def _answer(self, key: str) -> Answer:
        form = {
            "grant_type": _GRANT,
            "subject_token": key,
            "subject_token_type": api_keys.TOKEN_TYPE,
            "resource": self._audience,
        }
        url = f"{self._service.url}/token"
        fetch = Fetch(url, _LIMIT, SECONDS, self._headers, form=urlencode(form).encode())
        with self._lock:
            client = self._clients.pop() if self._clients else None
        client = client or self._open_client()
        try:
            answer = client.get(fetch)
        except BaseException:
            client.close()
            raise
        self._put_back(client)
        return answer

    def _put_back(self, client: HttpClient) -> None:
        with self._lock:
            if len(self._clients) < _KEPT_CLIENTS:
                self._clients.append(client)
                return
        client.close()


class _Exchange(Flight):
    """Is one exchange: the first to wait does it, the others wait for it."""

    def __init__(self, ask: Callable[[], str | Refuse]) -> None:
        super().__init__(self._fill)
        self._asking = ask
        self._found: str | Refuse = unreachable
        self.is_left = False
        """Whether its check ended before it began. Set without a lock: a garbage collection may do it."""

    @property
    def takes_place(self) -> bool:
        """Return whether it is under way, or will be."""
        return not (self.over or self.is_left)

    def _fill(self) -> None:
        self._found = self._asking()

    def outcome(self) -> str:
        """Return the token. :raises TokenError, Unready: there is none."""
        found = self._found
        if isinstance(found, str):
            return found
        raise found()


def _keep(found: dict[Any, Any], name: Any, value: Any, most: int) -> None:
    found.pop(name, None)
    while len(found) >= most:
        del found[next(iter(found))]
    found[name] = value


def _token(answer: Answer) -> str:
    """Return the token. :raises FetchFault: the answer holds none."""
    if answer.status == HTTPStatus.UNAUTHORIZED:  # a key that is not accepted is answered 400
        raise FetchFault("status 401: the guard key was not accepted; make one with `watchword guards create`")
    check_ok(answer)
    try:
        token = strict_json.read_object(answer.body, max_depth=4).get("access_token")
    except ValueError:
        token = None
    if type(token) is not str:
        raise FetchFault("the answer holds no access token")
    return token


def refused() -> TokenError:
    """Make the error for a key that the service refuses."""
    return TokenError("This API key is not accepted.")


def unreachable() -> Unready:
    """Make the error for a key that could not be exchanged."""
    return Unready("API keys cannot be checked at present. Try again in a moment.", code="overloaded")


def limited(seconds: float) -> Unready:
    """Make the error for a key whose limit at the service is used up for so long."""
    left = max(ceil(seconds), 1)
    message = f"A limit for API keys is used up. Try again in {left} seconds."
    return Unready(message, code="overloaded", retry_after=left)
