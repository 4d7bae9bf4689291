"""Presence over processes: this process's sessions are stated in the log, and those of dead processes are ended there.

Everything is in the log, under its contract alone. Each process renews a lease in one channel for all. Who hears
nothing of a process for ``limits.lease_seconds`` takes it for dead, and writes the leaves of its sessions wherever
somebody looks: in the channels that are followed here, and whose roster is asked for. Several may do so; ``dedupe``
keeps the first. A process that was taken for dead and is not hears of it as everybody does, and states its sessions
again.
"""

from __future__ import annotations

import logging
import math
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec
import trio

from ..errors import DataError, LogError, where
from ..event import Cursor, Draft, Event, encode_json
from ..limits import Limits
from ..log.contract import EventLog
from .statements import (
    JOIN,
    LEAVE,
    PREFIX,
    Member,
    Present,
    Roster,
    Statement,
    apply,
    presence_channel,
    process_of,
    read,
    read_lease,
)

__all__ = ["Attendance", "Session"]

logger = logging.getLogger("triolet.presence")

PROCESSES: Final = "triolet.processes"
"""The channel in which processes renew their leases."""
ALIVE: Final = "alive"
GONE: Final = "gone"

BEATS: Final = 3
"""Renewals in the time of a lease."""
WRITERS: Final = 64
"""Channels into which joins and leaves are written at the same time."""
DRAFTS: Final = 256
"""Most of them at once."""
LINGER_SECONDS: Final = 10
"""How long a member that polls is there after its last poll."""
RETRY_SECONDS: Final = 1
KNOWN_CHANNELS: Final = 1_024
"""Channels whose record is kept after somebody asked for it; the longest unused go first."""


class Session:
    """A member's connection to this process. What is said of the member is what it was when it came."""

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
        """What is said of it."""
        return Statement(self.member, self.name, self.stated, self.info)

    def next_draft(self) -> Draft | None:
        """What is to be written now, if anything."""
        if self.here and (self.restate or not self.written):
            self.stated += 1
            self.restate = False
            return self.statement().joins()
        if not self.here and self.written:
            return self.statement().leaves("left")
        return None


class _Local:
    """This process's sessions in one channel, and how long ago they were stated there: for retention."""

    __slots__ = ("bytes", "cursor", "dirty", "is_queued", "sessions", "stated_at")

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.dirty: dict[Session, None] = {}
        self.is_queued = False
        self.cursor: Cursor | None = None
        self.bytes = 0
        self.stated_at = trio.current_time()

    def restate(self) -> None:
        """Have all sessions stated again."""
        for session in self.sessions.values():
            session.restate = True
            self.dirty[session] = None
        self.cursor = None
        self.bytes = 0
        self.stated_at = trio.current_time()


class _Known:
    """What is known of a channel's sessions, up to a cursor."""

    __slots__ = ("cursor", "lock", "present", "swept")

    def __init__(self) -> None:
        self.cursor = Cursor("", 0)
        self.present: dict[str, tuple[Statement, float]] = {}
        self.lock = trio.Lock()
        self.swept = -1


class _Polling:
    """A member that polls: in so many polls now, and there until then."""

    __slots__ = ("polls", "session", "until")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.polls = 0
        self.until = math.inf


