"""`python -m bench.page`: write the figures of `results/latest.json` into the pages on performance and capacity.

Between `<!-- figures: NAME -->` and `<!-- end -->` stands what a function of this module makes; the rest is written by
hand. A part whose measure the file does not have, or could not take, stays as it is and is named.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable

import msgspec

from bench.measures.rights import KEPT
from bench.report import RESULTS
from bench.servers import ROOT
from watchword.identity.feed import FeedEntry
from watchword.identity.revocation import SKEW
from watchword.ids import new_id
from watchword.settings import Settings

PAGES = (ROOT / "docs/performance.md", ROOT / "docs/guides/capacity.md")
_PART = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
Figures = dict[str, float]
DAY = 86_400
REFRESHES_A_DAY, LOG_INS_A_DAY = 10, 0.1
"""Of a user: what the capacity page assumes."""

LOG_OUTS_A_DAY = 1

PEAK = 3
"""The busiest hour, in averages."""

ENGINES = ("sqlite", "postgres")
USERS = (1_000_000, 10_000_000, 100_000_000)


class Results:
    """The file of results, by measure."""

    def __init__(self) -> None:
        self.file = json.loads(RESULTS.read_text())
        self._measures = {each["name"]: each for each in self.file["measures"] if not each["failure"]}

    def figures(self, name: str) -> Figures:
        """Return the figures and bars of a measure. Raises `KeyError` if it was not taken."""
        measure = self._measures[name]
        return measure["figures"] | {bar["what"]: bar["value"] for bar in measure["bars"]}


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    first = list(head)
    lines = [first, ["---", *["---:"] * (len(first) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _n(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def conditions(found: Results) -> str:
    """Say where and when."""
    machine, how, versions = found.file["machine"], found.file["how"], found.file["versions"]
    return (
        f"{found.file['at'][:10]}, {machine['processor']}, {machine['cores_usable']} cores,"
        f" {machine['memory_gib']:.0f} GiB, {machine['file_system']}, a durable append {machine['fsync_ms']:.2g} ms;"
        f" Python {versions['python']}, SQLite {versions['sqlite']}, Node {versions.get('node', '–')};"
        f" {how['rounds']} rounds of {how['seconds']} s; load average at the start"
        f" {machine['load_average_at_start']}. The load average counts what else ran: above 0.3 the rates are too low,"
        " and only ratios and processor times mean something.\n"
    )


def service(found: Results) -> str:
    """Show our own service."""
    log_ins, sqlite = found.figures("login_http"), found.figures("refresh_http")
    postgres = found.figures("refresh_postgres")
    rows = [
        ("log in with Argon2id, SQLite", _n(log_ins["ours log-ins/s"]), _n(log_ins["ours CPU, µs each"]), "–"),
        ("refresh, SQLite", _n(sqlite["ours refreshes/s"]), _n(sqlite["ours CPU, µs each"]), "–"),
    ]
    for name in ("1 worker", "2 workers"):
        whats = ("refreshes/s", "CPU µs each", "PostgreSQL's CPU µs each")
        rows.append((f"refresh, PostgreSQL, {name}", *[_n(postgres[f"{name}, {what}"]) for what in whats]))
    return _table(("the service", "per second", "its processor time of each, µs", "PostgreSQL's, µs"), rows)


def statements(found: Results) -> str:
    """Compare with the bare drivers."""
    rows = []
    for name, what in (
        ("rotation_in_process", "SQLite, 32 in flight"),
        ("rotation_postgres", "PostgreSQL, 16 in flight"),
    ):
        own = found.figures(name)
        rows.append((what, _n(own["ours rotations/s"]), _n(own["peer rotations/s"]), f"{own['ratio']:.2f}"))
    return _table(("rotation in process", "ours, per second", "bare driver", "ratio"), rows)


def peers(found: Results) -> str:
    """Compare whole services."""
    figures = found.figures("peers_http")
    names = list(dict.fromkeys(key.partition(",")[0] for key in figures))
    steps = ["register, argon2id", "log in, argon2id", "log in, bcrypt", "log in, scrypt", "refresh", "protected route"]
    rows = []
    for name in names:
        sides = [f"{name}, {step}" for step in steps]
        rows.append((name, *[_cell(figures, side) if f"{side}, /s" in figures else "–" for side in sides]))
    return _table(("per second (µs each)", *steps), rows)


def _cell(figures: Figures, side: str) -> str:
    spent = figures.get(f"{side}, CPU µs each")
    return _n(figures[f"{side}, /s"]) + ("" if spent is None else f" ({_n(spent)})")


def servers(found: Results) -> str:
    """Compare servers of a guarded route."""
    figures = found.figures("guard_servers")
    sides = [key.removesuffix(", /s") for key in figures if key.endswith(", /s")]
    rows = [(side, _n(figures[f"{side}, /s"]), _n(figures[f"{side}, CPU µs each"])) for side in sides]
    return _table(("guarded route", "per second", "processor time of each, µs"), rows)


def kept(found: Results) -> str:
    """Show what a guarded route keeps of an unguarded one, and what that keeps of itself."""
    measure = next(each for each in found.file["measures"] if each["name"] == "rights_http")
    spent = found.figures("rights_http")
    rows = []
    for bar in measure["bars"]:
        side = bar["what"].removesuffix(" ÷ unguarded")
        rows.append((side, f"{bar['value']:.3f}", f"{bar['bar']:.2f}", _n(spent[f"{side}, CPU µs each"])))
    controls = [key.removesuffix(KEPT) for key in spent if key.endswith(KEPT)]
    rows += [(side, f"{spent[side + KEPT]:.3f}", "–", _n(spent[f"{side}, CPU µs each"])) for side in controls]
    return _table(("guarded ÷ unguarded", "by processor time", "bar", "µs each"), rows)


def growth(found: Results) -> str:
    """Show what grows."""
    runs = next(each for each in found.file["measures"] if each["name"] == "growth")["runs"]
    rows = []
    for engine in ENGINES:
        own = [run for run in runs if run["engine"] == engine]
        for what in own[0]:
            if what in ("side", "engine", "users") or what.startswith("bytes"):
                continue
            values = [_n(float(run[what])) for run in own]
            rows.append((f"{engine}: {what}", *values, f"{float(own[-1][what]) / float(own[0][what]):.2f}"))
    head = [f"{run['users']:,} users" for run in runs if run["engine"] == "sqlite"]
    return _table(("microseconds", *head, "last ÷ first"), rows)


def imports(found: Results) -> str:
    """Show how quickly users move in."""
    own = found.figures("imports")
    rows = [(engine, _n(own[f"{engine}, users/s"]), _n(own[f"{engine}, CPU µs each"])) for engine in ENGINES]
    head = (
        f"{own['users']:,.0f} users imported",
        "per second",
        "processor time of each without the database server, µs",
    )
    return _table(head, rows)


def capacity(found: Results) -> str:
    """Compute what so many users need."""
    sizes = {key.partition(",")[0]: value for key, value in found.figures("growth").items() if "bytes of" in key}
    log_in = found.figures("login_http")["ours CPU, µs each"] / 1e6
    postgres = found.figures("refresh_postgres")
    refresh = postgres["1 worker, CPU µs each"] / 1e6
    server = postgres["1 worker, PostgreSQL's CPU µs each"] / 1e6
    rows = []
    for users in USERS:
        bytes_of = [users * (sizes[f"{e}: bytes of a user"] + 3 * sizes[f"{e}: bytes of a session"])
                    for e in ENGINES]  # fmt: skip
        refreshes, log_ins = (PEAK * users * each / DAY for each in (REFRESHES_A_DAY, LOG_INS_A_DAY))
        rows.append(
            (f"{users:,}", f"{4 * users:,}", *[f"{_n(each / 1e9)} GB" for each in bytes_of], _n(refreshes), _n(log_ins),
             f"{refreshes * refresh + log_ins * log_in:.1f}", f"{refreshes * server:.1f}")
        )  # fmt: skip
    head = ("users", "rows", "SQLite", "PostgreSQL", "refreshes/s at the peak", "log-ins/s", "cores of the service")
    return _table((*head, "cores of PostgreSQL"), rows)


def feed(_: Results) -> str:
    """Compute what the feed carries, from the encoding of an entry and its life. Nothing is measured."""
    entry = len(msgspec.json.encode(FeedEntry("session", new_id(), None, 2**31))) + 1  # and a comma
    life = int(Settings().access_lifetime.total_seconds()) + SKEW
    rows = []
    for users in USERS:
        each_second = PEAK * users * LOG_OUTS_A_DAY / DAY
        rows.append((f"{users:,}", _n(each_second), _n(each_second * entry / 1000), _n(each_second * life)))
    head = ("users", "entries/s at the peak", f"kB/s to each guard process, {entry} bytes an entry")
    return _table((*head, f"entries that a guard holds, {life:,} s each"), rows)


def sizes(found: Results) -> str:
    """Show the bytes of a row."""
    measured = {key: value for key, value in found.figures("growth").items() if "bytes of" in key}
    return _table(("with its indexes", "bytes"), [(key, _n(value)) for key, value in measured.items()])


PARTS: dict[str, Callable[[Results], str]] = {
    each.__name__: each
    for each in (conditions, service, statements, peers, servers, kept, growth, imports, capacity, feed, sizes)
}


def main() -> int:
    """Write what the file has; 0 if that was everything."""
    found, missing = Results(), []

    def filled(part: re.Match[str]) -> str:
        try:
            return f"{part[1]}{PARTS[part[2]](found)}{part[3]}"
        except (KeyError, IndexError, StopIteration) as error:
            missing.append(f"{part[2]} (no {error})")
            return part[0]

    for page in PAGES:
        page.write_text(_PART.sub(filled, page.read_text()))
    for each in missing:
        print(f"left as it was: {each}", file=sys.stderr)
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(main())
