"""Webhooks: an event is told at least once, each user's in order, to whom it concerns; and nothing secret is in it."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import sha256

import pytest
import structlog

from tests.identity.scenes import (
    AWAY,
    DAY,
    HOME,
    HOUR,
    Opener,
    claims_of,
    file_contents,
    give_roles,
    join,
    log_in,
    operator,
    recorded,
    refresh,
    statements,
)
from tests.webhooks.receiving import Got, Receiver, receiving
from watchword import background
from watchword.background import in_background
from watchword.clock import FixedClock
from watchword.errors import Conflict, InvalidInput, NotFound, Unauthenticated
from watchword.features.codes.service import Codes
from watchword.identity import sweeping
from watchword.identity.audit import EVENTS, LOCAL
from watchword.identity.granting import Operation, unchecked
from watchword.identity.kernel import Kernel
from watchword.identity.keys import resealing
from watchword.identity.one_time import Issued
from watchword.identity.queue import CLAIMED_SECONDS, KEPT_SECONDS
from watchword.identity.webhooks import deliveries as module
from watchword.identity.webhooks.deliveries import FALTERS, WAITS, rest_after
from watchword.identity.webhooks.endpoints import FORMER_SECONDS, MOST, Endpoint
from watchword.identity.webhooks.events import OF_ONE, TOLD, TYPES, Recorded, events_of
from watchword.storage.database import Tx
from watchword.webhooks import signing

BY = Operation(LOCAL, None, unchecked)
OLD, NEW = (sha256(name).digest() for name in (b"old", b"new"))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


async def add(kernel: Kernel, receiver: Receiver, *wanted: str) -> tuple[Endpoint, bytes]:
    """An endpoint for a receiver of this machine, and its secret."""
    made, secret = await kernel.webhooks.add(receiver.url, wanted or ("*",), private=True, by=BY)
    return made, signing.read(secret)


async def tell(kernel: Kernel) -> None:
    """Tell all there is to tell now."""
    faults: list[Exception] = []
    while waiting := await kernel.teller.waiting():
        await kernel.teller.turn(waiting, faults.append)
        await kernel.teller.finish()
        assert faults == []


async def test_J18_every_event_says_what_happened_to_whom(kernel: Kernel, receiver: Receiver) -> None:
    """The whole life of an account, in order, by ids alone."""
    _, secret = await add(kernel, receiver)
    ada = await join(kernel, "ada")
    first = await log_in(kernel, "ada")
    sid = claims_of(kernel, first).sid
    await log_in(kernel, "ada", replacing=first.tokens.refresh_token)
    await operator(kernel).change_roles(ada.id, lambda _: frozenset({"reader"}))
    await operator(kernel).rename(ada, username="adele", email=None)
    last = await log_in(kernel, "adele")
    await kernel.sessions.end_others(claims_of(kernel, last), client=HOME)
    await kernel.sessions.log_out(claims=claims_of(kernel, last), presented=None, client=HOME)
    await operator(kernel).disable(ada.id)
    await operator(kernel).enable(ada.id)
    await operator(kernel).delete(ada)
    await tell(kernel)
    told = [(got.type, {k: v for k, v in got.event["data"].items() if k != "user_id"}) for got in receiver.taken]
    last_sid = told[4][1].pop("kept_session_id")
    assert told == [
        ("user.created", {"email_verified": False}),
        ("session.ended", {"session_id": sid, "reason": "replaced"}),
        ("user.changed", {"fields": ["roles"]}),
        ("user.changed", {"fields": ["username"]}),
        ("sessions.ended", {"reason": "ended"}),
        ("session.ended", {"session_id": last_sid, "reason": "logged_out"}),
        ("user.disabled", {}),
        ("sessions.ended", {"reason": "disabled", "kept_session_id": None}),
        ("user.enabled", {}),
        ("sessions.ended", {"reason": "deleted", "kept_session_id": None}),
        ("user.deleted", {}),
    ]
    assert {got.user for got in receiver.taken} == {ada.id}
    assert {got.type for got in receiver.taken} <= TYPES.keys()
    for got in receiver.taken:
        assert got.event["version"] == 1
        assert set(got.event) == {"type", "timestamp", "version", "data"}
        at = int(got.headers["webhook-timestamp"])
        expected = dict(signing.headers([secret], event_id=got.id, at=at, body=got.body))
        assert got.headers["webhook-signature"] == expected["webhook-signature"]
        for personal in ("ada@example.org", "adele", HOME.address, HOME.agent):
            assert personal.encode() not in got.body


async def test_a_stolen_refresh_token_is_told(kernel: Kernel, receiver: Receiver, clock: FixedClock) -> None:
    """Reuse, and the end of its session."""
    await add(kernel, receiver, "session.*")
    await join(kernel)
    first = await log_in(kernel)
    sid = claims_of(kernel, first).sid
    clock.advance(HOUR)
    await refresh(kernel, first.tokens.refresh_token)
    clock.advance(HOUR)
    with pytest.raises(Unauthenticated):
        await refresh(kernel, first.tokens.refresh_token, client=AWAY)
    await tell(kernel)
    assert receiver.types() == ["session.reused", "session.ended"]
    assert receiver.taken[1].event["data"]["reason"] == "refresh_reuse"
    assert receiver.taken[1].event["data"]["session_id"] == sid


async def test_an_address_that_was_confirmed_is_told(open_kernel: Opener, receiver: Receiver) -> None:
    """Also where a code or a link that does something else shows it."""
    async with open_kernel(email_login="on") as kernel:
        await add(kernel, receiver, "user.verified", "user.changed", "sessions.ended")
        ada, bob = await join(kernel, "ada"), await join(kernel, "bob")
        for user, purpose in ((ada, "login"), (bob, "reset")):
            key = f"{user.username}@example.org"

            async def unit(tx: Tx, key: str = key, user_id: str = user.id, purpose: str = purpose) -> Issued:
                return await kernel.one_time.issue(tx, purpose, key, user_id=user_id, detail={})

            issued = await kernel.database.transact(unit)
            derived = await kernel.one_time.derive(issued.id, issued.seed)
            assert derived is not None
            if purpose == "login":
                await Codes(kernel).log_in(issued.handle, derived.code, client=HOME, replacing=None)
            else:
                found = await kernel.addresses.found((purpose,), token=derived.token, client=HOME)
                await kernel.addresses.reset_password(found, "velvet-anchor-ripple", client=HOME, field="p")
        await tell(kernel)
        assert receiver.types(ada.id) == ["user.verified"]
        assert receiver.types(bob.id) == ["user.verified", "user.changed", "sessions.ended"]


async def test_a_change_that_is_rolled_back_tells_nothing(kernel: Kernel, receiver: Receiver) -> None:
    """What tells of a change is stored with it, or not at all; also where the change is the last of a unit."""
    await add(kernel, receiver)

    async def fails(tx: Tx, _: object) -> None:
        raise RuntimeError("the unit fails")

    with pytest.raises(RuntimeError):
        await kernel.users.create(username="eve", email=None, password=None, client=HOME, check=unchecked, also=fails)
    await join(kernel, "ada")
    with pytest.raises(Conflict):
        await join(kernel, "ada")
    await tell(kernel)
    assert receiver.types() == ["user.created"]


@pytest.mark.sqlite
async def test_what_is_told_costs_a_request_nothing(kernel: Kernel, receiver: Receiver) -> None:
    """A log-in and a refresh run the same statements with endpoints and without."""

    async def asked(who: str) -> list[str]:
        await join(kernel, who)
        with statements(kernel) as without:
            tokens = (await log_in(kernel, who)).tokens
            await refresh(kernel, tokens.refresh_token)
        return [re.sub(r"'[^']*'|\d+", "?", each) for each in without.of_the_product]

    before = await asked("ada")
    await add(kernel, receiver)
    assert await asked("bob") == before
    assert len(before) > 5


@pytest.mark.sqlite
async def test_without_endpoints_a_turn_is_one_read(kernel: Kernel) -> None:
    """And with nothing to tell a turn writes nothing."""
    await join(kernel)
    with statements(kernel) as seen:
        assert await kernel.teller.waiting() == []
    (only,) = seen.of_the_product
    assert only.startswith("SELECT id, position, rests_until, failures FROM ww_webhooks")


async def test_only_what_happens_from_then_on_and_what_it_wants(
    kernel: Kernel, receiver: Receiver, clock: FixedClock
) -> None:
    """An endpoint names its events."""
    await join(kernel, "before")
    clock.advance(1)
    await add(kernel, receiver, "user.deleted", "session.*")
    user = await join(kernel, "after")
    await operator(kernel).delete(user)
    await tell(kernel)
    assert receiver.types() == ["user.deleted"]


async def test_a_failing_event_holds_back_its_user_alone(kernel: Kernel, receiver: Receiver, clock: FixedClock) -> None:
    """Later ones of the same user wait, in order; other users' are told; another endpoint is told all."""
    await add(kernel, receiver)
    with receiving() as other:
        await add(kernel, other)
        ada, bob = await join(kernel, "ada"), await join(kernel, "bob")
        receiver.answer = lambda got: 500 if got.user == ada.id else 200
        for user in (ada, bob):
            await operator(kernel).disable(user.id)
            await operator(kernel).enable(user.id)
        await tell(kernel)
        whole = ["user.created", "user.disabled", "sessions.ended", "user.enabled"]
        assert receiver.types() == whole
        assert receiver.types(bob.id) == whole
        assert [got.type for got in receiver.got if got.user == ada.id] == ["user.created"]
        assert other.types(ada.id) == other.types(bob.id) == whole
    receiver.answer = lambda _: 200
    clock.advance(WAITS[0] * 2)
    await tell(kernel)
    assert receiver.types(ada.id) == whole
    assert await recorded(kernel, "ww_deliveries", "id") == []


