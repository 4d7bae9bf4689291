"""The log in one SQLite file: it survives a restart, and needs no server."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import apsw
import trio

from ..bounds import SQLITE_READERS, SQLITE_REST_SECONDS
from ..clock import wall_time
from ..errors import LogError, NotServingError, where
from ..event import Cursor, Draft, Event
from ..limits import Limits
from ..log.contract import EventLog, Kept, Page
from ..log.jobs import Append, Claim, Commit, Job, Release
from ..log.tail import Tail
from .changes import read_news
from .committer import Committer
from .file import begin_again, mark_clean, prepare, read_head, read_page
from .life import FileReplaced, LifeFile, LifeOver
from .thread import Handover, SqliteThread
from .watch import watching
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
        limits: ``keep_events``, ``keep_bytes`` and ``keep_seconds`` apply to each channel (of the bytes,
            those of the data count, and the newest event stays whatever its size); ``lock_seconds``.
        clock: what time it is, in seconds since 1970. Tests give one that they can set.
        synchronous: ``"normal"`` or ``"full"``, see above.

    Bounds: what the limits keep, per channel; rows are deleted a little later than readers stop seeing them.
    The file does not shrink: freed pages are used again. Waiting appends hold their drafts.
    """

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
        self._clock = clock
        self._synchronous = synchronous
        self._tail = Tail()
        self._seen = 0
        self._announcing = trio.Lock()
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
                    hearing = trio.CancelScope()
                    nursery.start_soon(self._hear_others, hearing)
                    try:
                        yield self
                    except BaseException as error:
                        failure = error  # kept out of the nursery, which would wrap it in a group
                    # The committer ends by itself, when nothing waits any more. Only the listening is cancelled.
                    self._committer.end()
                    hearing.cancel()
        except trio.Cancelled:
            if failure is None:
                raise
        if failure is not None:
            raise failure

    async def append(self, channel: str, drafts: Sequence[Draft]) -> list[Event]:
        """Store drafts in order, all or none, and return them as events. See EventLog.

        Raises:
            LogFull: the store's fault; there is no room on the disk.
            LogBusy: the store's fault; another process held the file for ``limits.lock_seconds`` (for a caller that
                came while others were already waiting, up to twice that).
            LogBroken: the store's fault; the file is damaged.
            NotServingError: the log is not open, or ended before this was stored.

        Cancellation: all were stored and announced, or none; which of the two is not known.
        """
        self._check_serving()
        if not drafts:
            await trio.lowlevel.checkpoint()
            return []
        events: list[Event] = await self._committer.do(Append(channel, tuple(drafts)))
        return events

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
            LogFull, LogBusy, LogBroken: see :meth:`append`; nothing was stored.
            DataError: it is repeated with other writes.
            NotServingError: the log is not open, or ended before this was stored.

        Cancellation: all was stored and announced, or nothing; which of the two is not known.
        """
        self._check_serving()
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
        return await self._ask(partial(query, now=self._clock(), limits=self._limits))

    async def head(self, channel: str) -> Cursor:
        """Return the cursor of the newest event. See EventLog."""
        return await self._ask(partial(_head_of, channel=channel))

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
            job = partial(self._writer.write, jobs=jobs, now=self._clock(), seen=self._seen)
            try:
                return await self._write_thread.run(job, to_its_end=True)
            except LifeOver:
                await self._begin_again()

    async def _begin_again(self) -> None:
        """Go on in the epoch that the file is in now. Whoever listens is told that something was lost."""
        async with self._announcing:
            job = partial(begin_again, life=self._life, known=(self._writer.epoch, self._seen))
            epoch, number = await self._write_thread.run(job, to_its_end=True)
            if epoch == self._writer.epoch:
                return  # another task was here first
            logger.warning("%s was put back or replaced: epoch %s goes on as %s", self._path, self._writer.epoch, epoch)
            self._writer.epoch = epoch
            self._seen = number
            self._tail.lose()

    # --- the tail, of all processes

    async def _announce(self, written: Written) -> None:
        """Announce what was committed here, behind what other processes have committed before."""
        # One at a time: this task, and the one that hears others, must not read the same changes twice.
        async with self._announcing:
            if self._seen < written.first - 1:
                await self._read_news(written.first - 1)
            if self._seen < written.last:  # else it was read as news
                self._seen = written.last
                self._tail.announce([event for outcome in written.stored for event in outcome.new])

    async def _hear_others(self, scope: trio.CancelScope) -> None:
        """Announce what other processes commit, for ever."""
        with scope, watching(self._path) as watch:
            while True:
                await self._look()
                await trio.sleep(SQLITE_REST_SECONDS)
                if not watch.forget():
                    await self._look()  # what was written before may have been committed just now
                    await watch.changed()

    async def _look(self) -> None:
        try:
            async with self._announcing:
                await self._read_news()
            return
        except LifeOver:
            pass
        try:
            await self._begin_again()
        except LogError as error:
            _cannot_hear(self._tail, error)

    async def _read_news(self, upto: int | None = None) -> None:
        """Announce the commits after those that were announced last. If they cannot be read, listeners are told so."""
        try:
            while upto is None or self._seen < upto:
                query = partial(read_news, epoch=self._writer.epoch, seen=self._seen, upto=upto)
                news = await self._next_reader().run(partial(_in_place, self._life, query))
                if news is None:
                    return
                if news.lost:
                    self._tail.lose()
                self._seen = news.seen
                self._tail.announce(news.events)
        except NotServingError:
            pass  # the log is ending: its listeners are, too
        except LogError as error:
            _cannot_hear(self._tail, error)

    # --- connections

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[None]:
        """Open one connection to write and some to read."""
        async with AsyncExitStack() as stack:
            handover = Handover()
            trio.lowlevel.add_instrument(handover)
            stack.callback(trio.lowlevel.remove_instrument, handover)
            start = partial(SqliteThread.started, self._path, self._limits.lock_seconds, handover)
            self._write_thread = await stack.enter_async_context(start())
            boot = _boot_id()
            life = self._life
            stack.callback(life.close)
            life.opened()
            job = partial(prepare, path=self._path, synchronous=self._synchronous, boot=boot, life=life)
            epoch, self._seen = await self._write_thread.run(job)
            marked = boot if self._synchronous == "normal" else ""
            self._writer = Writer(self._path, epoch, marked, self._limits, life)
            self._committer.is_ending = False
            self._read_threads = deque([await stack.enter_async_context(start()) for _ in range(SQLITE_READERS)])
            stack.push_async_callback(_spare_another_files_wal, life, [self._write_thread, *self._read_threads])
            yield
            # Left out when cancelled or locked: the mark that stays is only the more careful one.
            with suppress(LogError, LifeOver):
                life.check_in_place()
                known = self._writer.epoch, self._seen
                await self._write_thread.run(partial(mark_clean, life=life, known=known))

    async def _ask(self, query: Callable[..., T]) -> T:
        """Run a query in the reader that was asked least recently."""
        while True:
            self._check_serving()
            job = partial(query, known=(self._writer.epoch, self._seen))
            if self._life.is_lost:  # the watcher has said so, or an append: else reading need not look
                job = partial(_in_place, self._life, job)
            try:
                return await self._next_reader().run(job)
            except LifeOver:
                await self._begin_again()

    def _next_reader(self) -> SqliteThread:
        self._read_threads.rotate()
        return self._read_threads[0]


def _cannot_hear(tail: Tail, error: LogError) -> None:
    logger.error("cannot read what other processes have stored: %s (%s)", error, where(error))
    tail.lose()


def _in_place(life: LifeFile, query: Callable[[apsw.Connection], T], db: apsw.Connection) -> T:
    """Run a query, if the file is still the one that others open."""
    life.check_in_place()
    return query(db)


def _head_of(db: apsw.Connection, channel: str, known: tuple[str, int]) -> Cursor:
    return Cursor(known[0], read_head(db, channel, known))


async def _spare_another_files_wal(life: LifeFile, threads: Sequence[SqliteThread]) -> None:
    """Closing the last connection deletes the WAL by its name: by now that may be another file's."""
    try:
        life.check_in_place()
    except FileReplaced:
        with trio.CancelScope(shield=True):  # nothing that waits: it sets a flag
            for thread in threads:
                await thread.run(_leave_the_wal)


def _leave_the_wal(db: apsw.Connection) -> None:
    db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)


def _boot_id() -> str:
    """Return a name of this life of the machine; empty if the system does not say."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""
