"""Makes a guard's follower of its options."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from watchword.clock import Clock
from watchword.guard.following.addresses import ServiceAddress, origin_of
from watchword.guard.following.awake import LONGEST_ATTEMPT
from watchword.guard.following.events import Events
from watchword.guard.following.feed import FeedReader
from watchword.guard.following.follower import ServiceFollower
from watchword.guard.following.key_exchange import KeyExchange
from watchword.guard.following.on_request import OnRequestFollower
from watchword.guard.options import OPEN, AllOptions
from watchword.guard.standing import StalePolicy, Standing
from watchword.hosts import is_loopback
from watchword.platforms import threads_stand_still
from watchword.tokens.verify import Verifier

if TYPE_CHECKING:
    from watchword.guard.following.http_client import HttpClient

_KEY: Final = re.compile(r"[A-Za-z0-9._~+/=-]{1,512}")
_NO_THREADS: Final = (
    "guard: this uWSGI runs no threads between requests, so that the guard would not hear of revocations: start uWSGI "
    "with --enable-threads (the default since 2.0.27), or make the guard with background=False"
)
LEAST_MAX_STALE: Final = LONGEST_ATTEMPT
"""Seconds. The service may be silent for 10."""
MOST_MAX_STALE: Final = 86_400.0
"""Seconds. Without a limit, a silent service's revoked tokens would pass for ever."""


def follow(
    standing: Standing, options: AllOptions, *, clock: Clock, events: Events, keys_of: Verifier | None
) -> ServiceFollower | None:
    """Return the follower of a standing, not yet started; None where there is nothing to follow.

    :param keys_of: the verifier that needs keys; None where they are known.
    :raises ValueError: an option is not usable.
    :raises RuntimeError: the server runs no threads.
    """
    guard_key = _checked_key(options["guard_key"])
    policy = _checked_policy(options)
    if not LEAST_MAX_STALE <= options["max_stale"] <= MOST_MAX_STALE:
        raise ValueError(f"guard: max_stale is {LEAST_MAX_STALE:.0f} to {MOST_MAX_STALE:.0f} seconds")
    if keys_of is None and not options["revocations"]:
        return None
    if options["background"] and threads_stand_still():
        raise RuntimeError(_NO_THREADS)
    service = ServiceAddress.checked(options["issuer"], options["url"], plain_http=options["plain_http"])
    _warn_of_plain_http(service)
    kind = ServiceFollower if options["background"] else OnRequestFollower
    return kind(
        standing,
        service,
        verifier=keys_of,
        feed=FeedReader(service, guard_key) if options["revocations"] else None,
        max_stale=options["max_stale"],
        policy=policy,
        clock=clock,
        events=events,
        open_client=lambda: _open_client(options),
    )


def key_exchange(options: AllOptions, audience: str, events: Events) -> KeyExchange | None:
    """Return what exchanges API keys for a guard; None where the issuer is only a name, and nothing is followed."""
    try:
        service = ServiceAddress.checked(options["issuer"], options["url"], plain_http=options["plain_http"])
    except ValueError:
        return None
    guard_key = _checked_key(options["guard_key"])
    return KeyExchange(service, audience, guard_key=guard_key, open_client=lambda: _open_client(options), events=events)


def _checked_policy(options: AllOptions) -> StalePolicy:
    policy = options["stale"]
    if policy not in ("open", "closed"):
        raise ValueError("guard: stale is open or closed")
    if policy == "open" and policy is not OPEN and not options["background"]:
        raise ValueError("guard: without background a guard that cannot know refuses: leave stale out, or write closed")
    return policy


def _checked_key(given: str | None) -> str | None:
    key = given and given.strip()
    if key is not None and not _KEY.fullmatch(key):
        raise ValueError("guard: guard_key is what `watchword guards create` printed, one word without blanks")
    return key


_warned: set[str] = set()


def _warn_of_plain_http(service: ServiceAddress) -> None:
    origin = origin_of(service.url)
    if origin.scheme == "https" or is_loopback(origin.host) or service.url in _warned:
        return
    import logging  # as in events.py

    _warned.add(service.url)
    logging.getLogger("watchword.guard").warning(
        "The guard asks %s without TLS, as plain_http=True says: what answers there in the service's place can forge "
        "tokens, and the guard key can be read on the way.",
        service.url,
    )


def _open_client(options: AllOptions) -> HttpClient:
    # http.client and ssl are slow to import.
    from watchword.guard.following.http_client import HttpClient

    return HttpClient(tls=options["tls"], allow_private_networks=options["allow_private_networks"])
