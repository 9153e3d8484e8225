"""What a guard decides, without any network: roles, scopes, age, revocation, local services, waiting."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from hashlib import sha256
from typing import Any

import pytest

from tests.guard.conftest import MakeGuard
from tests.guard.service import KEYS, Service, until
from watchword.errors import InvalidKey, TokenError, WatchwordError
from watchword.guard import Caller, Guard, Unready
from watchword.guard.following.waiting import MOST_WAITING, Pending
from watchword.testing import Issuer
from watchword.tokens import AccessClaims, KeySet, SigningKey


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


def code(guard: Guard, token: str, **needs: Any) -> str:
    try:
        guard.verify(token, **needs)
    except WatchwordError as error:
        return error.code
    return "ok"


def test_requirements(issuer: Issuer) -> None:
    """Each role and each scope that is listed; text, lists and sets alike."""
    guard = issuer.guard()
    token = issuer.token(roles=["admin", "editor"], scopes=["read", "write"])
    cases = [
        ({}, "ok"),
        ({"scopes": "read"}, "ok"),
        ({"scopes": "read write", "roles": "admin"}, "ok"),
        ({"scopes": ["read", "delete"]}, "scope_missing"),
        ({"roles": {"admin", "root"}}, "role_missing"),
        ({"scopes": "delete", "roles": "root"}, "scope_missing"),
        ({"max_age": 60}, "ok"),
    ]
    for needs, expected in cases:
        requirement = guard.require(**needs)
        try:
            assert isinstance(requirement.check(f"Bearer {token}"), Caller)
            found = "ok"
        except TokenError as error:
            found = error.code
        assert found == expected, needs


def test_the_age_of_a_log_in(issuer: Issuer) -> None:
    """RFC 9470: to the second, and a token that does not tell is too old."""
    guard = issuer.guard()
    token = issuer.token()
    assert code(guard, token, max_age=0) == "ok"
    issuer.clock.advance(60)
    assert code(guard, token, max_age=60) == "ok"
    issuer.clock.advance(1)
    assert code(guard, token, max_age=60) == "reauthentication_required"
    assert code(guard, token) == "ok"
    assert code(guard, issuer.token(auth_time=...), max_age=10**9) == "reauthentication_required"


def test_optional_callers(issuer: Issuer) -> None:
    """None without a token; a bad token is refused all the same."""
    anyone = issuer.guard().require()
    assert anyone.check_optional(None) is None
    assert anyone.check_optional("Basic x") is None
    assert anyone.check_optional(f"Bearer {issuer.token(user_id='ada')}").user_id == "ada"  # type: ignore[union-attr]
    with pytest.raises(TokenError):
        anyone.check_optional(f"Bearer {issuer.expired_token()}")


def test_callers_are_immutable(issuer: Issuer) -> None:
    caller = issuer.guard().verify(issuer.token(user_id="ada", session_id="s", roles=["a"]))
    assert (caller.user_id, caller.session_id, caller.expires_at) == ("ada", "s", issuer.clock.now() + 900)
    for name in ("claims", "user_id", "roles", "anything"):
        with pytest.raises(AttributeError):
            setattr(caller, name, "x")
    assert isinstance(caller.claims, AccessClaims)


def test_a_hit_is_judged_again(issuer: Issuer) -> None:
    """A25: expiry, revocation, scope and role of a remembered token."""
    guard = issuer.guard()
    token = issuer.token(user_id="ada", session_id="s")
    assert code(guard, token) == "ok"
    assert code(guard, token, scopes={"x"}) == "scope_missing"
    issuer.revoke_session("s")
    assert code(guard, token) == "token_revoked"
    other = issuer.token()
    assert code(guard, other) == "ok"
    issuer.clock.advance(900)
    assert code(guard, other) == "token_expired"


AUDIENCES: list[tuple[dict[str, Any], str]] = [
    ({}, "https://auth.test"),
    ({"audience": "https://auth.test"}, "https://auth.test"),
    ({"audience": "orders"}, "orders"),
]


@pytest.mark.parametrize(("given", "expected"), AUDIENCES)
def test_A22_the_audience_is_the_issuer_unless_another_is_given(given: dict[str, Any], expected: str) -> None:
    """Whichever way the guard is made, a token for another API is refused."""
    secret = sha256(b"a secret of this test").digest()
    issuer = Issuer("https://auth.test", algorithm="HS256", audience=expected)
    issuer._signing = SigningKey.shared_secret(secret)
    issuer.clock.advance(int(time.time()) - issuer.clock.now())
    keys = KeySet([issuer._signing.verification_key])
    for guard in (
        Guard.shared_secret("https://auth.test", secret=secret, revocations=False, **given),
        Guard.offline("https://auth.test", keys=keys, algorithms=("HS256",), **given),
    ):
        assert guard.audience == expected
        assert code(guard, issuer.token()) == "ok"
        assert code(guard, issuer.token(aud=["another", expected])) == "ok"
        for other in (
            "another",
            "https://auth.test/",
            "https://AUTH.test",
            f"{expected} ",
            ["another"],
            "https://auth",
        ):
            assert code(guard, issuer.token(aud=other)) == "token_invalid", other
    assert Guard("https://auth.test", **given).audience == expected


@pytest.mark.parametrize("missing", [None, "", " "])
def test_an_audience_that_a_setting_lacks_is_not_the_default(missing: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="audience"):
        Guard("https://auth.example", audience=missing)


def test_local_services() -> None:
    """Mounted in the same process: the service judges the token, the guard what the route needs."""
    issuer = Issuer()
    behind = issuer.guard()

    class Service:
        def verify(self, token: str) -> AccessClaims:
            return behind.verify(token).claims

    guard = Guard.local(Service(), issuer=issuer.issuer)
    token = issuer.token(roles=["admin"], scopes=["read"])
    assert (guard.ready, guard.feed_age(), guard.wait_until_ready(0)) == (True, None, True)
    assert guard.check(f"Bearer {token}", roles=["admin"], scopes=["read"]).has_role("admin")  # type: ignore[arg-type]
    assert code(guard, token, roles={"root"}) == "role_missing"
    assert code(guard, token, scopes={"write"}) == "scope_missing"
    assert code(guard, issuer.forged_token()) == "token_invalid"
    guard.start()
    guard.stop()


def test_shared_secrets() -> None:
    """Short and well-known ones are refused when the guard is made; public-key tokens are not accepted."""
    secret = sha256(b"a secret of this test").digest()
    guard = Guard.shared_secret("https://auth.test", audience="api", secret=secret, revocations=False)
    issuer = Issuer(algorithm="HS256")
    issuer._signing = SigningKey.shared_secret(secret)
    issuer.clock.advance(int(time.time()) - issuer.clock.now())
    assert guard.verify(issuer.token())
    assert code(guard, Issuer(clock=issuer.clock).token()) == "token_invalid"
    for bad in (b"", b"short", b"your-256-bit-secret"):
        with pytest.raises(InvalidKey):
            Guard.shared_secret("https://auth.test", audience="api", secret=bad)


@pytest.mark.parametrize(
    "bad",
    [
        {"issuer": "http://auth.example"},
        {"url": "ftp://x"},
        {"audience": ""},
        {"algorithms": ()},
        {"algorithms": ("none",)},
        {"algorithms": ("HS256",)},
        {"algorithms": ("ES256", "HS256")},
        {"leeway": 61},
        {"max_stale": 1.0},
        {"max_stale": float("nan")},
        {"stale": "ajar"},
    ],
)
def test_what_a_guard_is_not_made_of(bad: dict[str, Any]) -> None:
    options = {"issuer": "https://auth.example", "audience": "api"} | bad
    with pytest.raises(ValueError):
        Guard(options.pop("issuer"), **options)


@pytest.mark.parametrize("named", ["roles", "scopes"])
@pytest.mark.parametrize("nothing", ["", " ", [], (), set(), frozenset()], ids=repr)
async def test_an_empty_list_asks_for_nothing_and_is_refused(issuer: Issuer, named: str, nothing: Any) -> None:
    """⚑ As of a setting that is missing: every caller would pass. In each way to check, and of each type."""
    guard, token = issuer.guard(), issuer.token()
    header, asked = f"Bearer {token}", {named: nothing}
    for seen_before in (False, True):
        if seen_before:
            guard.check(header)
            guard.verify(token)
        with pytest.raises(ValueError, match="empty"):
            guard.check(header, **asked)
        with pytest.raises(ValueError, match="empty"):
            guard.verify(token, **asked)
        with pytest.raises(ValueError, match="empty"):
            await guard.check_async(header, **asked)
        with pytest.raises(ValueError, match="empty"):
            await guard.verify_async(token, **asked)
        with pytest.raises(ValueError, match="empty"):
            guard.require(**asked)


def test_keys_are_given_to_offline_guards_only(issuer: Issuer) -> None:
    with pytest.raises(TypeError):
        Guard("https://auth.example", audience="api").use_keys(KeySet())


def test_swapping_keys_under_load(issuer: Issuer) -> None:
    """⚑ Four threads verify while keys change: what an old key signed is never accepted once it is gone."""
    guard = issuer.guard()
    wrong: list[str] = []
    ended = threading.Event()
    generation = [(issuer.token(), "")]

    def verify() -> None:
        while not ended.is_set():
            good, gone = generation[-1]
            if gone and code(guard, gone) == "ok":
                wrong.append("accepted what is gone")
            code(guard, good)  # puts it into whichever cache there is at that moment

    threads = [threading.Thread(target=verify) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(60):
        old = generation[-1][0]
        issuer._signing = SigningKey.generate("ES256")
        guard.use_keys(KeySet([issuer._signing.verification_key]))
        generation.append((issuer.token(), old))
        time.sleep(0.001)
    ended.set()
    for thread in threads:
        thread.join()
    assert wrong == []


async def test_waiting_does_not_block_the_loop(service: Service, guarded: MakeGuard) -> None:
    """While a coroutine waits for keys that take half a second, others run; then it gets its caller."""
    guard = guarded(revocations=False)
    guard._follower._schedule._last -= 31
    service.rotate(announce=False)
    body = service.published

    turned, slow = threading.Event(), []

    def slowly(handler: Any) -> None:
        turned.wait(2)  # a loop that is held does not turn, and then the fetch below is too late
        slow.append(not turned.is_set())
        from watchword.tokens import public_key_set

        handler.send(public_key_set(body))

    service.misbehave[KEYS] = slowly
    token = service.token(user_id="ada")

    async def check() -> Caller:
        return await guard.check_async(f"Bearer {token}")

    waiting = [asyncio.create_task(check()) for _ in range(20)]
    for _ in range(5):
        await asyncio.sleep(0.005)
    assert not waiting[0].done()
    turned.set()
    assert {caller.user_id for caller in await asyncio.gather(*waiting)} == {"ada"}
    assert slow == [False]
    assert service.asked[KEYS] == 2


async def test_the_first_async_check_waits_too(service: Service) -> None:
    guard = service.guard()
    caller = await guard.check_async([f"Bearer {service.token(user_id='ada')}"])
    assert caller.user_id == "ada"
    optional = guard.require()
    assert await optional.check_optional_async(None) is None
    with pytest.raises(TokenError):
        await guard.verify_async(service.issuer.expired_token())
    guard.stop()


async def test_a_service_that_is_down_is_not_waited_for_twice() -> None:
    """After the first failure requests are refused at once; nobody queues behind a dead service."""
    guard = Guard("http://127.0.0.1:1", audience="api")
    for _ in range(2):
        with pytest.raises(Unready):
            await guard.check_async("Bearer a.b.c")
    began = time.monotonic()
    with pytest.raises(Unready):
        await guard.check_async("Bearer a.b.c")
    assert time.monotonic() - began < 8
    guard.stop()


async def test_waiting_ends_by_itself_and_is_bounded() -> None:
    pending = Pending()
    began = time.monotonic()
    await pending.wait_async(0.1)
    pending.wait(0.1)
    assert time.monotonic() - began >= 0.2
    assert (pending._waiting, pending._callbacks) == (0, [])
    crowd = [asyncio.create_task(pending.wait_async(60)) for _ in range(MOST_WAITING)]
    await asyncio.sleep(0.05)
    await asyncio.wait_for(pending.wait_async(60), 30)  # the house is full: on at once
    crowd[0].cancel()
    pending.finish()
    await asyncio.wait_for(asyncio.gather(*crowd, return_exceptions=True), 30)
    assert pending._waiting == 0
    await asyncio.wait_for(pending.wait_async(60), 30)  # it is over


def test_importing_the_guard_brings_nothing_of_a_service() -> None:
    """No driver, no server, no framework, no HTTP client: those come with the first check, if at all."""
    script = "import sys, watchword.guard; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    )
    unwanted = {"ssl", "http.client", "asyncio", "logging", "sqlite3", "starlette", "fastapi", "flask", "django",
                "uvicorn", "anyio", "argon2", "joserfc", "concurrent.futures", "email.parser"}  # fmt: skip
    assert not loaded & unwanted
    assert not {
        name for name in loaded if name.startswith(("watchword.storage", "watchword.web", "watchword.identity"))
    }


def test_a_long_list_does_not_hold_up_requests(service: Service, guarded: MakeGuard) -> None:
    """50,000 entries arrive while a token is verified again and again: no check takes long because of it."""
    guard = guarded()
    token = service.token()
    entries = [
        {"kind": "session", "subject": f"s{number}", "min_version": None, "expires_at": int(time.time()) + 900}
        for number in range(50_000)
    ]
    with service.news:
        service.entries += entries
        service.news.notify_all()
    slow: list[float] = []
    end = time.monotonic() + 60
    while len(guard._judge.standing.revocations) < 50_000 and time.monotonic() < end:
        began = time.perf_counter()
        guard.verify(token)
        slow.append(time.perf_counter() - began)
        time.sleep(0)
    assert len(guard._judge.standing.revocations) == 50_000
    slow.sort()
    assert slow[int(len(slow) * 0.99)] < 2
    assert until(lambda: guard.feed_age() < 5)
