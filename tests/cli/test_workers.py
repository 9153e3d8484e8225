"""Several processes behind one port: which are replaced, and what is left when they end."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import anyio
import pytest

from tests.cli.conftest import Run, Serve
from tests.cli.worker_processes import is_there, until, workers_of
from watchword.cli.serving.stopping import send_away
from watchword.cli.serving.workers import pause_before


def test_auto_starts_as_many_as_there_are_processors(serve: Serve) -> None:
    """Four at most, on SQLite; each has heard the number, and no more than one makes its own key."""
    service = serve("--workers", "auto")
    wanted = min(4, len(os.sched_getaffinity(0)))
    until(lambda: len(workers_of(service.process.pid)) == (wanted if wanted > 1 else 0))
    ended = service.stop()
    assert (ended.code, ended.err) == (0, "")


def test_a_killed_worker_is_replaced(serve: Serve) -> None:
    """At once, with a line in the log; the others answer meanwhile."""
    service = serve("--workers", "2", "--log-format", "json")
    until(lambda: len(workers_of(service.process.pid)) == 2)
    before = workers_of(service.process.pid)
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    until(lambda: not is_there(victim))
    for _ in range(20):
        assert service.get("/livez") == 200
    until(lambda: len(workers_of(service.process.pid) - {victim}) == 2)
    ended = service.stop()
    assert ended.code == 0, "that one died before is no fault of the stop"
    (line,) = [line for line in ended.err.splitlines() if "worker_ended" in line]
    assert f'"pid": {victim}' in line
    assert '"exit_code": -9' in line
    assert '"replaced_in": 0.0' in line


def test_the_pauses_grow_to_half_a_minute() -> None:
    """A worker that cannot run takes no processor from those that do."""
    assert [pause_before(attempt) for attempt in range(1, 9)] == [0, 1, 2, 4, 8, 16, 30, 30]
    assert pause_before(10_000) == 30


def test_workers_end_with_their_supervisor(serve: Serve, port: int) -> None:
    """⚑ Killed alone, it left workers that no one replaced or stopped, with the port in their hands."""
    service = serve("--workers", "2")
    until(lambda: len(workers_of(service.process.pid)) == 2)
    workers = workers_of(service.process.pid)
    service.process.kill()
    service.ended()
    until(lambda: not any(is_there(worker) for worker in workers))
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


def test_workers_that_cannot_start_are_not_tried_for_ever(serve: Serve, run: Run, tmp_path: Path) -> None:
    """The supervisor opens the database first: what is wrong with it is said once."""
    serve("--workers", "2").stop()
    (tmp_path / "watchword-data" / "master.secret").unlink()
    ended = run("serve", "--workers", "2")
    assert ended.code != 0
    assert ended.err.count("error:") == 1


def test_what_no_worker_has_accepted_is_sent_away(serve: Serve, port: int) -> None:
    """⚑ The port was closed with connections in its queue: the system reset them."""
    service = serve("--workers", "2")
    until(lambda: len(workers_of(service.process.pid)) == 2)
    workers = workers_of(service.process.pid)
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)  # no one accepts
    waiting = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(6)]
    for connection in waiting:
        connection.sendall(b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n")
    service.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)  # the supervisor has told them
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    for connection in waiting:
        assert _answer(connection, then=b"{}").startswith(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n")
    ended = service.ended()
    assert ended.code == 1
    assert "a worker process failed" in ended.err


@pytest.mark.parametrize("backend_options", [{"use_uvloop": False}, {"use_uvloop": True}], ids=["asyncio", "uvloop"])
def test_the_last_to_hold_a_port_leaves_no_one_in_its_queue(backend_options: dict[str, object]) -> None:
    """On both loops: those who came before are answered, the next is refused."""
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    waiting = [socket.create_connection(address, timeout=60) for _ in range(20)]
    for connection in waiting:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
    anyio.run(send_away, [listener], backend_options=backend_options)
    for connection in waiting:
        assert _answer(connection).startswith(b"HTTP/1.1 503 ")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


def _answer(connection: socket.socket, *, then: bytes = b"") -> bytes:
    """What is answered, whole. A body is sent late, as by many clients: no answer is lost for that."""
    with connection:
        if then:
            connection.sendall(then)
        got = b""
        while data := connection.recv(1000):
            got += data
        return got
