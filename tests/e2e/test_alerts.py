"""The alerts in the docs, as Prometheus itself evaluates them: each is given by what it is for, and not before.

The dashboard's queries go through the same parser. ``promtool`` does both; no server runs.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.monitoring.promql import ALERTS, alerts, targets

from .needs import needs, program

pytestmark = needs("promtool")

HEALTHY = {
    "triolet_draining": "0x90",
    "triolet_connections_open": "1000x90",
    "triolet_connections_behind": "60x90",
    'triolet_connections_returned_total{job="shop"}': "0+60x90",
    "triolet_slowest_until_retention_seconds": " ".join(["+Inf"] * 91),
    "triolet_crashes_total": "7x90",
    'triolet_gaps_total{reason="expired"}': "0+0.1x90",
    'triolet_gaps_total{reason="epoch"}': "0x90",
    'triolet_event_age_written_seconds_bucket{le="0.5"}': "0+600x90",
    'triolet_event_age_written_seconds_bucket{le="2.5"}': "0+600x90",
    'triolet_event_age_written_seconds_bucket{le="+Inf"}': "0+600x90",
    'triolet_commands_total{outcome="done"}': "0+6000x90",
    'triolet_commands_total{outcome="failed"}': "0+30x90",
    'triolet_held_things{kind="tail_events"}': "100x90",
    "triolet_tail_ceiling_events": "16384x90",
    "triolet_log_away": "0x90",
    "triolet_log_behind_seconds": "0.01x90",
    "triolet_events_heard_total": "0+60x90",
    "triolet_memory_held_bytes": "100x90",
    "triolet_memory_ceiling_bytes": "1000x90",
    "process_start_time_seconds": "5x90",
    "process_cpu_seconds_total": "0+30x90",
}
"""A server in order, from minute to minute: some clients behind, some come back, one command in 200 fails."""


class Case(NamedTuple):
    """What goes wrong at minute 30, and when that is told.

    Attributes:
        series: what is otherwise than on a healthy server.
        quiet: the minute at which nobody is called yet.
        told: the minute at which somebody is.
    """

    series: dict[str, str]
    quiet: int
    told: int


def grows(a_minute: float = 60) -> str:
    """A counter that begins to count."""
    return f"0x29 {a_minute:g}+{a_minute:g}x60"


def turns(good: float, bad: float) -> str:
    return f"{good:g}x29 {bad:g}x60"


CASES = {
    "TrioletLate": Case(
        {
            'triolet_event_age_written_seconds_bucket{le="0.5"}': "0+600x29 17400+594x5 20400x55",
            'triolet_event_age_written_seconds_bucket{le="2.5"}': "0+600x90",
        },
        32,
        45,
    ),
    "TrioletManyBehind": Case({"triolet_connections_behind": turns(60, 150)}, 34, 36),
    "TrioletGapSoon": Case({"triolet_slowest_until_retention_seconds": turns(90, 20)}, 30, 31),
    "TrioletRetentionShort": Case({'triolet_gaps_total{reason="expired"}': grows(10)}, 34, 40),
    "TrioletReconnects": Case({'triolet_connections_returned_total{job="shop"}': grows(6000)}, 38, 45),
    "TrioletRefuses": Case({"triolet_connections_refused_total": grows()}, 29, 31),
    "TrioletCrashes": Case({"triolet_crashes_total": "7x29 8x60"}, 29, 31),
    "TrioletAppFails": Case({"triolet_allow_failures_total": grows()}, 29, 31),
    "TrioletCommandsFail": Case({'triolet_commands_total{outcome="failed"}': grows(300)}, 33, 42),
    "TrioletRunsLost": Case({'triolet_runs_total{what="lost"}': "0x29 1x60"}, 29, 31),
    "TrioletKeysAway": Case({'triolet_authentications_total{outcome="keys_away"}': grows()}, 31, 33),
    "TrioletCallbacksFail": Case(
        {'triolet_callbacks_total{outcome="yes"}': "0+60x90", 'triolet_callbacks_total{outcome="away"}': grows(6)},
        31,
        33,
    ),
    "TrioletForgeries": Case({'triolet_authentications_total{outcome="signature"}': grows(300)}, 34, 42),
    "TrioletLogAway": Case({"triolet_log_away": turns(0, 1)}, 30, 31),
    "TrioletLogBehind": Case({"triolet_log_behind_seconds": turns(0.01, 20)}, 30, 31),
    "TrioletDeaf": Case({'triolet_events_heard_total{worker="1"}': "0+60x29 1800x60"}, 38, 45),
    "TrioletPublishFails": Case({'triolet_log_failures_total{what="publish"}': grows()}, 32, 34),
    "TrioletTailFills": Case({'triolet_held_things{kind="tail_events"}': turns(100, 9000)}, 34, 36),
    "TrioletLogLost": Case({'triolet_gaps_total{reason="epoch"}': "0x29 1x60"}, 29, 31),
    "TrioletPresenceFails": Case({'triolet_presence_statements_total{outcome="failed"}': grows()}, 34, 36),
    "TrioletProcessLost": Case({"triolet_presence_processes_lost_total": "0x29 1x60"}, 29, 31),
    "TrioletGone": Case({"triolet_draining": "0x29 stale"}, 31, 33),
    "TrioletWorkersMissing": Case({"triolet_workers": "4x90", "triolet_workers_serving": turns(4, 3)}, 30, 31),
    "TrioletWorkerSilent": Case({'triolet_worker_answers{worker="1"}': turns(1, 0)}, 30, 31),
    "TrioletWorkerRestarts": Case({"triolet_worker_restarts_total": "0x29 1x60"}, 29, 31),
    "TrioletMemory": Case({"triolet_memory_held_bytes": turns(100, 850)}, 31, 32),
    "TrioletFull": Case({"process_cpu_seconds_total": "0+30x29 900+57x60"}, 41, 47),
}

MORE = {
    "a snapshot fails": ("TrioletAppFails", Case({'triolet_snapshots_total{outcome="failed"}': grows()}, 29, 31)),
    "a recheck fails": ("TrioletKeysAway", Case({'triolet_rechecks_total{answer="failed"}': grows()}, 31, 33)),
    "a tail overflows": ("TrioletTailFills", Case({"triolet_tail_dropped_events_total": grows(9)}, 34, 36)),
    "it starts in a circle": (
        "TrioletWorkerRestarts",
        Case({"process_start_time_seconds": "5x25 9x3 12x3 15x60"}, 33, 35),
    ),
}
"""What one of the alerts is for, too."""

CALLS_NOBODY = {
    "a log of somebody else's": {
        "triolet_tail_ceiling_events": "0x90",
        'triolet_held_things{kind="tail_events"}': "0x90",
    },
    "a deployment": {
        'triolet_connections_returned_total{job="shop"}': "0+60x29 1800+6000x20 121800+60x40",
        "triolet_draining": "0x29 1x20 0x40",
    },
    "another program that is busy": {'process_cpu_seconds_total{job="another"}': "0+60x90"},
    "a quiet night": {"triolet_events_heard_total": "0+60x29 1800x60"},
}


def series(name: str) -> str:
    """A series with the labels that Prometheus gives each."""
    base, _, labels = name.rstrip("}").partition("{")
    job = "" if "job=" in labels else 'job="shop",'
    return f'{base}{{{job}instance="a:9100"{"," + labels if labels else ""}}}'


def group(name: str, changed: dict[str, str], checks: dict[int, str | None]) -> dict[str, Any]:
    """One test of promtool's: which alerts call at which minute."""
    given = {series(key): value for key, value in {**HEALTHY, **changed}.items()}
    return {
        "name": name,
        "interval": "1m",
        "input_series": [{"series": key, "values": value} for key, value in given.items()],
        "promql_expr_test": [
            {
                "expr": 'group by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": f"{minute}m",
                "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1}] if alert else [],
            }
            for minute, alert in checks.items()
        ],
    }


