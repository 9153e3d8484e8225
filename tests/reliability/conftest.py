"""Experiments and other long tests. `make reliability` runs all; `make test` runs those that are marked `quick`.

An experiment takes the fixture `row` and notes its figures there. `--scale` says which part of the table's numbers is
tried, `--rows` where the rows are written, `--journals` where the journals of those that failed are.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.e2e.fixtures import serve
from tests.hashes import dear_hashes
from tests.postgres import Databases
from tests.reliability import rows
from tests.reliability.journal import Journal
from tests.reliability.rows import Row
from tests.reliability.service import Service

__all__ = ["dear_hashes", "serve"]
HERE = Path(__file__).parent
ROWS: pytest.StashKey[dict[str, Row]] = pytest.StashKey()
ROW: pytest.StashKey[Row] = pytest.StashKey()
JOURNAL: pytest.StashKey[Journal] = pytest.StashKey()
BEGAN: pytest.StashKey[float] = pytest.StashKey()
ENGINES = {"sqlite": "SQLite", "postgres": "PostgreSQL 18", "valkey": "PostgreSQL 18 + Valkey 9"}
Launch = Callable[..., Service]


def on(*places: tuple[str, int], quick: tuple[str, int] | None = None) -> pytest.MarkDecorator:
    """Run the experiment once for each engine and number of worker processes: `@on(("sqlite", 1), ("postgres", 2))`.

    :param quick: the one that `make test` runs as well.
    """
    each = [
        pytest.param(*place, id=f"{place[0]}-{place[1]}", marks=[pytest.mark.quick] if place == quick else [])
        for place in places
    ]
    return pytest.mark.parametrize(("engine", "workers"), each, indirect=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options; they exist when this folder is named."""
    parser.addoption("--scale", type=float, default=1.0, help="which part of the table's numbers is tried")
    parser.addoption("--only", choices=("together", "alone"), help="what may run at once, or what has bounds of time")
    parser.addoption("--rows", type=Path, help="where the experiments' rows are written, as JSON")
    parser.addoption("--lengthy", action="store_true", help="also the tests that alone take an hour")
    parser.addoption("--journals", type=Path, default=Path("build/journals"), help="where journals of failures go")


def pytest_configure(config: pytest.Config) -> None:
    """Prepare the list of rows, and note when the run began."""
    config.stash[ROWS] = {}
    config.stash[BEGAN] = time.time()
    config.pluginmanager.register(Gathering(config.stash[ROWS]))


class Gathering:
    """Gathers the rows by the reports of tests: they may come from other processes (`-n`)."""

    def __init__(self, found: dict[str, Row]) -> None:
        self._found = found

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a test's row as the last of its reports has it."""
        if (row := getattr(report, "row", None)) is not None:
            self._found[report.nodeid] = Row.of(row)


@pytest.fixture(autouse=True)
def as_dear_as_users_pay(dear_hashes: None) -> None:
    """Hash passwords as the product does, in this process too."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not quick, unless the command line names this folder or something in it."""

    def wanted(item: pytest.Item) -> bool:
        if HERE not in item.path.parents:
            return True
        if not named(config):
            return item.get_closest_marker("quick") is not None
        if item.get_closest_marker("lengthy") is not None and not config.getoption("--lengthy"):
            return False
        return only is None or (only == "alone") == (item.get_closest_marker("alone") is not None)

    only = config.getoption("--only", None)
    kept, left = [item for item in items if wanted(item)], [item for item in items if not wanted(item)]
    config.hook.pytest_deselected(items=left)
    items[:] = sorted(kept, key=lambda item: item.get_closest_marker("soak") is None)


def named(config: pytest.Config) -> bool:
    """Whether the command line names this folder, so that all of it is run, and at full scale."""
    return any(Path(argument.partition("::")[0]).resolve().is_relative_to(HERE) for argument in config.args)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin the experiment's row, so that one whose preparations fail has a row as well."""
    marker = item.get_closest_marker("experiment")
    if marker is None:
        return
    params = item.callspec.params if hasattr(item, "callspec") else {}
    engine = marker.kwargs.get("engines", ENGINES[params.get("engine", "sqlite")])
    workers = marker.kwargs.get("workers", params.get("workers", 1))
    full = named(item.config)
    scale = item.config.getoption("--scale") if full else rows.QUICK
    row = Row(*marker.args, engine, workers, scale, timed=full)
    item.stash[ROW] = row


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the row into the test's reports."""
    report = yield
    if (row := item.stash.get(ROW, None)) is not None:
        report.row = asdict(row)  # type: ignore[attr-defined]  # reports take more
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Run the experiment; it fails when a bound does not hold, and then leaves its journal."""
    row = item.stash.get(ROW, None)
    if row is None:
        return (yield)
    began = time.monotonic()
    try:
        yield
        row.finished = True
        assert row.passed, f"{row.told}\n{row.error}"
    except BaseException as error:
        row.error = row.error or f"{type(error).__name__}: {error}"
        if JOURNAL in item.stash and named(item.config):
            item.stash[JOURNAL].dump(item.config.getoption("--journals") / f"{item.name}.jsonl")
        raise
    finally:
        row.seconds = time.monotonic() - began


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the rows, if they are wanted."""
    config = session.config
    path = config.getoption("--rows", None)
    if path is not None and not hasattr(config, "workerinput"):  # of xdist, whose first process has all rows
        command = " ".join([".venv/bin/python -m pytest", *sys.argv[1:]])
        seconds, quick = time.time() - config.stash[BEGAN], config.getoption("markexpr") == "quick"
        rows.write(path, rows.as_json(config.stash[ROWS].values(), command=command, seconds=seconds, quick=quick))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table."""
    found = config.stash[ROWS].values()
    if found and named(config):
        terminalreporter.section("experiments")
        for line in rows.table(found):
            terminalreporter.write_line(line)


@pytest.fixture
def row(request: pytest.FixtureRequest, engine: str, workers: int) -> Row:
    """The row of this experiment, which names its engine and number of processes."""
    return request.node.stash[ROW]


@pytest.fixture
def journal(request: pytest.FixtureRequest) -> Journal:
    """The journal of this experiment."""
    request.node.stash[JOURNAL] = journal = Journal()
    return journal


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    """The engine, `sqlite` unless `on` says otherwise."""
    return str(getattr(request, "param", "sqlite"))


@pytest.fixture
def workers(request: pytest.FixtureRequest) -> int:
    """The number of worker processes, 1 unless `on` says otherwise."""
    return int(getattr(request, "param", 1))


@pytest.fixture
def database_url(engine: str, postgres: Callable[[int], Databases]) -> Iterator[str]:
    """The URL of an empty database in PostgreSQL; empty for SQLite."""
    if engine == "sqlite":
        yield ""
        return
    with postgres(18).lent() as url:
        yield url


@pytest.fixture
def launch(database_url: str, workers: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    """Starts services on the test's engine: `launch(WATCHWORD_DRAIN="1s")`. On PostgreSQL they share a database."""
    started: list[Service] = []

    def start(**given: object) -> Service:
        options: dict[str, object] = {"database_url": database_url, "workers": workers, **given}
        folder = options.pop("folder", None) or tmp_path_factory.mktemp("service")
        service = Service(folder, **options)  # type: ignore[arg-type]
        started.append(service)
        return service

    yield start
    for service in started:
        if service.running:
            service.stop()
        assert not service.crashes(), service.crashes()
