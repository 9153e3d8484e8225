"""API keys at a guard: exchanged once, remembered, refused within a second, and never a flood."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Any

import pytest

from tests.guard.conftest import MakeGuard
from tests.guard.service import Handler, Service
from watchword import api_keys
from watchword.errors import TokenError, WatchwordError
from watchword.guard import Guard
from watchword.guard.following import key_exchange
from watchword.guard.following.addresses import ServiceAddress
from watchword.guard.following.events import Events
from watchword.guard.following.exchange import Answer, Fetch
from watchword.guard.following.key_exchange import KeyExchange
from watchword.guard.following.waiting import Pending
from watchword.guard.refusals import Unready
from watchword.ids import new_id
from watchword.tokens import KeySet

TOKEN = "/token"


class Exchange:
    """The service's token endpoint for these keys, and what it was asked."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.key_id = new_id()
        self.key = api_keys.make(self.key_id).text
        self.good = {self.key}
        self.scopes: tuple[str, ...] = ("read",)
        self.status = 0
        self.forms: list[dict[str, str]] = []
        self.shown: list[str | None] = []
        self.headers: dict[str, str] = {}
        self.gate = threading.Event()
        self.gate.set()
        self.version = 1
        service.misbehave[TOKEN] = self.answer

    def answer(self, handler: Handler) -> None:
        form = handler.form()
        self.forms.append(form)
        self.shown.append(handler.headers.get("Authorization"))
        assert self.gate.wait(10)
        if self.status:
            handler.send(b"{}", status=self.status, headers=self.headers)
        elif form["subject_token"] not in self.good:
            handler.send(b'{"error":"invalid_request"}', status=400)
        else:
            token = self.service.token(
                user_id="ada", session_id=self.key_id, scopes=self.scopes, client_id="api_key", ver=self.version
            )
            handler.say({"access_token": token, "token_type": "Bearer", "expires_in": 900})


@pytest.fixture
def exchange(service: Service) -> Exchange:
    return Exchange(service)


class Scripted:
    """A client that answers without a network."""

    def __init__(self, answer: Callable[[], Answer]) -> None:
        self._answer = answer

    def get(self, fetch: Fetch) -> Answer:
        assert fetch.form is not None
        return self._answer()

    def close(self) -> None: ...


def desk_of(answer: Callable[[], Answer], times: list[float]) -> KeyExchange:
    """An exchange with a clock that stands still."""
    service = ServiceAddress.checked("http://127.0.0.1:9", None, plain_http=False)
    opened: Any = lambda: Scripted(answer)  # noqa: E731
    return KeyExchange(service, "orders", open_client=opened, events=Events(None), now=lambda: times[0])


def through(exchanging: Generator[Pending, None, str]) -> str:
    """Wait for an exchange, and return its token."""
    while True:
        try:
            next(exchanging).wait(5)
        except StopIteration as done:
            return str(done.value)


def code_of(check: Callable[[], object]) -> str:
    try:
        check()
    except WatchwordError as error:
        return error.code
    return ""


def test_a_key_is_exchanged_once_and_then_recalled(exchange: Exchange, guarded: MakeGuard) -> None:
    guard = guarded()
    header = f"Bearer {exchange.key}"
    caller = guard.check(header, scopes="read", api_keys=True)
    assert (caller.scopes, caller.session_id) == ({"read"}, exchange.key_id)
    needs = guard.require(scopes="read", api_keys=True)
    assert needs.recall(header) is caller  # without any waiting, and so without I/O
    assert all(guard.check(header, api_keys=True) is caller for _ in range(5))
    assert exchange.forms == [
        {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": exchange.key,
            "subject_token_type": "urn:watchword:token-type:api_key",
            "resource": "orders",
        }
    ]


async def test_an_event_loop_waits_likewise(exchange: Exchange, guarded: MakeGuard) -> None:
    guard = guarded()
    caller = await guard.check_async(f"Bearer {exchange.key}", api_keys=True)
    assert await guard.check_async(f"Bearer {exchange.key}", api_keys=True) is caller
    assert (await guard.verify_async(exchange.key, api_keys=True)).user_id == caller.user_id


