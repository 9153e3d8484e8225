"""The load generator: one process, one thread, epoll, keep-alive connections, request bytes made beforehand.

It is quick because it does next to nothing: a request is a ready piece of bytes, an answer is cut at its
`Content-Length`, and only a refresh chain looks into the body. Each connection has one request in flight.
Run as `python -m bench.load`, it reads a `Spec` as JSON on stdin and writes a `Result` as JSON on stdout.
"""

from __future__ import annotations

import gc
import json
import os
import select
import socket
import sys
import time
from array import array
from collections import deque
from dataclasses import asdict, dataclass, field

HEAD_END = b"\r\n\r\n"
TOKEN_MARK = '"refresh_token":"'
READ_SIZE = 65536
SWEEP_EVERY = 0.25


@dataclass(frozen=True)
class Flow:
    """What one connection sends: `requests` in turn, or a chain of refreshes that starts from `token`.

    A chain sends `chain_head` + the request's length + `chain_body` + the newest token + `chain_tail`. The token stands
    in the answer between `mark` and the next quotation mark.
    """

    requests: list[str] = field(default_factory=list)
    token: str = ""
    chain_head: str = ""
    chain_body: str = ""
    chain_tail: str = ""
    mark: str = TOKEN_MARK
    source: str = ""  # the local address to connect from; empty: the system chooses


@dataclass(frozen=True)
class Spec:
    """One run against one server."""

    port: int
    flows: list[Flow]
    seconds: float
    warmup: float = 1.0
    timeout: float = 10.0
    pace: float = 0.0  # requests per second over all connections, sent on time; 0: the next follows each answer
    honour_retry_after: bool = False
    watch_pid: int = 0  # the server, to see how busy it was
    core: int = -1
    host: str = "127.0.0.1"


@dataclass(frozen=True)
class Result:
    """What was seen between the warm-up and the end. Times are milliseconds."""

    seconds: float
    answers: int
    statuses: dict[str, int]
    latency_ms: dict[str, float]  # of answers below 500
    timeouts: int
    disconnects: int
    unhinted_503: int  # 503 without Retry-After
    broken_chains: int
    client_busy: float  # share of one core that this process used
    server_busy: float
    elsewhere_busy: float  # what everything else on the machine used, in cores
    tokens: list[str]  # where each chain stands, for the next run

    @property
    def rate(self) -> float:
        """Answers below 400 per second."""
        return sum(n for status, n in self.statuses.items() if status < "400") / self.seconds

    @property
    def cpu_us(self) -> float:
        """Processor time of the server per answer, in microseconds: hardly moved by other work on the machine."""
        return 1e6 * self.server_busy * self.seconds / max(self.answers, 1)

    @property
    def clean(self) -> bool:
        """Whether every answer was below 400 and none was missing."""
        faults = self.timeouts + self.disconnects + self.broken_chains
        return faults == 0 and all(status < "400" for status in self.statuses)


class Connection:
    """A socket, what it sends next, and what has arrived so far."""

    __slots__ = ("buffer", "due_at", "flow", "mark", "requests", "sock", "token", "turn", "waiting")

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.requests = [request.encode("latin-1") for request in flow.requests]
        self.turn = 0
        self.token = flow.token.encode("latin-1")
        self.mark = flow.mark.encode("latin-1")
        self.buffer = b""
        self.due_at = 0.0
        self.waiting = False  # an answer is outstanding
        self.sock: socket.socket

    def connect(self, host: str, port: int) -> None:
        self.sock = socket.socket()
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.settimeout(5)
        if self.flow.source:
            self.sock.bind((self.flow.source, 0))
        self.sock.connect((host, port))
        self.sock.setblocking(False)
        self.buffer = b""
        self.waiting = False

    def next_request(self) -> bytes:
        request = self.requests[self.turn]
        self.turn = (self.turn + 1) % len(self.requests)
        return request


class ChainConnection(Connection):
    """A connection whose next request is made from its last answer; the constant pieces are encoded once."""

    __slots__ = ("body", "head", "tail")

    def __init__(self, flow: Flow) -> None:
        super().__init__(flow)
        self.head = flow.chain_head.encode("latin-1")
        self.body = flow.chain_body.encode("latin-1")
        self.tail = flow.chain_tail.encode("latin-1")

    def next_request(self) -> bytes:
        length = len(self.body) + len(self.token) + len(self.tail)
        return b"%s%d\r\n\r\n%s%s%s" % (self.head, length, self.body, self.token, self.tail)


