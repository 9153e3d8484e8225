"""Whole log-in services beside each other on one core: register, log in, refresh, a protected route.

Each is one process as its documentation sets it up, on SQLite (Express keeps users in memory, as its tutorials do).
The work differs where the products do, and the names of the figures say how: only ours and simplejwt's refresh replaces
the token and stores that; only ours is on the disk before it is answered, with `synchronous=FULL`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from itertools import count

from bench import needs
from bench.account_servers import PEERS, Peer
from bench.drivers import Settings, load
from bench.load import Flow, Result
from bench.measures.alternate import warnings
from bench.measures.round_robin import medians, round_robin
from bench.report import Outcome
from bench.servers import BenchError, Server

IN_FLIGHT = 4
"""Of what hashes: the pool of each has something to do, and no answer waits for long."""

SHORTEST = 4.0
"""Seconds that a run of hashes takes at least: one bcrypt takes a quarter of a second on a free core."""

MOST_PER_SECOND = 200
"""Registrations that a connection has ready."""

Run = Callable[[], Result]


def measure(settings: Settings) -> Outcome:
    """Run every step of every peer in turn; those that cannot run are named."""
    needs.service()
    outcome, sides = Outcome("peers_http"), dict[str, Run]()
    with ExitStack() as stack:
        for peer in PEERS:
            for hashed in peer.hashes:
                try:
                    server = stack.enter_context(peer.start(hashed, settings.cores.server))
                    sides |= _sides(peer, hashed, server, settings)
                except BenchError as error:
                    outcome.notes.append(f"{peer.name}, {hashed}: {error}")
        if not sides:
            raise BenchError("none of the peers could be measured: " + "\n".join(outcome.notes))
        rates, runs = round_robin(max(1, settings.rounds // 2), sides)
    outcome.figures.update(medians(rates, runs))
    outcome.runs.extend(runs)
    outcome.notes.extend(warnings(runs))
    return outcome


def _sides(peer: Peer, hashed: str, server: Server, settings: Settings) -> dict[str, Run]:
    """Register some users, and make a run of each step. Refresh and the route do not hash: once for each peer."""
    hashing = replace(settings, seconds=max(settings.seconds, SHORTEST))
    names = [f"bencher{place:03}" for place in range(IN_FLIGHT)]
    for name in names:
        peer.register_one(server, name)
    log_ins = [Flow(requests=[peer.logging_in(name)]) for name in names]
    sides: dict[str, Run] = {
        f"{peer.name}, register, {hashed}": Registering(peer, server, hashing).run,
        f"{peer.name}, log in, {hashed}": lambda: load(server, hashing, log_ins),
    }
    if hashed != peer.hashes[0]:
        return sides
    answers = [peer.log_one_in(server, names[place % IN_FLIGHT]) for place in range(settings.connections)]
    head = "GET /profile HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    routes = [Flow(requests=[f"{head}{peer.credential(answer)}\r\n"]) for answer in answers]
    sides[f"{peer.name}, protected route"] = lambda: load(server, settings, routes)
    if peer.refresh is not None:
        doors = [
            peer.log_one_in(server, names[place % IN_FLIGHT], peer.token_door) for place in range(settings.connections)
        ]
        sides[f"{peer.name}, refresh"] = Refreshing([peer.refresh(answer) for answer in doors], server, settings).run
    return sides


class Registering:
    """New users in each run."""

    def __init__(self, peer: Peer, server: Server, settings: Settings) -> None:
        self._peer, self._server, self._settings = peer, server, settings
        self._turn = count()

    def run(self) -> Result:
        """Register as many as there is time for."""
        turn = next(self._turn)
        most = int(MOST_PER_SECOND * (self._settings.seconds + self._settings.warmup + 1) / IN_FLIGHT)
        flows = [
            Flow(requests=[self._peer.registering(f"new{turn}x{place}x{number}") for number in range(most)])
            for place in range(IN_FLIGHT)
        ]
        return load(self._server, self._settings, flows)


class Refreshing:
    """One refresh chain per connection, carried on from run to run."""

    def __init__(self, flows: list[Flow], server: Server, settings: Settings) -> None:
        self._flows, self._server, self._settings = flows, server, settings

    def run(self) -> Result:
        """Refresh along every chain at once."""
        result = load(self._server, self._settings, self._flows)
        self._flows = [
            replace(flow, token=token) if flow.token else flow
            for flow, token in zip(self._flows, result.tokens, strict=True)
        ]
        return result
