"""A guard and a service on real sockets: keys and revocations arrive, and outages are lived through."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.guard.conftest import MakeGuard
from tests.guard.service import FEED, KEYS, METADATA, Service, serving, until
from watchword.errors import TokenError, WatchwordError
from watchword.guard import Guard, Unready, following, standing


def code(guard: Guard, token: str) -> str:
    """What a guard says about a token: `ok` or the code of its refusal."""
    try:
        guard.verify(token)
    except WatchwordError as error:
        return error.code
    return "ok"


def test_the_package_says_what_each_of_its_files_is() -> None:
    (folder,) = following.__path__
    files = {path.stem for path in Path(folder).glob("*.py")} - {"__init__"}
    assert set(re.findall(r"^    (\w+)  +\S", following.__doc__ or "", re.MULTILINE)) == files


def test_the_first_check_starts_everything_and_waits(service: Service) -> None:
    """Nobody has to call start(): the first request waits a moment instead of being refused."""
    guard = service.guard()
    caller = guard.check(f"Bearer {service.token(user_id='ada', roles=['admin'], scopes=['read'])}")
    assert (caller.user_id, caller.roles, caller.scopes) == ("ada", {"admin"}, {"read"})
    assert caller.has_role("admin")
    assert not caller.has_scope("write")
    assert guard.ready
    assert service.asked[METADATA] == service.asked[KEYS] == 1
    guard.stop()


def test_a_logout_is_known(service: Service, guarded: MakeGuard) -> None:
    """Each kind of entry, once the feed has told of it."""
    guard = guarded()
    for kind, subject, version in (("session", "s1", None), ("user", "u1", 2)):
        token = service.token(session_id="s1" if kind == "session" else "s2", user_id="u1")
        assert code(guard, token) == "ok"
        service.revoke(kind, subject, version)
        assert until(lambda: code(guard, token) == "token_revoked")  # noqa: B023
    assert code(guard, service.token(user_id="u1", ver=2)) == "ok"


def test_a_revoked_key_is_refused_at_once_and_the_keys_are_fetched(service: Service, guarded: MakeGuard) -> None:
    """⚑ Also for remembered tokens, and outside the cooldown."""
    guard = guarded()
    old, kid = service.token(), service.issuer._signing.kid
    assert code(guard, old) == "ok"
    service.rotate(announce=False)
    service.published = service.published[1:]
    service.revoke("key", kid)
    assert until(lambda: code(guard, old) == "token_revoked")
    assert until(lambda: service.asked[KEYS] == 2)
    assert until(lambda: code(guard, service.token()) == "ok")
    # The key has left the set as well now: the list still knows it, and no request waits for a fetch.
    assert [code(guard, old) for _ in range(3)] == ["token_revoked"] * 3
    assert service.asked[KEYS] == 2


def test_a_change_of_keys_is_announced(service: Service, guarded: MakeGuard) -> None:
    """The feed's `keys` changes: fetched within a moment, no request has to wait for it."""
    guard = guarded()
    assert until(lambda: service.asked[FEED] == 2)  # the poll that waits: a change before it is told by its answer
    time.sleep(0.05)
    service.rotate()
    assert until(lambda: service.asked[KEYS] == 2)
    assert until(lambda: code(guard, service.token()) == "ok", 1)
    assert service.asked[METADATA] == 1


def test_a_change_of_keys_between_two_polls_is_told_at_once(service: Service, guarded: MakeGuard) -> None:
    """The guard says which version it has heard of: a change that no poll was there to hear does not wait for one."""
    service.silence = 0.0
    guard = guarded()

    def change_behind_the_answer(handler: Any) -> None:
        page = service.page(f"{service.feed_id}.0")
        del service.misbehave[FEED]
        service.silence = 10.0
        service.rotate()
        handler.say(page)

    service.misbehave[FEED] = change_behind_the_answer
    assert until(lambda: FEED not in service.misbehave)
    assert until(lambda: service.asked[KEYS] == 2, 4)
    assert until(lambda: code(guard, service.token()) == "ok", 1)


def test_a_worker_that_has_not_heard_of_the_new_keys_is_asked_again(service: Service, guarded: MakeGuard) -> None:
    """The feed's answer and the key set may come from two processes, of which the second is a moment behind."""
    guard = guarded()
    assert until(lambda: service.asked[FEED] == 2)
    time.sleep(0.05)
    service.rotate(publish=False)
    assert until(lambda: service.asked[KEYS] == 2)
    service.published.append(service.issuer._signing.verification_key)
    assert until(lambda: service.asked[KEYS] == 3)
    assert until(lambda: code(guard, service.token()) == "ok")


