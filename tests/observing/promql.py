"""Reads PromQL with a parser of Prometheus' own grammar: which series an expression asks for, and by which labels."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import promql_parser

GRAFANA = {"$__rate_interval": "5m", "$job": "watchword", "$instance": "here"}
"""What Grafana puts in place of its variables."""

_PLAIN = re.compile(r"[\w./|{}$ -]+")


class Asked(NamedTuple):
    """One selector: its metric, and label → values that it names."""

    metric: str
    labels: dict[str, list[str]]


def parsed(expression: str) -> Any:
    """The expression's tree. Raises `ValueError` where Prometheus would refuse it."""
    for variable, text in GRAFANA.items():
        expression = expression.replace(variable, text)
    return promql_parser.parse(expression)


def asked(tree: Any) -> Iterator[Asked]:
    """Every selector of a tree."""
    for node in _nodes(tree):
        if isinstance(node, promql_parser.VectorSelector):
            labels = {each.name: str(each.value).split("|") for each in node.matchers.matchers}
            assert all(_PLAIN.fullmatch(value) for values in labels.values() for value in values), labels
            yield Asked(node.name, labels)


def grouped(tree: Any) -> set[str]:
    """The labels by which anything is added up."""
    return {
        label
        for node in _nodes(tree)
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None
        for label in node.modifier.labels
    }


def _nodes(tree: Any) -> Iterator[Any]:
    if tree is None:
        return
    yield tree
    for name in ("lhs", "rhs", "expr", "param", "vector_selector"):
        yield from _nodes(getattr(tree, name, None))
    for each in getattr(tree, "args", ()):
        yield from _nodes(each)