async def test_waits_grow_and_the_last_one_gives_up(kernel: Kernel, receiver: Receiver, clock: FixedClock) -> None:
    """Over days, with jitter; what was given up is listed, holds back no more, and is sent again by command."""
    endpoint, _ = await add(kernel, receiver)
    ada = await join(kernel, "ada")
    receiver.answer = lambda got: 503 if got.type == "user.created" else 200
    await tell(kernel)
    waits = []
    for wait in WAITS:
        (row,) = await recorded(kernel, "ww_deliveries", "id")
        waits.append(row["due_at"] - clock.now())
        assert wait * 0.8 - 1 <= waits[-1] <= wait * 1.2 + 1
        assert row["fault"] == "it answered 503"
        clock.advance(waits[-1] - 1)
        await tell(kernel)
        clock.advance(1)
        if wait == WAITS[-1]:
            await operator(kernel).disable(ada.id)
        await tell(kernel)
    assert sum(WAITS) > 2 * DAY
    clock.advance(rest_after(len(WAITS)) * 4)
    await tell(kernel)
    assert receiver.types() == ["user.disabled", "sessions.ended"]
    (failed,) = await kernel.deliveries.failed(endpoint.id)
    assert (failed.type, failed.user_id, failed.tries) == ("user.created", ada.id, len(WAITS) + 1)
    ids = {got.id for got in receiver.got if got.type == "user.created"}
    assert ids == {failed.id}
    receiver.answer = lambda _: 200
    assert await kernel.deliveries.retry(endpoint.id, "evt_unknown", by=BY) == 0
    assert await kernel.deliveries.retry(endpoint.id, failed.id, by=BY) == 1
    await tell(kernel)
    assert receiver.taken[-1].id == failed.id
    assert await kernel.deliveries.failed(endpoint.id) == []
    with pytest.raises(NotFound):
        await kernel.deliveries.retry("none", None, by=BY)


