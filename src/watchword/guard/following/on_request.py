"""Keeps a `Standing` up to date without threads in the background: a request asks when it has to.

One request asks for all others, in its own thread. On an event loop a thread asks, which ends with its answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from watchword.guard.following.exchange import Aborted, Answer, Fetch, FetchFault
from watchword.guard.following.feed import APART, FeedReader
from watchword.guard.following.flight import ASK_WITHIN, Flight
from watchword.guard.following.follower import ServiceFollower
from watchword.guard.following.waiting import Pending
from watchword.guard.following.workers import Workers
from watchword.guard.refusals import Unready
from watchword.guard.standing import not_ready, stale

if TYPE_CHECKING:
    from watchword.guard.following.http_client import HttpClient


class OnRequestFollower(ServiceFollower):
    """Fetches keys and revocations on requests, and refuses them when it cannot know.

    A request asks when the list is older than `max_stale`, when the key set's time is over, or for an unknown key.
    After a failure the next ones are refused at once, for a moment.
    """

    def __init__(self, *args: Any, open_client: Callable[[], HttpClient], **given: Any) -> None:
        super().__init__(*args, open_client=open_client, **given | {"policy": "closed"})
        self._workers = Workers({}, open_client=open_client, events=self._events, on_death=self._unsettle)
        self._standing.strict = True
        self._at_once = True
        self._not_before = float("-inf")

    def _found_this_process(self) -> None:
        super()._found_this_process()
        self._flight: Flight | None = None

    def attend(self, *, waited: bool = False) -> Pending | None:
        """Settle the standing. Return what to wait for; None: requests may rely on it.

        :param waited: whether this request has waited already.
        :raises Unready: it could not be asked, or what was answered is too old.
        """
        self._notice_fork()
        if not self._due():
            self._judge()
            if not self._is_stale:
                return None
        flight = None if waited else self._take_off()
        if flight is None:
            raise self._unknown()
        return flight

    def ask_for_key(self) -> Pending | None:
        """Return what a token of an unknown key waits for, or None."""
        if self._verifier is None:
            return None
        with self._lock:
            asks = self._schedule.ask_unknown(self._now())
        return self._take_off() if asks else None

    def wait_until_ready(self, seconds: float) -> bool:
        """Ask until ready or for so long, and return `ready`."""
        deadline = self._now() + seconds
        while not self.ready and (left := deadline - self._now()) > 0:
            flight = self._take_off(within=left)
            if flight is not None:
                flight.wait(left)
            elif not self.ready:
                self._became_ready.wait(min(max(self._not_before - self._now(), 0.01), left))
        return self.ready

    def _due(self) -> bool:
        if not self.ready:
            return True
        now = self._now()
        if self._verifier is not None and self._schedule.pause(now) <= 0:
            return True
        return self._feed is not None and (self._awake.asleep() or now >= self._feed.fresh_until(self._max_stale))

    def _unknown(self) -> Unready:
        return stale() if self.ready else not_ready()

    def _take_off(self, *, within: float = ASK_WITHIN) -> Flight | None:
        """Return the flight under way or a new one; None: the last one has just failed."""
        with self._lock:
            if self._flight is not None and self._flight.over:  # no thread could be started for it
                self._flight = None
            if self._flight is None and self._now() >= self._not_before:
                self._flight = Flight(lambda: self._ask(min(within, ASK_WITHIN)))
            return self._flight

    def _ask(self, within: float) -> None:
        client = _Bounded(self._workers.open_client(), self._now() + within, self._now)
        try:
            # The list first: it may announce other keys.
            heard = self._feed is None or self._ask_feed(self._feed, client)
            if self._verifier is not None and (heard or not self._keys_in_force):
                self._ask_keys(client)
        except Aborted:
            pass
        except Exception as error:  # noqa: BLE001  the request is refused, and says no more
            self._events.defect(error)
        finally:
            client.close()
            with self._lock:
                self._flight = None

    def _ask_keys(self, client: Any) -> None:
        self._keys_turn(client)
        if not self._keys_in_force:
            self._pause(self._schedule.pause(self._now()))

    def _ask_feed(self, feed: FeedReader, client: Any) -> bool:
        """Fetch what is new, and return whether that went well."""
        began = self._awake.moment()
        try:
            while self._read_page(feed, client):
                pass
        except FetchFault as fault:
            self._pause(self._feed_failed(feed, fault))
            return False
        self._awake.attempt_ended(began)
        self._settle()
        if (feed.age(self._now()) or 0.0) > self._max_stale:  # where it comes from
            self._pause(APART)
        self._sweep(feed)
        return True

    def _pause(self, seconds: float) -> None:
        self._not_before = max(self._not_before, self._now() + seconds)

    def _judge(self) -> None:
        super()._judge()
        if self._verifier is None:
            return
        with self._lock:
            standing = self._standing
            standing.settle(min(standing.settled_until, self._schedule.next_at), standing.recall_until)


class _Bounded:
    """Fetches over a connection of its own until a deadline."""

    def __init__(self, client: HttpClient, deadline: float, now: Callable[[], float]) -> None:
        self._client = client
        self._deadline = deadline
        self._now = now

    def get(self, fetch: Fetch) -> Answer:
        """Return the answer. :raises FetchFault: none, or too late."""
        left = self._deadline - self._now()
        if left <= 0:
            raise FetchFault("no time is left to ask")
        return self._client.get(fetch._replace(seconds=min(fetch.seconds, left)))

    def close(self) -> None:
        """Close the connection: a frozen host would find it dead."""
        self._client.close()
