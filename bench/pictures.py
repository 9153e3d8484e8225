"""`python -m bench.pictures`: from `bench/results/latest.json` make `docs/assets/bench-light.svg` and `bench-dark.svg`.

Horizontal bars, ours beside the peers', and how many times the peer's figure ours is. Text stays text, and everything
that the picture shows is also said in its description, for those who hear it. What was not measured is not drawn.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from bench.report import RESULTS
from bench.servers import ROOT

ASSETS = ROOT / "docs" / "assets"
Figures = Mapping[str, float]

WIDTH, MARGIN = 800, 24
BAR_FROM, BAR_MOST = 272, 320  # where bars begin, how long the longest is
ROW, BAR, HEAD, GAP = 26, 16, 54, 22
RATIO_AT = WIDTH - MARGIN
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


@dataclass(frozen=True)
class Row:
    """One bar: what it is called, which measure and figure it shows, and whether it is ours."""

    label: str
    measure: str
    figure: str
    ours: bool = False


@dataclass(frozen=True)
class Panel:
    """Bars that are compared with each other. Of each group the first of ours is what its peers are compared with."""

    title: str
    unit: str
    groups: Sequence[Sequence[Row]]


@dataclass(frozen=True)
class Palette:
    """The colours of one picture."""

    text: str
    quiet: str
    ours: str
    theirs: str


@dataclass(frozen=True)
class Drawn:
    """A bar with its figure and, for a peer, how many times that figure ours is."""

    label: str
    value: float
    ours: bool
    ratio: float | None


PALETTES = {
    "light": Palette(text="#1f2328", quiet="#59636e", ours="#0969da", theirs="#afb8c1"),
    "dark": Palette(text="#f0f6fc", quiet="#9198a1", ours="#4493f8", theirs="#57606a"),
}


def _guarded(label: str, side: str, *, ours: bool = False) -> Row:
    return Row(label, "guard_peers", f"{side}, /s", ours)


def _pair(measure: str, unit: str, ours: str, peer: str) -> list[Row]:
    return [Row(ours, measure, f"ours {unit}", ours=True), Row(peer, measure, f"peer {unit}")]


PANELS = (
    Panel(
        "A guarded route",
        "requests per second on one core",
        [
            [
                _guarded("Starlette, Watchword", "Starlette, guarded route", ours=True),
                _guarded("Starlette, unguarded", "Starlette, unguarded"),
                _guarded("Fastify, @fastify/jwt with cache", "Fastify, @fastify/jwt with cache"),
                _guarded("Fastify, @fastify/jwt", "Fastify, @fastify/jwt"),
                _guarded("Express, jsonwebtoken", "Express, jsonwebtoken"),
            ]
        ],
    ),
    Panel(
        "The same framework, guarded otherwise",
        "requests per second on one core",
        [
            [
                _guarded("FastAPI, Watchword", "FastAPI, Watchword", ours=True),
                _guarded("FastAPI, PyJWT by hand", "FastAPI, PyJWT by hand"),
                _guarded("FastAPI, fastapi-users", "FastAPI, fastapi-users"),
            ],
            [
                _guarded("Flask, Watchword", "Flask, Watchword", ours=True),
                _guarded("Flask, Flask-JWT-Extended", "Flask, Flask-JWT-Extended"),
            ],
            [
                _guarded("Django REST, Watchword", "Django REST, Watchword", ours=True),
                _guarded("Django REST, simplejwt", "Django REST, simplejwt"),
            ],
        ],
    ),
    Panel(
        "The service beside the tutorials' Express application",
        "requests per second on one core",
        [
            _pair("profile_http", "requests/s", "GET /profile, Watchword", "GET /profile, Express"),
            _pair("refresh_http", "refreshes/s", "Refresh, Watchword", "Refresh, Express"),
        ],
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw both; 0: drawn, 2: there is nothing to draw."""
    parser = argparse.ArgumentParser(prog="python -m bench.pictures", description="Draw what the bench has measured.")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to read")
    parser.add_argument("--into", type=Path, default=ASSETS, help="the directory to write to")
    parser.add_argument("--quick", action="store_true", help="draw a quick run too: to look at, not to show")
    asked = parser.parse_args(arguments)
    if not asked.results.exists():
        print(f"error: there is no {asked.results}\nhint: python -m bench", file=sys.stderr)
        return 2
    document = json.loads(asked.results.read_text())
    if document["how"]["quick"] and not asked.quick:
        print("error: the results are of a quick run\nhint: python -m bench, or --quick to look at it", file=sys.stderr)
        return 2
    for note in _doubts(document):
        print(f"note: {note}", file=sys.stderr)
    panels = list(drawn(document))
    if not panels:
        print("error: nothing of what the picture shows was measured", file=sys.stderr)
        return 2
    asked.into.mkdir(parents=True, exist_ok=True)
    for name, palette in PALETTES.items():
        path = asked.into / f"bench-{name}.svg"
        path.write_text(picture(panels, palette, _caption(document)))
        print(f"written: {path}")
    return 0


def _doubts(document: Mapping[str, Any]) -> list[str]:
    shown = {row.measure for panel in PANELS for group in panel.groups for row in group}
    measured = [outcome for outcome in document["measures"] if outcome["name"] in shown]
    return [f"{outcome['name']}: {note}" for outcome in measured for note in outcome["notes"]]


