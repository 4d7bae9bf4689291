"""Answers that stream: so many runs at once, each of 50 tokens a second, with two readers each over event streams."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from benchmarks.deadline import deadline
from benchmarks.fanout.load import Load
from benchmarks.fanout.machine import busy_seconds, cpu_seconds, memory
from benchmarks.results import Table, spread
from benchmarks.runs.contestants import RECIPE, TRIOLETS, RunsServer, begin, finish, started
from benchmarks.runs.model import Order
from benchmarks.targets import judge

__all__ = ["RATE", "READERS", "Turn", "stream", "streaming_table"]

RATE = 50.0
READERS = 2
PATIENCE = 20.0
"""Seconds beyond the runs' own, within which every reader is to have every token."""

START_SECONDS = 150
"""For servers to start, and readers to come."""

LOOK_SECONDS = 0.25


class Turn(NamedTuple):
    """What one contestant did once. CPU is in µs for each token that reached a reader."""

    runs: int
    server: float
    redis: float
    rate: float
    """Deliveries a second, until all had all or patience was over."""
    delivered: int
    wanted: int
    disordered: int
    p50_ms: float
    p99_ms: float
    kilobytes: float
    """Resident memory that a run and its readers add to the server, at most."""
    redis_kilobytes: float
    load: float
    """Share of their core that the readers took."""
    foreign: float
    """Share of a core that other processes took."""


def stream(name: str, runs: int, seconds: float, program: Path) -> Turn:
    """Start a contestant anew, warm it up, connect all readers, and have the runs go on for so many seconds.

    Raises:
        OverdueError: it took much too long.
        RuntimeError: it did not start, or did not take the readers.
    """
    limit = deadline(f"{name}, {runs:,} runs", seconds + PATIENCE + START_SECONDS)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack, limit:
        server = started(stack, name, Path(folder))
        _warm_up(server, program)
        return _stream(server, Order("stream", runs, int(seconds * RATE), RATE), program)


def _warm_up(server: RunsServer, program: Path) -> None:
    with Load(program, server, "sse", 10 * READERS, path=server.answer("warm-*"), sharing=READERS) as load:
        begin(server, Order("warm", 10, 50, RATE))
        load.wait_for(10 * READERS * 50, 10)
    finish(server, 20)


def _stream(server: RunsServer, wanted: Order, program: Path) -> Turn:
    redis = server.redis.pid if server.redis else None
    total = wanted.runs * wanted.tokens * READERS
    held, redis_held = memory(server.pid), memory(redis) if redis else 0
    with Load(program, server, "sse", wanted.runs * READERS, in_flight=16, sharing=READERS) as load:
        time.sleep(1)  # the last ones may still be on their way
        used, redis_used = cpu_seconds(server.pid), cpu_seconds(redis) if redis else 0.0
        before, busy, start = load.counts(), busy_seconds(), time.monotonic()
        begin(server, wanted)
        until = start + wanted.tokens / RATE + 1 + PATIENCE  # their beginnings are spread over a second
        latencies: list[int] = []
        peak, counts = held, before
        while counts.events < total and time.monotonic() < until:
            time.sleep(LOOK_SECONDS)
            latencies += load.samples()
            counts = load.counts()
            peak = max(peak, memory(server.pid))
        took = time.monotonic() - start
        used = cpu_seconds(server.pid) - used
        redis_used = cpu_seconds(redis) - redis_used if redis else 0.0
        load_used = (counts.cpu_ns - before.cpu_ns) / 1e9
        foreign = busy_seconds() - busy - used - redis_used - load_used
        redis_peak = memory(redis) if redis else 0
    done = max(1, counts.events)
    p50, p99 = _percentiles(latencies)
    return Turn(
        runs=wanted.runs,
        server=used / done * 1e6,
        redis=redis_used / done * 1e6,
        rate=counts.events / took,
        delivered=counts.events,
        wanted=total,
        disordered=counts.disordered,
        p50_ms=p50,
        p99_ms=p99,
        kilobytes=(peak - held) / wanted.runs / 1e3,
        redis_kilobytes=(redis_peak - redis_held) / wanted.runs / 1e3,
        load=load_used / took,
        foreign=max(0.0, foreign) / took,
    )


def _percentiles(latencies: list[int]) -> tuple[float, float]:
    latencies.sort()
    if not latencies:
        return 0.0, 0.0
    return latencies[len(latencies) // 2] / 1e3, latencies[len(latencies) * 99 // 100] / 1e3


def streaming_table(turns: Mapping[tuple[str, int], Sequence[Turn]]) -> Table:
    """Write the medians, beside the recipe's CPU."""
    rows = [_row(name, some, turns.get((RECIPE, runs), ())) for (name, runs), some in turns.items()]
    most = max((runs for _, runs in turns), default=0)
    verdicts = []
    if all((name, most) in turns for name in (TRIOLETS[2], RECIPE)):
        verdicts.append(judge("runs", _cpu(turns[TRIOLETS[2], most]) / _cpu(turns[RECIPE, most])))
    return Table(
        "runs-streaming",
        f"Runs of {RATE:g} tokens a second, {READERS} readers each",
        [
            "",
            "runs",
            "µs of CPU a delivered token",
            "× the recipe's",
            "Redis' own µs",
            "deliveries/s",
            "of all, in time",
            "p50 ms",
            "p99 ms",
            "kB a run",
            "Redis' kB a run",
            "in order",
            "clients' core",
            "others' share",
        ],
        rows,
        f"“In time” is within {PATIENCE:g} s after the last token was due. A contestant that cannot keep the pace lets "
        "its runs wait, and what its tokens cost is then what they cost when many go out together. Latencies run from "
        "a token's yield to its reader; how late a run that waits has yielded it is not in them.",
        verdicts=verdicts,
    )


def _cpu(turns: Sequence[Turn]) -> float:
    return statistics.median(turn.server for turn in turns)


def _row(name: str, turns: Sequence[Turn], recipe: Sequence[Turn]) -> list[str]:
    middle = Turn(*map(statistics.median, zip(*turns, strict=True)))
    with_redis = name.endswith("Redis")
    disordered = sum(turn.disordered for turn in turns)
    return [
        name,
        f"{middle.runs:,}",
        spread([turn.server for turn in turns], 1),
        f"{middle.server / _cpu(recipe):.2f}" if recipe else "",
        f"{middle.redis:.1f}" if with_redis else "–",
        f"{middle.rate:,.0f}",
        f"{middle.delivered / middle.wanted:.0%}",
        f"{middle.p50_ms:,.1f}",
        f"{middle.p99_ms:,.1f}",
        f"{middle.kilobytes:,.0f}",
        f"{middle.redis_kilobytes:,.0f}" if with_redis else "–",
        f"{disordered} not" if disordered else "all",
        f"{middle.load:.0%}",
        f"{middle.foreign:.0%}",
    ]
