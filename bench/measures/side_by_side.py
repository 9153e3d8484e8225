"""Several servers at the same time on one core, each in a process of its own, started anew for each round.

For differences of a few per cent. A machine that others use too changes by more than that from one run to the next; at
the same time, all sides get the same machine. What counts is each one's processor time per answer, with caches as cold
as on a busy machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack

from bench.drivers import Settings, get_side_by_side
from bench.measures.alternate import Runs, as_run, require_clean
from bench.servers import Server

Starts = Mapping[str, Callable[[], AbstractContextManager[Server]]]


def side_by_side(starts: Starts, settings: Settings, path: str, tokens: Sequence[str]) -> Runs:
    """Run the sides so many rounds, every answer of each having to be a good one."""
    runs = Runs()
    for turn in range(settings.rounds):
        with ExitStack() as stack:
            order = list(starts)[:: -1 if turn % 2 else 1]
            servers = {side: stack.enter_context(starts[side]()) for side in order}
            for side, result in get_side_by_side(servers, settings, path, tokens).items():
                runs.append({"side": side} | as_run(require_clean(result, side)))
    return runs