def drawn(document: Mapping[str, Any]) -> Iterator[tuple[Panel, list[list[Drawn]]]]:
    """Yield each panel of which at least one comparison was measured, with its bars."""
    measured: dict[str, Figures] = {outcome["name"]: outcome["figures"] for outcome in document["measures"]}
    for panel in PANELS:
        groups = [bars for group in panel.groups if len(bars := _bars(group, measured)) > 1]
        if groups:
            yield panel, groups


def _bars(group: Sequence[Row], measured: Mapping[str, Figures]) -> list[Drawn]:
    """Return the bars of a group; none where ours is missing."""
    found = [(row, value) for row in group if (value := measured.get(row.measure, {}).get(row.figure))]
    own = next((value for row, value in found if row.ours), None)
    if own is None:
        return []
    return [Drawn(row.label, value, row.ours, None if row.ours else own / value) for row, value in found]


def _caption(document: Mapping[str, Any]) -> str:
    machine, versions = document["machine"], document["versions"]
    parts = [f"{machine['processor']}, Python {versions['python']}"]
    if "node" in versions:
        parts.append(f"Node.js {versions['node'].removeprefix('v')}")
    return f"{', '.join(parts)}; server on one core, load on another. Measured {document['at'][:10]} by make bench."


# Drawing ------------------------------------------------------------------------------------------------------------


def picture(panels: Sequence[tuple[Panel, list[list[Drawn]]]], palette: Palette, caption: str) -> str:
    """Return the SVG."""
    parts: list[str] = []
    top = MARGIN
    for panel, groups in panels:
        top = _draw(parts, panel, groups, palette, top)
    parts.append(_text(MARGIN, top + 4, caption, palette.quiet, size=11))
    height = top + MARGIN
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        f' role="img" aria-labelledby="title desc" font-family="{escape(FONT)}">'
    )
    title = '<title id="title">Watchword beside its peers</title>'
    description = f'<desc id="desc">{escape(_description(panels, caption))}</desc>'
    return "\n".join((opening, title, description, *parts, "</svg>", ""))


def _draw(parts: list[str], panel: Panel, groups: list[list[Drawn]], palette: Palette, top: int) -> int:
    """Add a panel; return where the next one begins."""
    parts.append(_text(MARGIN, top + 14, panel.title, palette.text, size=16, weight=600))
    parts.append(_text(MARGIN, top + 34, panel.unit, palette.quiet, size=12))
    parts.append(_text(RATIO_AT, top + 34, "ours ÷ theirs", palette.quiet, size=12, anchor="end"))
    top += HEAD
    for place, bars in enumerate(groups):
        top += 10 if place else 0
        # Groups have scales of their own where they differ tenfold: a comparison is within its group.
        compared = [bars] if _apart(groups) else groups
        longest = max(bar.value for each in compared for bar in each)
        for bar in bars:
            _draw_bar(parts, bar, bar.value / longest, palette, top)
            top += ROW
    return top + GAP


def _apart(groups: list[list[Drawn]]) -> bool:
    most = [max(bar.value for bar in bars) for bars in groups]
    return max(most) > 10 * min(most)


def _draw_bar(parts: list[str], bar: Drawn, share: float, palette: Palette, top: int) -> None:
    length, base = max(2, round(BAR_MOST * share)), top + 13
    weight = 600 if bar.ours else 400
    fill = palette.ours if bar.ours else palette.theirs
    parts.append(_text(MARGIN, base, bar.label, palette.text, size=13, weight=weight))
    parts.append(f'<rect x="{BAR_FROM}" y="{top}" width="{length}" height="{BAR}" rx="3" fill="{fill}"/>')
    parts.append(_text(BAR_FROM + length + 8, base, f"{bar.value:,.0f}", palette.text, size=13, weight=weight))
    if bar.ratio is not None:
        parts.append(_text(RATIO_AT, base, _times(bar.ratio), palette.text, size=13, weight=600, anchor="end"))


def _text(x: int, y: int, text: str, fill: str, *, size: int, weight: int = 400, anchor: str = "start") -> str:
    also = f' font-weight="{weight}"' if weight != 400 else ""
    also += f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x}" y="{y}" font-size="{size}" fill="{fill}"{also}>{escape(text)}</text>'


def _times(ratio: float) -> str:
    return f"{ratio:.0f} ×" if ratio >= 10 else f"{ratio:.1f} ×" if ratio >= 2 else f"{ratio:.2f} ×"


def _description(panels: Sequence[tuple[Panel, list[list[Drawn]]]], caption: str) -> str:
    """Say in words what the bars show."""
    said = []
    for panel, groups in panels:
        bars = [_said(bar) for group in groups for bar in group]
        said.append(f"{panel.title}, {panel.unit}: {'; '.join(bars)}.")
    return " ".join((*said, caption))


def _said(bar: Drawn) -> str:
    ratio = "" if bar.ratio is None else f" (ours is {_times(bar.ratio)} that)"
    return f"{bar.label} {bar.value:,.0f}{ratio}"


if __name__ == "__main__":
    sys.exit(main())
