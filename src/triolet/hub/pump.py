"""The pump: one task that takes what is new from the log's tail and writes it to every live client, in rounds."""

# One pump, and not a writer task for every event
# ------------------------------------------------
# The shape that comes to mind first is a task for each client, which waits for events and writes them. With 10,000
# clients one event then wakes 10,000 tasks. Each of them is scheduled, awaits its `send`, and goes to sleep again:
# measured, a delivery through `await websocket.send()` costs 223 µs, and nearly all of that is for a wait that is not
# needed. A client that is up to date has an empty outlet, and its kernel has room: the system call does not block.
#
# So the pump just calls. A round is one loop over two flat lists, the followers and beside them their outlets' `send`,
# which never blocks; where we write to the socket ourselves it is the kernel's own. Measured, that costs 1.4 times what
# a loop of send() costs in C. Only a client whose kernel takes less than all of a batch needs a task that waits, and it
# has one: its follower falls behind, and its connection's writer waits for it. Slowness costs the slow, not the others.
#
# What keeps a single task from harming anybody:
#
# - It never waits for a client. It awaits the tail, checkpoints, and, after an overrun, the log.
# - It gives way at least once in WRITES_BETWEEN_CHECKPOINTS writes, however large the crowd is.
# - What comes while a round is being written waits in the window, and goes out together in the next round: a busy
#   channel costs fewer calls for an event and not more. If the pump itself is late, the log's tail drops its oldest and
#   says so with an empty step, and the log is asked.
# - The lists are copied at the beginning of a round, before the first checkpoint: a follower that goes live after that
#   stands at the end of the round already. If one left at a checkpoint, the `version` of its group tells so, and each
#   that is still to be written to is looked at again.
# - A short write is dealt with after the loop: `fall_behind` moves other followers in the lists.
# - Followers whose clients may not see every event stand in no flat list, so the others pay nothing for them. Each is
#   written, behind all others, its own selection of the parts that were encoded once for everybody. Where nothing of a
#   round is for it, nothing is written, and its position moves all the same.
#
# `flushed` is the offset at which a round ends, and is set when the round begins: live followers are there, or will be
# when the round is over. A follower that has read up to `flushed` may go live, and the next round begins exactly there.
# One that has read further (events that wait for the next round are in the window already) must not: it would be sent
# them twice. It goes to the `early`, which are told when the next round begins, and then look again.

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import trio

from ..bounds import HEADS_ASKED_AT_ONCE, LOG_RETRY_SECONDS, WRITES_BETWEEN_CHECKPOINTS
from ..counters import Metrics
from ..errors import LogAway, LogError, where
from ..event import Cursor, Event, forgery
from ..identity import Deadlines
from ..log.checked import status_checked
from ..log.contract import EventLog, Status
from ..log.steps import Steps, listening
from ..log.tail import Waiting
from ..sockets.turn import Turn
from .audience import Audience, LiveGroup, Recipients
from .follower import Follower, State
from .windows import Windows

__all__ = ["LogStatistics", "Pump"]

logger = logging.getLogger("triolet.hub")


@dataclass(frozen=True, slots=True)
class LogStatistics:
    """How far what is served is behind the log, as one process hears of it.

    Attributes:
        away: whether the log is unavailable, so that it may have events that are not known here.
        behind_events: events that were heard of, and not yet written to those who are up to date.
        behind_seconds: age of the oldest of them; 0 where there is none. Where the log has to be asked for what the
            tail has lost: for how long that has been so.
        waiting: those of them that wait in the log's tail, and how many may.
    """

    away: bool = False
    behind_events: int = 0
    behind_seconds: float = 0.0
    waiting: Waiting = field(default_factory=Waiting)


