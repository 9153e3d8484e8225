"""Every measure by its name, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable

from bench.drivers import Settings
from bench.measures import (
    clients,
    growth,
    guard_http,
    guard_in_process,
    guard_servers,
    harness,
    imports,
    login,
    peers_http,
    profile,
    refresh,
    rights,
    rotation,
    start,
)
from bench.report import Outcome

MEASURES: dict[str, Callable[[Settings], Outcome]] = {
    "harness": harness.measure,
    "rotation_in_process": rotation.measure,
    "rotation_postgres": rotation.measure_postgres,
    "refresh_http": refresh.measure,
    "refresh_postgres": refresh.measure_postgres,
    "client_credentials_http": clients.measure,
    "profile_http": profile.measure,
    "login_http": login.measure_rate,
    "login_storm": login.measure_storm,
    "start_and_memory": start.measure,
    "guard_in_process": guard_in_process.measure,
    "guard_http": guard_http.measure,
    "guard_peers": guard_http.measure_peers,
    "guard_servers": guard_servers.measure,
    "rights_http": rights.measure,
    "rights_table": rights.measure_table,
    "peers_http": peers_http.measure,
    "growth": growth.measure,
    "imports": imports.measure,
}
