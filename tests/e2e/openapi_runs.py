"""The program `schemathesis` against a running service: it asks what `/openapi.json` allows, and judges the answers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.e2e.client import PASSWORD, bearer
from tests.e2e.server import Server

PROGRAM = Path(sys.executable).with_name("schemathesis")
ROOT = Path(__file__).parents[2]
SERVED = {"WATCHWORD_ADMIN": "on", "WATCHWORD_EMAIL_LOGIN": "on", "WATCHWORD_CLAIMS": "name=name"}
ADMINISTRATORS = 20

# The shape of a request is in the document. Rules beyond it are not (what was taken, which links work, that of two
# fields one is given), so a request of a good shape may be refused by each status that the document announces for it.
_CONFIGURATION = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 303, 304, 400, 401, 403, 404, 409, 422]
"""


def accounts_in(server: Server) -> dict[str, str]:
    """Make administrators and a guard's key; return what `openapi_hooks` reads from the environment."""
    made = server.command("users", "create", "boss", "--admin", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert made.returncode == 0, made.stderr
    key = re.search(r"wwg_[\w-]+", server.command("guards", "create", "fuzz").stdout)
    assert key is not None
    names = [f"boss-{number}" for number in range(ADMINISTRATORS)]
    with server.client() as client:
        token = client.log_in("boss")
        for name in names:
            body = {"username": name, "password": PASSWORD, "roles": ["admin"]}
            assert client.post("/admin/users", json=body, headers=bearer(token)).status_code == 201
    return {"ACCOUNTS": " ".join(names), "PASSWORD": PASSWORD, "GUARD_KEY": key[0]}


def run(server: Server, accounts: dict[str, str], *arguments: str) -> dict[str, Any]:
    """Run it with all checks, and return its report. Fails with what it says where a check failed."""
    configuration, report = server.folder / "schemathesis.toml", server.folder / "schemathesis.json"
    configuration.write_text(_CONFIGURATION)
    done = subprocess.run(
        [
            *(PROGRAM, "--config-file", configuration, "run", f"{server.url}/openapi.json", "--checks", "all"),
            *("--seed", "20261129", "--no-color", "--continue-on-failure", "--report-json-path", report, *arguments),
        ],
        cwd=server.folder,
        env={**os.environ, **accounts, "SCHEMATHESIS_HOOKS": "tests.e2e.openapi_hooks", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(report.read_text())
    return found
