"""Which runs go on, in all processes of a log: as they say so in a channel of Triolet's own.

A statement says that a run has begun, or that it is over; both may be made twice. What was begun and is not over is
open. The channel keeps so many statements, so one that is true for long is made again before it would be dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import trio

from ..bounds import LOG_RETRY_SECONDS, RUNS_KEPT
from ..errors import LogError, where
from ..event import Cursor, Draft, Event
from ..limits import RUNS, Limits
from ..log.checked import append_checked, read_checked
from ..log.contract import EventLog
from ..log.steps import listening
from .run import Run

__all__ = ["Open", "Registry"]

logger = logging.getLogger("triolet.runs")

OLDEST: Final = Cursor("", 0)
BEGUN: Final = "begun"
OVER: Final = "over"


class _Statement(msgspec.Struct, frozen=True):
    channel: str
    run: str
    process: str


class Open:
    """A run that goes on, or whose process has died.

    Attributes:
        run: its name.
        process: the name of the process in which it goes on.
        cursor: where that is said.
        asked: when its process was last asked for by it.
    """

    __slots__ = ("asked", "channel", "cursor", "process", "run")

    def __init__(self, said: _Statement, cursor: Cursor) -> None:
        self.channel = said.channel
        self.run = said.run
        self.process = said.process
        self.cursor = cursor
        self.asked = 0.0


class Registry:
    """The runs of all processes, as this one has heard of them.

    Args:
        log: where they are told.
        limits: how much is read at once.
        process: the name of this life of this process.
        on_end: called with each end, or deletion, of any channel.
        on_loss: called when some of those may not have been heard.

    Attributes:
        open: those that go on, by channel.
        ready: set when all is known that was said before.

    Bounds: one entry for each run that goes on, in all processes.
    """

    def __init__(
        self,
        log: EventLog,
        limits: Limits,
        process: str,
        on_end: Callable[[Event], None],
        on_loss: Callable[[], Awaitable[None]],
    ) -> None:
        self.open: dict[str, Open] = {}
        self.ready = trio.Event()
        self._log = log
        self._limits = limits
        self._process = process
        self._on_end = on_end
        self._on_loss = on_loss
        self._cursor = OLDEST

    # --- saying

    async def begun(self, run: Run) -> None:
        """Say that a run of this process goes on. Raises LogError."""
        await self._say(BEGUN, _Statement(run.channel, run.name, self._process))

    async def over(self, channel: str, run: str) -> None:
        """Say that a run is over, of whichever process. Raises LogError."""
        await self._say(OVER, _Statement(channel, run, self._process))

    async def _say(self, name: str, said: _Statement) -> None:
        for event in await append_checked(self._log, RUNS, [Draft(msgspec.json.encode(said), name)]):
            self._take(event)

    def forgets(self, run: Run) -> bool:
        """Whether it has to be said again that a run goes on: else it will not be known any more."""
        entry = self.open.get(run.channel)
        if entry is None or entry.run != run.name or entry.cursor.epoch != self._cursor.epoch:
            return True
        return self._cursor.offset - entry.cursor.offset > RUNS_KEPT // 4

    # --- hearing

    async def listen(self) -> None:
        """Hear what is said, and of the ends of channels."""
        with listening(self._log) as steps:
            await self._catch_up()
            self.ready.set()
            async for events in steps:
                if not events:
                    await self._catch_up()
                    await self._on_loss()
                for event in events:
                    if event.channel == RUNS:
                        self._hear(event)
                    elif event.ends:
                        self._on_end(event)

    async def _catch_up(self) -> None:
        while True:
            try:
                if await self._read_on():
                    return
            except LogError as error:
                logger.error("cannot read which runs go on: %s", where(error))
                await trio.sleep(LOG_RETRY_SECONDS)

    async def _read_on(self) -> bool:
        """Read a page, and return whether nothing comes after it."""
        limits, after = self._limits, self._cursor
        page = await read_checked(self._log, RUNS, after, limit=limits.page_events, max_bytes=limits.page_bytes)
        if page.gap is not None and page.gap.reason != "expired":  # another life of the log, and of what was said there
            self.open.clear()
            if page.gap.reason == "future":
                self._cursor = OLDEST
                return False
        for event in page.events:
            self._take(event)
        self._cursor = page.events[-1].cursor if page.events else page.head
        return self._cursor == page.head

    def _hear(self, event: Event) -> None:
        if event.cursor.epoch != self._cursor.epoch or event.offset > self._cursor.offset:
            self._cursor = event.cursor
            self._take(event)

    def _take(self, event: Event) -> None:
        try:
            said = msgspec.json.decode(event.json, type=_Statement)
        except msgspec.DecodeError:
            logger.error("a statement on a run cannot be read, and is passed over: %s", event.cursor)
            return
        known = self.open.get(said.channel)
        if event.name == BEGUN:
            self.open[said.channel] = Open(said, event.cursor)
        elif known is not None and known.run == said.run:
            del self.open[said.channel]
