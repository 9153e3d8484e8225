"""A kernel on a real SQLite file, with a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.identity.scenes import Opener
from watchword.clock import FixedClock
from watchword.identity.kernel import Kernel
from watchword.opening import opened
from watchword.settings import Settings


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def open_kernel(tmp_path: Path, clock: FixedClock) -> Opener:
    """Opens a kernel on this test's data directory; settings may be given. May be called several times at once."""

    def open_it(*, serves: bool = True, **given: object) -> AbstractAsyncContextManager[Kernel]:
        settings = Settings(**{"data_dir": tmp_path, **given})  # type: ignore[arg-type]
        return opened(settings, clock=clock, serves=serves)

    return open_it


@pytest.fixture
async def kernel(open_kernel: Opener) -> AsyncIterator[Kernel]:
    async with open_kernel() as opened_kernel:
        yield opened_kernel
