"""What the dashboard and the alerts ask: their expressions, and the metrics and labels that these name."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from tests.pages import kept

__all__ = ["ALERTS", "Selector", "alerts", "dashboard", "groupings", "selectors", "targets"]

DOCS = kept("operating")
ALERTS = DOCS / "alerts.yml"


class Selector(NamedTuple):
    """A metric as it stands in an expression.

    Attributes:
        name: the sample's.
        values: what is asked of each label: alternatives, or nothing where it is a variable of the dashboard's.
        is_rated: whether how fast it grows is asked.
    """

    name: str
    values: dict[str, list[str]]
    is_rated: bool


def selectors(expression: str) -> list[Selector]:
    """Find the metrics that an expression names. Not a parser of PromQL: ``promtool`` is, where it is at hand."""
    found = []
    for match in re.finditer(r"(rate\(|increase\()?\b((?:triolet|process)_\w+)(?:\{([^}]*)\})?", expression):
        labels = re.findall(r'(\w+)=~?"([^"]*)"', match[3] or "")
        values = {label: [] if "$" in value else value.split("|") for label, value in labels}
        found.append(Selector(match[2], values, match[1] is not None))
    return found


def groupings(expression: str) -> set[str]:
    """Find the labels by which an expression adds up or matches."""
    lists = re.findall(r"\b(?:by|on|ignoring|without) \(([^)]*)\)", expression)
    return {label.strip() for some in lists for label in some.split(",")}


def alerts() -> dict[str, str]:
    """Each alert's expression. One line each is asked of the file: so no library for YAML is needed here."""
    text = ALERTS.read_text(encoding="utf-8")
    return dict(re.findall(r"^ +- alert: (\w+)\n +expr: (.+)$", text, re.MULTILINE))


def dashboard() -> dict[str, Any]:
    """The dashboard."""
    board: dict[str, Any] = json.loads((DOCS / "grafana.json").read_text(encoding="utf-8"))
    return board


def targets() -> list[tuple[str, str, str]]:
    """Each query of the dashboard: its panel's title, the expression, and what its legend says."""
    return [
        (panel["title"], target["expr"], target["legendFormat"])
        for panel in dashboard()["panels"]
        for target in panel.get("targets", ())
    ]
