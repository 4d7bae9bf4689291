"""Presence over processes: which members follow a channel, in every process of one log.

Presence is made of events in the log itself, under the log's contract alone, and of nothing beside it. A member's
session *joins* and *leaves* in a channel of its own (``triolet.presence/…``), which has cursors, gaps and retention as
every channel has. There is no table of members that could disagree with what clients were told, no second protocol
between processes, and no backend has anything to do for it: what works on memory, SQLite and Redis works here. A page
asks for the roster and follows after its cursor, and so misses nobody. The price is an event for each join and leave.

**Leases.** A process that dies cannot say so. Each one renews a lease in one channel for all (``triolet.processes``),
``LEASE_RENEWALS`` times in ``limits.lease_seconds``. A process of which nothing is heard for a lease is taken for dead.
No clock is shared: silence is measured on the clock of the process that listens, from when it began to listen. It
judges nobody before it has listened for a whole lease, nor while it does not hear its *own* renewals come back: then
the log is away, or this process stood still, and the others' silence means nothing.

**What happens to a process that dies.** Its sessions stay in the record until its lease has ended. Then any process
writes their leaves, with the reason ``lost``, wherever somebody looks: in the channels that are followed there
(``_bury``), and in a channel of which the roster is asked for. Several may do so at the same time; the drafts carry the
same ``dedupe``, which keeps the first, so each leave is told once. Where nobody looks, nothing is written. A process
that ends in order writes its own leaves, and then that it is gone; so nobody waits for its lease.

**Restating.** A join is a statement that may be repeated, and each repeat has the next number (``stated``). A leave
carries the number of the statement that it ends, and ends no later one. Sessions are stated again when

- another process has ended one of ours: it took this process for dead, which hears of it as everybody does. The leave
  may come late, after the session was stated again; by its number it then ends nothing;
- the tail was overrun: such a leave may be among what was lost, and nobody would say so again;
- the log was lost and begun again (its epoch changed), and presence with it;
- retention comes near to the join, by age, events or bytes: a roster that is asked for later must still find it.

All of them are stated again at most once in a ``LEASE_RENEWALS``th of a lease: what is stated makes events, of which a
tail may be overrun, or hints be lost, again.

**A log that comes back with less than it had**, as after a failover or from a backup, may have lost a leave and kept
its join. Each process ends those of its own sessions that are in the record and no longer there, wherever it reads one;
and it reads that of each channel where it has members, or had lately (``losses``), when what it writes or asks there
shows another epoch.

**The pieces.** ``members``: what the app sees. ``statements``: joins and leaves as events. ``sessions``: this process's
own, and writing them. ``losses``: channels that lost some. ``leases``: which process is alive. ``record``: who is
present, according to the events. Here is the face that the rest of the house uses, and the tasks that bring the pieces
together.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from contextvars import copy_context
from dataclasses import dataclass, field
from types import MappingProxyType

import trio

from ..bounds import LEASE_RENEWALS, PRESENCE_WRITERS
from ..counters import Metrics
from ..errors import LogError, where
from ..limits import Limits
from ..log.contract import EventLog
from ..log.steps import listening
from ..sync.home import Home
from .leases import PROCESSES, Leases
from .members import Member, Roster
from .record import Records
from .sessions import Session, Sessions
from .statements import PREFIX, presence_channel

__all__ = ["Presence", "PresenceStatistics"]

logger = logging.getLogger("triolet.presence")


@dataclass(frozen=True, slots=True)
class PresenceStatistics:
    """Presence as one process knows it, at one moment.

    Attributes:
        process: the name of this life of this process; empty before the app is served.
        sessions: members' sessions in this process.
        members: members that have one, each once.
        known: number of sessions that are known of each process, by its name, in the channels that are looked at here;
            each channel as it was when it was last looked at.
        leases: processes that hold a lease, as far as is heard here, this one among them; 0 until presence is used
            here for the first time.
    """

    process: str = ""
    sessions: int = 0
    known: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    leases: int = 0
    members: int = 0


class Presence:
    """Presence, as the rest of the house uses it. There is one object for a process.

    Args:
        log: must be open while the nursery is.
        limits: the lease, and retention, before which sessions are stated again.
        nursery: where its tasks run, from the first use of presence on: an app without it pays nothing.
        watched: returns the channels that are looked at here.
        process: the name of this life of this process; drawn if not given.
        metrics: where joins, leaves and lost processes are counted.

    Bounds: this process's sessions; the sessions of all processes in ``PRESENCE_RECORDS`` channels.
    """

    def __init__(
        self,
        log: EventLog,
        limits: Limits,
        nursery: trio.Nursery,
        watched: Callable[[], Iterable[str]],
        process: str | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.process = process or secrets.token_urlsafe(9)
        metrics = metrics or Metrics()
        self._log = log
        self._limits = limits
        self._nursery = nursery
        self._context = copy_context()
        self._home = Home()
        self._watched = watched
        self._sessions = Sessions(self.process, log, limits, metrics)
        self._leases = Leases(self.process, log, limits, metrics, self._sessions.restate_all)
        self._records = Records(log, limits, self._leases, self._sessions.is_over, metrics)
        self._begun = False
        self._listens = trio.Event()

    # --- this process's members

    def join(self, channel: str, member: Member) -> Session:
        """Make a member's connection present in a channel from now on. Its join is written soon, by another task.

        Returns:
            The session, to be ended with :meth:`leave`.

        Raises:
            ChannelNameError: the app's fault; the channel's name is too long for one with presence.
            DataError: the app's fault; the member's join is more than an event may hold.
        """
        session = self._sessions.join(channel, member)
        self._begin()
        return session

    def leave(self, session: Session) -> None:
        """End a session. Its leave is written soon. If its join was not written yet, neither is."""
        self._sessions.leave(session)

    def polls(self, channel: str, member: Member) -> AbstractContextManager[None]:
        """Make a member that polls present for the time of a block, and a little longer. Its polls are one session.

        Raises:
            ChannelNameError, DataError: as :meth:`join`, when the block is entered.
        """
        self._begin()
        return self._sessions.polls(channel, member)

    # --- the members of all processes

    async def roster(self, channel: str) -> Roster:
        """Return the members that are present in a channel. Sessions of dead processes are left out, and their leaves
        are written into the log.

        Raises:
            LogError: the store's fault; the log cannot be read or written.
            ChannelNameError: the app's fault; no such channel can be.

        Cancellation: some of the leaves may be written; a repeat writes the others.
        """
        self._home.check("Presence.roster")
        told = presence_channel(channel)
        self._begin()
        # Until then it is not heard which processes are alive.
        await self._listens.wait()
        return (await self._records.sweep(told)).roster(told)

    def statistics(self) -> PresenceStatistics:
        """Count what is known. The cost is a look at each session that is known."""
        known = MappingProxyType(self._records.by_process())
        sessions = self._sessions
        return PresenceStatistics(self.process, sessions.held, known, self._leases.alive, sessions.members)

    # --- its life

    async def finish(self, seconds: float) -> None:
        """End the sessions that are still there, as those of members that poll are; write what is still to be written,
        and that this process ends. After so many seconds its lease ends by itself."""
        if not self._listens.is_set():
            return
        self._sessions.leave_all()
        with trio.move_on_after(seconds):
            # In this order: "gone" makes the process dead to others, which then write the leaves that they miss.
            await self._sessions.written()
            await self._leases.end()

    def _begin(self) -> None:
        if not self._begun:  # tasks, and a renewal every few seconds, only for an app that uses presence
            self._begun = True
            # What begins it is mostly a client's request, and a task takes over the context that it is started in: all
            # that stands in the request's would be held for the life of the process.
            self._context.run(self._nursery.start_soon, self._run)

    async def _run(self) -> None:
        """Renew the lease, write what changes, and hear what other processes say."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._listen)  # before the first renewal, which is to be heard
            # Renewed before the first join is written: else another process would see a session of a process that it
            # has never heard, and may take it for dead.
            await self._leases.renew()
            for _ in range(PRESENCE_WRITERS):
                nursery.start_soon(self._sessions.write)
            nursery.start_soon(self._leases.renew_on)
            nursery.start_soon(self._look_on)
            self._listens.set()

    async def _look_on(self) -> None:
        while True:
            await trio.sleep(self._limits.lease_seconds / LEASE_RENEWALS)
            self._sessions.look()
            await self._end_what_came_back()
            await self._bury()

    async def _listen(self, *, task_status: trio.TaskStatus[None]) -> None:
        with listening(self._log) as steps:
            self._leases.listen_anew()
            task_status.started()
            async for events in steps:
                if not events:
                    await self._overrun()
                for event in events:
                    if event.channel == PROCESSES:
                        self._leases.hear(event)
                    elif event.channel.startswith(PREFIX):
                        self._sessions.passed(event)

    async def _overrun(self) -> None:
        """Leases may have been renewed, and our sessions ended, without our hearing it."""
        self._sessions.restate_all()
        await self._leases.catch_up()

    async def _end_what_came_back(self) -> None:
        """Where a log has begun again with less than it had, end the sessions of this process that are over: their
        leaves may be among what was lost."""
        losses = self._sessions.losses
        channels: list[str] = []
        try:
            channels = await losses.take()
            while channels:
                await self._records.sweep(presence_channel(channels[-1]))
                channels.pop()
        except LogError as error:
            logger.error("cannot look for sessions that came back: %s", where(error))
            losses.put_back(channels)

    async def _bury(self) -> None:
        """End the sessions of processes that have died since the last time, in the channels that are looked at here."""
        if not self._leases.judges:
            return
        self._leases.expire()
        for channel in [name for name in self._watched() if name.startswith(PREFIX)]:
            if not self._records.is_swept(channel):
                try:
                    await self._records.sweep(channel)
                except LogError as error:
                    logger.error("cannot look for members that are lost: %s", where(error))
