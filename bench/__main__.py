"""`python -m bench`: run the measures, print the table, write `bench/results/latest.json`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from types import FrameType

from bench import machine, needs, python_peers
from bench.drivers import Settings
from bench.measures import MEASURES
from bench.report import Outcome, show, write
from bench.servers import BenchError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; 0: all measured, 1: a bar missed under `--strict`, 2: something could not be measured."""
    asked = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    if asked.peers:
        python_peers.install()
    for line in (missing := needs.missing()):
        print(f"note: {line}", file=sys.stderr)
    settings = _settings(asked)
    facts = machine.facts(settings.cores)
    names = asked.only or list(MEASURES)
    try:
        outcomes = [_run(name, settings) for name in names]
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    how: dict[str, object] = {
        "rounds": settings.rounds,
        "seconds": settings.seconds,
        "warmup": settings.warmup,
        "connections": settings.connections,
        "quick": asked.quick,
        "missing": missing,
    }
    path = write(outcomes, facts, machine.versions(), how)
    show(outcomes)
    print(f"written: {path.relative_to(path.parent.parent.parent)}")
    return _code(outcomes, strict=asked.strict)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Watchword beside its peers.")
    parser.add_argument(
        "--only", action="append", choices=MEASURES, metavar="NAME", help=f"one of: {', '.join(MEASURES)}"
    )
    parser.add_argument("--quick", action="store_true", help="two short rounds: to see that it works, not to quote")
    parser.add_argument("--rounds", type=int, help="pairs of runs of each comparison")
    parser.add_argument("--seconds", type=float, help="length of one run")
    parser.add_argument("--connections", type=int, help="connections of the load")
    parser.add_argument("--peers", action="store_true", help="first install the Python peers into bench/.venv-peers")
    parser.add_argument("--strict", action="store_true", help="end with code 1 when a bar is missed")
    return parser


def _settings(asked: argparse.Namespace) -> Settings:
    settings = Settings(machine.choose_cores())
    if asked.quick:
        settings = replace(settings, rounds=2, seconds=1.0, warmup=0.5)
    given = {name: value for name in ("rounds", "seconds", "connections") if (value := getattr(asked, name))}
    return replace(settings, **given)


def _run(name: str, settings: Settings) -> Outcome:
    print(f"{name} …", file=sys.stderr, flush=True)
    try:
        return MEASURES[name](settings)
    except (BenchError, OSError) as error:
        return Outcome(name, failure=str(error))


def _code(outcomes: list[Outcome], *, strict: bool) -> int:
    if any(outcome.failure for outcome in outcomes):
        return 2
    return int(strict and not all(bar.passed for outcome in outcomes for bar in outcome.bars))


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
