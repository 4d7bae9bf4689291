"""What is simulated around Triolet's own code: one log that all servers share, and the app that each of them serves."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import msgspec
import trio
from quart import abort, request
from quart_trio import QuartTrio

from triolet import policies
from triolet.app.command import Command
from triolet.app.extension import Triolet
from triolet.connection import Connection
from triolet.errors import ChannelEnded, LogError, LogFull, LogUncertain
from triolet.event import Cursor, Draft, Event
from triolet.hub.reducer import Reducer
from triolet.limits import Limits
from triolet.log.answers import Answers
from triolet.log.contract import EventLog, Kept, Page, Status
from triolet.log.jobs import Writes
from triolet.log.memory import MemoryLog
from triolet.log.tail import Tail

from .folding import data_of, key_of, name_of, number_of
from .history import ENDED, LOG, Appended, History, Lost, Weather
from .identities import Rules, allows
from .plan import RECHECK_SECONDS, Plan

T = TypeVar("T")

__all__ = ["SharedLog", "draft_of", "is_sure", "make_app", "why"]


def draft_of(number: int, size: int, dedupe: str | None = None, fold: str = "") -> Draft:
    """The event that holds a number, some ``size`` bytes large."""
    data, name, key = data_of(number, size, fold), name_of(number, fold), key_of(number, fold)
    return Draft.of(data, name=name, key=key, dedupe=dedupe, fold=fold or None)


Backup = tuple[str, dict[str, Any], dict[str, int], dict[str, int], dict[str, int], Answers]
"""Of a ledger: its epoch, channels, heads, where they were deleted, and answers."""


class Ledger(MemoryLog):
    """A log in memory which has all that it stores recorded."""

    def __init__(self, limits: Limits, epoch: str, tail: Tail, history: History) -> None:
        super().__init__(limits, epoch=epoch)
        self.epoch = epoch
        self._tail = tail
        self._history = history
        self._heads: dict[str, int] = {}

    async def append(self, channel: str, drafts: Sequence[Draft]) -> list[Event]:
        events = await super().append(channel, drafts)
        self._record(channel, drafts, events)
        return events

    async def commit(
        self, key: bytes, holder: bytes, answer: bytes, seconds: float, writes: Writes
    ) -> list[list[Event]] | Kept:
        done = await super().commit(key, holder, answer, seconds, writes)
        if not isinstance(done, Kept):
            for (channel, drafts), events in zip(writes, done, strict=True):
                self._record(channel, drafts, events)
        return done

    async def delete(self, channel: str) -> Event:
        event = await super().delete(channel)
        self._heads[channel] = event.offset
        self._history.add(record_of(self._history.now, event, None))
        return event

    def _record(self, channel: str, drafts: Sequence[Draft], events: Sequence[Event]) -> None:
        # Nothing awaits between storing and here: nobody can have heard of these events yet.
        for event, draft in zip(events, drafts, strict=True):
            if event.offset > self._heads.get(channel, 0):
                self._heads[channel] = event.offset
                self._history.add(record_of(self._history.now, event, draft.dedupe))

    def place(self, channel: str) -> Cursor:
        """Where a channel's head is."""
        return Cursor(self.epoch, self._heads.get(channel, 0))

    def backup(self) -> Backup:
        """What there is of it now."""
        channels, answers = copy.deepcopy((self._channels, self._answers))
        return self.epoch, channels, dict(self._bare_heads), dict(self._heads), dict(self._deleted), answers

    def put_back(self, backup: Backup) -> None:
        """Go on with what there was then, in this epoch."""
        _, channels, self._bare_heads, self._heads, self._deleted, self._answers = backup
        for channel in channels.values():
            channel._events = [_moved(event, self.epoch) for event in channel._events]
            if channel._dedupe is not None:
                known = {event.offset: event for event in channel._events}
                channel._dedupe = OrderedDict((key, known[event.offset]) for key, event in channel._dedupe.items())
        for claim in self._answers:
            if claim.events is not None:
                claim.events = [[_moved(event, self.epoch) for event in events] for events in claim.events]
        self._channels = channels


def _moved(event: Event, epoch: str) -> Event:
    return msgspec.structs.replace(event, cursor=Cursor(epoch, event.offset))


def record_of(now: float, event: Event, dedupe: str | None) -> Appended:
    """The record of an event that is stored now."""
    name, data = event.name, event.data
    return Appended(now, event.channel, event.cursor, name, data, event.key, dedupe, len(event.json), event.fold)


