"""Three guarded applications in processes of their own, and threads that ask them about sessions that have ended."""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.e2e.client import bearer
from tests.e2e.server import free_port

FRAMEWORKS = ("fastapi", "flask", "django")
PATIENCE = 10.0  # seconds, after which a refusal was missed
PROGRAM = Path(__file__).with_name("guarded.py")


class Guarded:
    """One application, and a thread that asks it about tokens whose sessions have just ended."""

    def __init__(self, framework: str, issuer: str, url: str) -> None:
        self.framework = framework
        self.port = free_port()
        self.process = subprocess.Popen([sys.executable, PROGRAM, framework, str(self.port), issuer, url])
        self.delays: list[float] = []
        self.missed = 0
        self._ended: queue.Queue[tuple[str, float] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def accepts(self, connection: http.client.HTTPConnection, token: str) -> bool:
        try:
            connection.request("GET", "/", headers=bearer(token))
            answer = connection.getresponse()
        except ConnectionError:  # it was idle for too long
            connection.close()
            connection.request("GET", "/", headers=bearer(token))
            answer = connection.getresponse()
        code = json.loads(answer.read()).get("code")
        assert (answer.status, code) in ((200, None), (401, "token_revoked")), (self.framework, answer.status, code)
        return answer.status == 200

    def connect(self) -> contextlib.closing[http.client.HTTPConnection]:
        return contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10))

    def wait_until_up(self, token: str) -> None:
        end = time.monotonic() + 90
        while True:
            try:
                with self.connect() as connection:
                    assert self.accepts(connection, token)
            except (OSError, AssertionError, http.client.HTTPException):
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
            else:
                return

    def begin(self) -> None:
        self._thread.start()

    def ended(self, token: str, at: float) -> None:
        """From now on it should be refused."""
        self._ended.put((token, at))

    def finish(self) -> list[float]:
        """When all were refused, or were not within ten seconds."""
        self._ended.put(None)
        self._thread.join(PATIENCE + 60)
        return sorted(self.delays)

    def _watch(self) -> None:
        open_ones: dict[str, float] = {}
        more = True
        with self.connect() as connection:
            while more or open_ones:
                with contextlib.suppress(queue.Empty):
                    while one := self._ended.get_nowait():
                        open_ones[one[0]] = one[1]
                    more = False
                for token, at in list(open_ones.items()):
                    late = time.monotonic() - at > PATIENCE
                    if late or not self.accepts(connection, token):
                        self.missed += late
                        self.delays.append(max(time.monotonic() - at, 0.0))
                        del open_ones[token]
                time.sleep(0.01)


@contextlib.contextmanager
def three(issuer: str, urls: Sequence[str], token: str) -> Iterator[list[Guarded]]:
    """The three applications, each following by itself: the first URL, the second, …, and the first again."""
    running = [Guarded(framework, issuer, urls[n % len(urls)]) for n, framework in enumerate(FRAMEWORKS)]
    try:
        for one in running:
            one.wait_until_up(token)
        yield running
    finally:
        for one in running:
            one.process.terminate()
        for one in running:
            one.process.wait(10)