async def test_a_process_that_dies_leaves_it_to_the_next(kernel: Kernel, receiver: Receiver, clock: FixedClock) -> None:
    """Between handing over and noting it: it is sent again under the same id. The one that was slow decides nothing."""
    endpoint, _ = await add(kernel, receiver)
    ada = await join(kernel, "ada")
    await operator(kernel).disable(ada.id)
    await kernel.teller.turn([], lambda _: None)
    await kernel.deliveries.write(endpoint.id)
    (slow,) = await kernel.deliveries.claim(endpoint.id, 10)
    assert slow.type == "user.created"
    await tell(kernel)
    assert receiver.got == []
    clock.advance(CLAIMED_SECONDS)
    (second,) = await kernel.deliveries.claim(endpoint.id, 10)
    assert (slow.id, slow.tries, second.tries) == (second.id, 1, 2)
    assert not (await kernel.deliveries.taken(endpoint.id, slow)).stood
    assert not (await kernel.deliveries.not_taken(endpoint.id, slow, "too late")).stood
    assert await kernel.deliveries.claim(endpoint.id, 10) == []  # the user's next one waits for the second claim
    assert (await kernel.deliveries.taken(endpoint.id, second)).stood
    await tell(kernel)
    assert receiver.types() == ["user.disabled", "sessions.ended"]


