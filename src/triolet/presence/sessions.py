"""This process's own sessions: members that come and go here, and the joins and leaves that are still to be written.

All bookkeeping is synchronous: a session joins and leaves without waiting for the log, and a few writers bring what has
changed into it. So a client is never held up by presence, and a log that is away makes joins and leaves late, not lost.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import trio

from ..bounds import LEASE_RENEWALS, LOG_RETRY_SECONDS, POLLED_PRESENCE_SECONDS, PRESENCE_DRAFTS
from ..counters import Metrics
from ..errors import LogError, where
from ..event import Cursor, Draft, Event, encode_json
from ..limits import Limits
from ..log.checked import append_checked
from ..log.contract import EventLog
from .losses import Losses
from .members import Member
from .statements import JOIN, LEAVE, PREFIX, Statement, check_size, presence_channel, process_of, read

__all__ = ["Session", "Sessions"]

logger = logging.getLogger("triolet.presence")


class Session:
    """A member's connection to this process, with the member's info as it was when it came.

    Attributes:
        channel: the channel that is followed.
        told: the channel in which its joins and leaves are told.
        member: the member's id.
        info: the member's info, as JSON.
        name: the session's name. No other session ever has the same.
        here: whether the connection is still there.
        stated: how many joins were made of it.
        written: whether the last event that was written of it is a join.
        restate: whether its join is to be written again.
    """

    __slots__ = ("channel", "here", "info", "member", "name", "restate", "stated", "told", "written")

    def __init__(self, channel: str, member: Member, name: str) -> None:
        self.channel = channel
        self.told = presence_channel(channel)
        self.member = member.id
        self.info = msgspec.Raw(encode_json(member.info))
        self.name = name
        self.here = True
        self.stated = 0
        self.written = False
        self.restate = False

    def statement(self) -> Statement:
        """Return what its next join or leave says."""
        return Statement(self.member, self.name, self.stated, self.info)

    def next_draft(self) -> Draft | None:
        """Return the join or leave that is to be written now; None if nothing is."""
        # Looked up when it is written, not when it changes: a client that comes and goes ten times before a slow log is
        # ready costs no event at all.
        if self.here and (self.restate or not self.written):
            self.stated += 1
            self.restate = False
            return self.statement().joins()
        if not self.here and self.written:
            return self.statement().leaves("left")
        return None


class _Room:
    """This process's sessions in one channel, and how long ago they were stated there: for retention.

    ``dirty`` are those of which something may have to be written; ``cursor`` is the place of the first event since they
    were stated, and ``bytes`` is what has followed it. ``epoch`` is that of the last that was written.
    """

    __slots__ = ("bytes", "cursor", "dirty", "epoch", "is_queued", "sessions", "stated_at")

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.sessions: dict[str, Session] = {}
        self.dirty: dict[Session, None] = {}
        self.is_queued = False
        self.cursor: Cursor | None = None
        self.bytes = 0
        self.stated_at = trio.current_time()

    def restate(self) -> None:
        """Mark all sessions to be stated again."""
        for session in self.sessions.values():
            session.restate = True
            self.dirty[session] = None
        self.cursor = None
        self.bytes = 0
        self.stated_at = trio.current_time()


class _Polling:
    """A member that polls: the number of its polls now, and the time until which it is present."""

    __slots__ = ("polls", "session", "until")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.polls = 0
        self.until = math.inf


class Sessions:
    """The sessions of this process.

    Args:
        process: the name of this life of this process.
        log: where joins and leaves are written.
        limits: the largest event, and retention, before which sessions are stated again.
        metrics: where joins and leaves are counted.

    Attributes:
        losses: the channels where leaves that were written may be gone.

    Bounds: each session that is there. Joins and leaves that wait for a log that fails are at most one for each session
    that was there.
    """

    def __init__(self, process: str, log: EventLog, limits: Limits, metrics: Metrics) -> None:
        self._process = process
        self._log = log
        self._limits = limits
        self._metrics = metrics
        self.losses = Losses(log)
        self._count = 0
        self._restated_at = -math.inf
        self._restates = False
        self._rooms: dict[str, _Room] = {}
        self._polling: dict[tuple[str, str], _Polling] = {}
        self._busy = 0
        self._idle = trio.Event()
        self._idle.set()
        # Unbounded as Trio counts, and bounded all the same: a channel is in it once (`is_queued`). So nothing ever
        # waits to put one in, and join and leave stay synchronous.
        self._queue, self._queued = trio.open_memory_channel[str](math.inf)

    # --- joins and leaves

    def join(self, channel: str, member: Member) -> Session:
        """Begin a session. See :meth:`.Presence.join`. If it raises, nothing is held."""
        check_size(member, self._limits)
        self._count += 1
        session = Session(channel, member, f"{self._process}.{self._count}")
        if channel not in self._rooms:
            self._rooms[channel] = _Room(self.losses.enter(channel))
        self._rooms[channel].sessions[session.name] = session
        self._changed(session)
        return session

    def leave(self, session: Session) -> None:
        """See :meth:`.Presence.leave`. Of a session that is over already: nothing."""
        if session.here:
            session.here = False
            del self._rooms[session.channel].sessions[session.name]
            self._changed(session)

    def leave_all(self) -> None:
        """End all sessions: this process ends."""
        self._polling.clear()
        for session in [session for room in self._rooms.values() for session in room.sessions.values()]:
            self.leave(session)

    def is_over(self, told: str, name: str) -> bool:
        """Whether a session, by its name and where it is told, is one of this process's that is no longer there."""
        room = self._rooms.get(told.removeprefix(PREFIX))
        return process_of(name) == self._process and (room is None or name not in room.sessions)

    @contextmanager
    def polls(self, channel: str, member: Member) -> Iterator[None]:
        """Hold a session for a member that polls. See :meth:`.Presence.polls`."""
        key = channel, member.id
        polling = self._polling.get(key)
        if polling is None:
            polling = self._polling[key] = _Polling(self.join(channel, member))
        polling.polls += 1
        polling.until = math.inf
        try:
            yield
        finally:
            polling.polls -= 1
            if not polling.polls:
                polling.until = trio.current_time() + POLLED_PRESENCE_SECONDS

    # --- stating again

    def look(self) -> None:
        """Look at the clock: end the members that poll no longer, and state again those whose join grows old, and all
        where that had to wait."""
        now = trio.current_time()
        if self._restates:
            self.restate_all()
        for key in [key for key, polling in self._polling.items() if polling.until < now]:
            self.leave(self._polling.pop(key).session)
        for channel, room in self._rooms.items():
            self._restate_before_retention(room)
            self._enqueue(channel, room)

    def passed(self, event: Event) -> None:
        """Take note of an event in a channel of presence.

        It brings retention nearer. And it may be a leave that another process has written for a session of this one,
        because it took this process for dead.
        """
        channel = event.channel.removeprefix(PREFIX)
        room = self._rooms.get(channel)
        if room is None:
            return
        room.bytes += len(event.json)
        if room.cursor is None or room.cursor.epoch != event.cursor.epoch:
            room.cursor = event.cursor
        self._restate_before_retention(room, event.offset - room.cursor.offset)
        said = read(event) if event.name == LEAVE else None
        session = None if said is None else room.sessions.get(said.session)
        if session is not None:
            session.restate = True
            room.dirty[session] = None
        self._enqueue(channel, room)

    def restate_all(self) -> None:
        """State every session again: what was said of it may be gone, or contradicted unheard. That is done at once,
        but if it was done less than a ``LEASE_RENEWALS``th of a lease ago: then when that has passed and ``look`` is
        called.
        For what is stated makes events itself, of which a tail may be overrun, or hints lost, again."""
        now = trio.current_time()
        self.losses.suspect()
        self._restates = now - self._restated_at < self._limits.lease_seconds / LEASE_RENEWALS
        if self._restates:
            return
        self._restated_at = now
        for channel, room in self._rooms.items():
            room.restate()
            self._enqueue(channel, room)

    def _restate_before_retention(self, room: _Room, events: int = 0) -> None:
        """State sessions again that retention may come near to. Not too often, because that makes events itself."""
        limits, age = self._limits, trio.current_time() - room.stated_at
        if age > limits.keep_seconds / 2 or (
            age > limits.lease_seconds / LEASE_RENEWALS
            and (events > limits.keep_events / 2 or room.bytes > limits.keep_bytes / 2)
        ):
            room.restate()

    # --- writing

    async def write(self) -> None:
        """Write joins and leaves, for ever. ``PRESENCE_WRITERS`` tasks run it; a channel has one of them, so its order
        is kept.

        Cancellation: what was not written is found by other processes when the lease has ended.
        """
        async for channel in self._queued:
            room = self._rooms[channel]
            while room.dirty:
                await self._write(channel, room)
            room.is_queued = False
            if not room.sessions:
                del self._rooms[channel]
                self.losses.leave(channel, room.epoch)
            del room  # or it would be held until there is something to write again
            self._busy -= 1
            if not self._busy:
                self._idle.set()

    async def written(self) -> None:
        """Wait until nothing is left to be written.

        Cancellation: nothing is lost.
        """
        await self._idle.wait()

    @property
    def held(self) -> int:
        """Number of sessions that are there."""
        return sum(len(room.sessions) for room in self._rooms.values())

    @property
    def members(self) -> int:
        """Number of members that have one. Cost: a look at each session."""
        return len({session.member for room in self._rooms.values() for session in room.sessions.values()})

    def _changed(self, session: Session) -> None:
        room = self._rooms[session.channel]
        room.dirty[session] = None
        self._enqueue(session.channel, room)

    def _enqueue(self, channel: str, room: _Room) -> None:
        if room.dirty and not room.is_queued:
            room.is_queued = True
            self._busy += 1
            if self._idle.is_set():
                self._idle = trio.Event()
            self._queue.send_nowait(channel)

    async def _write(self, channel: str, room: _Room) -> None:
        """Write what has changed, again and again until it is written: ``dedupe`` keeps the first."""
        # The drafts are made once, and taken off `dirty` before the wait: a session that changes meanwhile gets dirty
        # again, and its next draft comes after this one.
        sessions = list(room.dirty)[:PRESENCE_DRAFTS]
        drafts = {session: draft for session in sessions if (draft := session.next_draft()) is not None}
        for session in sessions:
            del room.dirty[session]
        while drafts:
            try:
                events = await append_checked(self._log, sessions[0].told, list(drafts.values()))
            except LogError as error:
                logger.error("cannot write who comes and goes: %s", where(error))
                self._metrics.statements["failed"] += len(drafts)
                await trio.sleep(LOG_RETRY_SECONDS)
            else:
                room.cursor = room.cursor or events[0].cursor
                before, room.epoch = room.epoch, events[-1].cursor.epoch
                self.losses.wrote(channel, before, room.epoch)
                break
        for session, draft in drafts.items():
            session.written = draft.name == JOIN
            self._metrics.statements["joined" if session.written else "left"] += 1
            self._metrics.restatements += draft.name == JOIN and session.stated > 1