@pytest.mark.parametrize("several", [False, True])
def test_without_saying_so_no_key_passes(exchange: Exchange, guarded: MakeGuard, several: bool) -> None:
    """⚑ Neither the key, nor the token that it was exchanged for, nor one that another route has let in."""
    guard = guarded()
    sent: Any = [f"Bearer {exchange.key}"] if several else f"Bearer {exchange.key}"
    with pytest.raises(TokenError, match="not accepted here"):
        guard.check(sent)
    assert exchange.forms == []
    guard.check(sent, api_keys=True)
    guard.check(sent, api_keys=True)
    assert len(exchange.forms) == 1
    for check in (
        lambda: guard.check(sent),
        lambda: guard.check(sent, scopes="read"),
        lambda: guard.require().check(sent),
    ):
        assert code_of(check) == "token_invalid"
    assert guard.require().recall(sent) is None
    token = exchange.service.token(session_id=exchange.key_id, scopes=("read",), client_id="api_key")
    assert code_of(lambda: guard.verify(token)) == "token_invalid"
    assert guard.verify(token, api_keys=True).scopes == {"read"}
    assert code_of(lambda: guard.verify(token)) == "token_invalid"


def test_a_key_lacks_scopes_as_a_token_does(exchange: Exchange, guarded: MakeGuard) -> None:
    guard = guarded()
    for _ in range(2):  # first exchanged, then remembered
        assert code_of(lambda: guard.verify(exchange.key, scopes="write", api_keys=True)) == "scope_missing"
    assert len(exchange.forms) == 1


def test_a_revoked_key_is_heard_of(exchange: Exchange, guarded: MakeGuard, service: Service) -> None:
    """⚑ By the feed; then the service says whether there is another token for it."""
    guard = guarded()
    guard.verify(exchange.key, api_keys=True)
    exchange.good.clear()
    service.revoke("session", exchange.key_id)
    until = threading.Event()
    for _ in range(500):
        if code_of(lambda: guard.verify(exchange.key, api_keys=True)) == "token_invalid":
            break
        until.wait(0.01)
    else:
        pytest.fail("the revoked key still passes")
    assert len(exchange.forms) == 2


def test_what_the_owner_has_lost_the_key_loses(exchange: Exchange, guarded: MakeGuard, service: Service) -> None:
    """⚑ Their older tokens are refused, and the next exchange yields a narrower one; the request goes on."""
    guard = guarded()
    exchange.scopes = ("read", "write")
    caller = guard.verify(exchange.key, api_keys=True)
    assert caller.scopes == {"read", "write"}
    exchange.scopes, exchange.version = ("read",), 2
    service.revoke("user", caller.user_id, 2)
    until = threading.Event()
    for _ in range(500):
        if guard.verify(exchange.key, api_keys=True).scopes == {"read"}:
            break
        until.wait(0.01)
    else:
        pytest.fail("the key still has what its owner lost")
    assert len(exchange.forms) == 2


@pytest.mark.parametrize("cut", range(0, 68, 4))
def test_a_truncated_key_costs_no_request(exchange: Exchange, guarded: MakeGuard, cut: int) -> None:
    guard = guarded()
    assert code_of(lambda: guard.verify(exchange.key[:cut], api_keys=True)) in ("token_invalid", "token_malformed")
    assert exchange.forms == []


def test_a_mistyped_key_costs_no_request(exchange: Exchange, guarded: MakeGuard) -> None:
    guard = guarded()
    for place in range(4, len(exchange.key)):
        other = "A" if exchange.key[place] != "A" else "B"
        wrong = exchange.key[:place] + other + exchange.key[place + 1 :]
        assert code_of(lambda w=wrong: guard.verify(w, api_keys=True)) == "token_invalid"  # type: ignore[misc]
    assert exchange.forms == []


