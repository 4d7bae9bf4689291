"""All metrics, from what Prometheus is told: an app that nobody has asked anything yet has each of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from quart_trio import QuartTrio

from triolet import Triolet
from triolet.admin.merge_metrics import HELP, merge
from triolet.monitoring.prometheus import Exporter

from .rst import literal, plain, table

__all__ = ["Family", "families", "metrics"]

UNITS = {
    "_timestamp_seconds": "seconds since 1970",
    "_start_time_seconds": "seconds since 1970",
    "_seconds": "seconds",
    "_bytes": "bytes",
}
"""By how a name ends; any other counts the things of its name."""


class Family(NamedTuple):
    """A metric: its name as a query has it, its type, its labels, its unit, and its help text."""

    name: str
    kind: str
    labels: tuple[str, ...]
    unit: str
    told: str


def families() -> list[Family]:
    """Return all metrics: those of a process, and those of its supervisor."""
    return [*map(_family, _told())]


def metrics() -> list[str]:
    """Return the table of all metrics."""
    rows = [
        (literal(one.name), one.kind, ", ".join(map(literal, one.labels)), one.unit, plain(one.told))
        for one in families()
    ]
    return table(("name", "type", "labels", "unit", "what it is"), rows)


def _told() -> Iterator[Metric]:
    live = Triolet(QuartTrio("nobody's"))
    yield from Exporter(live.statistics).collect()
    own = {name: 0.0 for name in HELP if name != "worker_answers"}
    yield from text_string_to_metric_families(merge({}, own, {0: True})[1].decode())


def _family(metric: Metric) -> Family:
    labels = {label for sample in metric.samples for label in sample.labels} - {"le"}
    unit = next((unit for ending, unit in UNITS.items() if metric.name.endswith(ending)), "a number")
    name = f"{metric.name}_total" if metric.type == "counter" else metric.name
    return Family(name, metric.type, tuple(sorted(labels)), unit, metric.documentation)