def test_an_unknown_kid_is_fetched_while_the_request_waits(service: Service, guarded: MakeGuard) -> None:
    """Without any announcement the first token under a new key is good."""
    guard = guarded(revocations=False)
    guard._follower._schedule._last -= 31  # the cooldown is over
    service.rotate(announce=False)
    assert code(guard, service.token()) == "ok"
    assert service.asked[KEYS] == 2


def test_A12_a_storm_of_made_up_kids_causes_one_fetch(service: Service, guarded: MakeGuard) -> None:
    """1,000 different kids, from eight threads: one fetch (the cooldown is 30 s), and honest requests go on."""
    guard = guarded()
    guard._follower._schedule._last -= 31
    honest = service.token()
    stranger = type(service.issuer)(service.url, audience="orders", clock=service.issuer.clock)

    def storm() -> None:
        for _ in range(125):
            stranger.rotate_key()
            assert code(guard, stranger.token()) == "token_invalid"
            assert code(guard, honest) == "ok"

    threads = [threading.Thread(target=storm) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert service.asked[KEYS] == 2  # the first one and one for the storm


def test_the_service_may_go_away(service: Service, guarded: MakeGuard) -> None:
    """Tokens are verified with the keys at hand; when it is back, what was missed is made up for."""
    events: list[str] = []
    guard = guarded(on_event=lambda name, _: events.append(name))
    token, missed = service.token(), service.token(session_id="missed")
    service.stop()
    assert until(lambda: "feed_failed" in events)
    assert code(guard, token) == "ok"
    for number in range(10_000):
        service.revoke("session", f"behind-{number}")
    service.revoke("session", "missed")
    time.sleep(1.0)
    service.start()
    assert until(lambda: code(guard, missed) == "token_revoked")
    assert code(guard, token) == "ok"
    assert events.count("feed_failed") == 1
    assert all(code(guard, service.token(session_id=f"behind-{n}")) == "token_revoked" for n in (0, 4_999, 9_999))


@pytest.mark.parametrize(("policy", "after"), [("open", "ok"), ("closed", "revocations_stale")])
def test_an_hour_without_news(service: Service, policy: Any, after: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hour is skipped by moving the guard's monotonic clock: warned of once, judged as told, recovered from."""
    ahead = 0.0
    events: list[tuple[str, Any]] = []
    guard = service.guard(stale=policy, on_event=lambda name, fields: events.append((name, dict(fields))))
    clock = lambda: time.monotonic() + ahead  # noqa: E731
    guard._follower._now = clock
    monkeypatch.setattr(standing, "elapsed", clock)
    open_client = guard._follower._workers.open_client

    def open_with_clock() -> Any:
        client = open_client()
        client._now = clock
        return client

    guard._follower._workers.open_client = open_with_clock
    assert guard.wait_until_ready(5)
    token = service.token()
    service.stop()
    ahead = 3600.0
    assert until(lambda: any(name == "feed_stale" for name, _ in events))
    assert [code(guard, token) for _ in range(3)] == [after] * 3
    assert guard.feed_age() >= 3600
    (stale,) = [fields for name, fields in events if name == "feed_stale"]
    assert stale["stale"] == policy
    service.start()
    assert until(lambda: any(name == "feed_recovered" for name, _ in events))
    assert code(guard, token) == "ok"
    assert guard.feed_age() < 5
    guard.stop()


def test_a_replica_cut_off_from_its_database_does_not_look_fresh(service: Service, guarded: MakeGuard) -> None:
    """It answers promptly, and its as_of stands still: the age grows all the same."""
    service.as_of_frozen = int(time.time()) - 3600
    events: list[str] = []
    guard = guarded(stale="closed", on_event=lambda name, _: events.append(name))
    assert guard.feed_age() >= 3600
    with pytest.raises(Unready) as caught:
        guard.verify(service.token())
    assert (caught.value.code, "feed_stale" in events) == ("revocations_stale", True)
    service.as_of_frozen = None
    service.silence = 0.0
    service.revoke("session", "wake the poll")
    assert until(lambda: code(guard, service.token()) == "ok")
    assert "feed_recovered" in events


def test_clocks_of_two_machines_may_differ(service: Service, guarded: MakeGuard) -> None:
    """The service's clock is an hour behind: the age is measured on its own clock, so the feed is fresh."""
    service.date_offset = -3600
    assert guarded().feed_age() < 2


def test_the_guard_key_is_shown_to_the_feed(service: Service, guarded: MakeGuard) -> None:
    guarded(guard_key="wwg_secret")
    assert set(service.shown_keys) == {"Bearer wwg_secret"}


def test_a_restored_database_replaces_the_list(service: Service, guarded: MakeGuard) -> None:
    """Another feed_id: what it says counts from now on, and what was revoked stays so."""
    guard = guarded()
    kid = "k" * 43
    service.revoke("session", "before")
    service.revoke("user", "ada", 9)
    service.revoke("key", kid)
    ended, older = service.token(session_id="before"), service.token(user_id="ada")
    assert until(lambda: code(guard, older) == "token_revoked")
    service.feed_id, service.entries = "feed-2", []
    service.revoke("session", "after")
    after = service.token(session_id="after")
    assert until(lambda: code(guard, after) == "token_revoked")
    assert code(guard, ended) == code(guard, older) == "token_revoked"
    assert len(guard._judge.standing.revocations) == 4  # two sessions, the user and the key


class _Raises(logging.Filter):
    """A filter of an application that works within a request only."""

    def filter(self, record: logging.LogRecord) -> bool:
        raise RuntimeError("Working outside of request context.")


def test_a_log_that_fails_does_not_end_the_following(service: Service, guarded: MakeGuard) -> None:
    """Nor does a hook, nor a defect that is told of in the same log."""
    log, broken = logging.getLogger("watchword.guard"), _Raises()
    log.addFilter(broken)
    log.setLevel(logging.DEBUG)
    try:
        guard = guarded(on_event=lambda *_: 1 / 0)
        service.misbehave[FEED] = lambda handler: handler.send_error(500)
        guard._follower._events.defect(ValueError("x"))
        token = service.token(session_id="gone")
        assert code(guard, token) == "ok"
        service.misbehave.clear()
        service.revoke("session", "gone")
        assert until(lambda: code(guard, token) == "token_revoked")
        assert all(worker.alive for worker in guard._follower._workers.by_name.values())
    finally:
        log.removeFilter(broken)
        log.setLevel(logging.NOTSET)


@pytest.mark.parametrize("name", ["keys", "feed"])
def test_a_thread_that_died_is_started_again_by_the_next_check(
    service: Service, guarded: MakeGuard, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ended it: here what no `except Exception` holds."""
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    guard = guarded()
    follower = guard._follower
    worker = follower._workers.by_name[name]

    def fatal(_: Any) -> float:
        raise SystemExit

    worker._turn = fatal
    worker.wake()
    worker._client.abort()
    assert until(lambda: not worker.alive)
    token = service.token(session_id="gone")
    # A thread counts as dead a moment before it says so, and until then checks go on without it.
    assert until(lambda: code(guard, token) == "ok" and follower._workers.by_name[name] is not worker)
    service.revoke("session", "gone")
    assert until(lambda: code(guard, token) == "token_revoked")


@pytest.mark.parametrize("name", ["keys", "feed"])
def test_a_thread_that_could_not_be_started_is_tried_again(
    service: Service, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a limit of the machine for a moment: refused until it runs, and never settled without it."""
    real, failing = threading.Thread.start, [True]

    def start(self: threading.Thread) -> None:
        if self.name == f"watchword-guard-{name}" and failing:
            raise RuntimeError("can't start new thread")
        real(self)

    monkeypatch.setattr(threading.Thread, "start", start)
    guard = service.guard()
    token = service.token(session_id="gone")
    assert code(guard, token) == "guard_not_ready"
    failing.clear()
    assert until(lambda: code(guard, token) == "ok")
    service.revoke("session", "gone")
    assert until(lambda: code(guard, token) == "token_revoked")
    guard.stop()


def test_polls_of_a_service_without_room_do_not_spin(service: Service, guarded: MakeGuard) -> None:
    """Above its cap the service answers polls at once: the guard asks four times a second and no more."""
    service.silence = 0.0
    guarded()
    before, began = service.asked[FEED], time.monotonic()
    assert until(lambda: service.asked[FEED] - before >= 6)
    assert time.monotonic() - began > 1.0


def test_stop_ends_a_long_poll_and_start_goes_on(service: Service, guarded: MakeGuard) -> None:
    """No thread is left, and the list is as long as before."""
    others = set(threading.enumerate())
    guard = guarded()
    service.revoke("session", "gone")
    token = service.token(session_id="gone")
    assert until(lambda: code(guard, token) == "token_revoked")
    threads = {thread.name for thread in set(threading.enumerate()) - others}
    assert {"watchword-guard-keys", "watchword-guard-feed"} <= threads
    began = time.monotonic()
    guard.stop()
    assert time.monotonic() - began < 8, "the poll takes ten seconds"
    left = set(threading.enumerate()) - others
    assert not [thread for thread in left if thread.name.startswith("watchword-guard")]
    assert code(guard, token) == "token_revoked"  # which has started it again
    service.revoke("session", "later")
    assert until(lambda: code(guard, service.token(session_id="later")) == "token_revoked")
    assert service.asked[METADATA] == 1


def test_a_guard_that_nobody_holds_ends_its_threads(service: Service) -> None:
    """An application that is reloaded forgets its old guard: the threads go with it."""
    others = set(threading.enumerate())
    guard = service.guard()
    assert guard.wait_until_ready(5)
    del guard
    names = lambda: {thread.name for thread in set(threading.enumerate()) - others}  # noqa: E731
    assert until(lambda: not any(name.startswith("watchword-guard") for name in names()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Python 3.12 warns of forking with threads: that is the test
def test_a_forked_child_follows_by_itself(service: Service, guarded: MakeGuard) -> None:
    """gunicorn --preload: the child starts with what its parent knew and hears of what comes after."""
    guard = guarded()
    known, later = service.token(session_id="known"), service.token(session_id="later")
    service.revoke("session", "known")
    assert until(lambda: code(guard, known) == "token_revoked")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        verdict = b"died"
        try:
            first = code(guard, known), code(guard, later)
            os.write(writing, b"ready\n")
            heard = until(lambda: code(guard, later) == "token_revoked", 5)
            verdict = f"{first} {heard}".encode()
        finally:
            os.write(writing, verdict)
            os._exit(0)
    os.close(writing)
    assert os.read(reading, 6) == b"ready\n"
    time.sleep(0.3)
    service.revoke("session", "later")
    assert until(lambda: code(guard, later) == "token_revoked")
    assert os.read(reading, 200) == b"('token_revoked', 'ok') True"
    os.waitpid(child, 0)
    os.close(reading)


def test_a_service_reached_under_another_address() -> None:
    """url= for the network, issuer for the tokens: the key set's address is rewritten."""
    with serving(path="/auth") as service:
        inside = service.url
        service.issuer.issuer = "https://auth.example/auth"
        service.metadata = lambda: {  # type: ignore[method-assign]
            "issuer": "https://auth.example/auth",
            "jwks_uri": "https://auth.example/auth/.well-known/jwks.json",
        }
        guard = Guard("https://auth.example/auth", url=inside, audience="orders")
        assert guard.verify(service.token(user_id="ada")).user_id == "ada"
        guard.stop()


def test_metadata_under_the_inserted_form() -> None:
    """RFC 8414 section 3.1, when the appended form is not there."""
    with serving(path="/auth") as service:
        service.misbehave[METADATA] = lambda handler: handler.send(b"", status=404)
        service.misbehave[METADATA + "/auth"] = lambda handler: handler.say(service.metadata())
        guard = service.guard()
        assert guard.wait_until_ready(5)
        guard.stop()


def test_a_shared_secret_with_the_feed(service: Service) -> None:
    """HS256: no keys are fetched, revocations are followed all the same."""
    secret = os.urandom(32)
    from watchword.tokens import SigningKey

    service.issuer._signing = SigningKey.shared_secret(secret)
    guard = Guard.shared_secret(service.url, audience="orders", secret=secret)
    assert guard.wait_until_ready(5)
    token = service.token(session_id="s")
    assert code(guard, token) == "ok"
    service.revoke("session", "s")
    assert until(lambda: code(guard, token) == "token_revoked")
    assert service.asked[KEYS] == service.asked[METADATA] == 0
    with pytest.raises(TokenError):
        guard.verify(token[:-4] + "AAAA")
    guard.stop()