async def test_two_services_tell_each_user_in_order(open_kernel: Opener, receiver: Receiver, clock: FixedClock) -> None:
    """Both believe that they have the lease, the receiver fails twice where it counts, and claims run out."""
    tries: Counter[str] = Counter()

    def answer(got: Got) -> int:
        tries[got.id] += 1
        return 500 if got.type in ("user.created", "user.enabled") and tries[got.id] <= 2 else 200

    receiver.answer = answer
    secret = {"secret": (OLD,), "workers": 2}
    async with open_kernel(**secret) as one, open_kernel(**secret) as two:
        await add(one, receiver, "user.*")
        users = [await join(one, f"user{number}") for number in range(6)]
        for user in users:
            await operator(one).disable(user.id)
            await operator(two).enable(user.id)
            await give_roles(one, user.id, ("reader",))
        for _ in range(12):
            await asyncio.gather(tell(one), tell(two))
            clock.advance(CLAIMED_SECONDS)
    expected = ["user.created", "user.disabled", "user.enabled", "user.changed"]
    assert {user.id: receiver.types(user.id) for user in users} == {user.id: expected for user in users}
    assert max(tries.values()) > 1


async def test_a_replay_sends_the_same_events_again(kernel: Kernel, receiver: Receiver, clock: FixedClock) -> None:
    """From a time on, of all or of one user, under the ids that they had."""
    endpoint, _ = await add(kernel, receiver, "user.*")
    ada, bob = await join(kernel, "ada"), await join(kernel, "bob")
    clock.advance(HOUR)
    since = clock.now()
    for user in (ada, bob):
        await operator(kernel).disable(user.id)
    await tell(kernel)
    first = {(got.id, got.type) for got in receiver.taken}
    assert (await kernel.deliveries.replay(endpoint.id, since=0, by=BY)) == (4, None)
    await tell(kernel)
    assert len(receiver.taken) == 8
    assert {(got.id, got.type) for got in receiver.taken} == first
    receiver.taken.clear()
    assert (await kernel.deliveries.replay(endpoint.id, since=since, by=BY)).events == 2
    await tell(kernel)
    assert receiver.types() == ["user.disabled"] * 2
    receiver.taken.clear()
    assert (await kernel.deliveries.replay(endpoint.id, since=0, user_id=bob.id, by=BY)).events == 2
    await tell(kernel)
    assert receiver.types() == receiver.types(bob.id) == ["user.created", "user.disabled"]
    with pytest.raises(NotFound):
        await kernel.deliveries.replay("none", since=0, by=BY)


async def test_a_replay_goes_before_what_waits(kernel: Kernel, receiver: Receiver, clock: FixedClock) -> None:
    """Events of one user that were given up and those that wait are told in their old order."""
    endpoint, _ = await add(kernel, receiver, "user.*")
    ada = await join(kernel, "ada")
    await operator(kernel).disable(ada.id)
    await tell(kernel)
    receiver.answer = lambda _: 500
    await operator(kernel).enable(ada.id)
    await tell(kernel)
    receiver.taken.clear()
    receiver.answer = lambda _: 200
    await kernel.deliveries.replay(endpoint.id, since=0, by=BY)
    await give_roles(kernel, ada.id, ("reader",))
    clock.advance(HOUR)
    await tell(kernel)
    # The one that was tried before keeps its turn.
    assert receiver.types() == ["user.enabled", "user.created", "user.disabled", "user.changed"]


