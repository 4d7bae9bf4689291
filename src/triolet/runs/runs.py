"""All runs of one process: how they begin, what they store, and how they end.

One run at a time goes on in a channel, by a **claim** in the log on a key of the channel's name, which its process
renews for as long as it lives. That it goes on is told to all processes in a **registry**, a channel of Triolet's own.
Its **end** is the channel's last event. Of two ends the log keeps the first, and stores nothing behind it: so a run has
one end, whoever says it, and a process that stood still cannot write behind the end that others have put there.

However a process is killed, the next step of somebody else is known:

======================================= ==============================================================================
killed                                  what becomes of it
======================================= ==============================================================================
after the claim                         the claim lapses; nothing was said, and nothing had begun
after the registry was told             the claim lapses; another process claims it, and ends the run as ``lost``
between two events                      the same
after the end was stored                another one finds the channel ended, and tells the registry that it is over
after the registry was told             the claim lapses
======================================= ==============================================================================
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, Awaitable, Callable
from contextvars import copy_context
from typing import Any, Final, NoReturn

import trio

from ..bounds import GRACE_LEAVING_PART, RUN_LOOKS
from ..errors import (
    ChannelEnded,
    ConfigError,
    LogAway,
    LogError,
    NotServingError,
    RunError,
    where,
)
from ..event import Event
from ..hub import Hub
from ..identity import Control
from ..limits import Limits
from ..log import EventLog
from ..log.checked import status_checked
from ..sockets.server_state import ServerState
from .intake import Items
from .leases import Leases
from .registry import Open, Registry
from .rescue import Rescue
from .run import Run, outcome_of
from .writing import Writing

__all__ = ["Runs"]

logger = logging.getLogger("triolet.runs")

STOP: Final = "stop run"
"""What a process is told that is to stop a run, if it has it."""

UNWATCHED: Final = "unwatched"
"""Why a run is stopped that nobody watches."""

RESTARTING: Final = "restarting"
"""Why runs are stopped when their server shuts down."""


class _Beginning:
    """A run that is about to begin, and who waits for that."""

    def __init__(self, run: Run, unwatched: Callable[[], Awaitable[None]] | None) -> None:
        self.run = run
        self.unwatched = unwatched
        self.error: Exception | None = NotServingError("the app has ended")  # where it is never told otherwise
        self.told = trio.Event()
        self.is_heard = True


class Runs:
    """The runs of one app, while it is served.

    Args:
        log, hub: where they are told.
        limits: how many there may be, and what one may take.
        nursery: of the app's life: they go on in it, in the context in which this is made.
        control: how other processes are told to stop one.
        server: whose draining ends them; counts them, and the bytes that wait to be stored.

    Bounds: ``limits.runs``; for each twice ``limits.run_batch_events`` and ``limits.run_batch_bytes``.
    """

    def __init__(
        self, log: EventLog, hub: Hub, limits: Limits, nursery: trio.Nursery, control: Control, server: ServerState
    ) -> None:
        self._log = log
        self._limits = limits
        self._nursery = nursery
        self._control = control
        self._server = server
        self._context = copy_context()
        self._mine: dict[str, Run] = {}
        self._ending = self._listens = False
        self._over = trio.Event()
        self._registry = Registry(log, limits, Run.draw_name(), self._heard_end, self._look_at_mine)
        self._leases = Leases(log, limits, self._registry)
        self._writing = Writing(log, hub, server.counters)
        self._rescue = Rescue(log, hub, limits, self._registry, self._is_mine, server.counters)
        control.on(STOP, self._told_to_stop)

    @property
    def running(self) -> tuple[Run, ...]:
        """Those that go on here."""
        return tuple(self._mine.values())

    @property
    def able(self) -> bool:
        """Whether the log can have runs."""
        return self._log.can_commit and self._log.can_end

    def listen(self) -> None:
        """Hear of the runs of other processes from now on, and end those whose process has died. A second call does
        nothing."""
        if not self._listens:
            self._listens = True
            self._start(self._registry.listen)
            self._start(self._leases.renew, lambda: self.running)
            self._start(self._look)

    def _start(self, function: Callable[..., Any], *args: Any) -> None:
        # In the context of the app, and not of the request that may have begun it.
        self._context.run(self._nursery.start_soon, function, *args)

    # --- beginning

    async def begin(
        self,
        channel: str,
        source: AsyncIterable[Any],
        items: Items,
        unwatched: Callable[[], Awaitable[None]] | None = None,
    ) -> Run:
        """Begin a run, and return it: see :meth:`Triolet.run`.

        Args:
            unwatched: returns when nobody has watched it for so long that it is to stop.

        Cancellation: it begins all the same.
        """
        if not self.able:
            raise ConfigError(f"{type(self._log).__name__} can have no runs: see status, delete and claim of EventLog")
        if not hasattr(type(source), "__aiter__"):
            raise ConfigError(f"a run is made of an async iterable, as an async generator is, not of {source!r:.80}")
        if self._ending:
            raise RunError(channel, "this server shuts down")
        if channel in self._mine:
            raise RunError(channel, "one goes on there already. Give each run a channel of its own")
        if len(self._mine) >= self._limits.runs:
            raise RunError(channel, f"{len(self._mine)} go on in this process, which are limits.runs")
        items.check()
        self.listen()
        if not self._mine:
            self._over = trio.Event()
        run = self._mine[channel] = Run(channel, source, items, self._limits, self._server.budget.hold)
        beginning = _Beginning(run, unwatched)
        self._start(self._live, beginning)
        try:
            await beginning.told.wait()
        finally:
            beginning.is_heard = False
        if beginning.error is not None:
            raise beginning.error
        return run

    async def _live(self, beginning: _Beginning) -> None:
        """Begin a run, store what comes of it, and end it."""
        run = beginning.run
        try:
            if not await self._begun(beginning):
                return
            self._server.counters.runs["begun"] += 1
            self._server.counters.runs_open += 1
            try:
                self._start(run.intake.read)
                async with trio.open_nursery() as nursery:
                    if beginning.unwatched is not None:
                        nursery.start_soon(self._stop_unwatched, run, beginning.unwatched)
                    outcome = await self._writing.write(run)
                    nursery.cancel_scope.cancel()
                if outcome != "lost":  # that is left to those that end what is lost, this process among them
                    await self._leases.leave(run)
            finally:
                self._server.counters.runs_open -= 1
        finally:
            run.intake.drop()
            del self._mine[run.channel]
            if not self._mine:
                self._over.set()
        if outcome != "lost":  # whoever has put that there counts it
            self._server.counters.runs[outcome] += 1
        run.settle(outcome)

    async def _begun(self, beginning: _Beginning) -> bool:
        run = beginning.run
        try:
            try:
                await self._enter(run)
                beginning.error = None
            except Exception as error:  # of a log of the app's own it may be any
                beginning.error = error
                if not beginning.is_heard:
                    logger.error("no run began on %r, and who wanted it is gone: %s", run.channel, where(error))
                await self._leases.give_back(run)
        finally:
            beginning.told.set()
        return beginning.error is None

    async def _enter(self, run: Run) -> None:
        if not await self._leases.take(run):
            raise RunError(run.channel, "one goes on there already. Give each run a channel of its own")
        with trio.move_on_after(self._limits.away_seconds) as patience:
            await self._registry.ready.wait()
        if patience.cancelled_caught:
            raise LogAway("the log is away: it is not known which runs go on")
        if run.channel in self._registry.open:
            raise RunError(
                run.channel, "the process of one that went on there has died. Give each a channel of its own"
            )
        status = await status_checked(self._log, run.channel)
        if status.end is not None and not status.end.is_tombstone:
            raise ChannelEnded(run.channel)
        run.since = status.head
        await self._registry.begun(run)

    # --- the runs of others

    async def _look(self) -> NoReturn:
        """Look for runs whose process has died."""
        await self._registry.ready.wait()
        while True:
            await self._rescue.look()
            await trio.sleep(self._limits.run_lease_seconds / RUN_LOOKS)

    def _is_mine(self, entry: Open) -> bool:
        run = self._mine.get(entry.channel)
        return run is not None and run.name == entry.run

    # --- ending

    def _heard_end(self, end: Event) -> None:
        """A channel has ended, or was deleted: a run there is over."""
        run = self._mine.get(end.channel)
        if run is not None and not run.leaves and run.is_before(end):
            run.break_off(outcome_of(end))

    async def _look_at_mine(self) -> None:
        """Some ends may not have been heard."""
        for run in self.running:
            try:
                end = (await status_checked(self._log, run.channel)).end
            except LogError:  # then it cannot store anything, or finds out
                continue
            if end is not None:
                self._heard_end(end)

    async def stop(self, channel: str, reason: str) -> bool:
        """Have the run on a channel stopped, in whichever process it goes on: see :meth:`Triolet.stop_run`."""
        return await self._control.tell({"type": STOP, "channel": channel, "reason": reason})

    def _told_to_stop(self, message: Any) -> None:
        run = self._mine.get(message["channel"])
        if run is not None:
            run.halt(message["reason"], self._limits.run_stop_seconds)

    async def _stop_unwatched(self, run: Run, unwatched: Callable[[], Awaitable[None]]) -> None:
        await unwatched()
        run.halt(UNWATCHED, self._limits.run_stop_seconds)

    async def run(self, *, others: bool) -> None:
        """Wait for the server to drain, and then for as long as clients have; stop what goes on still.

        Args:
            others: whether there are other processes, of which one that has died may have left runs.
        """
        if others and self.able:
            self.listen()
        await self._server.draining.wait()
        await self.finish(self._server.leave_seconds / GRACE_LEAVING_PART)

    async def finish(self, seconds: float) -> None:
        """Let no more runs begin, let those that go on end within so many seconds, and stop those that do not. Then
        each has as long as a goodbye, and what has not ended is found lost by others.

        Cancellation: those that go on still are not stopped here.
        """
        self._ending = True
        with trio.move_on_after(seconds):
            await self._all_over()
        for run in self.running:
            run.halt(RESTARTING, self._limits.goodbye_seconds / 2)
        with trio.move_on_after(self._limits.goodbye_seconds):
            await self._all_over()

    async def _all_over(self) -> None:
        if self._mine:
            await self._over.wait()
