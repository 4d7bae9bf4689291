"""The hub: publishing to, following and reading all channels of one process."""

# How the rooms of this folder hang together
# -------------------------------------------
#
#     publish -> log -> tail -> PUMP -> windows -> window -> codec     made once for each codec and round
#                                |                                |
#                                +--> audience -> live lists -> send, send, send ...        to the live
#
#     connection's writer -> READER -> window, or log through the replay's shared pages     to those behind
#     poll                -> READER -> window, or log                                       to the client that asks
#
# There are two ways to a client, and at any moment each follower is on exactly one of them. While it is up to date the
# pump writes to it. While it is not, the writer of its connection reads for it, at the pace at which the client takes.
# Its state (follower.py) says which. The change is synchronous, and both ways count by the same offsets, so no event is
# lost between them and none is sent twice.
#
# Nothing here is a queue. Events are stored once in the log, held once in a window, encoded once for each codec, and
# what differs from client to client is a cursor. So memory grows with channels and their newest events, and not with
# clients times events; the bytes of all windows have one bound, and reaching it loses nothing, as the log has them too.
#
# Publishing does not deliver. It appends, and returns when the log has the event; the pump hears of it from the log's
# tail, as it hears of what other processes append. There is no shorter way for the events of this process, and so the
# order is the same for all clients of all processes. A publisher may have to wait for `room`: while the policy of a
# follower says BLOCK, and no longer than that policy allows.
#
# Which room does what:
#
#     filter        which events a client may see: the app's function, held to a yes or a no
#     policies      what a client gets that stays behind: pure functions of numbers
#     window        the newest events of a channel, without a hole, and their encoded forms
#     follower      a cursor and three states
#     audience      the lists that follow those states: live, early, watched; the polls that wait
#     windows       which channels are in memory, and how many bytes they may hold together
#     condense      how many events become few: of each key the newest, or folded
#     snapshots     the state of a channel with the cursor that it is of; reducer makes it of the events, and keeps it
#     replay        turns, so that a herd that comes back does not slow the live, and the pages that it shares
#     reading       what comes next for a follower that is behind, or for a poll
#     pump          the one task
#     hub           the face of all that, which the other folders use

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import trio

from ..budget import Budget
from ..counters import Metrics
from ..errors import ConfigError
from ..event import Cursor, Draft, Event
from ..identity import Deadlines
from ..limits import Limits
from ..log.checked import append_checked, append_within_checked, commit_checked
from ..log.contract import EventLog, JoinsTransactions, Kept
from ..sockets.turn import Turn
from .audience import Park
from .filter import Filter, Marked
from .follower import FilteredFollower, Follower, Owner
from .pages import Pages
from .polls import Polled, Polls
from .pump import LogStatistics, Pump
from .reading import Reader
from .replay import Reading, Replay
from .subscription import Subscription
from .windows import Windows

__all__ = ["Hub", "HubStatistics"]


@dataclass(frozen=True, slots=True)
class HubStatistics:
    """What a hub holds at one moment.

    Attributes:
        windows: channels in memory.
        followers: followers of all channels, and the long polls that wait.
        live: followers that have caught up; long polls never count.
        delivered: how often a batch was written to a live follower.
        window_bytes: bytes that the windows hold.
    """

    windows: int
    followers: int
    live: int
    delivered: int
    window_bytes: int


