"""Every measure by its name, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable

from bench.drivers import Settings
from bench.measures import guard_http, guard_in_process, harness, login, profile, refresh, rotation, start
from bench.report import Outcome

MEASURES: dict[str, Callable[[Settings], Outcome]] = {
    "harness": harness.measure,
    "rotation_in_process": rotation.measure,
    "refresh_http": refresh.measure,
    "profile_http": profile.measure,
    "login_http": login.measure_rate,
    "login_storm": login.measure_storm,
    "start_and_memory": start.measure,
    "guard_in_process": guard_in_process.measure,
    "guard_http": guard_http.measure,
    "guard_peers": guard_http.measure_peers,
}
