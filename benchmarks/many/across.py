"""How long an event takes from one worker's ``publish`` through Redis to the clients of both, and how much goes."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from benchmarks.fanout.load import Counts, Load
from benchmarks.fanout.machine import busy_seconds, cores, cpu_seconds
from benchmarks.results import Table

from .redis_server import RedisServer
from .verdicts import at_most
from .workers import Worker, free, loads, workers

__all__ = ["latency", "saturated"]

EVENTS = 500.0
"""A second."""

TARGET_MS = 3.0
"""From publish to delivery, p50, on two cores."""

LISTENERS = 64
CLIENTS = 1_000
BURST = 16


def latency(program: Path, quick: bool) -> Table:
    """Measure clients of the publishing worker, and of the other one."""
    seconds = 3 if quick else 20
    with RedisServer(cores()[0]) as redis, workers(redis.url, 2) as both, loads(program, both, LISTENERS) as ears:
        free(redis.pid)
        both[0].publish(EVENTS)
        time.sleep(1)
        _hear(ears)
        time.sleep(seconds)
        counts = _hear(ears)
        both[0].stop()
    rows = [
        [name, f"{found.p50_us / 1e3:.2f}", f"{found.p99_us / 1e3:.2f}", f"{found.max_us / 1e3:.1f}", str(found.gaps)]
        for name, found in zip(("of the worker that publishes", "of the other worker"), counts, strict=True)
    ]
    worst = max(found.p50_us for found in counts) / 1e3
    return Table(
        "across",
        f"Latency from publish to delivery through Redis, {EVENTS:g} events a second, ms",
        ["clients", "p50", "p99", "longest", "gaps"],
        rows,
        f"Two workers, {LISTENERS // 2} WebSockets at each, redis-server and the clients share two cores. An event "
        "comes to its own worker's clients the same way as to the other's: through Redis.",
        verdicts=[at_most(f"p50 from publish to delivery at {EVENTS:g} events a second", worst, TARGET_MS, " ms")],
    )


class Flow(msgspec.Struct, frozen=True):
    """What so many workers delivered in a second, and the CPU seconds of that second."""

    workers: int
    deliveries: float
    serving: float
    redis: float
    clients: float
    others: float


def saturated(program: Path, quick: bool) -> Table:
    """Measure one worker and then two, with as many clients in all, saturated."""
    flows = [_flow(program, count, 2 if quick else 8) for count in (1, 2)]
    rows = [
        [
            str(flow.workers),
            f"{flow.deliveries:,.0f}",
            f"{flow.serving / flow.deliveries * 1e6:.2f}",
            f"{flow.deliveries / flow.serving:,.0f}",
            *(f"{share:.0%}" for share in (flow.serving, flow.redis, flow.clients, flow.others)),
        ]
        for flow in flows
    ]
    columns = ["workers", "deliveries a second", "µs of CPU a delivery", "deliveries for a second of a worker's CPU"]
    return Table(
        "workers",
        f"One worker and two, saturated: {CLIENTS:,} WebSockets, {BURST} events published at each turn",
        [*columns, "workers' CPU", "Redis'", "clients'", "others'"],
        rows,
        "One of the workers publishes. All share two cores with their clients and with redis-server: what a worker "
        "delivers for a second of its CPU is what a core of its own would give; 100% is one core.",
    )


def _flow(program: Path, count: int, seconds: float) -> Flow:
    with (
        RedisServer(cores()[0]) as redis,
        workers(redis.url, count) as serving,
        loads(program, serving, CLIENTS) as all,
    ):
        free(redis.pid)
        serving[0].publish(0, BURST)
        time.sleep(1.5)
        start, busy, before = time.monotonic(), busy_seconds(), _used(redis, serving, all)
        heard = sum(found.events for found in _hear(all))
        time.sleep(seconds)
        heard = sum(found.events for found in _hear(all)) - heard
        took, busy = time.monotonic() - start, busy_seconds() - busy
        used = [(now - then) / took for now, then in zip(_used(redis, serving, all), before, strict=True)]
        serving[0].stop()
    return Flow(count, heard / took, used[0], used[1], used[2], max(0.0, busy / took - sum(used)))


def _used(redis: RedisServer, serving: list[Worker], all_loads: list[Load]) -> tuple[float, float, float]:
    """The CPU of the workers, of Redis and of the clients."""
    workers_cpu = sum(cpu_seconds(worker.pid) for worker in serving)
    return workers_cpu, cpu_seconds(redis.pid), sum(cpu_seconds(load.pid) for load in all_loads)


def _hear(ears: list[Load]) -> list[Counts]:
    return [load.counts() for load in ears]
