"""The log that several servers share where a plan has it in Redis: each has a real RedisLog, on one modelled Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from triolet.event import Cursor
from triolet.limits import Limits
from triolet.log.contract import EventLog, Page
from triolet.log.tail import Tail
from triolet.redis.connect import Dialer
from triolet.redis.log import RedisLog
from triolet.redis.partition import events_of
from triolet.redis.scripts import decode_row
from triolet.redis.url import RedisAddress
from triolet.testing.seed import current

from .history import LOG, OUTAGE, History, Lost, Weather
from .plan import Plan
from .redis_scripts import Data, Entry, Watcher
from .redis_server import ModelledDialer, ModelledRedis
from .stage import record_of

__all__ = ["RedisStage"]

ADDRESS = RedisAddress.parse("redis://modelled?start=wait")
RECOVERY_SECONDS = 2.0
"""In which every process is connected again after an outage: a second between two attempts, and the time to begin."""
RESTART_SECONDS = 0.3
"""A server that is killed for it has gone for so long."""


class HuntedLog(RedisLog):
    """A RedisLog whose way leads to the model."""

    def __init__(self, server: ModelledRedis, limits: Limits, tail_events: int) -> None:
        super().__init__(ADDRESS, limits)
        self._tail = Tail(tail_events)
        self._server = server

    def _dialer(self, nursery: trio.Nursery) -> Dialer:
        return ModelledDialer(self._server, ADDRESS, self._limits.answer_seconds, nursery)


class Recorder(Watcher):
    """Records what the model stores."""

    def __init__(self, history: History) -> None:
        self.epoch = ""
        self._history = history

    def began(self, epoch: str, parent: str, heads: dict[str, int]) -> None:
        self.epoch = epoch
        self._history.add(Lost(self._history.now, epoch, parent, tuple(sorted(heads.items()))))

    def stored(self, epoch: str, channel: str, entry: Entry) -> None:
        (event,) = events_of(epoch, channel, entry.offset, [decode_row(entry.blob)])
        self._history.add(record_of(self._history.now, event, entry.unique or None))


class RedisStage:
    """The modelled Redis, and what befalls it. See SharedLog, which it stands in for."""

    def __init__(self, plan: Plan, history: History) -> None:
        self._plan = plan
        self._history = history
        self._recorder = Recorder(history)
        self.redis = ModelledRedis(current().random("modelled redis"), plan.log.yields, self._recorder)
        self.calm = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let the server run, for all who connect."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.redis.run)
            yield
            nursery.cancel_scope.cancel()

    def attach(self) -> EventLog:
        """One server's log."""
        return HuntedLog(self.redis, self._plan.limits, self._plan.log.tail_events)

    def lose(self) -> None:
        """The server comes back empty, at once."""
        self.put_back(Data())

    def backup(self) -> Data:
        """What there is of it now, to be put back later."""
        return self.redis.scripts.data.copy()

    def put_back(self, backup: Data) -> None:
        """It comes back with what there was then, at once."""
        self.redis.begin("down")
        self._live_on_with(backup)
        self.redis.end("down")

    def place(self, channel: str) -> Cursor:
        """Where a channel's head is."""
        known = self.redis.scripts.data.channels.get(channel)
        return Cursor(self._recorder.epoch, known.head if known else 0)

    async def kept(self, channel: str) -> Page:
        """All that is kept of a channel."""
        async with self.attach().open() as log:
            return await log.read(channel, Cursor("", 0), limit=1 << 30, max_bytes=1 << 40)

    async def befall(self, kind: str, seconds: float) -> None:
        """Have something happen to it."""
        if kind in ("restarts older", "fails over"):
            behind = self.redis.scripts.data.copy()
            await trio.sleep(seconds)
            await self._without(kind, 0 if kind == "fails over" else RESTART_SECONDS, behind)
        elif kind == "restarts":
            await self._without(kind, seconds, None)
        elif kind == "restarts empty":
            await self._without(kind, seconds, Data())
        elif kind == "away":
            await self._out("down", kind, seconds)
        elif kind == "hangs":
            await self._out("hangs", kind, seconds)
        elif kind == "connections lost":
            self._weather(kind, 0)
            self.redis.break_all()
        else:
            self._weather(kind, seconds)
            await self._while(kind, seconds)

    async def _without(self, kind: str, seconds: float, data: Data | None) -> None:
        """It ends, is away, and is back: with what it had, or other data."""
        await self._out("down", kind, seconds)
        self._live_on_with(self.redis.scripts.data if data is None else data)

    def _live_on_with(self, data: Data) -> None:
        self.redis.scripts.data = data
        self.redis.live_anew()

    async def _out(self, trouble: str, kind: str, seconds: float) -> None:
        self._weather(kind, seconds)
        self._history.add(Weather(self._history.now, OUTAGE, kind, self._history.now + seconds))
        await self._while(trouble, seconds)

    async def _while(self, trouble: str, seconds: float) -> None:
        self.redis.begin(trouble)
        if seconds:
            await trio.sleep(seconds)
        self.redis.end(trouble)

    def _weather(self, kind: str, seconds: float) -> None:
        until = self._history.now + seconds + RECOVERY_SECONDS + self._plan.limits.answer_seconds
        self._history.add(Weather(self._history.now, LOG, kind, until))