class SharedLog(EventLog):
    """One log, several servers: opening it opens nothing, for it outlives them. It may be slow, fail, and be lost: then
    it begins again with another epoch.

    Attributes:
        trouble: what is wrong with it now; "" for nothing. ``calm``: nothing will be any more.
    """

    def __init__(self, plan: Plan, history: History) -> None:
        self._plan = plan
        self._history = history
        self._epochs = 0
        self._troubles = 0
        self._tail = Tail(plan.log.tail_events)
        self.trouble = ""
        self.calm = False
        self.lose()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let it be there for all servers."""
        with self._tail.opened():
            yield

    def attach(self) -> EventLog:
        """One server's hold of it."""
        return self

    def place(self, channel: str) -> Cursor:
        """Where a channel's head is."""
        return self.ledger.place(channel)

    async def kept(self, channel: str) -> Page:
        """All that is kept of a channel."""
        return await self.ledger.read(channel, Cursor("", 0), limit=1 << 30, max_bytes=1 << 40)

    def lose(self) -> None:
        """All that was stored is gone, and it begins again."""
        self.ledger = Ledger(self._plan.limits, self._next_epoch(), self._tail, self._history)
        self._history.add(Lost(self._history.now, self.ledger.epoch))

    def backup(self) -> Backup:
        """What there is of it now, to be put back later."""
        return self.ledger.backup()

    def put_back(self, backup: Backup) -> None:
        """What came after a backup is gone: it begins again with what there was then, and whoever listens is told."""
        epoch, (parent, _, _, heads, *_) = self._next_epoch(), backup
        self._tail.lose()
        self.ledger = Ledger(self._plan.limits, epoch, self._tail, self._history)
        self._history.add(Lost(self._history.now, epoch, parent, tuple(sorted(heads.items())), carries=False))
        self.ledger.put_back(backup)

    def _next_epoch(self) -> str:
        self._epochs += 1
        return chr(ord("a") + self._epochs - 1)

    async def befall(self, kind: str, seconds: float) -> None:
        """Something is wrong with it for some time, or until something else is."""
        if kind == "begins again":
            self.lose()
            return
        if kind == "put back":
            backup = self.backup()
            await trio.sleep(seconds)
            self.put_back(backup)
            return
        self._troubles += 1
        mine = self._troubles
        self._history.add(Weather(self._history.now, LOG, kind, self._history.now + seconds))
        self.trouble = kind
        await trio.sleep(seconds)
        if self._troubles == mine:
            self.trouble = ""

    # --- as a log

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SharedLog]:
        yield self

    async def append(self, channel: str, drafts: Sequence[Draft]) -> list[Event]:
        return await self._write(lambda: self.ledger.append(channel, drafts))

    async def _write(self, write: Callable[[], Awaitable[T]]) -> T:
        """Have something stored, as the trouble of the moment lets it."""
        await self._pass("append", self._plan.log.append_seconds)
        if self.trouble == "full":
            raise LogFull("there is no room")
        if self.trouble == "fails before":
            raise LogError("the disk is gone")
        stored = await write()
        if self.trouble == "fails after":
            raise LogError("the disk is gone; nobody knows whether it was stored")
        await self._pass("append", 0)
        return stored

    async def claim(self, key: bytes, print: bytes, holder: bytes, seconds: float) -> Kept | None:
        return await self._write(lambda: self.ledger.claim(key, print, holder, seconds))

    async def commit(
        self, key: bytes, holder: bytes, answer: bytes, seconds: float, writes: Writes
    ) -> list[list[Event]] | Kept:
        return await self._write(lambda: self.ledger.commit(key, holder, answer, seconds, writes))

    async def release(self, key: bytes, holder: bytes) -> None:
        await self._write(lambda: self.ledger.release(key, holder))

    async def delete(self, channel: str) -> Event:
        return await self._write(lambda: self.ledger.delete(channel))

    async def read(self, channel: str, after: Cursor, *, limit: int, max_bytes: int) -> Page:
        return await self._look(lambda: self.ledger.read(channel, after, limit=limit, max_bytes=max_bytes))

    async def head(self, channel: str) -> Cursor:
        return await self._look(lambda: self.ledger.head(channel))

    async def status(self, channel: str) -> Status:
        return await self._look(lambda: self.ledger.status(channel))

    async def channels(self, prefix: str = "", after: str = "", limit: int = 1_000) -> list[str]:
        return await self._look(lambda: self.ledger.channels(prefix, after, limit))

    async def _look(self, read: Callable[[], Awaitable[T]]) -> T:
        """Have something read, as the trouble of the moment lets it."""
        await self._pass("read", self._plan.log.read_seconds)
        found = await read()
        await self._pass("read", 0)
        return found

    @contextmanager
    def tail(self) -> Iterator[AsyncIterator[Sequence[Event]]]:
        with self._tail.listen() as batches:
            yield self._late(batches) if self._plan.log.tail_seconds else batches

    async def _late(self, batches: AsyncIterator[Sequence[Event]]) -> AsyncIterator[Sequence[Event]]:
        """What was appended is heard of late, as in a log that has to be asked."""
        async for events in batches:
            if not self.calm:
                await trio.sleep(self._plan.log.tail_seconds)
            yield events

    async def _pass(self, what: str, seconds: float) -> None:
        if self.calm:
            return
        if self.trouble == f"slow {what}":
            seconds += 1
        if seconds:
            await trio.sleep(seconds)
        for _ in range(self._plan.log.yields):
            await trio.lowlevel.checkpoint()
        if what == "read" and self.trouble == "unreadable":
            raise LogError("the disk is gone")


