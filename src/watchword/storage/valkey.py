"""A Valkey or Redis server that may be slow or away: each command has a deadline, and a breaker spares a sick server.

Nothing here is worth a request's failure. Who asks has another way, and takes it when `Away` is raised.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, InvalidResponse, NoPermissionError, RedisError, ResponseError

from watchword.clock import monotonic
from watchword.errors import Fault, SettingsError
from watchword.tally import Log

DEADLINE = 0.05
"""Seconds for one command, its connection included."""

FAILURES = 3
"""In a row, after which the server is left alone for a while."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
OLDEST = (6, 2)
RIGHTS = (
    "~ww:* resetchannels &ww:* +info +select +ping +evalsha +script|load +hmget +hset +hincrby +expire +del"
    " +publish +subscribe +unsubscribe"
)
"""What a user of the server needs, as `ACL SETUSER` takes it."""

_PLACES = 32  # commands at once: more would wait in the server, and their deadlines would run
_START_SECONDS = 2.0
_SETTING = "WATCHWORD_REDIS_URL"
FAULTS = (RedisError, OSError, TimeoutError, RuntimeError)  # the last is uvloop's for a connection that was closed

_log = Log("watchword.valkey")

T = TypeVar("T")


class Away(Exception):
    """No answer is to be had.

    :param asked: the command may have had its effect all the same.
    """

    def __init__(self, *, asked: bool) -> None:
        super().__init__("Valkey is away")
        self.asked = asked


class Breaker:
    """Opens after `FAILURES` in a row, and then lets one command try after each pause. The pause doubles."""

    def __init__(self) -> None:
        self._failures = 0
        self._pause = FIRST_PAUSE
        self._closed_until = 0.0
        self._trying = False

    @property
    def is_open(self) -> bool:
        """Whether the server is taken for away."""
        return self._failures >= FAILURES

    def admit(self) -> bool:
        """Whether a command may be sent now. Its end must be told by `answered`, `failed` or `left`."""
        if not self.is_open:
            return True
        if self._trying or monotonic() < self._closed_until:
            return False
        self._trying = True
        return True

    def answered(self) -> bool:
        """Close; whether it was open."""
        was_open = self.is_open
        self._failures, self._pause, self._trying = 0, FIRST_PAUSE, False
        return was_open

    def failed(self) -> bool:
        """Count; whether it opens with this one."""
        self._failures += 1
        if self._trying:
            self._trying = False
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        elif self._failures != FAILURES:
            return False  # also those that were under way when it opened: they are one outage
        self._closed_until = monotonic() + self._pause
        return self._failures == FAILURES

    def left(self) -> None:
        """Forget a command that was cancelled: it says nothing about the server."""
        self._trying = False


class Valkey:
    """An open connection pool.

    :param namespace: begins every key and channel of this installation.
    """

    def __init__(self, url: str, namespace: str, *, deadline: float) -> None:
        self.namespace = namespace
        self.client = _client(url, socket_timeout=deadline, connections=_PLACES)
        self.listener = _client(url, socket_timeout=None, connections=2)
        self.breaker = Breaker()
        self._deadline = deadline
        self._places = asyncio.Semaphore(_PLACES)
        self._closed = False

    async def ask(self, command: Callable[[], Awaitable[T]]) -> T:
        """Send a command; its answer.

        A command that is cancelled, or ends late, closes its connection: no other one may read its answer.

        :raises Away:
        """
        async with self._places:
            if self._closed or not self.breaker.admit():
                raise Away(asked=False)
            try:
                async with asyncio.timeout(self._deadline):
                    answer = await command()
            except FAULTS as error:
                if self.breaker.failed():
                    _log.warning(
                        "valkey_away", fault=type(error).__name__, meanwhile="counters are kept in the database"
                    )
                raise Away(asked=True) from error
            except BaseException:
                self.breaker.left()
                raise
        if self.breaker.answered():
            _log.info("valkey_back")
        return answer

    async def check(self) -> None:
        """Look at the server once, at start: warn of one that is away or evicts, refuse what can never work.

        :raises SettingsError: the URL names no Valkey that this installation may use.
        """
        try:
            async with asyncio.timeout(_START_SECONDS):
                about: dict[str, Any] = await self.listener.info()
        except FAULTS as error:
            fault = _lasting(error)
            if fault is not None:
                raise SettingsError((fault,)) from None  # the cause may hold the password
            hint = f"is it running where {_SETTING} says, with TLS exactly when that begins with rediss?"
            _log.warning("valkey_away", fault=type(error).__name__, hint=hint)
            return
        _judge(about)

    async def close(self) -> None:
        """Close every connection, when the commands under way have ended: one of them may be opening another."""
        self._closed = True
        for _ in range(_PLACES):
            await self._places.acquire()
        for client in (self.client, self.listener):
            with contextlib.suppress(*FAULTS):
                await client.aclose()
        for _ in range(_PLACES):
            self._places.release()  # for those who ask too late, who learn that it is closed


