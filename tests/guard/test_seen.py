"""Callers that were checked before: answered at once, and never for longer than a full check would answer so (A25)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import pytest

from tests.attacks.forging import AUDIENCE, ISSUER, NOW, claims, honest, key
from watchword.clock import Clock, FixedClock, SystemClock
from watchword.errors import TokenError, WatchwordError
from watchword.guard import Guard
from watchword.guard.standing import ALWAYS, NOT_NOW, RELIED_ON, Standing
from watchword.tokens import AccessClaims, KeySet, Needs, Policy, RevocationSet, SigningKey, Verifier, sign_access
from watchword.tokens import verify as verify_module
from watchword.tokens.cache import DEFAULT_SIZE
from watchword.tokens.revocations import Kind, State

KEYS = KeySet([key().verification_key])


def make(clock: Clock | None = None, revocations: RevocationSet | None = None) -> Guard:
    clock = clock or FixedClock(NOW)
    return Guard.offline(ISSUER, audience=AUDIENCE, keys=KEYS, revocations=revocations, leeway=0, clock=clock)


def header(token: str) -> bytes:
    return b"Bearer " + token.encode()


def code(guard: Guard, shown: Any, **needs: Any) -> str:
    try:
        guard.check(shown, **needs)
    except WatchwordError as error:
        return error.code
    return "ok"


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One entry for each signature that is checked."""
    real, made = verify_module.check_signature, []

    def counted(*arguments: Any) -> bytes:
        made.append(None)
        return real(*arguments)

    monkeypatch.setattr(verify_module, "check_signature", counted)
    return made


@pytest.mark.parametrize("shape", [header, lambda token: f"Bearer {token}"], ids=["bytes", "text"])
def test_the_second_time_no_signature_is_checked(shape: Callable[[str], Any], checks: list[None]) -> None:
    guard, token = make(), honest()
    assert guard.recall(shape(token)) is None
    first = guard.check(shape(token))
    assert guard.recall(shape(token)) is guard.check(shape(token)) is first
    assert len(checks) == 1


def test_a_bare_token_is_not_a_header_nor_the_other_way_round() -> None:
    guard, token = make(), honest()
    guard.check(f"Bearer {token}")
    guard.verify(token)
    assert code(guard, token) == "token_missing"
    with pytest.raises(TokenError) as caught:
        guard.verify(f"Bearer {token}")
    assert caught.value.code == "token_malformed"
    assert guard.recall(token) is None


@pytest.mark.parametrize("shown", [None, "", [], [b"Bearer x", b"Bearer y"], (b"a", b"b"), "Basic x", b"\xff" * 10])
def test_what_is_no_token_is_not_recalled(shown: Any) -> None:
    assert make().recall(shown) is None


