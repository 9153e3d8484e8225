"""Shows findings: to people as they are found, to programs as JSON."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence

from watchword.cli.doctor.findings import Finding, Outcome
from watchword.cli.printing import print_json

_STYLES = {Outcome.PASS: "green", Outcome.WARN: "yellow", Outcome.FAIL: "bold red", Outcome.SKIP: "dim"}
_NAME_WIDTH = 20


def show(finding: Finding) -> None:
    """Print a finding; why it matters and what mends it, where it is not well."""
    if sys.stdout.isatty():
        _coloured(finding)
        return
    print("\n".join(_lines(finding)), flush=True)


def _lines(finding: Finding) -> list[str]:
    seen = _plain(finding.seen)
    lines = [f"{finding.outcome.value}  {finding.name:<{_NAME_WIDTH}} {seen}"]
    if finding.outcome in {Outcome.WARN, Outcome.FAIL}:
        lines += [f"      why: {finding.why}", f"      fix: {finding.fix}"]
    return lines


def _coloured(finding: Finding) -> None:
    from rich.console import Console
    from rich.text import Text

    first, *more = _lines(finding)
    word = finding.outcome.value
    console = Console()
    console.print(Text(word, _STYLES[finding.outcome]).append(first[len(word) :], "default"), soft_wrap=True)
    for line in more:
        console.print(Text(line), soft_wrap=True)


def show_end(findings: Sequence[Finding]) -> None:
    """Print how many there are of each kind."""
    counts = Counter(each.outcome for each in findings)
    print(", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Outcome))


def as_json(url: str | None, findings: Sequence[Finding]) -> None:
    """Print all findings for programs."""
    counts = Counter(each.outcome.value for each in findings)
    items = [
        {"check": each.name, "outcome": each.outcome.value, "seen": each.seen, "why": each.why, "fix": each.fix}
        for each in findings
    ]
    print_json({"url": url, "counts": {each.value: counts[each.value] for each in Outcome}, "items": items})


def _plain(text: str) -> str:
    """Keep what a strange server sent from steering the terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
