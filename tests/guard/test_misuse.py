"""What a guard is given in place of what it takes: the error says what to write, and no token is ever quoted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from starlette.datastructures import Headers
from werkzeug.datastructures import Authorization, EnvironHeaders

from watchword.errors import TokenError
from watchword.guard import Guard, SeveralIssuers
from watchword.testing import Issuer

ISSUER = Issuer()
TOKEN = ISSUER.token("ada")
GOOD = f"Bearer {TOKEN}"
SEVERAL = SeveralIssuers(ISSUER.guard(), Issuer(issuer="https://other.example").guard())
ENVIRON = {"HTTP_AUTHORIZATION": GOOD}

NO_HEADERS: dict[str, Any] = {
    "all headers": {"authorization": GOOD},
    "no headers": {},
    "all of Starlette's": Headers({"authorization": GOOD}),
    "all of Werkzeug's": EnvironHeaders(ENVIRON),
    "all of aiohttp's": CIMultiDictProxy(CIMultiDict({"authorization": GOOD})),
    "all of ASGI": [(b"authorization", GOOD.encode())],
    "all of WSGI": ENVIRON,
    "Werkzeug's reading": Authorization("bearer", token=TOKEN),
    "a number": 1,
    "a switch": True,
    "an object": object(),
    "a class": str,
    "numbers": [1],
    "nothing in a list": [None],
    "letters": bytearray(GOOD.encode()),
    "a view": memoryview(GOOD.encode()),
    "a set": {GOOD},
    "a generator": (each for each in [GOOD]),
}

WAYS: dict[str, Callable[[Guard, Any], Any]] = {
    "check": lambda guard, given: guard.check(given),
    "check_async": lambda guard, given: guard.check_async(given),
    "require": lambda guard, given: guard.require().check(given),
    "optional": lambda guard, given: guard.require().check_optional(given),
    "optional_async": lambda guard, given: guard.require().check_optional_async(given),
}


@pytest.mark.parametrize("guard", [ISSUER.guard(), SEVERAL], ids=["one", "several"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NO_HEADERS)
def test_only_a_header_is_checked(name: str, way: str, guard: Guard) -> None:
    """⚑ Also where a token is optional: no headers at all would be a caller without a token."""
    with pytest.raises(TypeError, match=r"header's text, such as `request\.headers\.get\('authorization'\)`") as caught:
        WAYS[way](guard, NO_HEADERS[name])
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("written", ["Bearer ", "bearer ", "BEARER "])
def test_a_bare_token_has_nothing_before_it(written: str) -> None:
    for guard in (ISSUER.guard(), SEVERAL):
        with pytest.raises(TokenError, match="Leave out `Bearer`") as caught:
            guard.verify(written + TOKEN)
        assert caught.value.code == "token_malformed"
        assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"issuer": ""}, r"^guard: issuer is empty, .* write .* https://auth\.example\.com$"),
        ({"audience": ""}, r"^guard: audience is empty, .* leave it out"),
        ({"algorithms": ["none"]}, r"^guard: algorithms are .* ES256, .* unlike \('none',\); .* Guard\.shared_secret$"),
        ({"algorithms": []}, r"^guard: algorithms are .* ES256, "),
        ({"algorithms": ["ES256", "HS256"]}, r"^guard: algorithms are .* ES256, .* Guard\.shared_secret$"),
        ({"leeway": 61}, r"^guard: leeway is 0 to 60 whole seconds, unlike 61$"),
        ({"leeway": -1}, r"^guard: leeway is 0 to 60 whole seconds, unlike -1$"),
    ],
)
def test_options_say_what_to_write(given: dict[str, Any], said: str) -> None:
    options = {"issuer": "https://auth.example", **given}
    with pytest.raises(ValueError, match=said):
        Guard(**options)


class _Service:
    def verify(self, token: str) -> Any: ...


@pytest.mark.parametrize(
    "given", ["https://auth.example", None, object(), _Service], ids=["url", "none", "object", "class"]
)
def test_a_local_service_is_the_service_itself(given: Any) -> None:
    with pytest.raises(TypeError, match=r"Guard\.local takes the service itself, such as Watchword\("):
        Guard.local(given)
    assert Guard.local(_Service(), issuer="https://auth.example").ready  # type: ignore[arg-type]
