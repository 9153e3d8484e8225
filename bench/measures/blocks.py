"""Several routes of one process in short blocks of requests, in a new random order each turn.

For differences of a few per cent. A machine that others use too changes by more than that from one second to the next,
and two processes of one program differ by as much, by where their memory lies. Blocks of some 40 ms that follow each
other get the same machine, and routes of one process the same memory.
"""

from __future__ import annotations

import os
import random
import select
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack

from bench.drivers import Settings, get
from bench.load import HEAD_END, READ_SIZE, Connection, Flow, Used, is_whole
from bench.measures.alternate import Runs
from bench.servers import BenchError, Server

BLOCK = 480
LEAD = 64
"""Requests before each block, not counted: the route comes back into the caches."""
WARM_UP = 12
"""Blocks."""


def run_blocks(servers: dict[str, Server], settings: Settings, path: str, tokens: Sequence[str]) -> Runs:
    """Ask all for so many seconds by the same process; return a run of each: its median, and that of its ratios.

    `kept` is the first one's processor time per answer ÷ its own, block by block.
    """
    pid = next(iter(servers.values())).process.pid
    with ExitStack() as stack:
        clients = {name: _Client(server, settings, path, tokens, stack) for name, server in servers.items()}
        for _ in range(WARM_UP):  # in turn: a server closes connections that rest for seconds
            for client in clients.values():
                client.ask(BLOCK)
        spent: dict[str, list[float]] = {name: [] for name in servers}
        order, before, end = list(servers), Used.now(pid), time.perf_counter() + settings.seconds
        while time.perf_counter() < end:
            random.shuffle(order)
            for name in order:
                clients[name].ask(LEAD)
                started = _cpu_ns(pid)
                clients[name].ask(BLOCK)
                spent[name].append((_cpu_ns(pid) - started) / BLOCK / 1000)
        shares = Used.now(pid).shares_since(before)
    first = next(iter(spent.values()))
    return [
        {
            "side": name,
            "cpu_us": round(statistics.median(own), 2),
            "kept": round(statistics.median(theirs / mine for theirs, mine in zip(first, own, strict=True)), 4),
            "blocks": len(own),
            **shares,
        }
        for name, own in spent.items()
    ]


class _Client:
    """Keeps connections to one port and asks so many requests over them, each after the last one's answer."""

    def __init__(self, server: Server, settings: Settings, path: str, tokens: Sequence[str], stack: ExitStack) -> None:
        self._name = server.name
        self._poller = stack.enter_context(select.epoll())
        self._connections: dict[int, Connection] = {}
        requests = [get(path, token) for token in tokens]
        for turn in range(settings.connections):
            connection = Connection(Flow(requests=requests[turn:] + requests[:turn]))
            connection.connect("127.0.0.1", server.port)
            stack.enter_context(connection.sock)
            self._connections[connection.sock.fileno()] = connection
            self._poller.register(connection.sock, select.EPOLLIN)

    def ask(self, count: int) -> None:
        """Send so many requests, and wait for all answers. :raises BenchError: any but a 200."""
        left = count
        for connection in self._connections.values():
            if left:
                connection.sock.send(connection.next_request())
                left -= 1
        answered = 0
        while answered < count:
            found = self._poller.poll(10.0)
            if not found:
                raise BenchError(f"{self._name}: no answer within 10 s")
            for fd, _ in found:
                connection = self._connections[fd]
                if not self._read(connection):
                    continue
                answered += 1
                if left:
                    connection.sock.send(connection.next_request())
                    left -= 1

    def _read(self, connection: Connection) -> bool:
        data = connection.sock.recv(READ_SIZE)
        answer = connection.buffer + data if connection.buffer else data
        head_end = answer.find(HEAD_END)
        connection.buffer = b"" if head_end >= 0 and is_whole(answer, head_end) else answer
        if not data or (not connection.buffer and answer[9:12] != b"200"):
            raise BenchError(f"{self._name}: not every answer was a good one: {answer[:100]!r}")
        return not connection.buffer


def _cpu_ns(pid: int) -> int:
    """Return the processor time of a process's threads. It rests when this is read, so that the figure is exact."""
    total = 0
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/schedstat", "rb") as stat:
                total += int(stat.read().split()[0])
    except FileNotFoundError:
        raise BenchError("this kernel does not tell processor times in nanoseconds (/proc/…/schedstat)") from None
    return total