class Pump:
    """Takes events from the log's tail into their windows, and writes them to the live followers.

    Args:
        log: where events come from. It must be open while :meth:`run` runs.
        windows: the channels in memory.
        metrics: where rounds are counted.
        deadlines: are enforced before anything is written.
        turn: is ended before anything is written.
        forget: forgets the pages of a channel that was deleted; of all where it is given None.

    Attributes:
        delivered: how often a batch was written to a live follower.
    """

    def __init__(
        self,
        log: EventLog,
        windows: Windows,
        metrics: Metrics,
        deadlines: Deadlines,
        turn: Turn,
        forget: Callable[[str | None], None],
    ) -> None:
        self._log = log
        self._windows = windows
        self._metrics = metrics
        self._deadlines = deadlines
        self._turn = turn
        self._forget = forget
        self._writes = 0
        self._doubts: dict[Audience, None] = {}  # those that were told of what cannot be, where its log goes on
        self._steps: Steps | None = None  # the tail, while it runs
        self._in_hand = 0  # events of the step that is being written
        self._since: float | None = None  # when the oldest of them was published
        self.delivered = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write for ever. It never waits for any client.

        Cancellation: nothing that is in the log is lost; followers are not written to while it does not run.
        """
        try:
            with listening(self._log) as steps:
                self._steps = steps
                task_status.started()
                async for heard in steps:
                    events = self._believed(heard)
                    self._heard(events)
                    if not events:  # the tail was overrun, or the log began a new epoch: see EventLog.tail
                        await self._ask_again()
                    while events:
                        rounds, events = self._take(events)
                        while self._doubts:
                            await self._ask_for(self._doubts.popitem()[0])
                        for audience, published_at in rounds.items():
                            await self._round(audience, published_at)
                    self._in_hand, self._since = 0, None
        finally:
            self._steps, self._in_hand, self._since = None, 0, None
            self._windows.empty()

    def statistics(self) -> LogStatistics:
        """Return how far it is behind the log."""
        queue = Waiting() if self._steps is None else self._steps.waiting()
        # What is in hand is older than all that waits; and what waits while nothing is in hand is taken at once.
        seconds = 0.0 if self._since is None else max(0.0, self._metrics.now() - self._since)
        return LogStatistics(self.stale, self._in_hand + queue.events, seconds, queue)

    @property
    def stale(self) -> bool:
        """Whether there may be events that are not known here: the log is unavailable, or its tail is not heard."""
        return self._steps is not None and self._steps.stale

    def _believed(self, events: Sequence[Event]) -> Sequence[Event]:
        """Return a step of the tail; none of it where it holds what no client can be told, as if it had been overrun.
        What is in the log says whether there is such an event."""
        forged = forgery(events)
        if forged is None:
            return events
        logger.error("the tail of %s tells of what no event can be: %s", type(self._log).__name__, forged)
        return ()

    def _heard(self, events: Sequence[Event]) -> None:
        self._in_hand = len(events)
        self._since = events[0].published_at if events else self._metrics.now()
        if events:
            self._metrics.step_heard(events[0].published_at, events[-1].published_at, len(events))

    # --- what is new

    def _take(self, events: Sequence[Event]) -> tuple[dict[Audience, float], Sequence[Event]]:
        """Put events into their windows. Return each audience that got some, and when its oldest was published; and
        the events that are left for the next rounds: those behind an end, which has to be told first."""
        # A batch of the tail may hold events of many channels. Each channel gets one round, with all of its events.
        dirty: dict[Audience, float] = {}
        find = self._windows.find
        left: Sequence[Event] = ()
        for at, event in enumerate(events):
            audience = find(event.channel)
            if audience is not None:
                if audience.window.ended and audience in dirty:
                    left = events[at:]
                    break
                goes_on = audience.window.ended
                if not audience.window.append(event):
                    self._doubts[audience] = None
                dirty.setdefault(audience, event.published_at)
                if goes_on:  # what was read of it before says that it is over
                    self._forget(event.channel)
            if event.is_tombstone:
                self._forget(event.channel)
        self._windows.keep_within_bound()
        return dirty, left

    async def _ask_again(self) -> None:
        """Ask the log for every channel's head: the tail was overrun, and the lost event may be the newest of any.

        Followers that were live read on from where they are.
        """
        # Those that are being opened ask by themselves. To ask all others here is what keeps a quiet channel whole: no
        # later event would show that one was lost.
        audiences = self._windows.opened()
        self._forget(None)  # what is lost may be that a channel was deleted

        async def ask() -> None:
            while audiences:
                await self._ask_for(audiences.pop())

        async with trio.open_nursery() as nursery:
            for _ in range(min(len(audiences), HEADS_ASKED_AT_ONCE)):
                nursery.start_soon(ask)

    async def _ask_for(self, audience: Audience) -> None:
        window = audience.window
        known = window.cursor
        status = await self._surely_status(window.channel)
        head = status.head
        # No await from here on. In this order: the window begins at the new head, so `fall_behind` leaves followers
        # with a position before it, and their writers then find the hole and read the log.
        if head.epoch != window.epoch or head.offset > window.head:
            window.begin(head, status.end is not None)
            audience.all_fall_behind()
            audience.wake()
        elif window.cursor == known:
            self._windows.went_back(window.channel, head, status.end is not None)

    async def _surely_status(self, channel: str) -> Status:
        """Return how far the log has come. While it cannot be read nothing is delivered: a loss must not be passed
        over."""
        while True:
            try:
                return await status_checked(self._log, channel)
            except LogAway:
                await trio.sleep(
                    LOG_RETRY_SECONDS
                )  # without a line in the log: a log that is away has written one itself
            except LogError as error:
                logger.error("the log was asked for what the tail has lost, and failed: %s", where(error))
                await trio.sleep(LOG_RETRY_SECONDS)

    # --- writing it to the live followers

    async def _round(self, audience: Audience, published_at: float) -> None:
        """Write what is new in a window to all live followers.

        What is appended meanwhile goes out together in the next round.
        """
        window = audience.window
        start, end = window.flushed, window.head
        if start == end:
            return  # all of it was known: the window was opened while its events waited in the tail
        self._turn.end()  # what was said before these events were published goes before them
        window.flushed = end  # before `wake`: the early look whether they stand at it
        audience.wake()
        # Taken before the first checkpoint: a follower that goes live during the round stands at its end already.
        recipients, filtered = audience.recipients(), list(audience.filtered)
        if window.first > start + 1:  # its bound has dropped events of this very round, or the tail had a hole
            audience.all_fall_behind()
            return
        ended = window.ended
        batches = [window.batch(codec, start, end) for codec, _, _ in recipients]
        # Taken now, as the batches are: at a checkpoint the window may be emptied.
        pairs = {codec: window.pairs(codec, start, end) for codec in dict.fromkeys(f.codec for f in filtered)}
        before, cursor = self.delivered, Cursor(window.epoch, end)
        for (_, group, some), batch in zip(recipients, batches, strict=True):
            await self._write(group, some, batch, start, cursor)
        written = (end - start) * (self.delivered - before)
        for follower in filtered:
            mine = pairs[follower.codec]
            written += self._write_allowed(follower, mine, start, cursor)
            if self._is_due(len(mine)):  # the app's function was called for each
                await trio.lowlevel.checkpoint()
        if ended:
            _finish([follower for _, _, (some, _, _) in recipients for follower in some] + filtered, cursor)
        self._metrics.round_written(published_at, written, self.delivered - before)
        self._windows.keep_within_bound()

    async def _write(self, group: LiveGroup, recipients: Recipients, batch: Any, start: int, end: Cursor) -> None:
        followers, sends, version = recipients
        for at in range(0, len(followers), WRITES_BETWEEN_CHECKPOINTS):
            self._deadlines.enforce()  # whoever has no right to it any more leaves the group, and its version tells so
            some = followers[at : at + WRITES_BETWEEN_CHECKPOINTS]
            their_sends = sends[at : at + WRITES_BETWEEN_CHECKPOINTS]
            if group.version != version:
                # One left, or left and came back, at the checkpoint or its deadline: write to those that wait.
                some = [f for f in some if f.state is State.LIVE and f.position.offset == start]
                their_sends = [f.outlet.send for f in some]
            self._write_some(some, their_sends, batch, end)
            if self._is_due(len(some)):
                await trio.lowlevel.checkpoint()

    def _write_allowed(self, follower: Follower, pairs: Sequence[tuple[Event, Any]], start: int, end: Cursor) -> int:
        """Write a follower what its client may see of a round, and return how many events that are."""
        if follower.state is not State.LIVE or follower.position.offset != start:
            return 0  # it left, or left and came back, at a checkpoint
        assert follower.filter is not None
        parts = follower.filter.parts(pairs)
        self._deadlines.enforce()  # the app's function takes its time
        if follower.state is not State.LIVE:
            return 0  # the app's function has ended it, or its time is over
        if not parts:
            follower.position = end
            return 0
        follower.filter.writes += 1
        self._write_some([follower], [follower.outlet.send], follower.codec.join(parts), end)
        return len(parts)

    def _is_due(self, writes: int) -> bool:
        """Count writes, and tell whether it is time to give way to others."""
        # Counted over rounds: a thousand channels with one follower each must give way as one with a thousand.
        self._writes += writes
        if self._writes < WRITES_BETWEEN_CHECKPOINTS:
            return False
        self._writes = 0
        return True

    def _write_some(
        self, followers: list[Follower], sends: list[Callable[[Any], int]], batch: Any, end: Cursor
    ) -> None:
        size = len(batch)
        short: list[tuple[Follower, int]] = []
        # The hot loop of the whole product: everything else that could stand in it stands before or behind it.
        for follower, send in zip(followers, sends, strict=True):
            try:
                taken = send(batch)
            except BlockingIOError:
                taken = 0
            except OSError:
                taken = -1
            # The position is moved also where little or nothing was taken: the outlet keeps the rest of this batch.
            follower.position = end
            if taken != size:
                short.append((follower, taken))
        self.delivered += len(followers)
        for follower, taken in short:
            if taken < 0:
                follower.outlet.fail()
            else:
                follower.outlet.keep(batch, taken)
            follower.fall_behind()


def _finish(followers: list[Follower], end: Cursor) -> None:
    """Have those leave that were written the end of their channel."""
    for follower in followers:
        if follower.state is not State.ENDED and follower.position == end:
            follower.owner.finish(follower)
