"""Channels with a state: what a Reducer adds to an event, and a herd of newcomers that are given the state."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from benchmarks.deadline import deadline
from benchmarks.fanout.machine import cpu_seconds
from benchmarks.results import Table, spread
from benchmarks.runs.contestants import RunsServer, finish, started
from benchmarks.runs.crowds import WAYS, Crowd, columns, measure

__all__ = ["Newcomers", "Reduced", "newcomers", "newcomers_table", "reduced", "reduced_table"]

CHANNELS = 20
EVENTS = 10_000
PAST = 5_000
"""Events of the channel to which newcomers come."""

KEPT_SECONDS = 1.5
"""Within that time after its 256th event a channel's state has been kept anew."""

LIMIT_SECONDS = 300


class Reduced(NamedTuple):
    """One log: µs of CPU of an event, without a Reducer and with one, in each round."""

    name: str
    without: list[float]
    having: list[float]


class Newcomers(NamedTuple):
    """One log, one way to come, and what newcomers ask for."""

    name: str
    way: str
    asked: str
    crowd: Crowd


def reduced(name: str, rounds: int) -> Reduced:
    """Publish to a server without a Reducer and to one that has it, in turns.

    Raises:
        OverdueError: it took much too long.
    """
    folders = tempfile.TemporaryDirectory(), tempfile.TemporaryDirectory()
    with folders[0] as one, folders[1] as other, ExitStack() as stack, deadline(f"{name}, a Reducer", LIMIT_SECONDS):
        plain = started(stack, name, Path(one))
        keeping = started(stack, name, Path(other), state=True)
        for server in (plain, keeping):
            _event_cpu(server)  # not counted: it warms up
        without, having = [], []
        for _ in range(rounds):
            without.append(_event_cpu(plain))
            having.append(_event_cpu(keeping))
        return Reduced(name, without, having)


def _event_cpu(server: RunsServer) -> float:
    before = cpu_seconds(server.pid)
    _publish(server, CHANNELS, EVENTS)
    time.sleep(KEPT_SECONDS)
    return (cpu_seconds(server.pid) - before) / EVENTS * 1e6


def _publish(server: RunsServer, channels: int, events: int) -> None:
    server.ask(f"publish?channels={channels}&events={events}")
    finish(server, 120)


def reduced_table(found: Sequence[Reduced]) -> Table:
    """Write what a Reducer adds."""
    rows = [
        [
            it.name,
            spread(it.without, 1),
            spread(it.having, 1),
            f"{statistics.median(b - a for a, b in zip(it.without, it.having, strict=True)):.1f}",
        ]
        for it in found
    ]
    return Table(
        "runs-reducer",
        "What a Reducer adds to an event",
        ["", "µs of CPU an event, without", "with a Reducer", "it adds"],
        rows,
        f"{EVENTS:,} events are published one after the other to {CHANNELS} channels in turn, which nobody follows. "
        "The state has 50 parts of 100 bytes, of which each event replaces one, and is kept after every 256 events.",
    )


def newcomers(name: str, crowd: int) -> list[Newcomers]:
    """Let newcomers come at once to a channel with a past: for its state, and for all its events.

    Raises:
        OverdueError: it took much too long.
        RuntimeError: somebody did not get it.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack, deadline(f"{name}, newcomers", LIMIT_SECONDS):
        server = started(stack, name, Path(folder), state=True)
        _publish(server, 1, PAST)
        return [
            Newcomers(name, way, asked, measure(server, way, f"/events/0?{query}", crowd, f"#{PAST} "))
            for way in WAYS
            for asked, query in (("its state", "snapshot=1"), (f"its {PAST:,} events", "after=0"))
        ]


def newcomers_table(found: Sequence[Newcomers], crowd: int) -> Table:
    """Write it down, a row for each log and way."""
    rows = [[it.name, WAYS[it.way], it.asked, *it.crowd.row(with_redis=it.name.endswith("Redis"))] for it in found]
    return Table(
        "runs-newcomers",
        f"{crowd} newcomers at once to a channel with a state",
        ["", "over", "asked for", *columns(crowd)],
        rows,
        f"The channel has {PAST:,} events of 110 bytes of data, and a state of 50 parts, each of which is the newest "
        "event of its key. The time runs from the first attempt to connect until the newest event is there, in the "
        "state or by itself.",
    )