async def test_an_endpoint_that_takes_nothing_is_disabled(
    open_kernel: Opener, receiver: Receiver, clock: FixedClock
) -> None:
    """After the patience of the settings, with a line and a record; enabled again, it is told all that it missed."""
    receiver.answer = lambda _: 500
    async with open_kernel(webhook_patience="1d") as kernel:
        endpoint, _ = await add(kernel, receiver, "user.*")
        ada = await join(kernel, "ada")
        with structlog.testing.capture_logs() as lines:
            await tell(kernel)
            while clock.now() < endpoint.created_at + DAY:
                assert (await kernel.webhooks.get(endpoint.id)).disabled_at is None
                clock.advance(HOUR)
                await tell(kernel)
            clock.advance(DAY)
            await tell(kernel)
        found = await kernel.webhooks.get(endpoint.id)
        assert found.disabled_at is not None
        assert found.fault == "it answered 500"
        (line,) = [line for line in lines if line["event"] == "webhook_disabled"]
        assert (line["log_level"], line["webhook"], line["host"]) == ("error", endpoint.id, "127.0.0.1")
        assert "canary" not in repr(lines)
        await operator(kernel).disable(ada.id)
        receiver.answer = lambda _: 200
        assert await kernel.teller.waiting() == []
        await kernel.webhooks.enable(endpoint.id, by=BY)
        clock.advance(DAY)
        await tell(kernel)
        assert receiver.types() == ["user.created", "user.disabled"]
        assert (await kernel.webhooks.get(endpoint.id)).failing_since is None
        names = [row["event"] for row in await recorded(kernel, "ww_audit") if row["event"].startswith("webhook")]
        assert names == ["webhook_created", "webhook_disabled", "webhook_enabled"]


async def test_one_that_wants_no_more_is_disabled_at_once(kernel: Kernel, receiver: Receiver) -> None:
    """410 says so."""
    endpoint, _ = await add(kernel, receiver)
    receiver.answer = lambda _: 410
    await join(kernel)
    await tell(kernel)
    assert (await kernel.webhooks.get(endpoint.id)).disabled_at is not None
    row = (await recorded(kernel, "ww_audit"))[-1]
    assert (row["event"], "gone" in row["detail"]) == ("webhook_disabled", True)


async def test_one_that_is_down_is_tried_now_and_then(kernel: Kernel, receiver: Receiver, clock: FixedClock) -> None:
    """With one event at a time, so that the others do not use up their tries; once it is back, all are told."""
    await add(kernel, receiver, "user.*")
    receiver.answer = lambda _: 500
    for number in range(30):
        await join(kernel, f"user{number}")
    await tell(kernel)
    assert FALTERS <= len(receiver.got) <= 2 * FALTERS
    for _ in range(5):
        before = len(receiver.got)
        clock.advance(HOUR)
        await tell(kernel)
        assert len(receiver.got) == before + 1
    receiver.answer = lambda _: 200
    for _ in range(40):
        clock.advance(HOUR)
        await tell(kernel)
    assert len(receiver.taken) == 30
    assert [rest_after(failures) for failures in (0, 9, 10, 11, 15, 10_000)] == [0, 0, 10, 20, 300, 300]


@pytest.mark.parametrize(("said", "wait"), [("600", 600), ("999999999999", DAY), ("1", 1), ("-5", 0), ("soon", 0)])
async def test_one_that_is_busy_is_left_alone_for_as_long_as_it_says(
    kernel: Kernel, receiver: Receiver, clock: FixedClock, said: str, wait: int
) -> None:
    """For a day at most, and never for less than usual; other users' events wait too, and lose no try."""
    await add(kernel, receiver, "user.created")
    receiver.answer, receiver.headers = lambda _: 429, {"Retry-After": said}
    await join(kernel, "ada")
    await tell(kernel)
    await join(kernel, "bob")
    receiver.answer, receiver.headers = lambda _: 204, {}
    if wait:
        clock.advance(wait - 1)
        await tell(kernel)
        assert len(receiver.got) == 1
        clock.advance(1)
    await tell(kernel)
    assert len(receiver.taken) == (2 if wait > WAITS[0] else 1)  # bob's, and ada's no sooner than usual
    clock.advance(WAITS[0] * 2)
    await tell(kernel)
    assert len(receiver.taken) == 2
    assert len(receiver.got) == 3


