"""Control channels: what all processes of one log tell each other of identities (revocations, renewals), and in another
one what is only for now (``live.tell``, who watches what).

Each is a channel of the log itself, as presence's are (see presence/presence.py), and stands on the log's contract
alone. Each process follows it from when it begins. What was said before concerns no connection of its own.

**What is told takes effect here at once**, and elsewhere when the log has it: a log that is away must not keep open
here what was revoked here. It waits then, in order, and is told when the log is back. A message has an id, by which its
own process passes over it when it comes back on the channel, and by which the log stores a repeat once.

**What is lost is said to be lost** (``lost``): where the log's tail was overrun the channel is read, and only where it
cannot tell all that was said (retention, or another epoch) somebody may have been told something that this process has
not heard. What that means is for those to say that listen.

**What is for now is not kept** (``NowControl``): what the log does not take at once is told to nobody else, and what
was overrun is not read. All of a process's control channels are heard by one listener of the log's tail.

Nothing that is told is secret: the log's files and servers have their own readers.
"""

from __future__ import annotations

import logging
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import copy_context
from typing import Any, Final, TypeAlias

import msgspec
import trio

from ..bounds import LOG_RETRY_SECONDS
from ..errors import ChannelNameError, LogError, where
from ..event import NOW_CHANNEL, Cursor, Draft, Event
from ..limits import RUNS, SNAPSHOTS, Limits
from ..log.checked import append_checked, head_checked, read_checked
from ..log.contract import EventLog
from ..log.steps import listening
from ..value import MAX_DEPTH, encode_json
from .bounds import CONTROL_DRAFTS, CONTROL_REMEMBERED, CONTROL_WAITING

__all__ = ["IDENTITY_CHANNEL", "Control", "NowControl", "check_follows"]

logger = logging.getLogger("triolet.identity")

IDENTITY_CHANNEL: Final = "triolet.identity"
"""The channel on which processes tell each other of identities."""

Handler: TypeAlias = Callable[[Mapping[str, Any]], None]


def check_follows(channel: str) -> str:
    """Return a channel's name if clients may follow it: what processes tell each other, or keep for each other, they
    may not.

    A view may make names of URLs, and would hand that to whoever asks for it.

    Raises:
        ChannelNameError: they may not.
    """
    if channel in (IDENTITY_CHANNEL, NOW_CHANNEL, RUNS) or channel.startswith(SNAPSHOTS):
        raise ChannelNameError(channel, "it is for Triolet's own processes")
    return channel


class _Statement:
    """A message on its way into the log."""

    __slots__ = ("draft", "stored", "tried")

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.stored = False
        self.tried = trio.Event()

    def done(self) -> None:
        """It is in the log."""
        self.stored = True
        self.tried.set()


