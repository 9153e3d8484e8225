"""Eight processes that start at the same moment on an empty database, on both engines."""

from __future__ import annotations

from tests.identity.starting import at_once

_START = """
import asyncio
from watchword.opening import opened
from watchword.settings import Settings
settings = Settings(data_dir=sys.argv[1], workers=8, **dict(pair.split("=", 1) for pair in sys.argv[2:]))
async def main():
    async with opened(settings) as kernel:
        print(kernel.keys.ring.signing.kid)
ready()
asyncio.run(main())
"""

_SCHEDULE = _START.replace(
    "print(kernel.keys.ring.signing.kid)",
    "await kernel.keys.follow_schedule(); print(*(key.kid for key in await kernel.keys.store.published()))",
)


def test_B10_eight_processes_on_an_empty_database_have_one_active_key(located: dict[str, object]) -> None:
    """Real processes, one database: who loses the race for the partial unique index signs with the winner's key."""
    assert len(set(at_once(_START, *_told(located), processes=8))) == 1


def _told(located: dict[str, object]) -> list[str]:
    folder, *rest = located.items()
    return [str(folder[1]), *(f"{name}={value}" for name, value in rest)]


def test_B10_eight_processes_that_apply_the_schedule_at_once_have_one_next_key(located: dict[str, object]) -> None:
    """The same for the key that is next: a partial unique index decides."""
    kids = at_once(_SCHEDULE, *_told(located), processes=8)
    assert len(set(kids)) == 1
    assert len(kids[0].split()) == 2
