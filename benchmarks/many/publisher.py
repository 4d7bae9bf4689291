"""Publish as fast as it goes, in a process of its own.

    python -m benchmarks.many.publisher LOG PUBLISHERS BATCH SECONDS

Each publisher waits until what it published is in the log. Prints JSON: see Published.
"""

from __future__ import annotations

import statistics
import sys
import time

import msgspec
import trio

from triolet import Triolet

__all__ = ["BYTES", "Published", "main", "publish"]

BYTES = 200
"""Of an event's data, as JSON."""

CHANNELS = 16
WARM_UP = 0.1
"""Of the time: what comes first is not counted."""


class Published(msgspec.Struct, frozen=True):
    """Events, in so many seconds and with so many seconds of this process's CPU; and what a publish took, in ms."""

    events: int
    seconds: float
    cpu: float
    p50_ms: float
    p99_ms: float


async def publish(url: str, publishers: int, batch: int, seconds: float) -> Published:
    """Publish to 16 channels, from so many tasks, so many events at once."""
    data = "x" * (BYTES - 2)
    events = [data] * batch
    took: list[float] = []
    async with Triolet(log=url) as live:

        async def one_by_one(channel: str) -> None:
            while (start := time.perf_counter()) < until:
                if batch == 1:
                    await live.publish(channel, data)
                else:
                    await live.publish_many(channel, events)
                took.append(time.perf_counter() - start)

        async def all_of_them() -> None:
            async with trio.open_nursery() as nursery:
                for number in range(publishers):
                    nursery.start_soon(one_by_one, f"orders/{number % CHANNELS}")

        until = time.perf_counter() + seconds * WARM_UP
        await all_of_them()
        took.clear()
        start, cpu = time.perf_counter(), time.process_time()
        until = start + seconds
        await all_of_them()
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    cuts = statistics.quantiles(took, n=100)
    return Published(len(took) * batch, seconds, cpu, cuts[49] * 1e3, cuts[98] * 1e3)


def main() -> None:
    url, publishers, batch, seconds = sys.argv[1:]
    found = trio.run(publish, url, int(publishers), int(batch), float(seconds))
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")


if __name__ == "__main__":
    main()
