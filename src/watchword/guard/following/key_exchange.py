"""Exchanges API keys for access tokens at the service: each once, for all who wait for it.

A form or checksum that is wrong costs no request. A key that the service refused is not sent again for half a minute,
and keys that this guard has not seen to be good share a rate: made-up ones cannot make it flood the service, nor keep
out a key that was good here before.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from watchword import api_keys, strict_json
from watchword.clock import elapsed
from watchword.errors import TokenError, WatchwordError
from watchword.guard.following.addresses import ServiceAddress
from watchword.guard.following.events import Events
from watchword.guard.following.exchange import Aborted, Answer, Fetch, FetchFault, check_ok
from watchword.guard.following.flight import Flight
from watchword.guard.following.waiting import Pending
from watchword.guard.refusals import Unready

if TYPE_CHECKING:
    from watchword.guard.following.http_client import HttpClient

SECONDS: Final = 4.0
"""For one exchange."""
REFUSED_FOR: Final = 30.0
MOST_REFUSED: Final = 4096
MOST_GOOD: Final = 4096
MOST_AT_ONCE: Final = 8
STRANGERS_PER_SECOND: Final = 10.0
MOST_STRANGERS: Final = 50.0
"""Exchanges at once of keys that were not good here before; then `STRANGERS_PER_SECOND`."""
_LIMIT: Final = 32 * 1024
_KEPT_CLIENTS: Final = 2
_GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_REFUSALS: Final = frozenset((400, 401, 403))


class KeyExchange:
    """Exchanges keys for one guard. Threads share it.

    :param audience: of the guard; the token is for it.
    """

    def __init__(
        self,
        service: ServiceAddress,
        audience: str,
        *,
        open_client: Callable[[], HttpClient],
        events: Events,
        now: Callable[[], float] = elapsed,
    ) -> None:
        self._service = service
        self._audience = audience
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
        self._refused: dict[bytes, float] = {}
        self._good: dict[bytes, None] = {}
        self._strangers, self._counted_at = MOST_STRANGERS, self._now()

    def exchange(self, key: str) -> Generator[Pending, None, str]:
        """Return the access token of a key; yield what to wait for.

        :raises TokenError: it is no key, or the service refuses it. :raises Unready: that cannot be found out now.
        """
        try:
            api_keys.read(key)
        except api_keys.KeyFault as fault:
            raise TokenError(str(fault)) from None
        flight = self._flight(key)
        yield flight
        return flight.outcome()

    def close(self) -> None:
        """Close the kept connections. The next exchange opens one."""
        with self._lock:
            clients, self._clients = self._clients, []
        for client in clients:
            client.close()

    def _flight(self, key: str) -> _Exchange:
        """Return the exchange of this key that is under way, or begin one."""
        if self._process != os.getpid():
            self._found_this_process()  # a forked child has neither these connections nor these threads
        mark = sha256(key.encode()).digest()  # keys that are wrong are not kept
        with self._lock:
            now = self._now()
            if self._refused.get(mark, now) > now:
                raise refused()
            self._flights = {each: known for each, known in self._flights.items() if not known.over}
            flight = self._flights.get(mark)
            if flight is None:
                if len(self._flights) >= MOST_AT_ONCE or not (mark in self._good or self._admit_stranger(now)):
                    raise Unready("Too many API keys are being looked at. Try again in a moment.", code="overloaded")
                flight = self._flights[mark] = _Exchange(lambda: self._ask(key, mark))
            return flight

    def _admit_stranger(self, now: float) -> bool:
        gained = (now - self._counted_at) * STRANGERS_PER_SECOND
        self._strangers, self._counted_at = min(self._strangers + gained, MOST_STRANGERS), now
        if self._strangers < 1:
            return False
        self._strangers -= 1
        return True

    def _ask(self, key: str, mark: bytes) -> str | WatchwordError:
        found: str | WatchwordError
        try:
            found = self._answer(key)
        except (FetchFault, Aborted) as fault:
            self._failures += 1
            self._events.emit(
                "key_exchange_failed", service=self._service.url, reason=str(fault), failures=self._failures
            )
            found = unreachable()
        except Exception as error:  # noqa: BLE001  the request is refused, and says no more
            self._events.defect(error)
            found = unreachable()
        with self._lock:
            self._flights.pop(mark, None)
            if isinstance(found, str):
                self._failures = 0
                _keep(self._good, mark, None, MOST_GOOD)
            elif isinstance(found, TokenError):
                self._good.pop(mark, None)
                _keep(self._refused, mark, self._now() + REFUSED_FOR, MOST_REFUSED)
        return found

    def _answer(self, key: str) -> str | WatchwordError:
        form = {
            "grant_type": _GRANT,
            "subject_token": key,
            "subject_token_type": api_keys.TOKEN_TYPE,
            "resource": self._audience,
        }
        fetch = Fetch(f"{self._service.url}/token", _LIMIT, SECONDS, form=urlencode(form).encode())
        with self._lock:
            client = self._clients.pop() if self._clients else None
        client = client or self._open_client()
        try:
            answer = client.get(fetch)
        except BaseException:
            client.close()
            raise
        self._put_back(client)
        if answer.status in _REFUSALS:
            return refused()
        check_ok(answer)
        return _token(answer)

    def _put_back(self, client: HttpClient) -> None:
        with self._lock:
            if len(self._clients) < _KEPT_CLIENTS:
                self._clients.append(client)
                return
        client.close()


class _Exchange(Flight):
    """Is one exchange: the first to wait does it, the others wait for it."""

    def __init__(self, ask: Callable[[], str | WatchwordError]) -> None:
        super().__init__(self._fill)
        self._asking = ask
        self._found: str | WatchwordError | None = None

    def _fill(self) -> None:
        self._found = self._asking()

    def outcome(self) -> str:
        """Return the token. :raises TokenError, Unready: there is none."""
        found = self._found
        if isinstance(found, str):
            return found
        # Each who waits gets an error of its own: a traceback grows with each raise.
        raise refused() if isinstance(found, TokenError) else unreachable()


def _keep(found: dict[bytes, Any], mark: bytes, value: Any, most: int) -> None:
    found.pop(mark, None)
    while len(found) >= most:
        del found[next(iter(found))]
    found[mark] = value


def _token(answer: Answer) -> str:
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