async def test_an_operator_who_says_retry_is_heard_while_it_rests(
    kernel: Kernel, receiver: Receiver, clock: FixedClock
) -> None:
    endpoint, _ = await add(kernel, receiver, "user.created")
    receiver.answer = lambda _: 503
    await join(kernel, "ada")
    for wait in (*WAITS, 0):
        await tell(kernel)
        clock.advance(round(wait * 1.2) + rest_after(len(WAITS) + 1))
    (failed,) = await kernel.deliveries.failed(endpoint.id)
    receiver.headers = {"Retry-After": "86400"}
    await join(kernel, "bob")
    await tell(kernel)
    receiver.answer = lambda _: 204
    await tell(kernel)
    assert receiver.taken == []
    await kernel.deliveries.retry(endpoint.id, failed.id, by=BY)
    await tell(kernel)
    assert [got.id for got in receiver.taken] == [failed.id]


async def test_too_many_of_one_user_are_given_up(
    kernel: Kernel, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Someone who logs in and out all day must not fill an endpoint for all; it can be sent again."""
    monkeypatch.setattr(module, "MOST_OF_USER", 4)
    endpoint, _ = await add(kernel, receiver, "user.*")
    receiver.answer = lambda _: 500
    ada, _ = await join(kernel, "ada"), await join(kernel, "bob")
    for _ in range(3):
        await operator(kernel).disable(ada.id)
        await operator(kernel).enable(ada.id)
    await tell(kernel)
    failed = await kernel.deliveries.failed(endpoint.id)
    assert [each.user_id for each in failed] == [ada.id] * 3
    assert {each.fault for each in failed} == {"4 events of this user wait already"}


async def test_a_full_endpoint_waits_in_the_trail(
    kernel: Kernel, receiver: Receiver, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows for an endpoint that is away are bounded; nothing is lost. A replay says where it stopped."""
    monkeypatch.setattr(module, "MOST_WAITING", 5)
    monkeypatch.setattr(module, "RECORDS", 2)
    endpoint, _ = await add(kernel, receiver, "user.*")
    receiver.answer = lambda _: 500
    for number in range(20):
        await join(kernel, f"user{number:02}")
    await tell_once(kernel)
    assert 5 <= len(await recorded(kernel, "ww_deliveries", "id")) <= 6
    assert (await kernel.deliveries.replay(endpoint.id, since=0, by=BY)) == (0, clock.now())
    receiver.answer = lambda _: 200
    for _ in range(10):
        clock.advance(HOUR)
        await tell_once(kernel)
    assert len(receiver.taken) == 20


async def tell_once(kernel: Kernel) -> None:
    """One turn, as where an endpoint is full and there is always more to tell."""
    await kernel.teller.turn(await kernel.teller.waiting(), lambda _: None)
    await kernel.teller.finish()


async def test_two_secrets_sign_for_a_day(kernel: Kernel, receiver: Receiver, clock: FixedClock) -> None:
    """So a receiver that knows either accepts; after a leak the former one signs no more at once."""
    endpoint, first = await add(kernel, receiver)
    second = signing.read(await kernel.webhooks.rotate_secret(endpoint.id, by=BY))
    assert await kernel.webhooks.secrets(endpoint.id) == [second, first]
    await join(kernel)
    await tell(kernel)
    (got,) = receiver.taken
    at = int(got.headers["webhook-timestamp"])
    expected = dict(signing.headers([second, first], event_id=got.id, at=at, body=got.body))
    assert got.headers["webhook-signature"] == expected["webhook-signature"]
    clock.advance(FORMER_SECONDS)
    assert await kernel.webhooks.secrets(endpoint.id) == [second]
    await sweeping.sweep(kernel.database, clock.now())
    (row,) = await recorded(kernel, "ww_webhooks", "id")
    assert row["sealed_former"] == ""
    third = signing.read(await kernel.webhooks.rotate_secret(endpoint.id, at_once=True, by=BY))
    assert await kernel.webhooks.secrets(endpoint.id) == [third]
    assert await kernel.webhooks.secrets("none") == []
    with pytest.raises(NotFound):
        await kernel.webhooks.rotate_secret("none", by=BY)


@pytest.mark.sqlite
async def test_J18_no_secret_is_stored_logged_or_recorded(kernel: Kernel, receiver: Receiver) -> None:
    """It is sealed; the URL, which may hold one too, is in no log and no record."""
    with structlog.testing.capture_logs() as lines:
        endpoint, first = await add(kernel, receiver)
        second = signing.read(await kernel.webhooks.rotate_secret(endpoint.id, by=BY))
        receiver.answer = lambda _: 302
        await join(kernel)
        await tell(kernel)
        await kernel.teller.try_now(endpoint.id)
    on_disk = file_contents(kernel)
    records = repr(await recorded(kernel, "ww_audit"))
    assert any(line["event"] == "webhook_not_taken" for line in lines)
    for secret in (first, second):
        for form in (secret, signing.shown(secret).encode(), secret.hex().encode()):
            assert form not in on_disk
            assert repr(form)[2:-1] not in repr(lines) + records
    assert "canary-in-the-url" not in repr(lines) + records


async def test_a_new_master_secret_seals_them_anew(open_kernel: Opener, receiver: Receiver) -> None:
    """Both secrets of an endpoint go with it."""
    async with open_kernel(secret=(OLD,)) as kernel:
        endpoint, first = await add(kernel, receiver)
        second = signing.read(await kernel.webhooks.rotate_secret(endpoint.id, by=BY))
    async with open_kernel(secret=(NEW, OLD)) as kernel:
        await resealing.rotate(kernel.master, kernel.database, kernel.clock)
    async with open_kernel(secret=(NEW,)) as kernel:
        assert await kernel.webhooks.secrets(endpoint.id) == [second, first]


@pytest.mark.parametrize("read_before", [False, True])
async def test_J18_nothing_goes_to_one_that_was_removed_meanwhile(
    read_before: bool, kernel: Kernel, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """⚑ Its secret is gone, so the event went out unsigned; or the turn failed as if the fault were ours."""
    endpoint, _ = await add(kernel, receiver)
    await join(kernel)
    found = kernel.webhooks.get

    async def removed(webhook_id: str) -> Endpoint:
        read = await found(webhook_id)
        await kernel.webhooks.remove(webhook_id, by=BY)
        return read if read_before else await found(webhook_id)

    monkeypatch.setattr(kernel.webhooks, "get", removed)
    await tell(kernel)
    assert receiver.got == []
    assert [row for row in await recorded(kernel, "ww_deliveries", "id") if row["webhook_id"] == endpoint.id] == []


async def test_endpoints_are_few_and_checked(kernel: Kernel, receiver: Receiver) -> None:
    """Twenty; no two of one URL; only events that there are; only URLs that webhooks may go to."""
    for number in range(MOST - 1):
        await kernel.webhooks.add(f"https://hooks.invalid/{number}", ("*",), by=BY)
    with pytest.raises(Conflict) as twice:
        await kernel.webhooks.add("https://hooks.invalid/1", ("*",), by=BY)
    assert twice.value.code == "name_taken"
    endpoint, _ = await add(kernel, receiver)
    with pytest.raises(Conflict) as many:
        await kernel.webhooks.add("https://hooks.invalid/x", ("*",), by=BY)
    assert many.value.code == "conflict"
    for url, wanted in (
        ("https://10.0.0.1/", ("*",)),
        ("https://a.example.com", ("user.born",)),
        ("https://a.example.com", ()),
    ):
        with pytest.raises(InvalidInput):
            await kernel.webhooks.add(url, wanted, by=BY)
    await join(kernel)
    receiver.answer = lambda _: 500
    await tell_once(kernel)
    await kernel.webhooks.remove(endpoint.id, by=BY)
    assert len(await kernel.webhooks.all()) == MOST - 1
    assert [row for row in await recorded(kernel, "ww_deliveries", "id") if row["webhook_id"] == endpoint.id] == []
    with pytest.raises(NotFound):
        await kernel.webhooks.remove(endpoint.id, by=BY)


async def test_what_was_given_up_long_ago_is_swept(kernel: Kernel, receiver: Receiver, clock: FixedClock) -> None:
    """After thirty days; what waits stays."""
    await add(kernel, receiver)
    receiver.answer = lambda _: 500
    await join(kernel, "ada")
    await join(kernel, "bob")
    await tell(kernel)
    await kernel.database.run(
        "UPDATE ww_deliveries SET failed_at = :now WHERE id = (SELECT MIN(id) FROM ww_deliveries)", now=clock.now()
    )
    clock.advance(KEPT_SECONDS - 1)
    await sweeping.sweep(kernel.database, clock.now())
    assert len(await recorded(kernel, "ww_deliveries", "id")) == 2
    clock.advance(1)
    await sweeping.sweep(kernel.database, clock.now())
    assert len(await recorded(kernel, "ww_deliveries", "id")) == 1


async def test_a_test_event_is_told_like_any_other(kernel: Kernel, receiver: Receiver) -> None:
    """Or at once, by a command, which says what came of it."""
    endpoint, _ = await add(kernel, receiver, "user.deleted")
    event_id = await kernel.deliveries.try_out(endpoint.id, by=BY)
    await tell(kernel)
    assert [(got.id, got.type) for got in receiver.taken] == [(event_id, "webhook.test")]
    assert not (await kernel.teller.try_now(endpoint.id)).fault
    receiver.answer = lambda _: 404
    assert (await kernel.teller.try_now(endpoint.id)).fault == "it answered 404"
    for attempt in (kernel.teller.try_now("none"), kernel.deliveries.try_out("none", by=BY)):
        with pytest.raises(NotFound):
            await attempt


async def test_one_process_of_two_tells_in_the_background(
    open_kernel: Opener, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that has the lease; the other one goes on when that stops."""
    monkeypatch.setattr(background, "TELL_SECONDS", 0.01)
    given = {"secret": (OLD,), "workers": 2}
    async with open_kernel(**given) as one, open_kernel(**given) as two:
        await add(one, receiver, "user.*")
        async with in_background(two):
            async with in_background(one):
                await join(one, "ada")
                await _until(lambda: receiver.types() == ["user.created"])
            await join(one, "bob")
            await _until(lambda: receiver.types() == ["user.created"] * 2)
    assert len(receiver.got) == 2


async def _until(done: Callable[[], bool]) -> None:
    """Wait for what comes by itself."""
    while not done():  # noqa: ASYNC110 - a receiver in another thread
        await asyncio.sleep(0.01)


DETAILS = (
    "",
    "{",
    "[]",
    "null",
    '{"fields": 1}',
    '{"count": "many"}',
    '{"email": null}',
    '{"reason": {}}',
    '"\\ud800"',
)


@pytest.mark.parametrize("event", [each.name for each in EVENTS])
def test_no_record_stops_those_behind_it(event: str) -> None:
    """Whatever someone with the database made of one: nothing is raised, and each event is one of the table."""
    for outcome in next(each.outcomes for each in EVENTS if each.name == event):
        for detail in (
            *DETAILS,
            '{"fields": "email username", "count": "3", "email": "confirmed", "reason": "operator"}',
        ):
            for user in (None, "u"):
                made = events_of(Recorded("0197f1a2-7c00-7abc", 7, 1, event, outcome, user, None, detail))
                assert {each.type for each in made} <= TYPES.keys()
                assert len(made) < OF_ONE
                assert len({each.id for each in made} | {each.place for each in made}) == 2 * len(made)
                assert not made or event in TOLD
    assert set(TOLD) <= {each.name for each in EVENTS}
