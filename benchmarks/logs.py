"""How many events a second each log takes: ``python benchmarks/logs.py``.

Publishers append one event of 220 bytes at a time and wait for it, so that a row with N publishers has at most
N appends under way. One listener takes what is announced, as the hub does. ``p50`` and ``p99`` are of single
appends. ``loaded`` is the same while another task keeps the event loop busy in slices of a millisecond.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import trio

from triolet.app.open_log import open_log
from triolet.event import Cursor, Draft
from triolet.log import EventLog

DRAFT = Draft.of("x" * 218)


async def _publish(log: EventLog, channel: str, until: float, took: list[float]) -> None:
    while (start := time.perf_counter()) < until:
        await log.append(channel, [DRAFT])
        took.append(time.perf_counter() - start)


async def _listen(log: EventLog, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    with log.tail() as tail:
        task_status.started()
        async for _ in tail:
            pass


async def _keep_busy() -> None:
    while True:
        end = time.perf_counter() + 0.001
        while time.perf_counter() < end:
            pass
        await trio.lowlevel.checkpoint()


async def _append_rate(url: str, publishers: int, seconds: float, *, loaded: bool) -> list[float]:
    took: list[float] = []
    async with open_log(url).open() as log, trio.open_nursery() as background:
        await background.start(_listen, log)
        if loaded:
            background.start_soon(_keep_busy)
        async with trio.open_nursery() as nursery:
            until = time.perf_counter() + seconds
            for number in range(publishers):
                nursery.start_soon(_publish, log, f"orders/{number % 16}", until, took)
        background.cancel_scope.cancel()
    return took


async def _read_rate(url: str) -> float:
    """Events a second that one follower reads, in pages of 256, from the oldest to the head."""
    async with open_log(url).open() as log:
        for _ in range(40):
            await log.append("orders", [DRAFT] * 256)
        after, count, start = Cursor("", 0), 0, time.perf_counter()
        while (page := await log.read("orders", after, limit=256, max_bytes=1 << 20)).events:
            count += len(page.events)
            after = page.events[-1].cursor
        return count / (time.perf_counter() - start)


def _row(name: str, publishers: int, seconds: float, took: Sequence[float]) -> str:
    cuts = statistics.quantiles(took, n=100)
    rate = len(took) / seconds
    return f"{name:<24} {publishers:>10} {rate:>12,.0f} {cuts[49] * 1e6:>10,.0f} {cuts[98] * 1e6:>10,.0f}"


def main() -> None:
    """Print one row for each log and number of publishers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2, help="for each row")
    seconds = parser.parse_args().seconds
    print(f"Python {platform.python_version()}, trio {trio.__version__}, {platform.machine()}")
    print(f"{'log':<24} {'publishers':>10} {'appends/s':>12} {'p50 µs':>10} {'p99 µs':>10}")
    with tempfile.TemporaryDirectory() as folder:
        for name, url, loaded in (
            ("memory", "memory:", False),
            ("sqlite", f"sqlite:///{Path(folder, 'normal.db')}", False),
            ("sqlite synchronous=full", f"sqlite:///{Path(folder, 'full.db')}?synchronous=full", False),
            ("sqlite loaded", f"sqlite:///{Path(folder, 'loaded.db')}", True),
        ):
            for publishers in (1, 16, 256):
                took = trio.run(lambda: _append_rate(url, publishers, seconds, loaded=loaded))  # noqa: B023 - it runs within the turn of the loop
                print(_row(name, publishers, seconds, took))
                sys.stdout.flush()
        for name, url in (("memory", "memory:"), ("sqlite", f"sqlite:///{Path(folder, 'read.db')}")):
            print(f"{name + ' read':<24} {'':>10} {trio.run(_read_rate, url):>12,.0f} events/s, pages of 256")


if __name__ == "__main__":
    main()
