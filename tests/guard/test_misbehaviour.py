"""Services that lie, stall or talk too much: refused, last good keys and list stay, other requests unhurt (B12)."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from tests.guard.conftest import MakeGuard
from tests.guard.service import FEED, KEYS, METADATA, Handler, Service, until
from watchword.errors import TokenError
from watchword.guard import Guard, Unready
from watchword.guard.following.exchange import Fetch, FetchFault
from watchword.guard.following.http_client import HttpClient
from watchword.tokens import public_key_set


def _say(**changed: Any) -> Callable[[Handler], None]:
    return lambda handler: handler.say(handler.server.service.metadata() | changed)


def _redirect(handler: Handler) -> None:
    handler.send(b"", {"Location": handler.server.service.url + "/elsewhere"}, status=302)


def _ten_megabytes(handler: Handler) -> None:
    handler.send(b" " * 10_000_000)


def _ten_megabytes_chunked(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for _ in range(160):
        handler.wfile.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
    handler.wfile.write(b"0\r\n\r\n")


def _cut_off(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "5000")
    handler.end_headers()
    handler.wfile.write(b'{"keys":[]}')
    handler.close_connection = True


def _status(status: int) -> Callable[[Handler], None]:
    return lambda handler: handler.send(b"oops", status=status)


def _body(body: bytes, **headers: str) -> Callable[[Handler], None]:
    return lambda handler: handler.send(body, headers)


def _with_secret(handler: Handler) -> None:
    handler.say({"keys": [{"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "alg": "HS256", "kid": "x"}]})


def _too_many_keys(handler: Handler) -> None:
    handler.say({"keys": [{"kty": "EC", "kid": str(number)} for number in range(51)]})


BAD_METADATA = {
    "wrong issuer": _say(issuer="https://auth.evil.example"),
    "issuer with a slash": lambda handler: _say(issuer=handler.server.service.url + "/")(handler),
    "issuer as a list": lambda handler: _say(issuer=[handler.server.service.url])(handler),
    "no issuer": _say(issuer=None),
    "keys elsewhere": _say(jwks_uri="https://auth.evil.example/jwks.json"),
    "keys at another port": _say(jwks_uri="http://127.0.0.1:1/jwks.json"),
    "keys in a file": _say(jwks_uri="file:///etc/passwd"),
    "keys as data": _say(jwks_uri="data:application/json,{}"),
    "keys with a user name": lambda handler: _say(jwks_uri=handler.server.service.url.replace("//", "//evil@") + KEYS)(
        handler
    ),
    "header injection": lambda handler: _say(jwks_uri=handler.server.service.url + "/x\r\nX: y")(handler),
    "no keys": _say(jwks_uri=None),
    "two issuers": lambda handler: handler.send(
        b'{"issuer":"https://evil","issuer":"' + handler.server.service.url.encode() + b'"}'
    ),
    "garbage": _body(b"\xff\xfe{"),
    "a list": _body(b"[]"),
    "deep": _body(b"[" * 60_000),
    "redirect": _redirect,
    "10 MB": _ten_megabytes,
    "compressed": _body(b"{}", **{"Content-Encoding": "gzip"}),
    "500": _status(500),
    "204": _status(204),
}
BAD_KEYS = {
    "garbage": _body(b"{"),
    "none": _body(b'{"keys":[]}'),
    "a shared secret": _with_secret,
    "51 keys": _too_many_keys,
    "redirect": _redirect,
    "10 MB": _ten_megabytes,
    "10 MB chunked": _ten_megabytes_chunked,
    "cut off": _cut_off,
    "500": _status(500),
}
BAD_PAGES = {
    "garbage": _body(b"{"),
    "wrong shape": _body(b'{"feed_id":1}'),
    "cursor of another feed": _body(b'{"feed_id":"a","cursor":"b.1","as_of":1,"reset":true,"entries":[],"more":false}'),
    "cursor without a number": _body(
        b'{"feed_id":"a","cursor":"a.x","as_of":1,"reset":true,"entries":[],"more":false}'
    ),
    "no continuation": _body(b'{"feed_id":"a","cursor":"a.1","as_of":1,"reset":false,"entries":[],"more":false}'),
    "redirect": _redirect,
    "10 MB": _ten_megabytes,
    "10 MB chunked": _ten_megabytes_chunked,
    "401": _status(401),
    "503": _status(503),
}


@pytest.mark.parametrize("bad", BAD_METADATA.values(), ids=BAD_METADATA)
def test_B12_bad_metadata_gives_no_keys(service: Service, guarded: MakeGuard, bad: Any) -> None:
    """Nothing is fetched from where such a document points to, and the guard says 503, not 401."""
    service.misbehave[METADATA] = bad
    guard = guarded(ready=False, revocations=False)
    with pytest.raises(Unready) as caught:
        guard.verify(service.token())
    assert caught.value.code == "guard_not_ready"
    assert service.asked[KEYS] == service.asked["/elsewhere"] == 0


def test_a_slip_in_the_issuer_is_said_with_both_names_and_less_and_less_often(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """`localhost` for `127.0.0.1` and a slash at the end are the usual ones."""
    seen: list[Any] = []
    guard = Guard(
        f"{service.url}/",
        audience="orders",
        revocations=False,
        on_event=lambda name, fields: seen.append((name, fields)),
    )
    guard.start()
    assert until(lambda: len(seen) >= 3)
    guard.stop()
    name, fields = seen[0]
    assert (name, fields["service"], fields["keys"], fields["failures"]) == ("keys_failed", service.url, 0, 1)
    assert f"'{service.url}'" in fields["reason"]
    assert f"'{service.url}/'" in fields["reason"]
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(told) == sum(each["failures"] in {1, 2, 4, 8} for _, each in seen) < len(seen)
    assert "requests are answered 503" in told[0]
    assert service.url in told[0]


@pytest.mark.parametrize("key", ["", "wwg_a b", "wwg_\na", "wwg_\u00e9", "w" * 513])
def test_a_guard_key_that_is_none_is_refused_at_once_and_not_shown(service: Service, key: str) -> None:
    with pytest.raises(ValueError, match="guard_key is what") as caught:
        service.guard(guard_key=key)
    assert not key or key not in str(caught.value)


def test_a_guard_key_as_it_stands_in_a_file_will_do(service: Service) -> None:
    guard = service.guard(guard_key=" wwg_secret\n")
    assert guard.wait_until_ready(5)
    assert set(service.shown_keys) == {"Bearer wwg_secret"}
    guard.stop()


def test_what_http_client_says_of_a_header_is_not_repeated(service: Service) -> None:
    fetch = Fetch(f"{service.url}{KEYS}", 1024, 5.0, (("authorization", "Bearer wwg_secret\n"),))
    with closing(HttpClient()) as client, pytest.raises(FetchFault) as caught:
        client.get(fetch)
    assert str(caught.value) == "ValueError"


@pytest.mark.parametrize("bad", BAD_KEYS.values(), ids=BAD_KEYS)
def test_B12_a_bad_key_set_leaves_the_last_good_one(service: Service, guarded: MakeGuard, bad: Any) -> None:
    """It is told of in an event, and everything goes on."""
    failed = threading.Event()
    guard = guarded(revocations=False, on_event=lambda name, _: name == "keys_failed" and failed.set())
    service.misbehave[KEYS] = bad
    with guard._follower._lock:
        guard._follower._schedule._last -= 5
        guard._follower._schedule.announce(time.monotonic())
    guard._follower._workers.wake("keys")
    assert failed.wait(5)
    assert service.asked["/elsewhere"] == 0
    assert guard.verify(service.token())


def test_B12_bad_keys_are_passed_over_singly(service: Service, guarded: MakeGuard) -> None:
    """An encryption key, an unknown curve and a short RSA key beside the good one."""
    good = public_key_set(service.published)[len('{"keys":[') :]
    bad = (
        b'{"kty":"EC","crv":"P-1","kid":"a"},{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"b"},{"kty":"RSA","use":"enc"},7,'
    )
    service.misbehave[KEYS] = _body(b'{"keys":[' + bad + good)
    assert guarded(revocations=False).verify(service.token())


@pytest.mark.parametrize("bad", BAD_PAGES.values(), ids=BAD_PAGES)
def test_a_bad_page_leaves_the_list(service: Service, guarded: MakeGuard, bad: Any) -> None:
    """What was revoked stays revoked, what is good stays good, and the next good page counts again."""
    events: list[str] = []
    guard = guarded(on_event=lambda name, _: events.append(name))
    service.revoke("session", "gone")
    good, gone, later = service.token(), service.token(session_id="gone"), service.token(session_id="later")
    refused = lambda token: _refused(guard, token)  # noqa: E731
    assert until(lambda: refused(gone))
    service.misbehave[FEED] = bad
    service.revoke("session", "later")
    assert until(lambda: "feed_failed" in events)
    assert (refused(gone), refused(good)) == (True, False)
    del service.misbehave[FEED]
    assert until(lambda: refused(later))
    assert refused(gone)


def _refused(guard: Any, token: str) -> bool:
    try:
        guard.verify(token)
    except TokenError as error:
        return error.code == "token_revoked"
    return False


def test_a_guard_without_a_list_refuses_everything(service: Service, guarded: MakeGuard) -> None:
    """Keys alone are not enough: 503 until the first complete list, and then all is well."""
    service.misbehave[FEED] = _status(500)
    guard = guarded(ready=False)
    for _ in range(2):
        with pytest.raises(Unready):
            guard.verify(service.token())
    assert not guard.ready
    del service.misbehave[FEED]
    assert guard.wait_until_ready(5)
    assert guard.verify(service.token())


@pytest.mark.parametrize("where", ["head", "body"])
def test_B12_a_slow_loris_is_cut_off_in_all_not_per_byte(service: Service, where: str) -> None:
    """A byte every 100 ms for ever: no read is ever late, the fetch as a whole is."""

    def trickle(handler: Handler) -> None:
        if where == "body":
            handler.send_response(200)
            handler.send_header("Content-Length", "60000")
            handler.end_headers()
        else:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        for _ in range(100):
            handler.wfile.write(b"x")
            time.sleep(0.1)

    service.misbehave[METADATA] = trickle
    client = HttpClient()
    began = time.monotonic()
    with pytest.raises(FetchFault):
        client.get(Fetch(service.url + METADATA, 65536, 0.5))
    assert 0.4 < time.monotonic() - began < 8, "all of it takes ten seconds"
    client.close()


def test_other_requests_are_unhurt_while_a_fetch_hangs(service: Service, guarded: MakeGuard) -> None:
    """A key fetch that hangs for its whole three seconds holds nobody but those who need its keys."""
    guard = guarded()
    honest = service.token()
    hang = threading.Event()
    service.misbehave[KEYS] = lambda handler: hang.wait(10)  # type: ignore[assignment,return-value]
    guard._follower._schedule._last -= 31
    service.rotate(announce=False)
    waiting = threading.Thread(target=_refuse_quietly, args=(guard, service.token()))
    waiting.start()
    assert until(lambda: service.asked[KEYS] == 2)
    slowest = 0.0
    for _ in range(2_000):
        began = time.perf_counter()
        guard.verify(honest)
        slowest = max(slowest, time.perf_counter() - began)
    assert slowest < 2.5, "the fetch takes three seconds"
    waiting.join(5)
    assert not waiting.is_alive()
    hang.set()


def _refuse_quietly(guard: Any, token: str) -> None:
    with pytest.raises(Exception, match="unknown key"):
        guard.verify(token)


def test_a_kept_connection_that_was_closed_is_no_fault(service: Service) -> None:
    """Keep-alive is used, and a server that closed it in the meantime is asked again at once."""
    client = HttpClient()
    first = client.get(Fetch(service.url + METADATA, 65536, 3))
    kept = client._kept
    assert kept is not None
    assert client.get(Fetch(service.url + METADATA, 65536, 3)).body == first.body
    assert client._kept is not None
    assert client._kept[1] is kept[1]
    service.stop()
    service.start()
    assert client.get(Fetch(service.url + METADATA, 65536, 3)).status == 200
    client.close()


@pytest.mark.parametrize("missing", [False, True])
def test_an_address_that_leads_nowhere_is_not_the_only_one(
    missing: bool, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """⚑ As where a service names IPv6 addresses and a host has no way to them: no request was ever let in."""
    passed, tried = [0.0], list[str]()

    class OnlyIPv4(socket.socket):
        def __init__(self, family: int = -1, *more: Any, **named: Any) -> None:
            if missing and family == socket.AF_INET6:
                raise OSError("Address family not supported by protocol")
            super().__init__(family, *more, **named)

        def connect(self, where: Any) -> None:
            tried.append(where[0])
            if self.family == socket.AF_INET6:
                passed[0] += self.gettimeout() or 0
                raise TimeoutError
            super().connect(where)

    def look_up(*_: object, **__: object) -> list[Any]:
        nowhere = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", (f"fd00::{each}", 80, 0, 0)) for each in range(1, 4)]
        return [*nowhere, (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", service.port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket, "socket", OnlyIPv4)
    with closing(HttpClient(now=lambda: passed[0])) as client:
        assert client.get(Fetch(service.url + METADATA, 65536, 60)).status == 200
    assert tried == ([] if missing else ["fd00::1"]) + ["127.0.0.1"]


def test_B12_private_networks_can_be_refused(service: Service) -> None:
    """A public name that leads to a private address; an address on loopback by its own name is meant."""
    client = HttpClient(allow_private_networks=False)
    for address in ("10.0.0.1", "192.168.1.1", "169.254.169.254", "127.0.0.1", "::1", "fd00::1", "::ffff:10.0.0.1"):
        with pytest.raises(FetchFault, match="not public"):
            client._check_public("auth.example", address)
    client._check_public("auth.example", "93.184.216.34")
    client._check_public("auth.example", "2606:2800:220:1:248:1893:25c8:1946")
    assert client.get(Fetch(service.url + METADATA, 65536, 3)).status == 200
    client.close()
