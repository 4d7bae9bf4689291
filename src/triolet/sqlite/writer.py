"""How a SqliteLog stores and forgets: one transaction for a group of jobs, in the writer's worker thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, cast

import apsw

from ..errors import ChannelEnded
from ..event import Event
from ..limits import Retention
from ..log.jobs import Append, Job
from .batch import Batch, Stored, save_channels
from .file import savepoint, transaction
from .life import LifeFile, check_life
from .retention import Pruning, Sweep
from .watch import ring

__all__ = ["Writer", "Written"]


_MARK_UNSYNCED: Final = "UPDATE log SET unsynced_boot = ?"


class Written(NamedTuple):
    """What became of a group of jobs, in order, and the numbers of its first and last change."""

    stored: list[Stored]
    first: int
    last: int


class Writer:
    """Writes transactions. Offsets come from the file, never from a counter here: another process may append to it as
    well.

    Args:
        path: the file's path; processes that watch it are told.
        boot: marks the file as not safe from a loss of power; empty where every commit is synced.
        kept: how much of a channel is kept.
        shortest_seconds: the shortest time for which any channel is kept.
        life: is told how far the file has come.
    """

    def __init__(
        self, path: str, boot: str, kept: Callable[[str], Retention], shortest_seconds: float, life: LifeFile
    ) -> None:
        self._path = path
        self._life = life
        self._boot = boot
        self._kept = kept
        self._sweep = Sweep(shortest_seconds)

    def write(self, db: apsw.Connection, jobs: Sequence[Job], now: float, known: tuple[str, int]) -> Written:
        """Do all jobs in one transaction, in order, and delete what the limits no longer keep.

        Args:
            known: the epoch, and how far the file had come.

        Raises:
            LifeOver: it has not come so far, or is in another epoch.
            LogBroken: it is no longer the file at this path; what was stored there nobody will read.
        """
        with transaction(db):
            written = self._store(db, jobs, now, known)
        self._life.check_in_place()
        if written.last >= written.first:
            self._life.mark(known[0], written.last)
            ring(self._path)
        return written

    def join(self, db: apsw.Connection, job: Append, now: float, known: tuple[str, int]) -> list[Event]:
        """Store events within a transaction that is open on a connection of the app's, all of them or none.

        Nobody is told, for they may be rolled back. It holds the file's lock, so it meets no :meth:`write`.

        Raises:
            ChannelEnded: the channel has ended.
            LifeOver: as :meth:`write`.
        """
        with savepoint(db):
            events = self._store(db, (job,), now, known).stored[0].result
            if isinstance(events, ChannelEnded):
                raise events
        return cast("list[Event]", events)

    def _store(self, db: apsw.Connection, jobs: Sequence[Job], now: float, known: tuple[str, int]) -> Written:
        batch = Batch(db, known[0], now, jobs)
        check_life((batch.epoch, batch.last_change), known)
        if self._boot and batch.unsynced_boot != self._boot:
            db.execute(_MARK_UNSYNCED, (self._boot,))
        stored = [batch.do(job) for job in jobs]
        changes = batch.save()
        pruning = Pruning(db, self._kept, now, len(batch.rows))
        pruning.prune_large(batch.channels.values())
        save_channels(db, list(batch.channels.values()))
        if self._sweep.is_due(now):
            pruning.sweep(self._sweep)
        return Written(stored, batch.last_change + 1, batch.last_change + changes)
