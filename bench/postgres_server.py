"""A PostgreSQL server that stores durably, for the measures: the tests' one, with the settings of a real one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.machine import memory_bytes, on_core
from tests.postgres import Server

VERSION = 18


@contextmanager
def postgres(core: int = -1) -> Iterator[Server]:
    """Start a server, on a core if one is said, with a quarter of the memory as PostgreSQL's documentation has it."""
    folder = Path(tempfile.mkdtemp(prefix="watchword-bench-"))
    try:
        folder.chmod(0o755)  # the server's user goes through it
        (home := folder / "server").mkdir()
        server = Server(
            home,
            VERSION,
            fsync="on",
            full_page_writes="on",
            autovacuum="on",
            shared_buffers=f"{memory_bytes() // 2**22}MB",
            max_wal_size="8GB",
        )
        server.make()
        with on_core(core):
            server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def process_of(server: Server) -> int:
    """Return the id of the server's first process."""
    return int((server.data / "postmaster.pid").read_text().split()[0])
