"""What idle channels cost: publish one event to each of many, in a process of its own.

    python -m benchmarks.million CHANNELS log|bare

Prints JSON: bytes of resident memory for each channel, and the seconds that each tenth of the publishing took. With
``bare``, the events stand in a list and in no log: what a channel's last event costs by itself.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Awaitable, Callable

import msgspec
import trio

from benchmarks.fanout.machine import memory
from triolet import Triolet
from triolet.event import Cursor, Draft, Event

__all__ = ["Filled", "main"]

TENTHS = 10
SIZE = 200


class Filled(msgspec.Struct, frozen=True):
    """What filling cost."""

    bytes_each: float
    tenths: list[float]


async def fill(channels: int, publish: Callable[[str, str], Awaitable[object]]) -> Filled:
    """Publish one event to each channel."""
    tenths = []
    await publish("warm", "up")
    before = memory(os.getpid())
    for tenth in range(TENTHS):
        start = time.perf_counter()
        for number in range(tenth * channels // TENTHS, (tenth + 1) * channels // TENTHS):
            await publish(f"orders/{number}", f"{number:0{SIZE}}")
        tenths.append(time.perf_counter() - start)
    return Filled((memory(os.getpid()) - before) / channels, tenths)


async def fill_log(channels: int) -> Filled:
    async with Triolet(log="memory:") as live:
        return await fill(channels, live.publish)


async def fill_list(channels: int) -> Filled:
    events = []
    epoch = "epoch123"

    async def keep(channel: str, data: str) -> None:
        draft = Draft.of(data)
        events.append(Event(Cursor(epoch, 1), channel, draft.name, draft.json, draft.key, time.time()))

    return await fill(channels, keep)


def main() -> None:
    gc.disable()  # it would look at a million events again and again, and nothing here makes circles
    found = trio.run(fill_log if sys.argv[2] == "log" else fill_list, int(sys.argv[1]))
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")


if __name__ == "__main__":
    main()