class Attendance:
    """One for a process.

    Args:
        log: open while the nursery is.
        limits: the lease, and retention, before which sessions are stated again.
        nursery: where its tasks run, from when somebody is present or asks who is.
        watched: the channels that somebody looks at here.
        process: the name of this life of this process; drawn if not given.

    Bounds: each session that is there, and in which channels; ``KNOWN_CHANNELS`` channels' sessions of all processes.
    Joins and leaves that wait for a log that fails are at most one for each session that was there.
    """

    def __init__(
        self,
        log: EventLog,
        limits: Limits,
        nursery: trio.Nursery,
        watched: Callable[[], Iterable[str]],
        process: str | None = None,
    ) -> None:
        self._nursery = nursery
        self._begun = False
        self.process = process or secrets.token_urlsafe(9)
        self._log = log
        self._limits = limits
        self._watched = watched
        self._count = 0
        self._local: dict[str, _Local] = {}
        self._polling: dict[tuple[str, str], _Polling] = {}
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._heard: dict[str, float] = {}
        self._listens_since = math.inf
        self._heard_itself = -math.inf
        self._deaths = 0
        self._epoch = ""
        self._busy = 0
        self._idle = trio.Event()
        self._idle.set()
        self._listens = trio.Event()
        self._queue, self._queued = trio.open_memory_channel[str](math.inf)  # a channel is in it once

    # --- who comes and goes here

    def join(self, channel: str, member: Member) -> Session:
        """A member's connection follows a channel from now on. Its join is written soon.

        Raises:
            ChannelNameError: the channel's name is too long for one with presence.
            DataError: what is said of the member is more than an event may hold.
        """
        self._count += 1
        session = Session(channel, member, f"{self.process}.{self._count}")
        if len(session.info) > self._limits.event_bytes:
            raise DataError(f"{len(session.info)} bytes of JSON about a member are more than limits.event_bytes")
        self._begin()
        self._local.setdefault(channel, _Local()).sessions[session.name] = session
        self._changed(session)
        return session

    def leave(self, session: Session) -> None:
        """It follows no longer. Its leave is written soon; of one that was not written yet, nothing."""
        session.here = False
        local = self._local[session.channel]
        local.sessions.pop(session.name, None)
        self._changed(session)

    @contextmanager
    def polls(self, channel: str, member: Member) -> Iterator[None]:
        """A member polls for the time of a block, and is there a little longer. Its polls are one session."""
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
                polling.until = trio.current_time() + LINGER_SECONDS

    # --- who is there

    async def roster(self, channel: str) -> Roster:
        """Who is present in a channel, without those whose process is dead, of whom it says so in the log.

        Raises:
            LogError: the log cannot be read or written.
            ChannelNameError: no such channel can be.
        """
        told = presence_channel(channel)
        self._begin()
        await self._listens.wait()
        known = await self._sweep(told)
        sessions = [Present(said.member, said.info, said.session, since) for said, since in known.present.values()]
        return Roster(told, known.cursor, tuple(sessions))

    # --- its life

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._nursery.start_soon(self._run)

    async def _run(self) -> None:
        """Renew the lease, write what changes, and hear of others."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._listen)
            await self._renew()
            for _ in range(WRITERS):
                nursery.start_soon(self._write_all)
            nursery.start_soon(self._renew_on)
            nursery.start_soon(self._tick_on)
            self._listens.set()

    async def finish(self, seconds: float) -> None:
        """Write what is still to be written, and that this process ends. After so many seconds its lease ends by
        itself."""
        if not self._listens.is_set():
            return
        with trio.move_on_after(seconds):
            await self._idle.wait()
            try:
                await self._log.append(PROCESSES, [Draft.of({"process": self.process}, name=GONE)])
            except LogError as error:
                logger.error("cannot say that this process ends: %s", where(error))

    async def _renew_on(self) -> None:
        seconds = self._limits.lease_seconds / BEATS
        renewed = True
        while True:
            await trio.sleep(seconds if renewed else min(RETRY_SECONDS, seconds))
            renewed = await self._renew()

    async def _tick_on(self) -> None:
        while True:
            await trio.sleep(self._limits.lease_seconds / BEATS)
            self._end_polling()
            for channel, local in self._local.items():
                self._restate_before_retention(local)
                self._enqueue(channel, local)
            await self._bury()

    async def _renew(self) -> bool:
        """Renew the lease. Returns whether that was possible."""
        try:
            renewed = await self._log.append(PROCESSES, [Draft.of({"process": self.process}, name=ALIVE)])
        except LogError as error:
            logger.error("cannot renew this process's lease: %s", where(error))
            return False
        epoch = renewed[0].cursor.epoch
        if self._epoch not in ("", epoch):
            self._restate_all()  # the log was lost and begun again, and presence with it
        self._epoch = epoch
        return True

    # --- others

    async def _listen(self, *, task_status: trio.TaskStatus[None]) -> None:
        with self._log.tail() as batches:
            self._listens_since = trio.current_time()
            task_status.started()
            async for events in batches:
                if not events:
                    self._overrun()
                for event in events:
                    if event.channel == PROCESSES:
                        self._hear(event)
                    elif event.channel.startswith(PREFIX):
                        self._passed(event)

    def _hear(self, event: Event) -> None:
        process = read_lease(event)
        if process is None:
            return
        now = trio.current_time()
        if event.name == GONE:
            self._heard[process] = -math.inf
            self._deaths += 1
        elif process != self.process:
            self._heard[process] = now
        else:
            if not self._hears:  # the log was away, or this process stood still: so others' silence meant nothing
                self._listen_anew()
            self._heard_itself = now

    @property
    def _hears(self) -> bool:
        """Whether what others say is heard at present: what this process says is."""
        return trio.current_time() - self._heard_itself <= self._limits.lease_seconds / 2

    @property
    def _judges(self) -> bool:
        """Whether it has listened for long enough to say who is dead."""
        return self._hears and trio.current_time() - self._listens_since > self._limits.lease_seconds

    def _overrun(self) -> None:
        """Leases may have been renewed, and our sessions ended, without our hearing it."""
        self._listen_anew()
        self._restate_all()

    def _listen_anew(self) -> None:
        """Who is silent for a lease from now on is dead, and may have been before."""
        self._listens_since = trio.current_time()
        self._heard.clear()
        self._deaths += 1

    def _passed(self, event: Event) -> None:
        """Something was appended to a channel of ours: another may have taken us for dead."""
        local = self._local.get(event.channel.removeprefix(PREFIX))
        if local is None:
            return
        local.bytes += len(event.json)
        if local.cursor is None or local.cursor.epoch != event.cursor.epoch:
            local.cursor = event.cursor
        self._restate_before_retention(local, event.offset - local.cursor.offset)
        said = read(event) if event.name == LEAVE else None
        session = None if said is None else local.sessions.get(said.session)
        if session is not None:
            session.restate = True
            local.dirty[session] = None
        self._enqueue(event.channel.removeprefix(PREFIX), local)

    def _is_dead(self, process: str) -> bool:
        heard = self._heard.get(process, self._listens_since)
        return process != self.process and self._hears and trio.current_time() - heard > self._limits.lease_seconds

    async def _bury(self) -> None:
        """Where somebody looks, end the sessions of processes that have died since the last time."""
        now, lease = trio.current_time(), self._limits.lease_seconds
        if not self._judges:
            return
        for process, heard in list(self._heard.items()):
            if now - heard > lease:
                del self._heard[process]  # from now on it is one that was never heard of
                self._deaths += 1
        for channel in [name for name in self._watched() if name.startswith(PREFIX)]:
            if self._know(channel).swept != self._deaths:
                try:
                    await self._sweep(channel)
                except LogError as error:
                    logger.error("cannot look for members that are lost: %s", where(error))

    async def _sweep(self, channel: str) -> _Known:
        """Bring the record of a channel up to date, and end the sessions of dead processes."""
        known = self._know(channel)
        async with known.lock:
            deaths = self._deaths
            await self._catch_up(channel, known)
            lost = [said for said, _ in known.present.values() if self._is_dead(process_of(said.session))]
            for some in _parts([said.leaves("lost") for said in lost]):
                await self._log.append(channel, some)
            if lost:
                logger.info("%d sessions of dead processes have left %s", len(lost), channel)
                await self._catch_up(channel, known)
            if self._judges:
                known.swept = deaths  # before, a process that was not heard of may have died or not
        return known

    def _know(self, channel: str) -> _Known:
        known = self._known.setdefault(channel, _Known())
        self._known.move_to_end(channel)
        while len(self._known) > KNOWN_CHANNELS:
            self._known.popitem(last=False)
        return known

    async def _catch_up(self, channel: str, known: _Known) -> None:
        """Read on to the head. Where something is missing in between, everything that is kept is read anew: among it
        each session that is there has been stated again."""
        limits = self._limits
        while True:
            page = await self._log.read(channel, known.cursor, limit=limits.page_events, max_bytes=limits.page_bytes)
            if page.gap is not None:
                known.present.clear()
                known.cursor = Cursor("", 0)
                continue
            apply(known.present, page.events)
            known.cursor = page.events[-1].cursor if page.events else page.head
            if known.cursor == page.head:
                return

    # --- writing

    def _changed(self, session: Session) -> None:
        local = self._local[session.channel]
        local.dirty[session] = None
        self._enqueue(session.channel, local)

    def _enqueue(self, channel: str, local: _Local) -> None:
        if local.dirty and not local.is_queued:
            local.is_queued = True
            self._busy += 1
            if self._idle.is_set():
                self._idle = trio.Event()
            self._queue.send_nowait(channel)

    async def _write_all(self) -> None:
        async for channel in self._queued:
            local = self._local[channel]
            while local.dirty:
                await self._write(channel, local)
            local.is_queued = False
            if not local.sessions:
                del self._local[channel]
            self._busy -= 1
            if not self._busy:
                self._idle.set()

    async def _write(self, channel: str, local: _Local) -> None:
        """Write what has changed, again and again until it is written: ``dedupe`` keeps the first."""
        sessions = list(local.dirty)[:DRAFTS]
        drafts = {session: draft for session in sessions if (draft := session.next_draft()) is not None}
        for session in sessions:
            del local.dirty[session]
        while drafts:
            try:
                events = await self._log.append(sessions[0].told, list(drafts.values()))
            except LogError as error:
                logger.error("cannot write who comes and goes: %s", where(error))
                await trio.sleep(RETRY_SECONDS)
            else:
                local.cursor = local.cursor or events[0].cursor
                break
        for session, draft in drafts.items():
            session.written = draft.name == JOIN

    def _restate_before_retention(self, local: _Local, events: int = 0) -> None:
        """State sessions again that retention may come near to. Not too often: it makes events itself."""
        limits, age = self._limits, trio.current_time() - local.stated_at
        if age > limits.keep_seconds / 2 or (
            age > limits.lease_seconds / BEATS
            and (events > limits.keep_events / 2 or local.bytes > limits.keep_bytes / 2)
        ):
            local.restate()

    def _restate_all(self) -> None:
        for channel, local in self._local.items():
            local.restate()
            self._enqueue(channel, local)

    def _end_polling(self) -> None:
        now = trio.current_time()
        for key in [key for key, polling in self._polling.items() if polling.until < now]:
            self.leave(self._polling.pop(key).session)


def _parts(drafts: Sequence[Draft]) -> Iterator[Sequence[Draft]]:
    for first in range(0, len(drafts), DRAFTS):
        yield drafts[first : first + DRAFTS]
