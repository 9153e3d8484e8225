"""Keeps a `Standing` up to date: in each process one thread for the keys and one for the feed.

The rules are in `key_source`, `feed` and `awake`. The threads start with the first check, also in a forked process.
They end with `stop`, the guard or the process.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from watchword.clock import Clock, elapsed
from watchword.guard.following.addresses import ServiceAddress
from watchword.guard.following.awake import Awake
from watchword.guard.following.events import Events
from watchword.guard.following.exchange import FetchFault
from watchword.guard.following.feed import FeedReader
from watchword.guard.following.key_source import FoundKeys, KeySchedule, find_by, same_keys
from watchword.guard.following.waiting import Pending
from watchword.guard.following.worker import Turn, jitter, run_politely
from watchword.guard.following.workers import Workers
from watchword.guard.standing import ALWAYS, NOT_NOW, StalePolicy, Standing, not_ready, stale
from watchword.guard.watching import STALE
from watchword.platforms import after_fork, forks_unseen
from watchword.tokens.verify import Verifier

if TYPE_CHECKING:
    from watchword.guard.following.http_client import HttpClient

SWEEP_EVERY: Final = 120.0
_LONGEST_PAUSE: Final = 3600.0  # a thread's time-out is limited


class ServiceFollower:
    """Fetches keys and revocations, and says whether requests may rely on the standing.

    :param verifier: needs keys; None for a shared secret.
    :param open_client: called for each thread.
    """

    def __init__(
        self,
        standing: Standing,
        service: ServiceAddress,
        *,
        verifier: Verifier | None,
        feed: FeedReader | None,
        max_stale: float,
        policy: StalePolicy,
        clock: Clock,
        events: Events,
        open_client: Callable[[], HttpClient],
        now: Callable[[], float] = elapsed,
    ) -> None:
        self._standing = standing
        self.service = service
        self._verifier = verifier
        self._feed = feed
        self._max_stale = max_stale
        self._policy = policy
        self._clock = clock
        self._events = events
        self._now = now
        turns: dict[str, Turn] = {}
        if verifier is not None:
            turns["keys"] = self._keys_turn
        if feed is not None:
            turns["feed"] = self._feed_turn
        self._workers = Workers(turns, open_client=open_client, events=events, on_death=self._unsettle)
        self._awake = Awake(max_stale, now=self._read, wall=clock.now)
        standing.strict = forks_unseen() or (feed is not None and policy == "closed")
        if feed is not None:
            feed.listen(standing.watches)
        self._schedule = KeySchedule()
        self._keys_at: str | None = None
        self._swept_at = now()
        # Set when they are in force, not when they have been read.
        self._keys_in_force = verifier is None
        self._list_in_force = feed is None
        self._troubles: dict[str, str] = {}
        self._was_ready = False
        self._is_stale = False
        self._at_once = False
        self._found_this_process()
        _followers.add(self)

    def _found_this_process(self) -> None:
        self._process = os.getpid()
        if forks_unseen():
            self._standing.process = self._process
        self._lock = threading.RLock()
        self._digesting = threading.Lock()
        self._became_ready = threading.Event()
        self._first = Pending()
        self._fetching = Pending()
        self._awake.found_this_process()

    # For requests ---------------------------------------------------------------------------------------------------

    def attend(self, *, waited: bool = False) -> Pending | None:
        """Settle the standing. Return what to wait for; None: requests may rely on it.

        :param waited: whether this request has waited already.
        :raises Unready: `guard_not_ready` when there is nothing to wait for, `revocations_stale`.
        """
        self.start()
        if not self.ready:
            if self._first_try_failed() or not self._workers.running:
                raise not_ready()
            return self._first
        if self._feed is not None and self._awake.asleep():
            pending = self._ask_for_news(waited=waited)
            if pending is not None:
                return pending
        self._judge()
        if self._policy == "closed" and self._is_stale:
            raise stale()
        return None

    def _read(self) -> float:
        return self._now()

    def _ask_for_news(self, *, waited: bool) -> Pending | None:
        """Return what to wait for after a pause of the process, or None."""
        first, pending = self._awake.want(give_up=waited and self._policy == "open")
        if first:
            self._workers.interrupt("feed")
        if pending is not None and waited and self._policy == "closed":
            raise stale()
        return pending

    def ask_for_key(self) -> Pending | None:
        """Return what a token of an unknown key waits for, or None."""
        if self._verifier is None:
            return None
        with self._lock:
            if not self._schedule.ask_unknown(self._now()):
                return None
            pending = self._fetching
        self.start()
        self._workers.wake("keys")
        return pending

    @property
    def ready(self) -> bool:
        """Return whether there has been a key set and a complete list."""
        return self._keys_in_force and self._list_in_force

    def wait_until_ready(self, seconds: float) -> bool:
        """Start, block until ready or for so long, and return `ready`."""
        deadline = self._now() + seconds
        self.start()
        while not self.ready and self._now() < deadline:
            self._became_ready.wait(deadline - self._now())
        return self.ready

    def why_not_ready(self) -> str | None:
        """Return what is missing, for the operator; None where it is ready."""
        if self.ready:
            return None
        missing = {"keys": self._keys_in_force, "feed": self._list_in_force}
        what = {"keys": "no keys", "feed": "no list of revocations"}
        waiting = "no answer yet" if self._workers.running else "not started"
        return ", and ".join(
            f"{what[name]}: {self._troubles.get(name, waiting)}" for name, done in missing.items() if not done
        )

    def feed_age(self) -> float | None:
        """Return the age of the list in force, in seconds, or None."""
        return None if self._feed is None else self._feed.age(self._now())

    # Life -----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the threads, unless they run."""
        self._notice_fork()
        if not self._workers.running:
            with self._lock:
                self._workers.start()

    def stop(self) -> None:
        """End the threads. Keys and list stay."""
        with self._lock:
            workers = self._workers.release()
            self._standing.unsettle()
        for worker in workers:
            worker.stop()
        with self._lock:
            self._schedule.under_way = False
        self._finish_fetching()
        self._first.finish()

    def _notice_fork(self) -> None:
        """Start anew in a child whose fork Python was not told of: its threads seem to be alive."""
        if self._process == os.getpid():
            return
        with _noticing:
            if self._process != os.getpid():
                self.after_fork()

    def after_fork(self) -> None:
        """Start anew in a forked child: no thread runs here, and locks may be taken for ever."""
        for worker in self._workers.release():
            worker.abandon()
        if self._feed is not None:
            self._feed.drop_draft()
            # The fork may have come before the news were in force.
            self._standing.revocations = self._feed.in_force.revocations
        if self._verifier is not None:
            self._standing.verifier = self._verifier
        self._schedule.under_way = False
        self._standing.unsettle()
        self._standing.watches.found_this_process()
        self._found_this_process()

    def _unsettle(self) -> None:
        with self._lock:  # or the other thread could settle again at once
            self._standing.unsettle()

    # The keys -------------------------------------------------------------------------------------------------------

    def _keys_turn(self, client: HttpClient) -> float:
        with self._lock:
            now = self._now()
            pause = self._schedule.pause(now)
            if pause > 0:
                return min(pause, _LONGEST_PAUSE)
            announced = self._schedule.announced
            self._schedule.begin(now)
        try:
            found = find_by(client.get, self.service, self._keys_at)
        except FetchFault as fault:
            self._keys_failed(fault, announced)
        else:
            self._keys_found(found, announced)
        self._finish_fetching()
        return 0.0

    def _keys_found(self, found: FoundKeys, announced: bool) -> None:
        with self._lock:
            assert self._verifier is not None
            changed = not same_keys(self._verifier.key_set, found.keys)
            if changed:
                # One reference, so that a request never sees new keys with the old cache.
                self._verifier = self._verifier.with_keys(found.keys)
                self._standing.verifier = self._verifier
            self._keys_in_force = True
            self._keys_at = found.address
            late = announced and not changed
            self._schedule.succeeded(self._now(), max_age=found.max_age, jitter=jitter(), late=late)
        if changed:
            self._events.emit("keys_changed", kids=[key.kid for key in found.keys])
        self._settle()

    def _keys_failed(self, fault: FetchFault, announced: bool) -> None:
        self._troubles["keys"] = str(fault)
        with self._lock:
            self._schedule.failed(self._now(), jitter=jitter(), was_announced=announced)
            failures = self._schedule.failures
            keys = 0 if self._verifier is None else len(self._verifier.key_set)
        self._events.emit("keys_failed", service=self.service.url, reason=str(fault), failures=failures, keys=keys)
        if not self.ready:
            self._first.finish()

    def _finish_fetching(self) -> None:
        with self._lock:
            done, self._fetching = self._fetching, Pending()
        done.finish()

    # The feed -------------------------------------------------------------------------------------------------------

    def _feed_turn(self, client: HttpClient) -> float:
        feed = self._feed
        assert feed is not None
        asked_at = self._now()
        began = self._awake.moment()
        try:
            more = self._read_page(feed, client)
        except FetchFault as fault:
            self._awake.attempt_ended(began)
            return self._feed_failed(feed, fault)
        if not more:
            self._awake.attempt_ended(began)
            self._settle()
            self._sweep(feed)
            self._standing.watches.look_at_the_time()
        elif self.ready:
            self._judge()  # an incomplete list is no news
        return feed.pause(self._now(), asked_at=asked_at, more=more)

    def _read_page(self, feed: FeedReader, client: HttpClient) -> bool:
        """Fetch and add a page. Return whether another follows at once."""
        answer = client.get(feed.fetch(at_once=self._at_once or self._awake.asked))
        # A stopped thread may be here too.
        with self._digesting:
            news = run_politely(feed.digest(answer, wall=self._clock.now()))
            self._standing.revocations = feed.in_force.revocations
            self._list_in_force = self._list_in_force or feed.complete
        if news.keys_changed and self._verifier is not None:
            with self._lock:
                self._schedule.announce(self._now())
            self._workers.wake("keys")
        return news.more

    def _feed_failed(self, feed: FeedReader, fault: FetchFault) -> float:
        self._troubles["feed"] = str(fault)
        with self._lock:
            pause = feed.failed(fault, jitter=jitter())
        if feed.failures == 1:
            self._events.emit("feed_failed", service=self.service.url, reason=str(fault))
        if self.ready:
            self._judge()
        else:
            self._first.finish()
        return pause

    def _sweep(self, feed: FeedReader) -> None:
        if self._now() - self._swept_at >= SWEEP_EVERY:
            self._swept_at = self._now()
            with self._digesting:
                feed.sweep(self._clock.now())

    # Standing -------------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Settle the standing after news, and report `ready` once."""
        if not self.ready:
            return
        self._judge()
        self._became_ready.set()
        with self._lock:
            announce, self._was_ready = not self._was_ready, True
        if announce:
            entries = 0 if self._feed is None else len(self._feed.in_force.revocations)
            keys = 0 if self._verifier is None else len(self._verifier.key_set)
            self._events.emit("ready", keys=keys, revocations=entries)
        self._first.finish()

    def _judge(self) -> None:
        """Compare the list's age with `max_stale`, settle the standing, and report a change."""
        if self._feed is None:
            with self._lock:
                self._standing.settle(*((ALWAYS, ALWAYS) if self._workers.running else (NOT_NOW, NOT_NOW)))
            return
        with self._lock:
            age = self._feed.age(self._now()) or 0.0
            was, self._is_stale = self._is_stale, age > self._max_stale
            end, wall = self._awake.until
            if self._policy == "closed":
                end = min(end, self._feed.fresh_until(self._max_stale))
            self._standing.settle(*((end, wall) if self._workers.running else (NOT_NOW, NOT_NOW)))
            stale_now = self._is_stale
        # Outside the lock: the operator's hook may do anything.
        if stale_now and self._policy == "closed":
            self._standing.watches.end_all(STALE)
        if stale_now and not was:
            self._events.emit("feed_stale", age=age, stale=self._policy)
        elif was and not stale_now:
            self._events.emit("feed_recovered", age=age)

    def _first_try_failed(self) -> bool:
        keys_failed = not self._keys_in_force and self._schedule.failures > 0
        return keys_failed or (not self._list_in_force and self._feed is not None and self._feed.failures > 0)


_followers: WeakSet[ServiceFollower] = WeakSet()
_noticing = threading.Lock()  # taken in forked children only


def _after_fork() -> None:
    for follower in list(_followers):
        follower.after_fork()


after_fork(_after_fork)