@contextlib.asynccontextmanager
async def opened(url: str, namespace: str) -> AsyncIterator[Valkey]:
    """A checked server, closed in the end.

    :raises SettingsError:
    """
    valkey = Valkey(url, namespace, deadline=DEADLINE)
    try:
        await valkey.check()
        yield valkey
    finally:
        await valkey.close()


async def about(url: str) -> dict[str, Any]:
    """Return what a server says of itself. :raises RedisError, OSError: `FAULTS`"""
    client = _client(url, socket_timeout=_START_SECONDS, connections=1)
    try:
        found: dict[str, Any] = await client.info()
        return found
    finally:
        with contextlib.suppress(*FAULTS):
            await client.aclose()


def _client(url: str, *, socket_timeout: float | None, connections: int) -> Redis:
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=None,
        protocol=2,
        decode_responses=True,
        socket_timeout=socket_timeout,
        socket_connect_timeout=socket_timeout or _START_SECONDS,
        retry=Retry(NoBackoff(), 0),  # a second try would count twice
        retry_on_error=[],
        health_check_interval=0,
    )
    return Redis.from_pool(pool)


def _judge(about: dict[str, Any]) -> None:
    version = str(about.get("redis_version", ""))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers < OLDEST:
        raise SettingsError((Fault(_SETTING, f"is a Redis {version[:20]}", "use Valkey, or Redis 6.2 or newer"),))
    if about.get("role") == "slave":
        _log.warning("valkey_is_a_replica", hint=f"it takes no writes: let {_SETTING} name the primary")
    policy = about.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        hint = "limits are forgotten when its memory is full; give it maxmemory-policy noeviction"
        _log.warning("valkey_evicts", policy=policy, hint=hint)


def _lasting(error: BaseException) -> Fault | None:
    """What no waiting mends; None for a server that is away."""
    if isinstance(error, AuthenticationError):
        return Fault(
            _SETTING, "has a user or password that the server refuses", "write redis://user:password@host:port"
        )
    if isinstance(error, NoPermissionError):
        return Fault(_SETTING, "names a user that may not use the server", f"allow it {RIGHTS}")
    if isinstance(error, ResponseError) and "DB index" in str(error):
        return Fault(
            _SETTING, "names a database that the server does not have", "the last part of the URL is its number: 0"
        )
    if isinstance(error, InvalidResponse):
        return Fault(_SETTING, "is answered, but not by a Redis or Valkey", "check host and port")
    for each in _causes(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            hint = "add ?ssl_ca_certs=/path/to/ca.pem when the server has a certificate of your own authority"
            return Fault(_SETTING, "has a certificate that cannot be verified", hint)
        if isinstance(each, ssl.SSLError):
            return Fault(_SETTING, "is rediss, but the server speaks no TLS there", "use redis:// or its TLS port")
    return None


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
