"""How many events a second each log takes, and what one costs."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec

from benchmarks.fanout.machine import cores, cpu_seconds, spawn
from benchmarks.results import Table

from .publisher import BYTES, Published
from .redis_server import RedisServer
from .verdicts import at_least

__all__ = ["publishing"]

TARGET = 15_000
"""Publishes a second into Redis from one process, in batches."""

PUBLISHERS = (1, 16, 256)
BATCH = 64


def publishing(quick: bool) -> Table:
    """Measure each log with 1, 16 and 256 publishers, and those that can with batches."""
    seconds = 1.0 if quick else 4.0
    rows: list[list[str]] = []
    reached: list[str] = []
    for name, open_log in LOGS.items():
        for publishers, batch in (*((number, 1) for number in PUBLISHERS), (16, BATCH)):
            with ExitStack() as stack:
                url, server = open_log(stack)
                found, cpu = _measure(url, server, publishers, batch, seconds)
            rate = found.events / found.seconds
            if name == "redis" and publishers * batch > 16:
                how = f"{publishers} publishers" if batch == 1 else f"batches of {batch}"
                reached.append(at_least(f"publishes a second into Redis from one process, {how}", rate, TARGET))
            rows.append(
                [
                    name,
                    f"{publishers}" if batch == 1 else f"{publishers}, {batch} at once",
                    f"{rate:,.0f}",
                    f"{found.cpu / found.events * 1e6:.0f}",
                    f"{cpu / found.events * 1e6:.0f}" if server else "",
                    f"{found.p50_ms:.2f} / {found.p99_ms:.2f}",
                ]
            )
    return Table(
        "publishing",
        f"Events of {BYTES} bytes published by one process",
        [
            "log",
            "publishers",
            "events a second",
            "µs of CPU for one",
            "µs in redis-server",
            "p50 / p99 of a publish, ms",
        ],
        rows,
        "Each publisher waits for an event to be in the log before it publishes the next: what many publish at the "
        "same moment goes out together. The process has one core, and redis-server another. Redis keeps nothing on "
        'disk, but in "everysec" it appends to a file (`appendfsync everysec`).',
        verdicts=reached,
    )


def _measure(
    url: str, server: RedisServer | None, publishers: int, batch: int, seconds: float
) -> tuple[Published, float]:
    """What a process published, and the CPU of redis-server meanwhile."""
    before = cpu_seconds(server.pid) if server else 0.0
    command = [sys.executable, "-m", "benchmarks.many.publisher", url, *map(str, (publishers, batch, seconds))]
    output, _ = spawn(command, cores()[0]).communicate()
    after = cpu_seconds(server.pid) if server else 0.0
    return msgspec.json.decode(output, type=Published), after - before


def _memory(stack: ExitStack) -> tuple[str, None]:
    return "memory:", None


def _sqlite(stack: ExitStack) -> tuple[str, None]:
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    return f"sqlite:///{Path(folder, 'events.db')}", None


def _redis(*options: str) -> Callable[[ExitStack], tuple[str, RedisServer]]:
    def start(stack: ExitStack) -> tuple[str, RedisServer]:
        server = stack.enter_context(RedisServer(cores()[1], *options))
        return server.url, server

    return start


LOGS: dict[str, Callable[[ExitStack], tuple[str, RedisServer | None]]] = {
    "memory": _memory,
    "sqlite": _sqlite,
    "redis": _redis(),
    "redis, everysec": _redis("--appendonly", "yes", "--appendfsync", "everysec"),
}