def test_a_refused_key_is_not_sent_again(exchange: Exchange, guarded: MakeGuard) -> None:
    guard, wrong = guarded(), api_keys.make(new_id()).text
    for _ in range(5):
        assert code_of(lambda: guard.verify(wrong, api_keys=True)) == "token_invalid"
    assert len(exchange.forms) == 1


def test_made_up_keys_neither_flood_the_service_nor_keep_out_a_good_one(
    exchange: Exchange, guarded: MakeGuard, monkeypatch: pytest.MonkeyPatch, service: Service
) -> None:
    """⚑ A checksum can be computed by anyone."""
    monkeypatch.setattr(key_exchange, "MOST_STRANGERS", 5.0)
    monkeypatch.setattr(key_exchange, "STRANGERS_PER_SECOND", 0.0)
    monkeypatch.setattr(key_exchange, "MOST_REFUSED", 3)
    guard = guarded()
    guard.verify(exchange.key, api_keys=True)
    codes = [code_of(lambda: guard.verify(api_keys.make(new_id()).text, api_keys=True)) for _ in range(50)]
    assert codes == ["token_invalid"] * 4 + ["overloaded"] * 46
    assert len(exchange.forms) == 5
    assert len(guard._judge.keys._refused) == 3  # type: ignore[union-attr]
    exchange.version = 2
    service.revoke("user", guard.verify(exchange.key, api_keys=True).user_id, 2)
    until = threading.Event()
    while len(exchange.forms) < 6:  # exchanged anew, although strangers have used up the rate
        guard.verify(exchange.key, api_keys=True)
        until.wait(0.01)


def test_many_at_once_are_one_exchange(exchange: Exchange, guarded: MakeGuard) -> None:
    guard = guarded()
    exchange.gate.clear()
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(guard.verify(exchange.key, api_keys=True).user_id))
        for _ in range(12)
    ]
    for each in threads:
        each.start()
    flights = guard._judge.keys._flights  # type: ignore[union-attr]
    until = threading.Event()
    while not any(each._waiting >= 11 for each in guard._judge.keys._flights.values()):  # type: ignore[union-attr]
        until.wait(0.01)
    exchange.gate.set()
    for each in threads:
        each.join(10)
    assert len(found) == 12, flights
    assert len(exchange.forms) == 1


@pytest.mark.parametrize("key", [None, "wwg_" + "k" * 43])
def test_a_guard_shows_its_guard_key(exchange: Exchange, guarded: MakeGuard, key: str | None) -> None:
    """⚑ Without it the service counts all its callers together, by its address."""
    guarded(guard_key=key).verify(exchange.key, api_keys=True)
    assert exchange.shown == [key and f"Bearer {key}"]


def test_a_guard_key_that_is_refused_is_no_fault_of_the_caller(exchange: Exchange, guarded: MakeGuard) -> None:
    told: list[tuple[str, Any]] = []
    guard = guarded(guard_key="wwg_" + "k" * 43, on_event=lambda *event: told.append(event))
    exchange.status = 401
    with pytest.raises(Unready):
        guard.verify(exchange.key, api_keys=True)
    assert "guard key" in next(fields for name, fields in told if name == "key_exchange_failed")["reason"]


@pytest.mark.parametrize(("key", "named"), [(None, True), ("wwg_" + "k" * 43, False)])
def test_a_limit_that_is_used_up_is_passed_on(
    exchange: Exchange, guarded: MakeGuard, key: str | None, named: bool
) -> None:
    """The caller is told when to come back, and the operator which setting it is. The key is not sent again at once."""
    told: list[tuple[str, Any]] = []
    guard = guarded(guard_key=key, on_event=lambda *event: told.append(event))
    exchange.status, exchange.headers = 429, {"Retry-After": "3569"}
    weaker = api_keys.attenuate(exchange.key, scopes=["read"])
    for each in (exchange.key, exchange.key, weaker):
        with pytest.raises(Unready) as caught:
            guard.verify(each, api_keys=True)
        assert (caught.value.code, caught.value.retry_after) == ("overloaded", 3569)
    assert len(exchange.forms) == 2
    (limited,) = [fields for name, fields in told if name == "key_exchange_limited"]
    assert (limited["key"], limited["retry_after"]) == (exchange.key_id, 3569)
    assert "WATCHWORD_API_KEY_LIMIT" in limited["settings"]
    assert ("WATCHWORD_API_KEY_ADDRESS_LIMIT" in limited["settings"]) == named


