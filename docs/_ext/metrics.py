"""All metrics, from what Prometheus is told: an app that nobody has asked anything yet has each of them."""

from __future__ import annotations

from quart_trio import QuartTrio

from triolet import Triolet
from triolet.admin.merge_metrics import HELP
from triolet.monitoring.prometheus import Exporter

from .rst import literal, plain, table

__all__ = ["families", "metrics"]

UNITS = {"_timestamp_seconds": "seconds since 1970", "_start_time_seconds": "seconds since 1970", "_seconds": "seconds"}
UNITS |= {"_bytes": "bytes"}
"""By how a name ends; any other counts the things of its name."""


def families() -> dict[str, tuple[str, tuple[str, ...], str]]:
    """Return of each metric, by the name that a query has: its type, its labels, and its help text."""
    live = Triolet(QuartTrio("nobody's"))
    found = {}
    for family in Exporter(live.statistics).collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        found[name] = (family.type, tuple(sorted(labels)), family.documentation)
    for name, told in HELP.items():
        labels = ("worker",) if name == "worker_answers" else ()
        found[f"triolet_{name}"] = ("counter" if name.endswith("_total") else "gauge", labels, told)
    return found


def metrics() -> list[str]:
    """Return the table of all metrics."""
    rows = [
        (literal(name), kind, ", ".join(map(literal, labels)), _unit(name), plain(told))
        for name, (kind, labels, told) in families().items()
    ]
    return table(("name", "type", "labels", "unit", "what it is"), rows)


def _unit(name: str) -> str:
    bare = name.removesuffix("_total")
    return next((unit for ending, unit in UNITS.items() if bare.endswith(ending)), "a number")
