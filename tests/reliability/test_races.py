"""Experiment 8, refresh ∥ role change and refresh ∥ e-mail change: 0 tokens with old rights."""

from __future__ import annotations

import pytest

from tests.identity import conftest as identity
from tests.identity.interleaving import Change, change_email, change_roles, race
from tests.identity.scenes import Opener
from watchword.clock import FixedClock

pytestmark = pytest.mark.anyio
clock, located, open_kernel, engine = identity.clock, identity.located, identity.open_kernel, identity.engine


@pytest.mark.parametrize("engine", ["sqlite", "postgres"], indirect=True)
@pytest.mark.parametrize("change", [change_roles, change_email])
async def test_a_thousand_interleavings(open_kernel: Opener, clock: FixedClock, change: Change) -> None:
    """No token with an older version is accepted at any later time."""
    await race(open_kernel, clock, change, rounds=1000, seed=2)
