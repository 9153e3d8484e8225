"""Finding keys and when to look again, by table. No sockets, no clock."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from watchword.guard.following.addresses import ServiceAddress
from watchword.guard.following.exchange import Answer, FetchFault
from watchword.guard.following.key_source import COOLDOWN, FoundKeys, KeySchedule, find_key_set, max_age_of
from watchword.tokens import SigningKey, public_key_set

KEY = SigningKey.generate("ES256")
SET = public_key_set([KEY])
ISSUER = "https://auth.example"
APPENDED = "/.well-known/oauth-authorization-server"


def search(service: ServiceAddress, web: dict[str, Any], known: str | None = None) -> tuple[list[str], Any]:
    """Run a search over a web that is a dict: what was asked for, and what was found (or the fault)."""
    asked: list[str] = []
    flow = find_key_set(service, known)
    try:
        fetch = next(flow)
        while True:
            asked.append(fetch.url)
            assert (fetch.limit, fetch.seconds) == (65536, 3.0)
            found = web.get(fetch.url, (404, b""))
            if isinstance(found, Exception):
                fetch = flow.throw(found)
            else:
                fetch = flow.send(Answer(found[0], {"cache-control": "max-age=120"}, found[1], 0.0))
    except StopIteration as end:
        return asked, end.value
    except FetchFault as fault:
        return asked, fault


def metadata(issuer: str, jwks_uri: Any) -> tuple[int, bytes]:
    return 200, msgspec.json.encode({"issuer": issuer, "jwks_uri": jwks_uri})


def test_metadata_then_keys() -> None:
    web = {ISSUER + APPENDED: metadata(ISSUER, f"{ISSUER}/keys"), f"{ISSUER}/keys": (200, SET)}
    asked, found = search(ServiceAddress.checked(ISSUER), web)
    assert asked == [ISSUER + APPENDED, f"{ISSUER}/keys"]
    assert isinstance(found, FoundKeys)
    assert (KEY.kid in found.keys, found.address, found.max_age) == (True, f"{ISSUER}/keys", 120)


def test_the_inserted_form_is_second() -> None:
    issuer = f"{ISSUER}/a/b"
    web = {f"{ISSUER}{APPENDED}/a/b": metadata(issuer, f"{ISSUER}/keys"), f"{ISSUER}/keys": (200, SET)}
    asked, found = search(ServiceAddress.checked(issuer), web)
    assert asked == [f"{issuer}{APPENDED}", f"{ISSUER}{APPENDED}/a/b", f"{ISSUER}/keys"]
    assert isinstance(found, FoundKeys)


def test_a_known_address_is_asked_first_and_found_again_when_it_moved() -> None:
    web = {ISSUER + APPENDED: metadata(ISSUER, f"{ISSUER}/new"), f"{ISSUER}/new": (200, SET)}
    asked, found = search(ServiceAddress.checked(ISSUER), web, known=f"{ISSUER}/old")
    assert asked == [f"{ISSUER}/old", ISSUER + APPENDED, f"{ISSUER}/new"]
    assert found.address == f"{ISSUER}/new"
    web[f"{ISSUER}/old"] = (200, SET)
    assert search(ServiceAddress.checked(ISSUER), web, known=f"{ISSUER}/old")[0] == [f"{ISSUER}/old"]


def test_a_fault_of_the_network_ends_the_search() -> None:
    """Not the next address: the service is down, and one deadline is enough."""
    asked, fault = search(ServiceAddress.checked(f"{ISSUER}/a"), {f"{ISSUER}/a{APPENDED}": FetchFault("refused")})
    assert (asked, str(fault)) == ([f"{ISSUER}/a{APPENDED}"], "refused")


# issuer, url, jwks_uri, what is fetched (None: refused)
ADDRESSES = [
    (ISSUER, None, f"{ISSUER}/k", f"{ISSUER}/k"),
    (ISSUER, None, "https://auth.example:443/k", "https://auth.example:443/k"),
    (ISSUER, None, "https://AUTH.example/k", "https://AUTH.example/k"),
    (ISSUER, None, "https://auth.example:444/k", None),
    (ISSUER, None, "http://auth.example/k", None),
    (ISSUER, None, "https://auth.example.evil.com/k", None),
    (ISSUER, None, "https://auth.example@evil.com/k", None),
    (ISSUER, None, "https://evil.com#auth.example", None),
    (ISSUER, None, "//auth.example/k", None),
    (ISSUER, None, "/k", None),
    (ISSUER, None, "", None),
    (ISSUER, None, 7, None),
    (ISSUER, None, ["https://auth.example/k"], None),
    (ISSUER, None, "ftp://auth.example/k", None),
    (ISSUER, None, "https://auth.example:x/k", None),
    (ISSUER, None, "https://auth.example/k y", None),
    (ISSUER, None, "https://auth.example\\@evil.com/k", None),
    (f"{ISSUER}/p", "https://inside:8443/q", f"{ISSUER}/p/k", "https://inside:8443/q/k"),
    (f"{ISSUER}/p/", "https://inside:8443/q/", f"{ISSUER}/p/k", "https://inside:8443/q/k"),
    (f"{ISSUER}/p", "https://inside:8443/q", f"{ISSUER}/pk", f"{ISSUER}/pk"),
    (f"{ISSUER}/p", "https://inside:8443/q", "https://inside:8443/z", "https://inside:8443/z"),
    (f"{ISSUER}/p", "https://inside:8443/q", "https://other:8443/z", None),
    (ISSUER, "http://localhost:4000", f"{ISSUER}/k", "http://localhost:4000/k"),
]


@pytest.mark.parametrize(("issuer", "url", "claimed", "fetched"), ADDRESSES)
def test_B12_where_the_keys_may_be(issuer: str, url: str | None, claimed: Any, fetched: str | None) -> None:
    """At the origin of the issuer or of url, never anywhere else."""
    service = ServiceAddress.checked(issuer, url)
    if fetched is None:
        with pytest.raises(FetchFault):
            service.key_set_url(claimed)
    else:
        assert service.key_set_url(claimed) == fetched


@pytest.mark.parametrize(
    "bad",
    ["http://auth.example", "http://10.0.0.1", "auth.example", "", "https://", "https://a?b=c", "https://a#b",
     "https://u:p@a", "https://a b", "https://a\r\nX: y", "file:///etc", "http://127.0.0.1.evil.example", None, 7],
)  # fmt: skip
def test_issuers_that_are_none(bad: Any) -> None:
    with pytest.raises(ValueError, match="issuer"):
        ServiceAddress.checked(bad)


@pytest.mark.parametrize("good", ["http://127.0.0.1:1", "http://localhost", "http://[::1]:80", "http://a.localhost/x"])
def test_plain_http_is_for_loopback(good: str) -> None:
    assert ServiceAddress.checked(good).url == good


AGES = {
    "max-age=300": 300, "public, max-age=600": 600, "MAX-AGE=700": 700, 'max-age="800"': 800, "": 300, "public": 300,
    "max-age=1": 60, "max-age=0": 60, "max-age=999999": 86400, "max-age=99999999999": 86400, "no-store": 60,
    "no-cache, max-age=600": 60, "s-maxage=9": 300, "max-age=x": 300, "max-age=-5": 300,
}  # fmt: skip


@pytest.mark.parametrize(("header", "seconds"), AGES.items())
def test_how_long_keys_are_kept(header: str, seconds: int) -> None:
    assert max_age_of(header) == seconds


class Run:
    """A schedule driven by hand, with the times of its fetches."""

    def __init__(self) -> None:
        self.schedule = KeySchedule()
        self.fetches: list[float] = []

    def fetch(self, now: float, *, ok: bool = True, max_age: int = 300) -> None:
        was = self.schedule.announced
        self.schedule.begin(now)
        self.fetches.append(now)
        if ok:
            self.schedule.succeeded(now, max_age=max_age, jitter=0.0)
        else:
            self.schedule.failed(now, jitter=1.0, was_announced=was)


def test_refreshed_when_max_age_is_over() -> None:
    run = Run()
    assert run.schedule.pause(5.0) == 0.0
    run.fetch(5.0, max_age=120)
    assert run.schedule.pause(5.0) == 120.0
    assert run.schedule.pause(200.0) == 0.0


def test_A12_two_fetches_a_minute_whatever_is_asked() -> None:
    """A thousand unknown kids a second for ten minutes."""
    run = Run()
    run.fetch(0.0)
    for tick in range(600_000 // 10):
        now = tick / 100
        if run.schedule.ask_unknown(now) and run.schedule.pause(now) == 0.0:
            run.fetch(now)
    assert all(later - earlier >= COOLDOWN for earlier, later in zip(run.fetches, run.fetches[1:], strict=False))
    assert len(run.fetches) == 20


def test_one_flight() -> None:
    """While a fetch is under way, all who ask wait for that one."""
    schedule = KeySchedule()
    schedule.begin(0.0)
    assert schedule.ask_unknown(0.5)
    schedule.succeeded(1.0, max_age=300, jitter=0.0)
    assert not schedule.ask_unknown(1.1)
    assert schedule.ask_unknown(30.0)
    assert schedule.pause(30.0) == 0.0


def test_an_announcement_is_outside_the_cooldown() -> None:
    run = Run()
    run.fetch(0.0)
    run.schedule.announce(5.0)
    assert run.schedule.pause(5.0) == 0.0
    run.fetch(5.0)
    run.schedule.announce(5.1)
    assert run.schedule.pause(5.1) == pytest.approx(0.9)  # but not ten a second


def test_an_announcement_during_a_fetch_wants_another() -> None:
    """What is being fetched may be older than the change."""
    schedule = KeySchedule()
    schedule.begin(0.0)
    schedule.announce(0.5)
    schedule.succeeded(1.0, max_age=300, jitter=0.0)
    assert schedule.pause(1.0) == 1.0


def test_the_old_set_in_spite_of_an_announcement_is_asked_for_again() -> None:
    """Another worker, which has not heard of the change yet; three times, then the announcement was mistaken."""
    schedule = KeySchedule()
    for now in range(4):
        schedule.announce(float(now))
        schedule.begin(float(now))
        schedule.succeeded(float(now), max_age=300, jitter=0.0, late=True)
        assert schedule.pause(float(now)) == (1.0 if now < 3 else 300.0)
    schedule.announce(10.0)
    schedule.begin(10.0)
    schedule.succeeded(10.0, max_age=300, jitter=0.0)
    assert (schedule.pause(10.0), schedule.announced) == (300.0, False)


def test_failures() -> None:
    """In a hurry without keys or when they are known to be old; at leisure otherwise."""
    run = Run()
    pauses = []
    for _ in range(7):
        run.fetch(0.0, ok=False)
        pauses.append(run.schedule.pause(0.0))
    assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    run.fetch(0.0)
    run.fetch(300.0, ok=False)
    assert run.schedule.pause(300.0) == 30.0
    run.schedule.announce(301.0)
    run.fetch(301.0, ok=False)
    assert run.schedule.pause(301.0) == 0.5
    run.fetch(302.0, ok=False)
    assert run.schedule.pause(302.0) == 1.0
    run.fetch(303.0)
    assert run.schedule.pause(303.0) == 300.0


def test_an_unknown_kid_while_the_service_is_down() -> None:
    """The cooldown holds for failures too: nobody waits for a service that just did not answer."""
    run = Run()
    run.fetch(0.0)
    run.fetch(300.0, ok=False)
    assert not run.schedule.ask_unknown(301.0)
