"""The dashboard and the alerts in the docs ask for metrics that there are, with labels that these have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations, zip_longest
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client.parser import text_string_to_metric_families

from tests.shop import make_shop
from triolet.admin.merge_metrics import HELP, merge

from .promql import ALERTS, alerts, dashboard, groupings, selectors, targets

SCRAPED = {"job", "instance", "worker"}
"""Labels that Prometheus gives, and the supervisor."""

EXPRESSIONS = [*alerts().items(), *((title, expression) for title, expression, _ in targets())]


@pytest.fixture(scope="module")
def scrape() -> dict[str, dict[str, set[str]]]:
    """What a server with workers is scraped for: of each sample its labels with their values."""
    _, live = make_shop()
    _, text = merge({0: live.service.exposition()[1]}, dict.fromkeys(HELP.keys() - {"worker_answers"}, 1), {0: True})
    found: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return found


@pytest.mark.parametrize(("what", "expression"), EXPRESSIONS)
def test_what_is_asked_for_is_scraped(what: str, expression: str, scrape: dict[str, dict[str, set[str]]]) -> None:
    assert selectors(expression)
    known = set(SCRAPED)
    for name, values, is_rated in selectors(expression):
        assert name in scrape, f"{what}: there is no {name}"
        known |= scrape[name].keys()
        assert values.keys() <= scrape[name].keys() | SCRAPED, f"{what}: {name} has no such label"
        for label in values.keys() - SCRAPED:
            assert set(values[label]) <= scrape[name][label], f"{what}: no {label} of {name} is ever that"
        counts = name.endswith(("_total", "_bucket", "_sum", "_count"))
        assert counts == is_rated, f"{what}: of a counter ask how fast it grows, of a gauge how much it is"
    assert groupings(expression) <= known, f"{what}: nothing has that label"


@pytest.mark.parametrize(("title", "expression", "legend"), targets())
def test_a_legend_says_what_is_left_of_the_labels(
    title: str, expression: str, legend: str, scrape: dict[str, dict[str, set[str]]]
) -> None:
    kept = groupings(expression) if re.search(r"\b(sum|max|min|count)\b", expression) else SCRAPED
    assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= kept, title
    assert all('job="$job",instance=~"$instance"' in one for one in re.findall(r"triolet_\w+(\{[^}]*\})?", expression))


def test_each_alert_says_what_happens_what_to_look_at_and_why_its_threshold() -> None:
    text = ALERTS.read_text(encoding="utf-8")
    rules = text.split("- alert: ")[1:]
    assert [rule.split("\n")[0] for rule in rules] == list(alerts())
    for rule in rules:
        assert re.search(r"labels: \{severity: (critical|warning)\}", rule)
        for said in ("summary", "description", "threshold"):
            assert re.search(rf'^ +{said}: "[^"]', rule, re.MULTILINE), f"{said} of {rule}"


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    board = dashboard()
    assert board["schemaVersion"] >= 36
    assert (board["id"], board["uid"], board["title"]) == (None, "triolet", "Triolet")
    variables = {one["name"]: one for one in board["templating"]["list"]}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    source = {"type": "prometheus", "uid": "${datasource}"}
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    for panel in panels:
        if panel["type"] == "row":
            assert (panel["collapsed"], panel["panels"]) == (False, [])
            continue
        assert panel["type"] in ("stat", "timeseries")
        assert panel["description"]
        assert panel["datasource"] == source
        assert panel["targets"]
        assert [target["refId"] for target in panel["targets"]] == list("ABCDE"[: len(panel["targets"])])
        assert all(target["datasource"] == source for target in panel["targets"])
        assert panel["fieldConfig"]["defaults"]["unit"]


def test_grafanas_own_library_knows_all_that_is_in_it() -> None:
    """What it does not know (a key that is misspelt, an option of another panel) it reads past, and does not write."""
    register_default_plugins()  # the options of each kind of panel, and Prometheus' queries
    board = dashboard()
    read = json.loads(JSONEncoder().encode(Dashboard.from_json(board)))
    assert {re.sub(r"[0-9]+", "*", path) for path in _lost(board, read)} == {"id", "templating.list.*.definition"}
    board["panels"][1]["fieldConfig"]["defaults"]["unti"] = "s"
    assert "panels.1.fieldConfig.defaults.unti" in set(_lost(board, read))


def _lost(written: Any, read: Any, path: str = "") -> Iterator[str]:
    """The paths of what is not in both."""
    if isinstance(written, dict) and isinstance(read, dict):
        for key, value in written.items():
            yield from _lost(value, read.get(key, ...), f"{path}.{key}")
    elif isinstance(written, list) and isinstance(read, list):
        for at, (one, other) in enumerate(zip_longest(written, read, fillvalue=...)):
            yield from _lost(one, other, f"{path}.{at}")
    elif written != read:
        yield path.removeprefix(".")


def test_no_panel_lies_on_another_nor_outside() -> None:
    places = [(panel["title"], panel["gridPos"]) for panel in dashboard()["panels"]]
    for title, at in places:
        assert at["x"] >= 0, title
        assert at["x"] + at["w"] <= 24, title
        assert min(at["w"], at["h"]) > 0, title
    for (title, one), (another, other) in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, f"{title} lies on {another}"
