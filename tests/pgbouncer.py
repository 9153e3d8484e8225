"""Debian's PgBouncer in transaction mode, before a server of ours."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.postgres import Server, free_port

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
_CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = 4
max_client_conn = 200
log_connections = 0
log_disconnections = 0
"""


@contextmanager
def in_front_of(server: Server) -> Iterator[int]:
    """PgBouncer, for as long as it is used: its port."""
    assert PROGRAM is not None
    port, folder = free_port(), Path(tempfile.mkdtemp(prefix="watchword-pgbouncer-"))
    folder.chmod(0o755)
    (folder / "users").write_text('"postgres" ""\n')
    (folder / "pgbouncer.ini").write_text(_CONFIGURATION.format(server=server.port, port=port, folder=folder))
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = subprocess.Popen([PROGRAM, "-q", *user, str(folder / "pgbouncer.ini")], cwd="/")
    try:
        give_up_at = time.monotonic() + 60
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            assert process.poll() is None, "PgBouncer has ended"
            assert time.monotonic() < give_up_at, "PgBouncer does not answer"
            time.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)