class Hub:
    """All channels of one process: events are published to them, and connections and polls follow them.

    Args:
        log: where events come from. It must be open while :meth:`run` runs.
        limits: bounds of windows and pages.
        budget: where the bytes held here are counted.
        metrics: where events and rounds are counted.

    Attributes:
        deadlines: when followers may be written to no longer.
        turn: is ended before anything is written: what connections have said goes before the events of a round.
        windows: the channels in memory.
        replay: turns and pages of the followers that catch up.
        runs: whether there is news of what is appended.

    Bounds: ``limits.windows_bytes`` of events, ``limits.replay_bytes`` of pages, and one follower for each
    subscription. No follower has a queue.
    """

    def __init__(
        self,
        log: EventLog,
        limits: Limits,
        budget: Budget,
        metrics: Metrics | None = None,
    ) -> None:
        self._log = log
        self._limits = limits
        self._metrics = Metrics() if metrics is None else metrics
        self.replay = Replay(limits, budget.hold)
        self.windows = Windows(log, limits, budget, self.replay.forget)
        self._pages = Pages(log, limits, self.replay, self._metrics, self.windows.went_back)
        self._reader = Reader(limits, self.windows, self.replay, self._pages)
        self._polls = Polls(limits, self.windows, self._pages, self._metrics)
        self.deadlines = Deadlines()
        self.turn = Turn()
        self.runs = False
        self._pump = Pump(log, self.windows, self._metrics, self.deadlines, self.turn, self.replay.forget)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the pump: one task, which never waits for any client.

        Cancellation: nothing that is in the log is lost; followers are not written to while it does not run.
        """
        self.runs = True
        try:
            await self._pump.run(task_status=task_status)
        finally:
            self.runs = False

    # --- publishing

    async def publish(self, channel: str, drafts: Sequence[Draft]) -> list[Event]:
        """Append drafts to a channel in order, all or none, and return them as events.

        It waits first where a follower's policy makes publishers wait: see :meth:`room`.

        Args:
            channel: its name, checked by the caller.
            drafts: the events, encoded, in the order in which they are to be stored.

        Returns:
            One event for each draft. For a repeated ``dedupe`` it is the event that was stored first.

        Raises:
            LogError: the store's fault; nothing was stored.
            LogUncertain: the store went away; the events may be stored. A repeat with the same ``dedupe`` is safe.

        Cancellation: all were stored and announced, or none; which of them is not known.
        """
        await self.room(channel)
        with self._metrics.publishing:
            events = await append_checked(self._log, channel, drafts)
        self._metrics.published += len(events)
        return events

    async def publish_within(self, connection: object, channel: str, drafts: Sequence[Draft]) -> list[Event]:
        """Append drafts within a transaction of the app's own in the log's file: see SqliteLog.append_within.

        It waits for no follower's policy: that would hold everybody up who stores something in this file.

        Raises:
            ConfigError: the app's fault; the log knows no such transactions, or this one will not do.
            LogError: the store's fault; nothing was stored.

        Cancellation: all were stored there, or none.
        """
        if not isinstance(self._log, JoinsTransactions):
            raise ConfigError(f"within= is for a log in SQLite, and this one is a {type(self._log).__name__}")
        with self._metrics.publishing:
            events = await append_within_checked(self._log, connection, channel, drafts)
        self._metrics.published += len(events)
        return events

    async def commit(
        self, key: bytes, holder: bytes, answer: bytes, seconds: float, writes: Sequence[tuple[str, Sequence[Draft]]]
    ) -> list[list[Event]] | Kept:
        """Store events of any channels, and an answer under a claimed key, all or nothing: see EventLog.commit.

        It waits first where a follower's policy makes publishers wait, for one channel after the other: see
        :meth:`room`.

        Returns:
            For each of the writes its events; or, where the key is another's, what is kept there.

        Raises:
            ConfigError: the app's fault; the log cannot commit, or not these together.
            LogError: the store's fault; nothing was stored.
            LogUncertain: the store went away; all of it may be stored. A repeat is safe.

        Cancellation: all was stored and announced, or nothing; which of them is not known.
        """
        for channel in dict.fromkeys(channel for channel, _ in writes):
            await self.room(channel)
        with self._metrics.publishing:
            outcome = await commit_checked(self._log, key, holder, answer, seconds, writes)
        if not isinstance(outcome, Kept):
            self._metrics.published += sum(map(len, outcome))
        return outcome

    async def room(self, channel: str) -> None:
        """Wait while a follower's policy makes publishers wait. The policy bounds the time: a follower that is still
        behind at its end is given up.

        Cancellation: nothing is lost.
        """
        audience = self.windows.find(channel)
        if audience is not None:
            await audience.room(self._limits.policy_seconds)

    # --- following

    async def follow(self, subscription: Subscription, owner: Owner) -> Follower:
        """Make a follower, which is behind at first. Without a policy it catches up, however long that takes.

        Args:
            subscription: the channel, the cursor to go on from, the policy, and which events the client may see.
            owner: the connection, whose writer brings the follower up to date.

        Raises:
            LogError: the store's fault; it cannot say where the channel's head is.

        Cancellation: nothing is left behind.
        """
        with self._metrics.reading:
            audience = await self.windows.open(subscription.channel)
        # No await between these: a window without a listener may go at any checkpoint.
        self.windows.keep(subscription.channel)
        if subscription.after is not None and subscription.after.offset < 0:
            try:
                with self._metrics.reading:
                    after = await self._pages.place(audience.window, subscription.after)
            except BaseException:
                self.windows.release(subscription.channel)
                raise
            subscription = msgspec.structs.replace(subscription, after=after)
        if owner.marks is not None:
            marked = Marked(subscription.allow, self._metrics, subscription.channel, owner.marks)
            return FilteredFollower(audience, subscription, owner, marked)
        if subscription.allow is not None:
            return FilteredFollower(audience, subscription, owner, Filter(subscription.allow, self._metrics))
        return Follower(audience, subscription, owner)

    def leave(self, follower: Follower) -> None:
        """End a follower. When it was the last of its channel, the window may go, after some time."""
        if follower.end():  # a second call must not count one listener less again
            self.windows.release(follower.channel)

    # --- reading

    async def read(self, follower: Follower) -> Reading:
        """Read on for a follower that is behind, as its policy says: from the window if it reaches back so far, else
        from the log.

        The follower is not moved: its writer does that, when the outlet has taken what was read.

        Raises:
            LogError: the store's fault; the log cannot be read.

        Bounds: ``limits.page_events`` and ``limits.page_bytes``, but one event at least if there is one.

        Cancellation: nothing is lost.
        """
        with self._metrics.reading:
            return await self._reader.read(follower)

    async def page(self, channel: str, after: Cursor | None, wait_seconds: float = 0) -> Polled:
        """Read a page for a task of the server's own: it sees every event, and is no watcher of the channel.

        Args:
            channel: its name.
            after: the cursor to go on from; None is "from now", and a negative offset the newest so many.
            wait_seconds: how long to wait for a first event.

        What it raises, its bounds, and what a cancellation loses are as of :meth:`pages`.
        """
        with self._metrics.reading:
            return (await self._polls.poll([Subscription(channel, after)], wait_seconds, watches=False))[0]

    async def pages(
        self, subscriptions: Sequence[Subscription], wait_seconds: float = 0, park: Park = trio.sleep_forever
    ) -> list[Polled]:
        """Read a page of each of some channels for a poll.

        Args:
            subscriptions: what its client may have of each, and where it goes on.
            wait_seconds: how long to wait for a first event that the client may see, of any of them; 0 for a short
                poll. One that waits watches the channels, and is told what is only for now.
            park: where it waits, until it is cancelled. It may raise before.

        Raises:
            LogError: the store's fault; the log cannot be read.
            SnapshotError: the app's fault; there is no state.
            Exception: what ``park`` raises.

        Bounds: ``limits.page_events`` and ``limits.page_bytes`` for all of them together, but one event at least if
        there is one: where the page is full, the last of them have none.

        Cancellation: nothing is left behind.
        """
        with self._metrics.reading:
            return await self._polls.poll(subscriptions, wait_seconds, park)

    # --- for operators

    @property
    def stale(self) -> bool:
        """Whether the log is unavailable, so that there may be events that are not known in this process."""
        return self._pump.stale

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels that are followed or polled, or were lately."""
        return self.windows.channels

    def shrink(self) -> None:
        """Empty windows down to half the bound: first those without a follower, then the longest unused."""
        self.windows.shrink()

    def log_statistics(self) -> LogStatistics:
        """Return how far what is served is behind the log."""
        return self._pump.statistics()

    def statistics(self) -> HubStatistics:
        """Count the windows and their listeners."""
        audiences = list(self.windows)
        return HubStatistics(
            windows=len(audiences),
            followers=sum(audience.listeners for audience in audiences),
            live=sum(audience.live_followers for audience in audiences),
            delivered=self._pump.delivered,
            window_bytes=self.windows.held,
        )