def why(error: Exception) -> str:
    """An error as the history tells it."""
    return ENDED if isinstance(error, ChannelEnded) else str(error)


def is_sure(error: Exception) -> bool:
    """Whether an error says that nothing was stored."""
    return not isinstance(error, LogUncertain) and "nobody knows" not in str(error)


async def _do(rules: Rules, number: int, command: Command) -> Any:
    """The command: an event that holds a number, to each of some channels, or to none where it fails."""
    for channel in command.data["channels"]:
        await command.publish(channel, [number, ""], name=name_of(number), key=key_of(number))
    await trio.sleep(command.data["seconds"])
    if command.data["fails"] == "raises":
        raise RuntimeError("the command fails")
    if command.data["fails"] == "aborts":
        abort(410)
    rules.runs += 1
    return {"run": rules.runs}


def _noted(numbers: list[int | None], event: Event) -> list[int | None]:
    """A channel's state: all numbers that its events hold."""
    return [*numbers, number_of(event.data)]


def make_app(plan: Plan, log: EventLog, rules: Rules) -> tuple[QuartTrio, Triolet]:
    """One server's app: every channel under the policy of every route that is used, a socket that echoes, a page, a
    way to publish, and a command."""
    app = QuartTrio("simulation")
    live = Triolet(app, log=log, limits=plan.limits, deflate=plan.deflate)

    reducer = Reducer(_noted, initial=[], name="numbers", channels="c*", every=plan.every) if plan.every else None

    async def follow(channel: str) -> str:
        name = channel if channel.startswith("c") else live.presence(f"c{channel[1:]}").channel
        rules.check("", "", name, request.path)
        return name

    for way, at in sorted({(client.way, client.route) for client in plan.clients}):
        rungs = [rung.build() for rung in plan.routes[at]]
        live.channel(
            f"/{way}{at}/<channel>",
            policy=policies.ladder(*rungs) if rungs else None,
            member=lambda channel: request.args.get("member"),
            allow=allows if way == "f" else None,
            recheck=RECHECK_SECONDS if way == "k" else None,
            snapshot=reducer if way != "f" else None,
            endpoint=f"{way}{at}",
        )(follow)
    if plan.has_identities:
        live.identify(rules.who)

        @live.command("/do/<int:number>")
        async def do(number: int, command: Command) -> Any:
            return await _do(rules, number, command)

    live.socket("/many")

    @live.socket("/talk")
    async def talk(conn: Connection) -> None:
        async for message in conn:
            await conn.send({"echo": message})

    live.socket("/live")

    @app.get("/page")
    async def page() -> str:
        return "a page"

    @app.post("/publish/<channel>")
    async def publish(channel: str) -> Any:
        asked = await request.get_json()
        drafts = [draft_of(number, asked["size"], dedupe, asked["fold"]) for number, dedupe in asked["events"]]
        try:
            events = await live.publish_many(channel, drafts)
        except (LogError, ChannelEnded) as error:
            return {"error": why(error), "sure": is_sure(error)}, 503
        numbers = [number_of(event.data) for event in events]
        return {"cursors": [str(event.cursor) for event in events], "numbers": numbers}

    return app, live
