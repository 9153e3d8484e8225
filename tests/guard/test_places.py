"""What `tokens_from` takes, and that anything else raises where it is written."""

from __future__ import annotations

import re
from typing import Any

import pytest

from watchword.errors import Refused, TokenError
from watchword.guard import AccessCookie, FirstMessage, Guard, OtherHeader, Subprotocol
from watchword.guard.places import in_protocols
from watchword.guard.sent import AsgiSent, WsgiSent
from watchword.testing import Issuer
from watchword.tokens import KeySet

URL = "https://auth.example"
ALL = (AccessCookie(), OtherHeader("X-Access-Token"), Subprotocol(), FirstMessage())


@pytest.mark.parametrize(
    "given",
    ["cookie", b"cookie", 1, True, object(), AccessCookie, [AccessCookie], [None], ["X-Access-Token"], {"cookie": 1}],
)
def test_what_is_no_place_raises_at_once(given: Any) -> None:
    with pytest.raises(TypeError, match="tokens_from is AccessCookie"):
        Guard(URL, tokens_from=given)


@pytest.mark.parametrize(
    "given", [(), [], [AccessCookie(), AccessCookie(log_in=None)], [Subprotocol(), Subprotocol("x")]]
)
def test_no_place_and_one_kind_twice_raise(given: Any) -> None:
    """An empty list, as of a missing setting, is no choice."""
    with pytest.raises(ValueError, match="tokens_from"):
        Guard(URL, tokens_from=given)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: AccessCookie(origin=1), TypeError),  # type: ignore[arg-type]
        (lambda: AccessCookie(log_in=b"x"), TypeError),  # type: ignore[arg-type]
        (lambda: OtherHeader(None), TypeError),  # type: ignore[arg-type]
        (lambda: OtherHeader(""), ValueError),
        (lambda: OtherHeader("Authorization"), ValueError),
        (lambda: OtherHeader("cookie"), ValueError),
        (lambda: OtherHeader("X Token"), ValueError),
        (lambda: OtherHeader("X_Token"), ValueError),  # WSGI cannot tell it from X-Token
        (lambda: OtherHeader("X-Token\r\n"), ValueError),
        (lambda: Subprotocol(1), TypeError),  # type: ignore[arg-type]
        (lambda: Subprotocol("a,b"), ValueError),
        (lambda: Subprotocol(""), ValueError),
        (lambda: FirstMessage("5"), TypeError),  # type: ignore[arg-type]
        (lambda: FirstMessage(True), TypeError),
        (lambda: FirstMessage(0), ValueError),
        (lambda: FirstMessage(per_network=5.0), TypeError),  # type: ignore[arg-type]
        (lambda: FirstMessage(per_network=True), TypeError),
        (lambda: FirstMessage(per_network=0), ValueError),
        (lambda: FirstMessage(per_network=1001), ValueError),
        (lambda: FirstMessage(61), ValueError),
        (lambda: FirstMessage(float("nan")), ValueError),
        (lambda: FirstMessage(float("inf")), ValueError),
    ],
)
def test_a_place_of_wrong_values_raises_where_it_is_made(make: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="guard: "):
        make()


@pytest.mark.parametrize(
    "place",
    [
        AccessCookie(origin=""),
        AccessCookie(origin="shop.example"),
        AccessCookie(origin="http://shop.example"),
        AccessCookie(log_in=""),
        AccessCookie(log_in="/login"),
        AccessCookie(log_in="http://auth.example/login"),
        AccessCookie(log_in="https://auth.example/login?x=1"),
        AccessCookie(log_in="https://auth.example/lögin"),
        AccessCookie(log_in="javascript:alert(1)"),
        AccessCookie(log_in="https://auth.example/\r\nX: y"),
    ],
)
def test_addresses_that_cannot_be_meant_raise_when_the_guard_is_made(place: AccessCookie) -> None:
    with pytest.raises(ValueError, match="AccessCookie"):
        Guard(URL, tokens_from=place)


