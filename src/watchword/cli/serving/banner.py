"""Makes the text that `watchword serve` prints when it is ready."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from pathlib import Path

from watchword.settings import Loaded, Settings

# The README's user, so that either may be followed first.
_REGISTER = """\
    curl -s {url}/register -H 'Content-Type: application/json' \\
         -d '{{"username": "ada", "email": "ada@example.com", "password": "plum-orbit-canvas"}}'
"""
_CREATE = """\
    {program} users create ada --email ada@example.com --data-dir {data_dir}
"""
_LOGIN = """\
    curl -s {url}/login -H 'Content-Type: application/json' \\
         -d '{{"email": "ada@example.com", "password": "plum-orbit-canvas"}}'
"""
_FORGERY = """\
  Tokens are signed with a shared secret (HS256): an API that can verify them can also forge them.
  Leave out WATCHWORD_JWT_SECRET for ES256, where verifying needs the public key only.
"""


_FIRST = """
  No one administers this service yet. Open this page within 30 minutes, which works once:

    {url}/links/{token}

  Or, without a browser:

    curl -s {url}/admin/first -H 'Content-Type: application/json' \\
         -d '{{"token": "{token}", "username": "ada", "password": "…"}}'
"""


def first_administrator(loaded: Loaded, token: str | None) -> str:
    """Return how to make the first administrator; nothing where there is one."""
    settings = loaded.settings
    if token is None:
        return ""
    if _as_json(loaded):
        return "\n" + json.dumps(
            {
                "event": "no_administrator",
                "link": f"{settings.public_url}/links/{token}",
                "route": f"{settings.public_url}/admin/first",
                "token": token,
            }
        )
    return "\n" + _FIRST.format(url=settings.public_url, token=token)


def _as_json(loaded: Loaded) -> bool:
    return loaded.settings.log_format == "json" and loaded.origins["log_format"] != "default"


def banner(loaded: Loaded) -> str:
    """Return URL, documentation and how to get a first token; one JSON line where JSON is set."""
    settings = loaded.settings
    if _as_json(loaded):
        started = {
            "event": "started",
            "url": settings.public_url,
            "docs": _docs(settings),
            "host": settings.host,
            "port": settings.port,
            "workers": settings.workers,
            "algorithm": settings.algorithm,
        }
        return json.dumps(started)
    return "\n".join(_lines(settings))


def program() -> str:
    """Return how to run this program again: its name if a shell finds it, else as it was started."""
    started = sys.argv[0]
    if os.path.basename(started) == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m watchword.cli"
    found = shutil.which(os.path.basename(started))
    same = found is not None and os.path.exists(started) and os.path.samefile(found, started)
    return os.path.basename(started) if same else shlex.quote(started)


def _shown(folder: Path) -> str:
    """Return a path as short as it is clear: one that leads out of this directory is written in full."""
    here = Path.cwd()
    return str(folder.relative_to(here)) if folder.is_relative_to(here) else str(folder)


def _lines(settings: Settings) -> list[str]:
    lines = [f"Watchword is running at {settings.public_url}", ""]
    if (docs := _docs(settings)) is not None:
        lines.append(f"  API documentation   {docs}")
    lines.append(f"  Listening on        {settings.host} port {settings.port}")
    if settings.metrics_port is not None:
        lines.append(f"  Metrics             port {settings.metrics_port} of {settings.metrics_host}, at /metrics")
    lines.append(f"  Data                {_shown(settings.data_dir)}")
    if settings.workers > 1:
        lines.append(f"  Processes           {settings.workers}")
    if settings.email_verification != "required":  # there an account begins with the link of a mail
        first = _REGISTER if settings.registration == "open" else _CREATE
        steps = (first + _LOGIN).format(
            url=settings.public_url, data_dir=shlex.quote(str(settings.data_dir)), program=program()
        )
        lines += ["", "  For a first token, register and log in:", "", steps]
    if settings.algorithm == "HS256":
        lines.append(_FORGERY)
    lines.append("  Stop with Ctrl-C.")
    return lines


def _docs(settings: Settings) -> str | None:
    return f"{settings.public_url}/docs" if settings.docs else None