def is_whole(answer: bytes, head_end: int) -> bool:
    """Whether the body has arrived too: as long as its head states, or with the last of its chunks."""
    if b"chunked" in answer[:head_end]:
        return answer.endswith(b"\r\n0\r\n\r\n")
    return len(answer) >= head_end + 4 + content_length(answer, head_end)


def content_length(answer: bytes, head_end: int) -> int:
    """Return the length that the head states; 0 without one (204, 304)."""
    at = answer.find(b"ontent-length:", 0, head_end)
    if at < 0:
        at = answer.find(b"ontent-Length:", 0, head_end)
    if at < 0:
        return 0
    return int(answer[at + 14 : answer.find(b"\r\n", at)])


def retry_after(answer: bytes) -> float | None:
    """Return the seconds of `Retry-After`, or None."""
    head = answer[: answer.find(HEAD_END) + 2].lower()
    at = head.find(b"\r\nretry-after:")
    return None if at < 0 else float(head[at + 14 : head.find(b"\r\n", at + 2)])


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used, its threads and its worker processes included."""
    if not pid:
        return 0.0
    with open(f"/proc/{pid}/stat", "rb") as stat:
        fields = stat.read().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") + sum(map(cpu_seconds, workers_of(pid)))


def workers_of(pid: int) -> list[int]:
    """Return the processes that a process has started; none where the kernel does not tell."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb") as children:
            return [int(child) for child in children.read().split()]
    except FileNotFoundError:
        return []


