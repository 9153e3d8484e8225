"""Every attack of `tests/attacks` once more, through a guard: a token that the library refuses, the guard refuses too.

The attacks call `Verifier.verify`. Here each such call goes on to a guard that holds that very verifier, as a bare
token and as a header, and both must say what the verifier alone says.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.guard.alone import Alone, alone_says
from watchword.authorization import check_form
from watchword.clock import FixedClock
from watchword.errors import Refused, TokenError
from watchword.guard import Guard
from watchword.guard.standing import Standing
from watchword.tokens import AccessClaims, Verifier
from watchword.tokens.needs import NOTHING

HERE = Path(__file__).parents[1] / "attacks"
calls = 0


def _through_a_guard(self: Verifier, token: Any, **how: Any) -> AccessClaims:
    """In place of `Verifier.verify`."""
    global calls  # noqa: PLW0603  counts, so that the last test can tell that anything was tested
    calls += 1
    alone = _outcome(lambda: alone_says(self, token, **how))
    if type(token) is str:
        guard = _guard_around(self, how)
        needs = {name: value for name, value in how.get("needs", NOTHING)._asdict().items() if value}
        for _ in range(2):  # what is good is recalled the second time
            assert _outcome(lambda: guard.verify(token, **needs).claims) == alone
            assert _outcome(lambda: guard.check(f"Bearer {token}", **needs).claims) == _as_header(alone, token)
        genuine = isinstance(alone, AccessClaims) or alone in {"scope_missing", "role_missing"}
        assert (guard.recall(f"Bearer {token}") is not None) == genuine
    if isinstance(alone, AccessClaims):
        return alone_says(self, token, **how)
    raise TokenError("refused", code=alone)


def _guard_around(verifier: Verifier, how: dict[str, Any]) -> Guard:
    policy = verifier.policy
    standing = Standing(Alone.with_all_of(verifier), how.get("revocations"))
    return Guard._made(policy.issuer, policy.audience, standing, FixedClock(how["now"]), None)


def _outcome(check: Callable[[], Any]) -> Any:
    try:
        return check()
    except (TokenError, Refused) as error:
        return error.code


def _as_header(alone: AccessClaims | str, token: str) -> AccessClaims | str:
    """What is no token68 is a malformed header and not a malformed token."""
    if alone != "token_malformed":
        return alone
    return _outcome(lambda: check_form(token)) or alone


@pytest.fixture(autouse=True, scope="module")
def through_a_guard() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Verifier, "verify", _through_a_guard)
        # The detour makes each call three; how many mutations there are is the other run's business.
        patch.setattr("tests.attacks.test_fuzz.MUTATIONS", 50_000)
        yield


# What it measures is the time and the memory of one call, and here each is several.
MEASURED = {"test_oversized_tokens__A2_is_refused_at_once_and_costs_no_memory"}


def _collect() -> None:
    for path in sorted(HERE.glob("test_*.py")):
        module = importlib.import_module(f"tests.attacks.{path.stem}")
        for name, value in vars(module).items():
            title = f"{path.stem}__{name.removeprefix('test_')}"
            if name.startswith("test_") and callable(value) and title not in MEASURED:
                globals()[title] = value


_collect()


def test_the_attacks_were_run() -> None:
    """Last in this file: nothing above would be shown if the detour had not been taken."""
    assert calls > 100
