"""The log in one SQLite file: it survives a restart, and needs no server."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Final, TypeVar

import apsw
import trio

from ..clock import wall_time
from ..errors import ConfigError, LogBusy, LogError, NotServingError
from ..event import Cursor, Draft, Event
from ..limits import Limits
from ..log.contract import EventLog, Kept, Page, Status, check_order
from ..log.jobs import Append, Claim, Commit, Delete, Job, Release
from ..log.tail import Tail
from .bounds import SQLITE_KEPT_CHANNELS, SQLITE_READERS
from .committer import Committer
from .file import mark_clean, prepare, translate
from .hearing import Hearing
from .joining import check_joinable, check_ours, run_on, untraced
from .life import LifeFile, LifeOver
from .reading import read_channels, read_page, read_status
from .thread import Connections, Handover, SqliteThread
from .writer import Writer, Written

__all__ = ["SqliteLog"]

logger = logging.getLogger("triolet.log")

T = TypeVar("T")


BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
"""Where Linux says which life of the machine this is."""


class SqliteLog(EventLog):
    """Keeps channels in one SQLite file (with ``-wal`` and ``-shm`` beside it), on a local disk.

    **What an acknowledgement means**: when ``append`` returns, the event is committed.

    - ``synchronous="normal"``: it survives the end and any crash of this process, ``kill -9`` included. A
      crash of the machine or a loss of power may take the last events along (those since SQLite's last
      checkpoint). The log notices this at its next opening and begins a new epoch, so that every client is
      told by a gap; it does so too where it cannot know that nothing was lost.
    - ``synchronous="full"``: it survives a loss of power as well, as far as the disk keeps its word. Each
      transaction waits for the disk.

    A file that was put back from a backup, copied or overwritten begins a new epoch, at rest and under a running log.
    One that is removed or replaced while it is open raises LogBroken from then on. What is known of it stands in a file
    beside it, ``-life``: see life.py.

    All appends and commits that wait are stored together, in one transaction, by one task. Epoch, offsets and dedupe
    keys live as long as the file; claims and answers stand in it too, and are lost only with the events beside them.
    Other processes of the same machine may append to the same file: offsets stay without holes, and ``tail`` tells of
    their events as of this process's, in the order of commits, some milliseconds later.

    Args:
        path: the file; made if it does not exist, in a folder that does. Relative to the working directory
            at this moment.
        limits: ``keep_events``, ``keep_bytes`` and ``keep_seconds`` apply to each channel, or what ``keep`` says of it
            (of the bytes, those of the data count, and the newest event stays whatever its size); ``lock_seconds``.
        clock: what time it is, in seconds since 1970. Tests give one that they can set.
        synchronous: ``"normal"`` or ``"full"``, see above.

    Bounds: what the limits keep, per channel; rows are deleted a little later than readers stop seeing them.
    The file does not shrink: freed pages are used again. Waiting appends hold their drafts.
    """

    patience = math.inf

    def __init__(
        self,
        path: str | Path,
        limits: Limits | None = None,
        clock: Callable[[], float] = wall_time,
        *,
        synchronous: str = "normal",
    ) -> None:
        self._path = str(Path(path).absolute())
        self._limits = limits or Limits()
        self._kept = lru_cache(SQLITE_KEPT_CHANNELS)(self._limits.kept)
        self._clock = clock
        self._synchronous = synchronous
        self._tail = Tail()
        self._life = LifeFile(self._path)
        self._committer = Committer(self._write, self._announce)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqliteLog]:
        """Open the file for the time of a block. At its end the appends that still wait are committed; those
        that cannot be raise NotServingError.

        Raises:
            LogBroken: the store's fault; the file is not a log, or is damaged.
            LogError: the store's fault; it cannot be opened, and the message says why.

        Cancellation: appends that wait raise NotServingError; what was committed stays.
        """
        failure: BaseException | None = None
        try:
            with self._tail.opened():
                async with self._connected(), trio.open_nursery() as nursery:
                    nursery.start_soon(self._committer.run)
                    hearing, ringing = trio.CancelScope(), trio.CancelScope()
                    nursery.start_soon(self._hearing.hear_others, hearing)
                    nursery.start_soon(self._hearing.ring_for_apps, ringing)
                    try:
                        yield self
                    except BaseException as error:
                        failure = error  # kept out of the nursery, which would wrap it in a group
                    # The committer ends by itself, when nothing waits any more. Only the listening is cancelled.
                    self._committer.end()
                    hearing.cancel()
                    ringing.cancel()
        except trio.Cancelled:
            if failure is None:
                raise
        if failure is not None:
            raise failure

    async def append(self, channel: str, drafts: Sequence[Draft]) -> list[Event]:
        """Store drafts in order, all or none, and return them as events. See EventLog.

        Raises:
            ChannelEnded: the channel has ended; nothing was stored.
            LogFull: the store's fault; there is no room on the disk.
            LogBusy: another process, or a transaction of the app's own, held the file for ``limits.lock_seconds`` (for
                a caller that came while others were already waiting, up to twice that).
            LogBroken: the store's fault; the file is damaged.
            NotServingError: the log is not open, or ended before this was stored.

        Cancellation: all were stored and announced, or none; which of the two is not known.
        """
        self._check_serving()
        if not drafts:
            await trio.lowlevel.checkpoint()
            return []
        check_order([(channel, drafts)])
        events: list[Event] = await self._committer.do(Append(channel, tuple(drafts)))
        return events

    async def append_within(self, connection: object, channel: str, drafts: Sequence[Draft]) -> list[Event]:
        """Store drafts within a transaction of the app's own in the log's file, all of them or none.

        The app commits, or rolls back: then nothing is left of them, and their offsets are given to others. Until then
        nobody hears of them, and nobody else can store anything in this file: all other appends wait, for
        ``limits.lock_seconds`` at most.

        Followers hear of them some milliseconds after the commit, in all processes. Where a hint of the kernel's was
        missed it is 20 ms; if this process dies right after the commit the others find it within
        ``limits.look_seconds``.

        Args:
            connection: an ``apsw.Connection``, also one for ``async``, whose main database is the log's file, in a
                transaction that was begun by ``BEGIN IMMEDIATE``, or has written already. No other thread may use it
                meanwhile. Its ``last_insert_rowid()`` is another one afterwards.
            channel: its name, checked by the caller.
            drafts: the events to store.

        Returns:
            One event for each draft; they are there if the transaction is committed.

        Raises:
            ChannelEnded: the channel has ended, and one of the drafts at least is no repeat.
            ConfigError: the app's fault; events cannot be stored in what is open there, and the message says what would
                do.
            LogFull: the store's fault; there is no room on the disk. SQLite may have rolled all of it back.
            LogBusy: the file was put back or replaced just now: roll back, and do all of it again.
            LogError: the store's fault; nothing of this was stored.
            NotServingError: the log is not open.

        Cancellation: it is noticed before anything is stored, and not again.
        """
        self._check_serving()
        db = check_ours(connection)
        await trio.lowlevel.checkpoint()
        self._check_serving()
        if not drafts:
            return []
        check_order([(channel, drafts)])
        try:
            with trio.CancelScope(shield=True):  # nothing that waits for others: it holds the file's lock
                events = await run_on(db, partial(self._join, job=Append(channel, tuple(drafts))))
        except LifeOver as error:
            raise LogBusy(f"{self._path} was put back or replaced: roll back, and do all of it again") from error
        except (apsw.ConnectionClosedError, apsw.ThreadingViolationError) as error:
            raise ConfigError(f"within= is a connection that cannot be used here: {error}") from error
        except apsw.Error as error:
            raise translate(error, self._path) from error
        self._hearing.joined(db)
        return events

    def _join(self, db: apsw.Connection, job: Append) -> list[Event]:
        with untraced(db):
            check_joinable(db, self._path, self._life, self._synchronous)
            return self._writer.join(db, job, self._clock(), self._hearing.known)

    async def claim(self, key: bytes, print: bytes, holder: bytes, seconds: float) -> Kept | None:
        """Begin what is to happen once. See EventLog.

        Raises:
            LogFull, LogBusy, LogBroken: see :meth:`append`; the key is not held.
            NotServingError: the log is not open, or ended before this was stored.

        Cancellation: it is held or not; which of the two is not known.
        """
        self._check_serving()
        kept: Kept | None = await self._committer.do(Claim(key, print, holder, seconds))
        return kept

    async def commit(
        self, key: bytes, holder: bytes, answer: bytes, seconds: float, writes: Sequence[tuple[str, Sequence[Draft]]]
    ) -> list[list[Event]] | Kept:
        """Store events of any channels and the answer, in one transaction of the file. See EventLog.

        Raises:
            ChannelEnded: one of the channels has ended; nothing was stored, and the key is held as before.
            LogFull, LogBusy, LogBroken: see :meth:`append`; nothing was stored.
            DataError: it is repeated with other writes.
            NotServingError: the log is not open, or ended before this was stored.

        Cancellation: all was stored and announced, or nothing; which of the two is not known.
        """
        self._check_serving()
        check_order(writes)
        job = Commit(key, holder, answer, seconds, [(channel, tuple(drafts)) for channel, drafts in writes])
        done: list[list[Event]] | Kept = await self._committer.do(job)
        return done

    async def release(self, key: bytes, holder: bytes) -> None:
        """Give a claim back. See EventLog.

        Raises:
            LogFull, LogBusy, LogBroken: see :meth:`append`; the claim lapses when its seconds are over.
            NotServingError: the log is not open, or ended before this was stored.

        Cancellation: it was given back, or lapses when its seconds are over.
        """
        self._check_serving()
        await self._committer.do(Release(key, holder))

    async def read(self, channel: str, after: Cursor, *, limit: int, max_bytes: int) -> Page:
        """Return the events after a cursor. See EventLog."""
        query = partial(read_page, channel=channel, after=after, limit=limit, max_bytes=max_bytes)
        return await self._ask(partial(query, now=self._clock(), kept=self._kept(channel)))

    async def head(self, channel: str) -> Cursor:
        """Return the cursor of the newest event. See EventLog."""
        return (await self.status(channel)).head

    async def status(self, channel: str) -> Status:
        """Return how far a channel has come, and whether it has ended. See EventLog."""
        return await self._ask(partial(read_status, channel=channel, now=self._clock(), kept=self._kept(channel)))

    async def delete(self, channel: str) -> Event:
        """Forget all events of a channel, in one transaction of the file. See EventLog.

        Raises:
            LogFull, LogBusy, LogBroken: see :meth:`append`; nothing was deleted.
            NotServingError: the log is not open, or ended before this was done.

        Cancellation: it was deleted and announced, or not; which of the two is not known.
        """
        self._check_serving()
        event: Event = await self._committer.do(Delete(channel))
        return event

    async def channels(self, prefix: str = "", after: str = "", limit: int = 1_000) -> list[str]:
        """Return the names of channels of which an event is kept. See EventLog."""
        query = partial(read_channels, prefix=prefix, after=after, limit=limit)
        return await self._ask(partial(query, now=self._clock(), kept=self._kept))

    def tail(self) -> AbstractContextManager[AsyncIterator[Sequence[Event]]]:
        """Listen to what any process appends from now on. See EventLog, and Tail for the bounds."""
        return self._tail.listen()

    @property
    def stale(self) -> bool:
        """Whether the file was removed or replaced, so that what is in its place is not told."""
        return self._life.is_lost

    def _check_serving(self) -> None:
        self._tail.check_open()
        if self._committer.is_ending:
            raise NotServingError("the log is ending: nothing more is stored or read")

    # --- storing

    async def _write(self, jobs: list[Job]) -> Written:
        while True:
            job = partial(self._writer.write, jobs=jobs, now=self._clock(), known=self._hearing.known)
            try:
                return await self._connections.writer.run(job, to_its_end=True)
            except LifeOver:
                await self._hearing.begin_again()
            except LogBusy as error:
                if not await self._hearing.is_held():
                    raise
                raise LogBusy(
                    f"{self._path} was locked for {self._limits.lock_seconds} s by a transaction of this process, in "
                    "which the app published (within=): commit it, or roll it back, soon"
                ) from error

    async def _announce(self, written: Written) -> None:
        await self._hearing.announce(written)

    # --- connections

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[None]:
        """Open one connection to write and some to read."""
        async with AsyncExitStack() as stack:
            handover = Handover()
            trio.lowlevel.add_instrument(handover)
            stack.callback(trio.lowlevel.remove_instrument, handover)
            start = partial(SqliteThread.started, self._path, self._limits.lock_seconds, handover)
            writer = await stack.enter_async_context(start())
            boot = _boot_id()
            life = self._life
            stack.callback(life.close)
            life.opened()
            job = partial(prepare, path=self._path, synchronous=self._synchronous, boot=boot, life=life)
            known = await writer.run(job)
            life.prepared()
            marked = boot if self._synchronous == "normal" else ""
            self._writer = Writer(self._path, marked, self._kept, self._limits.shortest_seconds, life)
            self._committer.is_ending = False
            readers = [await stack.enter_async_context(start()) for _ in range(SQLITE_READERS)]
            self._connections, look = Connections(writer, readers), self._limits.look_seconds
            self._hearing = Hearing(self._path, self._tail, life, self._connections, known, look)
            stack.push_async_callback(_spare_another_files_wal, life, self._connections)
            yield
            # Left out when cancelled or locked: the mark that stays is only the more careful one.
            with suppress(LogError, LifeOver):
                life.check_in_place()
                await writer.run(partial(mark_clean, life=life, known=self._hearing.known))

    async def _ask(self, query: Callable[..., T]) -> T:
        """Run a query in the reader that was asked least recently."""
        while True:
            self._check_serving()
            job = partial(query, known=self._hearing.known)
            if self._life.is_lost:  # the watcher has said so, or an append: else reading need not look
                job = partial(self._life.while_in_place, job)
            try:
                return await self._connections.next_reader().run(job)
            except LifeOver:
                await self._hearing.begin_again()


async def _spare_another_files_wal(life: LifeFile, connections: Connections) -> None:
    """Closing the last connection deletes the WAL by its name: by now that may be another file's."""
    if life.is_anothers:
        with trio.CancelScope(shield=True):  # nothing that waits: it sets a flag
            for thread in connections:
                await thread.run(_leave_the_wal)


def _leave_the_wal(db: apsw.Connection) -> None:
    db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)


def _boot_id() -> str:
    """Return a name of this life of the machine; empty if the system does not say."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""
