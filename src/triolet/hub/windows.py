"""The channels in memory: found, opened at the log's head, kept while they have listeners, and bounded in bytes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import trio

from ..budget import Budget
from ..errors import LogError
from ..event import Cursor
from ..limits import Limits
from ..log.checked import status_checked
from ..log.contract import EventLog
from .audience import Audience
from .window import Window

__all__ = ["Windows"]

logger = logging.getLogger("triolet.hub")


class Windows:
    """The channels that are followed or polled, or were lately, by name.

    Args:
        log: is asked where a channel's head is.
        limits: ``window_events`` and ``window_bytes`` bound each window, ``idle_windows`` those without a listener.
        budget: where the bytes held here are counted.
        goes_on: is told of a channel that has ended and goes on: what was read of it before says that it is over.

    Bounds: ``limits.windows_bytes``, or a quarter of the memory ceiling where that is less: windows alone must not
    keep a client out. What is over it goes, because the log has it too.
    """

    def __init__(self, log: EventLog, limits: Limits, budget: Budget, goes_on: Callable[[str], None]) -> None:
        self._log = log
        self._limits = limits
        self._budget = budget
        self._goes_on = goes_on
        self._bound = min(limits.windows_bytes, budget.ceiling // 4)
        self._audiences: dict[str, Audience] = {}
        self._opening: dict[str, trio.Event] = {}
        self._idle: dict[str, None] = {}
        self.on_watchers: Callable[[str], None] = _nothing
        """Is called with a channel when more of it or fewer watch."""
        self.held = 0
        """Bytes that the windows hold, in all forms together."""

    def __iter__(self) -> Iterator[Audience]:
        return iter(self._audiences.values())

    @property
    def channels(self) -> tuple[str, ...]:
        """The names of the channels in memory."""
        return tuple(self._audiences)

    def find(self, channel: str) -> Audience | None:
        """Return the audience of a channel, also of one that is being opened; None if the channel is not in memory."""
        return self._audiences.get(channel)

    def opened(self) -> list[Audience]:
        """Return all audiences but those that are being opened, for which the log is being asked already."""
        return [audience for channel, audience in self._audiences.items() if channel not in self._opening]

    async def open(self, channel: str) -> Audience:
        """Return the audience of a channel. If it is not in memory, open its window at the log's head first.

        It may go again at the next checkpoint, unless :meth:`keep` is called first.

        Raises:
            LogError: the store's fault; it cannot say where the channel's head is.

        Cancellation: nothing is left behind; another task that waits for the same channel asks the log itself.
        """
        # A loop: the task that opens it may be cancelled or fail, and then the next one that waits opens it. And a
        # window that was opened may have gone again when this task runs.
        audience, asked = self._audiences.get(channel), False
        while audience is None or channel in self._opening or (audience.window.ended and not asked):
            if audience is None:
                await self._open(channel)
                asked = True
            elif channel in self._opening:
                await self._opening[channel].wait()
            else:
                asked = True
                await self._ask_whether_it_goes_on(audience)
            audience = self._audiences.get(channel)
        return audience

    def went_back(self, channel: str, head: Cursor, ended: bool = False) -> None:
        """Have the followers of a channel ask the log, where its head is before what its tail has told of. Those who
        have heard more are told a gap then, and all hear what comes, under numbers that are given anew."""
        audience = self._audiences.get(channel)
        if audience is None or head.epoch != audience.window.epoch or head.offset >= audience.window.head:
            return
        window = audience.window
        logger.error("the log stands at %s in %r, of which it has told up to %s", head, channel, window.cursor)
        window.begin(head, ended)
        audience.all_fall_behind()
        audience.wake()

    def keep(self, channel: str, watches: bool = True) -> None:
        """Count one listener more: a channel that was opened stays until it is released.

        Args:
            watches: whether it is a client that waits for more.
        """
        audience = self._audiences[channel]
        audience.listeners += 1
        self._idle.pop(channel, None)
        if watches:
            audience.watchers += 1
            self.on_watchers(channel)

    def release(self, channel: str, watches: bool = True) -> None:
        """Count one listener less, as :meth:`keep` has counted it. Windows without one stay for a while, for clients
        that poll; the longest unused go first."""
        audience = self._audiences[channel]
        audience.listeners -= 1
        if watches:
            audience.watchers -= 1
            self.on_watchers(channel)
        if audience.listeners == 0:
            audience.rest()
            self._idle[channel] = None
            if len(self._idle) > self._limits.idle_windows:
                self._drop(next(iter(self._idle)))

    def keep_within_bound(self) -> None:
        """Shrink if the bound is passed. To be called after events came, or were encoded in one more form."""
        if self.held > self._bound:
            self.shrink()

    def shrink(self) -> None:
        """Empty windows down to half the bound: first those without a listener, then the longest unused."""
        # To half, so that a busy process does not come here at every event.
        for channel in list(self._idle):
            self._drop(channel)
            if self.held * 2 <= self._bound:
                return
        for channel, audience in list(self._audiences.items()):
            if audience.window.flushed < audience.window.head:
                continue  # its round is about to be written
            audience.window.shrink()
            self._audiences[channel] = self._audiences.pop(channel)  # to the end: the others come first the next time
            if self.held * 2 <= self._bound:
                return

    def empty(self) -> None:
        """Give all bytes back: nothing comes from the tail any more."""
        for audience in self._audiences.values():
            audience.window.shrink()

    async def _open(self, channel: str) -> None:
        """Open a window. It takes events from the tail while the log is asked for the head, so none falls between."""
        window = Window(channel, self._limits, self._hold)
        self._audiences[channel] = Audience(window)
        self._opening[channel] = trio.Event()
        try:
            status = await status_checked(self._log, channel)
            if window.head < 0:  # else the tail was faster: the window began at its first event, and goes on from there
                window.begin(status.head, status.end is not None)
            self._idle[channel] = None
        except BaseException:
            del self._audiences[channel]
            window.shrink()  # it may hold what came from the tail meanwhile
            raise
        finally:
            self._opening.pop(channel).set()

    async def _ask_whether_it_goes_on(self, audience: Audience) -> None:
        """A channel that was deleted goes on with the next event. Who comes after that was stored must not be told that
        all is over, because the tail has not told of it yet: that would keep the client away for good."""
        window, at = audience.window, audience.window.cursor
        try:
            status = await status_checked(self._log, window.channel)
        except LogError:  # what is known here is told
            return
        if window.ended and window.cursor == at and status.head.epoch == at.epoch and status.head.offset > at.offset:
            window.begin(status.head, status.end is not None)
            self._goes_on(window.channel)
            audience.wake()

    def _drop(self, channel: str) -> None:
        del self._idle[channel]
        self._audiences.pop(channel).window.shrink()

    def _hold(self, more: int) -> None:
        self.held += more
        self._budget.hold(more)


def _nothing(_: str) -> None:
    """Nobody wants to know."""
