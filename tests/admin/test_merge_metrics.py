"""The metrics of several workers as one text."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests.shop import make_shop
from triolet.admin.merge_metrics import merge


def test_samples_of_a_family_stand_together_each_with_its_worker() -> None:
    _, live = make_shop()
    text = live.service.exposition()[1]
    _, merged = merge({0: text, 3: text}, {"workers": 2, "worker_restarts_total": 5})
    families = {family.name: family for family in text_string_to_metric_families(merged.decode())}
    opened = families["triolet_connections_open"].samples
    assert [(one.labels["worker"], one.labels["transport"]) for one in opened] == [
        ("0", "websocket"),
        ("0", "sse"),
        ("3", "websocket"),
        ("3", "sse"),
    ]
    alone = {family.name: family for family in text_string_to_metric_families(text.decode())}
    for name, family in alone.items():
        assert len(families[name].samples) == 2 * len(family.samples)
    assert families["triolet_workers"].samples[0].value == 2
    assert families["triolet_worker_restarts"].samples[0].value == 5


def test_a_label_with_a_brace_in_its_value_stays_as_it_is() -> None:
    _, merged = merge({1: b'# HELP x X.\n# TYPE x gauge\nx{a="} {"} 1.0\n'}, {})
    assert merged == b'# HELP x X.\n# TYPE x gauge\nx{worker="1",a="} {"} 1.0\n'


def test_nobody_answers() -> None:
    assert merge({}, {})[1] == b""