class Control:
    """A control channel, as one process has it.

    Args:
        log: must be open while the nursery is.
        limits: ``page_events`` and ``page_bytes``, by which it is read where its tail was overrun.
        nursery: where its two tasks run, once it has begun: an app without identities pays nothing.

    Attributes:
        channel: its name.
        keeps: whether what is said waits for a log that is away, and what was lost is read again.
        lost: called when messages of other processes may have been lost to this one.

    Bounds: ``CONTROL_WAITING`` messages that wait for a log that is away.
    """

    channel = IDENTITY_CHANNEL
    keeps = True

    def __init__(self, log: EventLog, limits: Limits, nursery: trio.Nursery) -> None:
        self.lost: Callable[[], None] = _nothing
        self._heard_by: dict[str, Control] = {self.channel: self}
        self._log = log
        self._limits = limits
        self._nursery = nursery
        self._context = copy_context()
        self._handlers: dict[str, Handler] = {}
        self._waiting: deque[_Statement] = deque()
        self._some = trio.Event()
        self._away = False
        self._begun = False
        self._listens = trio.Event()
        self._done_here: dict[str, None] = {}
        self._cursor: Cursor | None = None

    def on(self, type: str, handler: Handler) -> None:
        """Have a function called with each message of a type, of this process and of all others: at least once each,
        in the order of the channel, and here at once. It must not wait, and takes a repeat."""
        self._handlers[type] = handler

    def begin(self) -> None:
        """Follow the channel from now on. A second call does nothing."""
        if not self._begun:
            self._begun = True
            # In the context of the service, and not of the request that may have begun it: see presence.
            self._hears()
            self._context.run(self._nursery.start_soon, self._write)

    async def listens(self) -> None:
        """Begin, and wait until this process hears what others say. Before that nobody should be let in.

        Cancellation: nothing is lost; it goes on beginning.
        """
        self.begin()
        await self._listens.wait()

    async def tell(self, message: Mapping[str, Any]) -> bool:
        """Tell all processes something. It takes effect here before this waits.

        Args:
            message: JSON values; ``type`` says which handlers it is for.

        Returns:
            Whether it is in the log. If not, the log is away: it is told as soon as that is back, after those that
            waited already. Past ``CONTROL_WAITING`` of them it is told to nobody else, which is logged.

        Raises:
            DataError: the app's fault; a value is no JSON. Nobody is told.

        Cancellation: it is told all the same.
        """
        statement = self.say(message)
        if statement is None:
            return False
        if self._away:
            await trio.lowlevel.checkpoint()
        else:
            await statement.tried.wait()
        return statement.stored

    def say(self, message: Mapping[str, Any]) -> _Statement | None:
        """The same without a wait. Return what it waits as for the log; None where it is told here only.

        Raises:
            DataError: the app's fault; a value is no JSON. Nobody is told.
        """
        self.begin()
        name = secrets.token_urlsafe(12)
        said = encode_json({**message, "id": name}, MAX_DEPTH + 1)  # around what is told
        statement = _Statement(Draft(said, message["type"], dedupe=name))
        self._done_here[name] = None
        if len(self._done_here) > CONTROL_REMEMBERED:  # told, and lost on its way back
            del self._done_here[next(iter(self._done_here))]
        self._handle(message)
        if len(self._waiting) >= CONTROL_WAITING:
            if self.keeps:
                logger.error(
                    "the log is away, and too many messages wait for it: %r is told here only", message["type"]
                )
            return None
        self._waiting.append(statement)
        self._some.set()
        return statement

    @property
    def crowded(self) -> bool:
        """Whether so many messages wait for the log that what a client may cause has to come again later: else it would
        take the place of what the app has to say."""
        return 2 * len(self._waiting) >= CONTROL_WAITING

    async def finish(self, seconds: float) -> None:
        """Wait until all is in the log that waits for it, but no longer than so many seconds."""
        with trio.move_on_after(seconds):
            while self._waiting and not self._away:
                await self._waiting[-1].tried.wait()

    # --- writing

    async def _write(self) -> None:
        while True:
            while not self._waiting:
                self._some = trio.Event()
                await self._some.wait()
            drafts = [statement.draft for statement, _ in zip(self._waiting, range(CONTROL_DRAFTS), strict=False)]
            try:
                await append_checked(self._log, self.channel, drafts)
            except LogError as error:
                if not self._away:
                    logger.error("other processes cannot be told in %s now: %s", self.channel, where(error))
                self._away = True
                for told in self._waiting:
                    told.tried.set()
                del told
                if not self.keeps:
                    self._waiting.clear()
                await trio.sleep(LOG_RETRY_SECONDS)
                continue
            self._away = False
            for _ in drafts:
                self._waiting.popleft().done()

    # --- listening

    def _hears(self) -> None:
        self._context.run(self._nursery.start_soon, self._follow)

    async def _follow(self) -> None:
        await self._catch_up()  # where it begins; what is said from here to the next line is read then
        with listening(self._log) as steps:
            await self._catch_up()
            self._listens.set()
            async for events in steps:
                if not events:
                    await self._catch_up()
                for event in events:
                    control = self._heard_by.get(event.channel)
                    if control is not None:
                        control._hear(event)

    async def _catch_up(self) -> None:
        """Hear what was said since the last that was heard: some of it did not come. A log that cannot be read is asked
        until it can."""
        for control in self._heard_by.values():
            while control.keeps:
                try:
                    if await control._read_on():
                        break
                except LogError as error:
                    logger.error("cannot read what other processes say in %s: %s", control.channel, where(error))
                    await trio.sleep(LOG_RETRY_SECONDS)

    async def _read_on(self) -> bool:
        """Read a page, and return whether nothing comes after it."""
        limits, after = self._limits, self._cursor
        if after is None:
            self._cursor = await head_checked(self._log, self.channel)
            return True
        page = await read_checked(self._log, self.channel, after, limit=limits.page_events, max_bytes=limits.page_bytes)
        if page.gap is not None:
            self.lost()
        # Also where there is no gap the epoch may be another: a log that failed over, and still has what was heard.
        offset = page.events[0].offset - 1 if page.events else page.head.offset
        self._cursor = Cursor(page.head.epoch, offset)
        for event in page.events:
            self._hear(event)
        return self._cursor == page.head

    def _hear(self, event: Event) -> None:
        """Take in a message, once."""
        heard, self._cursor = self._cursor, event.cursor
        if heard is not None and heard.epoch == event.cursor.epoch and event.offset <= heard.offset:
            self._cursor = heard
            return
        if heard is not None and (heard.epoch != event.cursor.epoch or event.offset > heard.offset + 1):
            self.lost()
        try:
            message = msgspec.json.decode(event.json, type=dict[str, Any])
        except msgspec.DecodeError:
            logger.error("a message in %s cannot be read, and is passed over: %s", self.channel, event.cursor)
            return
        name = message.pop("id", None)
        if name in self._done_here:
            del self._done_here[name]
        else:
            self._handle(message)

    def _handle(self, message: Mapping[str, Any]) -> None:
        handler = self._handlers.get(message.get("type", ""))
        if handler is None:
            return  # of a later version
        try:
            handler(message)
        except Exception as error:  # one message must not keep the next from being heard
            logger.error("a message in %s failed: %s", self.channel, where(error))
            logger.debug("its error", exc_info=error)


class NowControl(Control):
    """What processes tell each other only for now. Who is not there, or has no log, has missed it.

    Args:
        lead: the control channel by whose listener this one hears.
    """

    channel = NOW_CHANNEL
    keeps = False

    def __init__(self, log: EventLog, limits: Limits, nursery: trio.Nursery, lead: Control) -> None:
        super().__init__(log, limits, nursery)
        self._lead = lead
        lead._heard_by[self.channel] = self

    def _hears(self) -> None:
        self._lead.begin()


def _nothing() -> None:
    """Nobody is concerned."""