def promtool(*arguments: str) -> None:
    done = subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_alerts() -> None:
    promtool("check", "rules", str(ALERTS))


def test_each_alert_calls_for_what_it_is_for_and_not_before(tmp_path: Path) -> None:
    assert list(CASES) == list(alerts())
    named = {**{name: (name, case) for name, case in CASES.items()}, **MORE}
    groups = [group(name, case.series, {case.quiet: None, case.told: alert}) for name, (alert, case) in named.items()]
    groups += [group(name, changed, {29: None, 45: None, 85: None}) for name, changed in CALLS_NOBODY.items()]
    groups.append(group("healthy", {}, dict.fromkeys((1, 10, 89))))
    file = tmp_path / "test.yml"  # YAML takes JSON
    file.write_text(json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": groups}))
    promtool("test", "rules", str(file))


def test_an_alert_that_does_not_call_is_found(tmp_path: Path) -> None:
    file = tmp_path / "test.yml"
    groups = [group("wrong", {}, {10: "TrioletLate"})]
    file.write_text(json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": groups}))
    with pytest.raises(AssertionError, match="TrioletLate"):
        promtool("test", "rules", str(file))


def test_prometheus_takes_the_dashboards_queries(tmp_path: Path) -> None:
    rules = [
        {"record": f"query{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, (_, expression, _) in enumerate(targets())
    ]
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", str(file))
