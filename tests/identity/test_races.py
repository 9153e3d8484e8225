"""⚑ A refresh in flight has read roles and version of its own snapshot: what it yields is refused all the same."""

from __future__ import annotations

import pytest

from tests.identity.interleaving import Change, change_email, change_roles, race
from tests.identity.scenes import Opener
from watchword.clock import FixedClock

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("change", [change_roles, change_email])
async def test_refresh_beside_a_change_of_the_user(
    open_kernel: Opener, clock: FixedClock, change: Change, engine: str
) -> None:
    """No token with an older version is accepted at any later time."""
    older = await race(open_kernel, clock, change, rounds=20, seed=1)
    if engine == "postgres":
        assert older, "no refresh was overtaken, so nothing was tried"