def test_a_limit_is_looked_at_again_after_half_a_minute() -> None:
    times = [1000.0]
    answers = [Answer(429, {"retry-after": "100"}, b"", 0.0), Answer(200, {}, b'{"access_token": "t"}', 0.0)]
    desk = desk_of(lambda: answers.pop(0), times)
    key = api_keys.make(new_id()).text
    for later, left in ((0.0, 100), (29.0, 71)):
        times[0] = 1000.0 + later
        with pytest.raises(Unready) as caught:
            through(desk.exchange(key))
        assert caught.value.retry_after == left
    times[0] = 1031.0
    assert through(desk.exchange(key)) == "t"


def test_what_is_weakened_from_one_key_pushes_out_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """⚑ Else the holder of one key could make strangers of all others, and then use up the rate of strangers."""
    monkeypatch.setattr(key_exchange, "MOST_GOOD", 8)
    monkeypatch.setattr(key_exchange, "MOST_STRANGERS", 21.0)
    monkeypatch.setattr(key_exchange, "STRANGERS_PER_SECOND", 0.0)
    times = [0.0]
    desk = desk_of(lambda: Answer(200, {}, b'{"access_token": "t"}', 0.0), times)
    key, leaked = api_keys.make(new_id()).text, api_keys.make(new_id()).text
    assert through(desk.exchange(key)) == "t"
    for number in range(20):
        times[0] += 1.0
        assert through(desk.exchange(api_keys.attenuate(leaked, scopes=[f"s{number}"]))) == "t"
    with pytest.raises(Unready):
        through(desk.exchange(api_keys.attenuate(leaked, scopes=["s0"])))
    assert through(desk.exchange(key)) == "t"


@pytest.mark.parametrize("status", [302, 404, 429, 500, 503])
def test_a_service_that_cannot_say_is_no_refusal(exchange: Exchange, guarded: MakeGuard, status: int) -> None:
    guard = guarded()
    exchange.status = status
    with pytest.raises(Unready):
        guard.verify(exchange.key, api_keys=True)
    exchange.status = 0
    if status == 429:
        assert len(guard._judge.keys._refused) == 1  # type: ignore[union-attr]
        guard._judge.keys._refused.clear()  # type: ignore[union-attr]
    assert guard.verify(exchange.key, api_keys=True).scopes == {"read"}


def test_a_service_that_is_away_refuses_no_key_seen_before(
    exchange: Exchange, guarded: MakeGuard, service: Service
) -> None:
    guard = guarded()
    caller = guard.verify(exchange.key, api_keys=True)
    service.stop()
    assert guard.verify(exchange.key, api_keys=True) is caller
    with pytest.raises(Unready):
        guard.verify(api_keys.make(new_id()).text, api_keys=True)


@pytest.mark.parametrize("asked", [{"roles": "admin"}, {"max_age": 60}])
def test_what_no_key_can_have_is_not_asked_of_one(guarded: MakeGuard, asked: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="API key"):
        guarded().require(api_keys=True, **asked)


@pytest.mark.parametrize("wrong", [None, 1, "yes"])
def test_whether_keys_are_accepted_is_said_plainly(guarded: MakeGuard, wrong: Any) -> None:
    with pytest.raises(TypeError, match="api_keys"):
        guarded().require(api_keys=wrong)


def test_a_guard_without_a_service_exchanges_nothing(exchange: Exchange) -> None:
    guard = Guard.offline(exchange.service.url, audience="orders", keys=KeySet(exchange.service.issuer._keys))
    with pytest.raises(TokenError, match="exchanges no API keys"):
        guard.verify(exchange.key, api_keys=True)
