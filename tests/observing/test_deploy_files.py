"""The dashboard and the alert rules in `deploy/`: each expression parses, and asks for what the service shows."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from tests.observing.promql import asked, grouped, parsed
from tests.observing.reading import samples
from watchword import Settings
from watchword.app import dispatcher
from watchword.meters import LIMITED, METERS, REQUESTS, Meter
from watchword.observing.prometheus import PrometheusMeters
from watchword.opening import opened
from watchword.settings.table import LIMITS

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yaml"
DASHBOARD = ROOT / "deploy" / "grafana" / "watchword.json"
GUIDE = ROOT / "docs" / "guides" / "metrics.md"
ADDED = {"job", "instance"}
"""Labels that Prometheus adds to whatever it scrapes."""


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return list(json.loads(DASHBOARD.read_text("utf-8"))["panels"])


def expressions() -> Iterator[tuple[str, str]]:
    """(where, expression) of everything."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


EVERYTHING = list(expressions())
BY_NAME = {meter.name: meter for meter in METERS}


def meter_of(metric: str) -> Meter | None:
    """The meter whose series this is: a histogram has three kinds."""
    return BY_NAME.get(metric) or BY_NAME.get(re.sub(r"_(bucket|sum|count)$", "", metric))


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], set[str]]:
    """The names in a real exposition, and the routes of a real service."""
    return asyncio.run(_shown(tmp_path_factory.mktemp("data")))


async def _shown(folder: Path) -> tuple[set[str], set[str]]:
    registry = CollectorRegistry()
    meters = PrometheusMeters(registry)
    async with opened(Settings(data_dir=folder), meters=meters) as kernel:
        dispatcher(kernel)
        for meter in METERS:  # series with several labels appear with their first event
            values = tuple(next(iter(meters._allowed[meter][place]), "x") for place in range(len(meter.labels)))
            {"counter": meters.count, "histogram": lambda row, *labels: meters.observe(row, 1, *labels),
             "level": lambda row, *labels: meters.level(row, 1, *labels)}[meter.kind](meter, *values)  # fmt: skip
        routes = set(meters._allowed[REQUESTS][0])
    return {name for name, _ in samples(generate_latest(registry).decode())}, routes


@pytest.mark.parametrize(("where", "expression"), EVERYTHING, ids=[where for where, _ in EVERYTHING])
def test_it_asks_for_what_there_is(where: str, expression: str, shown: tuple[set[str], set[str]]) -> None:
    """Name, labels and the labels' values, in a selector and in what is added up."""
    names, routes = shown
    tree = parsed(expression)
    found = list(asked(tree))
    assert found
    buckets = {"le"} if any(metric.endswith("_bucket") for metric, _ in found) else set()
    for metric, labels in found:
        assert metric in names
        meter = meter_of(metric)
        assert meter is not None
        known = dict(meter.labels)
        for label, values in labels.items():
            assert label in known.keys() | ADDED
            if label in known:
                allowed = set(known[label]) or (routes if label == "route" else {row.limit for row in LIMITS})
                assert set(values) <= allowed
        assert grouped(tree) <= known.keys() | ADDED | buckets


def test_a_wrong_expression_is_found() -> None:
    """The parser refuses what Prometheus refuses."""
    for wrong in ("sum(rate(x[5m])", "rate(x)", "histogram_quantile(x)", "x >", "no_function(x)"):
        with pytest.raises(ValueError):
            parsed(wrong)


def test_every_meter_is_looked_at() -> None:
    """A number that neither the dashboard nor an alert shows would be counted for no one."""
    looked_at = {meter_of(one.metric) for _, expression in EVERYTHING for one in asked(parsed(expression))}
    assert looked_at == set(METERS)
    assert LIMITED in looked_at


def test_every_alert_says_what_to_do() -> None:
    """A summary, a description, a severity, and a section of the guide that exists."""
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names) > 10
    headings = set(re.findall(r"^### (\w+)$", GUIDE.read_text("utf-8"), re.MULTILINE))
    assert set(names) == headings
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}
        assert rule["annotations"]["runbook"] == f"docs/guides/metrics.md#{rule['alert'].lower()}"
        assert re.fullmatch(r"([0-9]+[smh])?", rule.get("for", ""))
        for text in rule["annotations"].values():
            assert re.sub(r"\{\{ \$value( \| humanize(Duration|Percentage)?)? \}\}", "", text).count("{{") == 0


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    """Ids are unique, panels do not overlap, each has a title, a description and a data source that one chooses."""
    ids = [panel["id"] for panel in panels()]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken
        taken |= cells
        if panel["type"] == "row":
            continue
        assert panel["title"]
        assert panel["description"].endswith(".")
        for target in panel["targets"]:
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert legend <= grouped(parsed(target["expr"]))