def test_every_kind_of_guard_takes_places() -> None:
    """And without them none has any."""
    key = Issuer()._signing.verification_key
    secret = b"a secret of more than thirty-two bytes, of this test"
    with_places = [
        Guard(URL, tokens_from=ALL),
        Guard.shared_secret(URL, secret=secret, tokens_from=ALL),
        Guard.offline(URL, keys=KeySet([key]), tokens_from=ALL),
        Guard.local(_Local(), issuer=URL, tokens_from=ALL),
        Issuer().guard(tokens_from=ALL),
    ]
    assert all(guard.places is not None for guard in with_places)
    without = [Guard(URL), Guard.shared_secret(URL, secret=secret), Guard.local(_Local()), Issuer().guard()]
    assert all(guard.places is None for guard in without)
    with pytest.raises(ValueError, match="needs an issuer"):
        Guard.local(_Local(), tokens_from=AccessCookie())


def test_a_guard_that_stands_in_judges_by_the_places_of_the_application() -> None:
    """So that a test sees what users see."""
    issuer = Issuer(URL)
    guard = Guard(URL, tokens_from=OtherHeader("X-Token"))
    with issuer.trusted_by(guard):
        needs = guard.require()
        scope: Any = {
            "type": "http",
            "method": "GET",
            "headers": [(b"x-token", f"Bearer {issuer.token('ada')}".encode())],
        }
        assert needs.admit(AsgiSent(scope)).user_id == "ada"


@pytest.mark.parametrize("headers", [[], [b"Bearer x"], [b"Basic Og=="], [b"Bearer x", b"Bearer y"]])
async def test_a_guard_without_places_admits_by_the_header(headers: list[bytes]) -> None:
    """So that an adapter needs to know nothing of places."""
    issuer = Issuer()
    needs = issuer.guard().require()
    scope: Any = {"type": "http", "method": "GET", "headers": [(b"authorization", each) for each in headers]}
    for admit in (needs.admit, needs.admit_optional):
        try:
            expected: Any = (needs.check if admit == needs.admit else needs.check_optional)(headers or None)
        except (TokenError, Refused) as error:
            with pytest.raises(type(error), match=re.escape(str(error))):
                admit(AsgiSent(scope))
        else:
            assert admit(AsgiSent(scope)) == expected
    good: Any = {**scope, "headers": [(b"authorization", issuer.headers("ada")["Authorization"].encode())]}
    assert needs.admit(AsgiSent(good)).user_id == "ada"
    assert (await needs.admit_async(AsgiSent(good))).user_id == "ada"
    nothing: Any = {**scope, "headers": [(b"cookie", b"watchword_access=x")]}
    assert await needs.admit_optional_async(AsgiSent(nothing)) is None


def test_what_varies_is_named_for_caches() -> None:
    places = Issuer().guard(tokens_from=ALL).places
    assert places is not None
    assert places.vary == ("Authorization", "Cookie", "X-Access-Token")


def test_a_target_is_written_as_a_client_writes_it() -> None:
    scope: Any = {"type": "http", "path": "/a b/ä", "query_string": b"x=1&y=%20", "headers": []}
    assert AsgiSent(scope).target() == "/a%20b/%C3%A4?x=1&y=%20"
    assert AsgiSent({**scope, "raw_path": b"/a%20b/%c3%a4"}).target() == "/a%20b/%c3%a4?x=1&y=%20"
    environ = {"SCRIPT_NAME": "/shop", "PATH_INFO": "/a b/\xc3\xa4\r\n", "QUERY_STRING": "x=1"}
    assert WsgiSent(environ).target() == "/shop/a%20b/%C3%A4%0D%0A?x=1"


@pytest.mark.parametrize("offered", [["n"], ["t", "n"], ["n", "t", "n"], ["n", "n", "t"]])
def test_a_list_of_sub_protocols_has_our_name_once_and_a_token_after_it(offered: list[str]) -> None:
    with pytest.raises(Refused):
        in_protocols(offered, "n")
    assert in_protocols(["t", "x"], "n") is None


class _Local:
    def verify(self, token: str) -> Any:
        raise AssertionError(token)
