"""What retention does not keep is not given from memory either: two workers answer the same poll alike.

A window holds what the log would give, and no more. ``keep_events`` and ``keep_bytes`` bound the window itself, where
they are less than its own bounds; ``keep_seconds`` is looked at when somebody reads: for an event that is too old the
log is asked, which tells the gap. Rounds to live followers are as they were.
"""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from triolet import Cursor, Limits
from triolet.log import MemoryLog

from .doubles import CHANNEL, blocked, live, publish, running

OLDEST = Cursor("", 0)
LIMITS = {
    "events": Limits(keep_events=5),
    "bytes": Limits(keep_bytes=200),
    "seconds": Limits(keep_seconds=1),
    "all": Limits(keep_seconds=1, keep_events=5, keep_bytes=200),
}


@pytest.mark.parametrize("kind", LIMITS)
async def test_a_poll_from_memory_gives_what_the_log_would(kind: str, autojump_clock: MockClock) -> None:
    log = MemoryLog(LIMITS[kind])
    async with running(log, LIMITS[kind]) as hub:
        await live(hub)
        await publish(log, 20)
        await trio.sleep(0.9)
        await publish(log, 3)
        await blocked()
        for _ in range(3):
            epoch = (await log.head(CHANNEL)).epoch
            for after in (OLDEST, Cursor(epoch, 0), Cursor(epoch, 3), Cursor(epoch, 19), Cursor(epoch, 22)):
                polled = await hub.page(CHANNEL, after)
                read = await log.read(CHANNEL, after, limit=1_000, max_bytes=1 << 20)
                assert (polled.gap, polled.events) == (read.gap, read.events)
            await trio.sleep(0.6)
