"""Processes that share a log on the virtual clock, which may be away, lose hints, and stall."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio
from trio.testing import wait_all_tasks_blocked

from triolet import Cursor, Draft, Event, Limits, LogError
from triolet.counters import Metrics
from triolet.log.contract import Page
from triolet.log.memory import MemoryLog
from triolet.presence.presence import Presence
from triolet.presence.statements import presence_channel

__all__ = ["LIMITS", "ROOM", "Cluster", "Log", "cluster", "here"]

LIMITS = Limits(lease_seconds=15)
ROOM = "rooms/1"


class Log(MemoryLog):
    """In memory, away at times, and counting how often it is read."""

    away = False
    unreadable = False
    reads = 0

    async def read(self, channel: str, after: Cursor, *, limit: int, max_bytes: int) -> Page:
        self.reads += 1
        if self.unreadable:
            raise LogError("unreadable")
        return await super().read(channel, after, limit=limit, max_bytes=max_bytes)

    async def append(self, channel: str, drafts: Sequence[Draft]) -> list[Event]:
        if self.away:
            raise LogError("away")
        return await super().append(channel, drafts)


class Cluster:
    """Processes that share a log; all of them look at the rooms."""

    def __init__(self, log: Log, limits: Limits, nursery: trio.Nursery) -> None:
        self.log = log
        self._limits = limits
        self._nursery = nursery
        self.metrics: dict[Presence, Metrics] = {}
        self._lives: dict[Presence, trio.CancelScope] = {}

    async def start(self, name: str, *, watches: Sequence[str] = (ROOM,)) -> Presence:
        """A process begins."""
        watched = [presence_channel(channel) for channel in watches]

        async def live(task_status: trio.TaskStatus[Presence]) -> None:
            async with trio.open_nursery() as nursery:
                metrics = Metrics()
                made = Presence(self.log, self._limits, nursery, lambda: watched, name, metrics)
                self.metrics[made] = metrics
                self._lives[made] = nursery.cancel_scope
                task_status.started(made)
                await made.roster(ROOM)
                await trio.sleep_forever()

        made: Presence = await self._nursery.start(live)
        await wait_all_tasks_blocked()
        return made

    async def kill(self, process: Presence) -> None:
        """A process dies."""
        self._lives.pop(process).cancel()
        await wait_all_tasks_blocked()

    async def events(self, channel: str = ROOM) -> list[Event]:
        """What presence has told so far."""
        page = await self.log.read(presence_channel(channel), Cursor("", 0), limit=100_000, max_bytes=1 << 30)
        return list(page.events)

    async def told(self, channel: str = ROOM) -> list[tuple[str, str]]:
        return [(event.name, event.data["member"]) for event in await self.events(channel)]


@asynccontextmanager
async def cluster(limits: Limits = LIMITS) -> AsyncIterator[Cluster]:
    log = Log(limits, trio.current_time, "E")
    async with log.open(), trio.open_nursery() as nursery:
        yield Cluster(log, limits, nursery)
        nursery.cancel_scope.cancel()


async def here(process: Presence, channel: str = ROOM) -> list[str]:
    return list((await process.roster(channel)).members)
