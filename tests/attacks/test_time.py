"""Times: the exact second, and what is no time (PyJWT 2.6 and 2.15 fixes; RFC 7519 sections 2 and 4.1.4 to 4.1.6)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.attacks.forging import NOW, accept, claims, forge, header, honest, refuse, verifier
from watchword.tokens import Policy

NOT_TIMES: list[Any] = [
    *(True, False, "123", "", None, [], {}, -1, 2**53, 2**63, 10**400, 1.5, 1e300, -0.5, float(NOW + 900)),
]


@pytest.mark.parametrize("leeway", [0, 1, 60])
def test_A18_a_token_ends_on_the_exact_second(leeway: int) -> None:
    """At exp - 1 it lives, at exp it does not, whatever the leeway; also when it was remembered."""
    end = NOW + 900
    chosen = verifier(leeway=leeway)
    assert accept(honest(), chosen, end - 1)
    refuse(honest(), "token_expired", chosen, end)
    refuse(honest(), "token_expired", chosen, end + 1)
    fresh = verifier(leeway=leeway)
    refuse(honest(), "token_expired", fresh, end)
    assert accept(honest(), fresh, end - 1)


@pytest.mark.parametrize("name", ["nbf", "iat"])
@pytest.mark.parametrize("leeway", [0, 60])
def test_A20_a_token_begins_on_the_exact_second(name: str, leeway: int) -> None:
    token = forge(header(), claims(**{name: NOW + 100}))
    chosen = verifier(leeway=leeway)
    refuse(token, "token_not_yet_valid", chosen, NOW + 99 - leeway)
    assert accept(token, chosen, NOW + 100 - leeway)
    refuse(token, "token_not_yet_valid", chosen, NOW + 99 - leeway)  # remembered, and the clock has gone back


def test_A20_a_token_never_lives_longer_than_is_accepted() -> None:
    chosen = verifier(max_lifetime=900)
    assert accept(honest(exp=NOW + 900), chosen)
    refuse(honest(exp=NOW + 901), "token_invalid", chosen)
    refuse(honest(exp=2**53 - 1), "token_invalid", verifier())


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("value", NOT_TIMES, ids=lambda value: str(value)[:12])
def test_A19_what_is_no_whole_number_of_seconds_is_refused(name: str, value: Any) -> None:
    refuse(forge(header(), claims(**{name: value})), "token_invalid")


@pytest.mark.parametrize("name", ["exp", "iat"])
def test_A18_A20_a_token_without_end_or_beginning_is_refused(name: str) -> None:
    refuse(forge(header(), claims(**{name: ...})), "token_invalid")


@pytest.mark.parametrize("text", ["1e400", "NaN", "Infinity", "-Infinity", "9" * 5000, "0x10", "1_000", "01"])
def test_A19_numbers_that_are_not_json_are_refused(text: str) -> None:
    import json

    payload = json.dumps(claims()).replace(f'"exp": {NOW + 900}', f'"exp": {text}')
    assert text in payload
    refuse(forge(header(), payload), "token_malformed")


@pytest.mark.parametrize(
    "value", [value for value in NOT_TIMES if type(value) is not float or value < 0 or value > 1e20]
)
def test_A19_foreign_tokens_may_have_fractions_and_nothing_else(value: Any) -> None:
    chosen = verifier(foreign=True)
    assert accept(forge(header(), claims(exp=NOW + 900.75)), chosen).exp == NOW + 900
    refuse(forge(header(), claims(exp=value)), "token_invalid", chosen)


def test_A18_the_leeway_is_at_most_a_minute() -> None:
    for leeway in (-1, 61, 3600):
        with pytest.raises(ValueError, match="leeway"):
            Policy("i", "a", ("ES256",), leeway=leeway)
    for life in (0, -1):
        with pytest.raises(ValueError, match="life"):
            Policy("i", "a", ("ES256",), max_lifetime=life)