def machine_seconds() -> float:
    """Return the processor time that everything on the machine together has used, waiting not counted."""
    with open("/proc/stat", "rb") as stat:
        user, nice, system, _idle, _wait, *rest = map(int, stat.readline().split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Used:
    """Processor time used so far, in seconds, and the moment."""

    at: float
    client: float
    server: float
    machine: float

    @classmethod
    def now(cls, server_pid: int) -> Used:
        return cls(time.perf_counter(), time.process_time(), cpu_seconds(server_pid), machine_seconds())

    def shares_since(self, before: Used) -> dict[str, float]:
        """Return how many cores each part used since then, by the names of `Result`."""
        elapsed = self.at - before.at
        client, server = self.client - before.client, self.server - before.server
        elsewhere = max(0.0, self.machine - before.machine - client - server)
        parts = {"client_busy": client, "server_busy": server, "elsewhere_busy": elsewhere}
        return {"seconds": elapsed} | {name: used / elapsed for name, used in parts.items()}


class Load:
    """One run: connect, send, count, drain."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.connections: dict[int, Connection] = {}
        self.poller = select.epoll()
        self.idle: deque[Connection] = deque()
        self.asleep: list[Connection] = []
        self.latencies = array("d")
        self.statuses: dict[bytes, int] = {}
        self.timeouts = self.disconnects = self.unhinted_503 = self.broken_chains = 0
        self.counting = False
        self.stopping = False
        self.next_tick = 0.0

    def run(self) -> Result:
        """Warm up, measure, let the outstanding answers arrive."""
        connections = [(ChainConnection if flow.token else Connection)(flow) for flow in self.spec.flows]
        for connection in connections:
            self.open(connection)
        self.next_tick = time.perf_counter()
        for connection in connections:
            self.ready(connection)
        self.loop(self.spec.warmup)
        self.counting = True
        before = Used.now(self.spec.watch_pid)
        self.loop(self.spec.seconds)
        shares = Used.now(self.spec.watch_pid).shares_since(before)
        self.counting, self.stopping = False, True
        self.drain()
        return self.result(shares, connections)

    def open(self, connection: Connection) -> None:
        connection.connect(self.spec.host, self.spec.port)
        self.connections[connection.sock.fileno()] = connection
        self.poller.register(connection.sock, select.EPOLLIN)

    def reopen(self, connection: Connection) -> None:
        self.poller.unregister(connection.sock)
        del self.connections[connection.sock.fileno()]
        connection.sock.close()
        self.open(connection)
        self.ready(connection)

    def ready(self, connection: Connection) -> None:
        """The connection may send again: at once, or when the pace says so."""
        if self.stopping:
            return
        if self.spec.pace:
            self.idle.append(connection)
        else:
            self.send(connection, time.perf_counter())

    def send(self, connection: Connection, due_at: float) -> None:
        connection.due_at = due_at
        connection.waiting = True
        request = connection.next_request()
        sent = connection.sock.send(request)
        if sent < len(request):
            connection.sock.setblocking(True)
            connection.sock.sendall(request[sent:])
            connection.sock.setblocking(False)

    def loop(self, seconds: float) -> None:
        """Serve the sockets for so long."""
        end = time.perf_counter() + seconds
        next_sweep = 0.0
        while (now := time.perf_counter()) < end:
            if now >= next_sweep:
                self.sweep(now)
                next_sweep = now + SWEEP_EVERY
            wait = self.tick(now) if self.spec.pace else 0.05
            for fd, _ in self.poller.poll(min(wait, end - now)):
                self.read(self.connections[fd])

    def tick(self, now: float) -> float:
        """Send what the pace has made due, timed from when it was due; return the seconds to the next."""
        while self.next_tick <= now and self.idle:
            self.send(self.idle.popleft(), self.next_tick)
            self.next_tick += 1 / self.spec.pace
        return max(self.next_tick - now, 0.0) if self.idle else 0.05

    def sweep(self, now: float) -> None:
        """Wake those that were told to come back later; give up on answers that never came."""
        awake = [connection for connection in self.asleep if connection.due_at <= now]
        self.asleep = [connection for connection in self.asleep if connection.due_at > now]
        for connection in awake:
            self.ready(connection)
        for connection in list(self.connections.values()):
            if connection.waiting and now - connection.due_at > self.spec.timeout:
                self.timeouts += 1
                self.reopen(connection)

    def read(self, connection: Connection) -> None:
        try:
            data = connection.sock.recv(READ_SIZE)
        except ConnectionError:
            data = b""
        if not data:
            self.disconnects += connection.waiting
            self.reopen(connection)
            return
        answer = connection.buffer + data if connection.buffer else data
        head_end = answer.find(HEAD_END)
        if head_end < 0 or not is_whole(answer, head_end):
            connection.buffer = answer
            return
        connection.buffer = b""
        self.answered(connection, answer)

    def answered(self, connection: Connection, answer: bytes) -> None:
        now = time.perf_counter()
        status = answer[9:12]
        connection.waiting = False
        if self.counting:
            self.statuses[status] = self.statuses.get(status, 0) + 1
            if status < b"500":
                self.latencies.append(now - connection.due_at)
        if connection.token:
            self.follow(connection, status, answer)
        if status == b"503" and self.shed(connection, answer, now):
            return
        self.ready(connection)

    def follow(self, connection: Connection, status: bytes, answer: bytes) -> None:
        """Take the successor out of the answer; after a 503 the same token is tried again."""
        start = answer.find(connection.mark)
        if start >= 0:
            start += len(connection.mark)
            connection.token = answer[start : answer.index(b'"', start)]
        elif status != b"503":
            self.broken_chains += 1

    def shed(self, connection: Connection, answer: bytes, now: float) -> bool:
        """Note a refusal for overload; True when the connection sleeps now, as it was told."""
        pause = retry_after(answer)
        if pause is None:
            self.unhinted_503 += 1
        if pause is None or not self.spec.honour_retry_after:
            return False
        connection.due_at = now + pause
        self.asleep.append(connection)
        return True

    def drain(self) -> None:
        """Let every outstanding answer arrive, uncounted, so that each chain knows its newest token."""
        end = time.perf_counter() + self.spec.timeout
        while any(c.waiting for c in self.connections.values()) and time.perf_counter() < end:
            for fd, _ in self.poller.poll(0.05):
                self.read(self.connections[fd])
        self.timeouts += sum(c.waiting for c in self.connections.values())

    def result(self, shares: dict[str, float], connections: list[Connection]) -> Result:
        return Result(
            answers=sum(self.statuses.values()),
            statuses={status.decode(): count for status, count in sorted(self.statuses.items())},
            latency_ms=percentiles(self.latencies),
            timeouts=self.timeouts,
            disconnects=self.disconnects,
            unhinted_503=self.unhinted_503,
            broken_chains=self.broken_chains,
            tokens=[connection.token.decode("latin-1") for connection in connections],
            **shares,
        )


def percentiles(seconds: array[float]) -> dict[str, float]:
    """Return p50, p90, p99 and the largest, in milliseconds."""
    ordered = sorted(seconds)
    if not ordered:
        return {}
    at = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: round(1000 * ordered[min(int(len(ordered) * q), len(ordered) - 1)], 3) for name, q in at.items()}


def main() -> None:
    """Read the spec, run, write the result."""
    raw = json.load(sys.stdin)
    spec = Spec(**{**raw, "flows": [Flow(**flow) for flow in raw["flows"]]})
    if spec.core >= 0:
        os.sched_setaffinity(0, {spec.core})
    gc.disable()
    json.dump(asdict(Load(spec).run()), sys.stdout)


if __name__ == "__main__":
    main()