def in_four_threads(work: Callable[[int], None], *, apart: int) -> None:
    """Run it in four threads to their end, each with a number of its own."""
    threads = [threading.Thread(target=work, args=(number * apart,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(
    ("kind", "subject"),
    [("session", claims()["sid"]), ("user", claims()["sub"]), ("key", key().kid)],
    ids=["session", "user", "key"],
)
def test_A25_each_kind_of_revocation_counts_from_the_next_request(kind: Kind, subject: str) -> None:
    revoked = RevocationSet()
    guard, shown = make(revocations=revoked), header(honest())
    assert code(guard, shown) == "ok"
    revoked.add("session", "somebody else's", 0, NOW + 900)
    assert guard.recall(shown) is not None
    revoked.add(kind, subject, 4, NOW + 900)
    assert guard.recall(shown) is None
    assert [code(guard, shown) for _ in range(3)] == ["token_revoked"] * 3


def test_A25_another_list_is_looked_at_anew() -> None:
    guard, shown = make(), header(honest())
    assert code(guard, shown) == "ok"
    other = RevocationSet()
    other.add("session", claims()["sid"], 0, NOW + 900)
    guard._judge.standing.revocations = other
    assert guard.recall(shown) is None
    assert code(guard, shown) == "token_revoked"


def test_the_list_is_asked_once_after_each_change(monkeypatch: pytest.MonkeyPatch) -> None:
    revoked, asked = RevocationSet(), []
    guard, shown = make(revocations=revoked), header(honest())
    monkeypatch.setattr(RevocationSet, "refuses", lambda *_: asked.append(None))
    for expected in (1, 2):
        revoked.add("session", f"somebody else's {expected}", 0, NOW + 900)
        for _ in range(3):
            assert code(guard, shown) == "ok"
        assert len(asked) == expected


def test_A25_who_was_seen_is_asked_of_again_when_requests_may_rely_on_less() -> None:
    """One look tells that nothing has changed, so whatever the standing loses must change that."""
    guard, shown = make(), header(honest())
    assert code(guard, shown) == "ok"
    standing = guard._judge.standing
    standing.settle(NOW + 100, NOW + 100)
    assert guard.recall(shown) is not None
    standing.settle(NOW + 200, NOW + 200)
    assert guard.recall(shown) is not None
    standing.unsettle()
    assert guard.recall(shown) is None
    standing.settle()
    assert guard.recall(shown) is not None


def test_A25_a_caller_who_was_seen_is_relied_on_no_longer_than_the_standing() -> None:
    clock = FixedClock(NOW)
    guard, shown = make(clock), header(honest())
    assert code(guard, shown) == "ok"
    guard._judge.standing.settle(ALWAYS, NOW + 10)
    clock.advance(9)
    assert guard.recall(shown) is not None
    clock.advance(1)
    assert guard.recall(shown) is None
    guard._judge.standing.settle(ALWAYS, NOW + 20)  # a list that came later
    assert guard.recall(shown) is not None


def test_A25_rights_that_end_while_the_list_is_asked_again_count_for_the_next() -> None:
    class Unsettling(RevocationSet):
        def refuses(self, token: Any) -> bool:
            guard._judge.standing.unsettle()
            return super().refuses(token)

    guard, shown = make(), header(honest())
    assert code(guard, shown) == "ok"
    guard._judge.standing.revocations = Unsettling()
    assert guard.recall(shown) is not None
    assert guard.recall(shown) is None


@pytest.mark.parametrize("change", ["another list", "unsettled"])
def test_A25_what_changes_while_a_state_begins_ends_it(change: str) -> None:
    """The request has read the former list, and until when it may be relied on."""
    guard, shown = make(), header(honest())
    assert code(guard, shown) == "ok"
    standing = guard._judge.standing
    first = standing.revocations

    class Late(RevocationSet):
        def begin_state(self, *given: float) -> State:
            if given and change == "another list":
                standing.revocations = first
            elif given:
                standing.settle(NOT_NOW, NOT_NOW)
            return super().begin_state(*given)

    standing.revocations = late = Late()
    guard.recall(shown)
    assert late.state.until == NOT_NOW


def test_A25_less_to_rely_on_counts_also_where_a_fork_came_before_the_state_ended() -> None:
    """The child settles again what the parent's other thread had half done."""
    guard, shown = make(), header(honest())
    assert code(guard, shown) == "ok"
    standing = guard._judge.standing
    standing.recall_until = NOT_NOW
    standing.unsettle()
    assert guard.recall(shown) is None


def test_A25_where_each_request_looks_nothing_is_made_anew() -> None:
    """`stale="closed"`, `background=False`, and where forks are unseen."""
    guard, shown = make(), header(honest())
    standing = guard._judge.standing
    standing.strict = True
    assert code(guard, shown) == "ok"
    entry = guard._judge.by_header._cache.young[shown]
    assert guard.recall(shown) is not None
    assert guard._judge.by_header._cache.young[shown] is entry
    standing.settle(NOT_NOW, ALWAYS)
    assert guard.recall(shown) is None
    standing.settle()
    standing.revocations.add("session", claims()["sid"], 0, NOW + 900)
    assert guard.recall(shown) is None


@pytest.mark.parametrize("moment", ["while a state begins", "while it verifies"])
def test_A25_a_check_under_way_leaves_nothing_behind_when_another_guard_stood_in(moment: str) -> None:
    """⚑ The real guard must not let in whom an application's test let in."""
    entered = ExitStack()

    class Late(RevocationSet):
        def begin_state(self, *given: float) -> State:
            if given and moment == "while a state begins":
                entered.close()
            return super().begin_state(*given)

    real = Guard.offline(ISSUER, audience=AUDIENCE, keys=KeySet(), clock=FixedClock(NOW))
    double = _guard_that(lambda _: entered.close() if moment == "while it verifies" else None)
    double._judge.standing.revocations = Late()
    shown = header(honest())
    entered.enter_context(real.standing_in(double))
    assert code(real, shown) == "ok"
    assert real.recall(shown) is None
    assert code(real, shown) == "token_invalid"


def test_A25_a_token_whose_time_began_after_the_state_is_asked_of_again() -> None:
    """⚑ A clock that steps back a little must not let it in before its time."""
    clock = FixedClock(NOW)
    guard = Guard.offline(ISSUER, audience=AUDIENCE, keys=KEYS, leeway=0, clock=clock)
    assert code(guard, header(honest())) == "ok"  # begins the state
    clock.advance(3)
    later = header(honest(iat=NOW + 3, nbf=NOW + 3, exp=NOW + 900))
    assert code(guard, later) == "ok"
    assert guard.recall(later) is not None
    clock.advance(-1)
    assert guard.recall(later) is None
    assert code(guard, later) == "token_not_yet_valid"


def test_A25_a_state_is_relied_on_for_some_seconds_and_not_before_it_began() -> None:
    revoked, clock = RevocationSet(), FixedClock(NOW)
    standing = Standing(Verifier(Policy(ISSUER, AUDIENCE, ("ES256",)), KEYS), revoked)
    standing.settle()
    state = standing.state(clock.now())
    assert (state.since, state.until) == (NOW, NOW + RELIED_ON)
    assert standing.state(NOW + 1) is state
    assert standing.state(NOW - 1) is not state
    assert state.until == NOT_NOW


def test_A25_no_state_outlives_an_entry_however_many_threads_begin_one() -> None:
    revoked = RevocationSet()
    standing = Standing(Verifier(Policy(ISSUER, AUDIENCE, ("ES256",)), KEYS), revoked)
    standing.settle()
    alive: list[State] = []

    def ask(first: int) -> None:
        for moment in range(300):
            state = standing.state(NOW + first + moment)
            if not moment % 7:
                revoked.add("session", f"session {first} {moment}", 0, NOW + 900)
                alive.append(state)

    in_four_threads(ask, apart=1000)
    revoked.add("session", "the last", 0, NOW + 900)
    assert len(alive) > 100
    assert not [state for state in alive if state.until != NOT_NOW]


class _WhileItVerifies(Verifier):
    """Does something when a token has been found good, before anybody is told."""

    __slots__ = ("then",)

    def verify(self, token: str, **how: Any) -> AccessClaims:
        found = super().verify(token, **how)
        self.then()
        return found


def _guard_that(then: Callable[[Standing], None]) -> Guard:
    verifier = _WhileItVerifies(Policy(ISSUER, AUDIENCE, ("ES256",)), KEYS, cache_size=0)
    standing = Standing(verifier)
    verifier.then = lambda: then(standing)
    return Guard._made(ISSUER, AUDIENCE, standing, FixedClock(NOW), None)


def test_A25_a_revocation_that_arrives_during_the_check_counts_for_the_next() -> None:
    """The entry must not carry the list's state from after the list was asked."""
    guard = _guard_that(lambda standing: standing.revocations.add("session", claims()["sid"], 0, NOW + 900))
    shown = header(honest())
    assert code(guard, shown) == "ok"
    assert guard.recall(shown) is None
    assert code(guard, shown) == "token_revoked"


def test_A25_a_revocation_that_arrives_while_the_list_is_asked_again_counts_for_the_next() -> None:
    class Late(RevocationSet):
        def refuses(self, token: Any) -> bool:
            refused = super().refuses(token)
            self.add("session", claims()["sid"], 0, NOW + 900)
            return refused

    guard, shown = make(), header(honest())
    assert code(guard, shown) == "ok"
    guard._judge.standing.revocations = Late()
    assert guard.recall(shown) is not None
    assert guard.recall(shown) is None
    assert code(guard, shown) == "token_revoked"


def test_A25_keys_that_change_during_the_check_leave_nothing_behind() -> None:
    """⚑ The old key's token must not be recalled under the new keys."""
    other = Verifier(Policy(ISSUER, AUDIENCE, ("ES256",)), KeySet([SigningKey.generate("ES256").verification_key]))

    def swap(standing: Standing) -> None:
        standing.verifier = other

    guard, shown = _guard_that(swap), header(honest())
    assert code(guard, shown) == "ok"
    assert guard.recall(shown) is None
    assert code(guard, shown) == "token_invalid"


def test_A25_other_keys_forget_and_the_same_keys_again_do_not_remember(checks: list[None]) -> None:
    guard, shown = make(), header(honest())
    assert code(guard, shown) == "ok"
    guard.use_keys(KeySet([SigningKey.generate("ES256").verification_key]))
    assert guard.recall(shown) is None
    assert code(guard, shown) == "token_invalid"
    guard.use_keys(KEYS)
    assert guard.recall(shown) is None
    assert code(guard, shown) == "ok"
    assert len(checks) == 2


def test_A25_the_lifetime_counts_to_the_second() -> None:
    clock = FixedClock(NOW)
    guard, shown = make(clock), header(honest(exp=NOW + 900))
    assert code(guard, shown) == "ok"
    clock.advance(899)
    assert guard.recall(shown) is not None
    clock.advance(1)
    assert guard.recall(shown) is None
    assert code(guard, shown) == "token_expired"
    clock.advance(-901)
    assert code(guard, shown) == "token_not_yet_valid"


def test_A25_the_leeway_counts_as_at_first_sight() -> None:
    clock = FixedClock(NOW)
    guard = Guard.offline(ISSUER, audience=AUDIENCE, keys=KEYS, leeway=30, clock=clock)
    shown = header(honest(exp=NOW + 900, nbf=NOW))
    assert code(guard, shown) == "ok"
    for moved, expected in ((-30, "ok"), (929, "ok"), (1, "token_expired"), (-931, "token_not_yet_valid")):
        clock.advance(moved)
        assert code(guard, shown) == code(
            Guard.offline(ISSUER, audience=AUDIENCE, keys=KEYS, leeway=30, clock=clock), shown
        )
        assert code(guard, shown) == expected


def test_a_clock_that_is_set_back_a_little_neither_refuses_nor_revives() -> None:
    """`SystemClock.now` stands still meanwhile; the clock's bare reading, by which tokens are recalled, does not."""
    readings = [NOW + 5.5]
    guard = make(SystemClock(lambda: readings[0]))
    fresh, token = header(honest(iat=NOW + 5, exp=NOW + 900)), honest(exp=NOW + 8)
    ended, otherwise = header(token), f"bearer {token}"
    assert (code(guard, fresh), code(guard, ended), code(guard, otherwise)) == ("ok", "ok", "ok")
    readings[0] = NOW + 8.1
    assert code(guard, ended) == "token_expired"
    readings[0] = NOW + 4.9
    assert guard.recall(fresh) is None
    assert code(guard, fresh) == "ok"
    assert code(guard, ended) == code(guard, otherwise) == "token_expired"
    assert guard.recall(ended) is guard.recall(otherwise) is None


def test_a_clock_of_ones_own_is_asked_itself() -> None:
    """Also where it is made of the machine's."""

    class Ahead(SystemClock):
        def now(self) -> int:
            return super().now() + 900

    guard = make(Ahead(lambda: NOW + 0.5))
    late, shown = header(honest(iat=NOW + 800, exp=NOW + 901)), header(honest())
    assert (code(guard, late), code(guard, shown)) == ("ok", "token_expired")
    guard._judge.by_header.now = lambda: NOW  # as if it had been seen in time
    assert code(guard, shown) == "ok"
    assert guard.recall(shown) is None


NEEDS: Iterable[tuple[dict[str, Any], str]] = [
    ({"scopes": frozenset({"delete"})}, "scope_missing"),
    ({"roles": frozenset({"owner"})}, "role_missing"),
    ({"max_age": 10}, "reauthentication_required"),
    ({"scopes": frozenset(claims()["scope"].split()), "roles": frozenset(claims()["roles"]), "max_age": 60}, "ok"),
]


@pytest.mark.parametrize(("needs", "expected"), NEEDS, ids=["scope", "role", "age", "all"])
def test_A25_what_a_route_needs_is_looked_at_each_time(
    needs: dict[str, Any], expected: str, checks: list[None]
) -> None:
    guard = make()
    shown = header(honest(auth_time=NOW - 60))
    for _ in range(2):
        assert code(guard, shown, **needs) == expected
    assert (guard.recall(shown, Needs(**needs)) is not None) == (expected == "ok")
    assert (guard.require(**needs).recall(shown) is not None) == (expected == "ok")
    assert guard.recall(shown) is guard.require().recall(shown) is not None
    assert len(checks) == 1


@pytest.mark.parametrize("wanted", [("owner",), "owner", ["owner", "admin"]])
@pytest.mark.parametrize("kind", ["roles", "scopes"])
def test_names_in_whatever_shape_are_asked_for_each_time(kind: str, wanted: Any) -> None:
    """An iterator is used up by one look: the second must not find nothing to ask for."""
    guard, token = make(), honest()
    missing = "role_missing" if kind == "roles" else "scope_missing"
    for _ in range(3):
        assert code(guard, header(token), **{kind: wanted}) == missing
        assert guard.require(**{kind: wanted}).recall(header(token)) is None
    for _ in range(3):
        assert code(guard, header(token), **{kind: iter(["owner"])}) == missing
        with pytest.raises(TokenError):
            guard.verify(token, **{kind: (name for name in ["owner"])})
        with pytest.raises(TokenError):
            asyncio.run(guard.check_async(header(token), **{kind: map(str, ["owner"])}))
        with pytest.raises(TokenError):
            asyncio.run(guard.verify_async(token, **{kind: iter(["owner"])}))


def test_names_in_one_text_are_words_and_not_letters() -> None:
    guard = make()
    shown = header(honest(roles=list("admin")))
    for _ in range(2):
        assert code(guard, shown, roles="admin") == "role_missing"
        assert guard.require(roles="admin").recall(shown) is None
        assert code(guard, shown, roles="a d m") == "ok"
        assert guard.require(roles="a d m").recall(shown) is not None
        assert code(guard, header(honest()), roles="admin", scopes="read write") == "ok"


@pytest.mark.parametrize("client_id", ["watchword", "api_key"])
def test_A25_what_was_met_for_one_route_says_nothing_of_another(client_id: str) -> None:
    """Nor of the same one later, where a recent log-in is asked for."""
    clock = FixedClock(NOW)
    guard, shown = make(clock), header(honest(client_id=client_id, auth_time=NOW, exp=NOW + 900))
    by_key = client_id == "api_key"
    has, lacks = Needs(scopes=frozenset({"read"}), api_keys=True), Needs(scopes=frozenset({"owner"}), api_keys=True)
    recent = Needs(max_age=60)
    guard.check(shown, api_keys=True)
    for _ in range(3):
        assert guard.recall(shown, has) is not None
        assert guard.recall(shown, lacks) is None
        assert (guard.recall(shown, recent) is None) == by_key
        assert (guard.recall(shown) is None) == by_key
    clock.advance(61)
    assert guard.recall(shown, recent) is None
    assert guard.recall(shown, has) is not None


def test_A25_a_service_account_that_is_remembered_needs_a_scope_all_the_same() -> None:
    """Its first request went to a route that asks for one, the next to a route that asks for nothing."""
    account = "wwc_01a224d0-1851-7bf9-9182-1dfb29ad1acc"
    guard, shown = make(), header(honest(sub=account, client_id=account))
    guard.check(shown, scopes="read")
    for _ in range(3):
        assert guard.recall(shown, Needs(scopes=frozenset({"read"}))) is not None
        assert guard.recall(shown) is None
    with pytest.raises(TokenError, match="service account"):
        guard.check(shown)


def test_what_a_route_needs_is_compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    guard, shown = make(), header(honest())
    needs = guard.require(scopes="read")
    assert needs.check(shown) is needs.recall(shown)
    monkeypatch.setattr(Needs, "lack", lambda *_, **__: pytest.fail("was compared again"))
    assert needs.recall(shown) is not None


def test_a_token_that_tells_no_log_in_is_never_recent() -> None:
    without = claims()
    del without["auth_time"]
    guard, shown = make(), header(sign_access(without, key()))
    for _ in range(2):
        assert code(guard, shown) == "ok"
        assert code(guard, shown, max_age=10**9) == "reauthentication_required"


def test_expiry_is_told_before_revocation_and_revocation_before_needs() -> None:
    clock, revoked = FixedClock(NOW), RevocationSet()
    guard, shown, none = make(clock, revoked), header(honest()), frozenset({"none"})
    assert code(guard, shown) == "ok"
    revoked.add("session", claims()["sid"], 0, NOW + 900)
    assert code(guard, shown, scopes=none, roles=none, max_age=0) == "token_revoked"
    clock.advance(900)
    assert code(guard, shown, scopes=none) == "token_expired"


def test_what_is_in_use_is_found_again_when_many_others_came(checks: list[None]) -> None:
    guard, shown = make(), header(honest())
    half = DEFAULT_SIZE // 2
    assert code(guard, shown) == "ok"
    for number in range(half):
        guard._judge.by_header._cache.put(str(number), guard._judge.by_header._cache.young[shown])
    assert guard.recall(shown) is None  # in the older half
    assert code(guard, shown) == "ok"
    assert guard.recall(shown) is not None
    assert len(checks) == 1


def test_a_refused_token_is_not_kept() -> None:
    guard = make()
    for token in (honest(exp=NOW), honest(iss="x"), honest(aud="x"), honest()[:-4] + "AAAA", honest(nbf=NOW + 1)):
        assert code(guard, header(token)) != "ok"
    assert len(guard._judge.by_header._cache) == 0


def test_nothing_is_recalled_while_the_guard_is_not_settled() -> None:
    guard, shown = make(), header(honest())
    assert code(guard, shown) == "ok"
    guard._judge.standing.unsettle()
    assert guard.recall(shown) is None


def test_threads_share_it_and_get_their_own_callers() -> None:
    guard = make()
    tokens = {f"user-{number}": header(honest(sub=f"user-{number}")) for number in range(50)}
    wrong: list[str] = []

    def work(offset: int) -> None:
        names = list(tokens)
        for step in range(4000):
            name = names[(step * 7 + offset) % 50]
            if guard.check(tokens[name]).user_id != name:
                wrong.append(name)

    in_four_threads(work, apart=11)
    assert not wrong
