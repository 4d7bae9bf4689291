"""How a SqliteLog stores and forgets: one transaction for a group of jobs, in the writer's worker thread."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import apsw
import msgspec

from ..bounds import SQLITE_INSERT_ROWS, SQLITE_PRUNE_ROWS, SQLITE_SWEEP_CHANNELS, SQLITE_SWEEPS
from ..event import Cursor, Draft, Event
from ..limits import Limits
from ..log.contract import Kept, check_repeated
from ..log.jobs import Append, Claim, Commit, Job, writes_of
from .answers import Answers, Places
from .changes import ADD_CHANGES, TRIM_CHANGES
from .file import events_of, insert, transaction
from .life import LifeFile, check_life
from .watch import ring

__all__ = ["Stored", "Writer", "Written"]


_MARK_UNSYNCED: Final = "UPDATE log SET unsynced_boot = ?"
_FIND: Final = """
SELECT
    (SELECT epoch FROM log),
    (SELECT unsynced_boot FROM log),
    (SELECT ifnull(max(id), 0) FROM channels),
    (SELECT ifnull(max(number), 0) FROM changes),
    (
        SELECT json_group_array(json_array(c.id, c.name, c.head, c.oldest, c.total, c.dropped, c.oldest_at))
        FROM json_each(?) AS wanted CROSS JOIN channels AS c ON c.name = wanted.value
    )"""
_FIND_REPEATED: Final = """
SELECT json_group_array(
    json_array(e.channel, e.dedupe, json_array(e.offset, e.name, CAST(e.json AS TEXT), e.key, e.at))
)
FROM json_each(?) AS wanted CROSS JOIN events AS e
ON e.channel = wanted.value ->> 0 AND e.dedupe = wanted.value ->> 1"""
_FIND_STORED: Final = """
SELECT json_group_array(
    json_array(e.channel, json_array(e.offset, e.name, CAST(e.json AS TEXT), e.key, e.at))
)
FROM json_each(?) AS wanted CROSS JOIN events AS e
ON e.channel = wanted.value ->> 0 AND e.offset = wanted.value ->> 1"""
_FIND_AGED: Final = """
SELECT json_group_array(json_array(id, name, head, oldest, total, dropped, oldest_at))
FROM (SELECT * FROM channels WHERE oldest_at < ? ORDER BY oldest_at LIMIT ?)"""
_FIND_FIRST_KEPT: Final = """
SELECT offset, at, before FROM events
WHERE channel = ? AND offset >= ? AND offset < ? AND at >= ? AND (before >= ? OR offset = ?)
ORDER BY offset LIMIT 1"""
_FIND_ONE: Final = "SELECT offset, at, before FROM events WHERE channel = ? AND offset = ?"
_PRUNE: Final = "DELETE FROM events WHERE channel = ? AND offset >= ? AND offset < ?"
_ADD_EVENTS: Final = {
    n: f"INSERT INTO events VALUES {', '.join(['(?, ?, ?, ?, ?, ?, ?, ?)'] * n)}" for n in SQLITE_INSERT_ROWS
}
_SAVE_CHANNELS: Final = {
    n: f"""
INSERT INTO channels VALUES {", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * n)}
ON CONFLICT (id) DO UPDATE SET head = excluded.head, oldest = excluded.oldest, total = excluded.total,
    dropped = excluded.dropped, oldest_at = excluded.oldest_at"""
    for n in SQLITE_INSERT_ROWS
}


class Stored(NamedTuple):
    """What became of a job: what its caller is told, and the events that are new."""

    result: list[Event] | list[list[Event]] | Kept | None
    new: list[Event]


class Written(NamedTuple):
    """What became of a group of jobs, in order, and the numbers of its first and last change."""

    stored: list[Stored]
    first: int
    last: int


class Writer:
    """Writes the transactions of one epoch. Offsets come from the file, never from a counter here: another process may
    append to it as well.

    Args:
        path: the file's path; processes that watch it are told.
        epoch: the log's epoch.
        boot: marks the file as not safe from a loss of power; empty where every commit is synced.
        limits: what is kept.
        life: is told how far the file has come.
    """

    def __init__(self, path: str, epoch: str, boot: str, limits: Limits, life: LifeFile) -> None:
        self._path = path
        self.epoch = epoch
        self._life = life
        self._boot = boot
        self._limits = limits
        self._next_sweep = 0.0

    def write(self, db: apsw.Connection, jobs: Sequence[Job], now: float, seen: int) -> Written:
        """Do all jobs in one transaction, in order, and delete what the limits no longer keep.

        Args:
            seen: how far the file had come.

        Raises:
            LifeOver: it has not come so far, or is in another epoch.
            LogBroken: it is no longer the file at this path; what was stored there nobody will read.
        """
        with transaction(db):
            batch = _Batch(db, self.epoch, now, jobs)
            check_life((batch.epoch, batch.last_change), (self.epoch, seen))
            if self._boot and batch.unsynced_boot != self._boot:
                db.execute(_MARK_UNSYNCED, (self._boot,))
            stored = [batch.do(job) for job in jobs]
            batch.answers.save()
            insert(db, _ADD_EVENTS, batch.rows)
            changes = batch.changes()
            if changes:
                insert(db, ADD_CHANGES, changes)
                db.execute(TRIM_CHANGES, (changes[-1][0],))
            pruning = _Pruning(db, self._limits, now, 2 * len(batch.rows) + SQLITE_PRUNE_ROWS)
            pruning.prune_large(batch.channels.values())
            insert(db, _SAVE_CHANNELS, [_row_of(channel) for channel in batch.channels.values()])
            if now >= self._next_sweep and pruning.sweep():
                self._next_sweep = now + self._limits.keep_seconds / SQLITE_SWEEPS
        self._life.check_in_place()
        if changes:
            self._life.mark(self.epoch, changes[-1][0])
            ring(self._path)
        return Written(stored, batch.last_change + 1, batch.last_change + len(changes))


class _Channel(msgspec.Struct, array_like=True):
    """A row of ``channels``, for the time of one transaction."""

    id: int
    name: str
    head: int = 0
    oldest: int = 1
    total: int = 0
    dropped: int = 0
    oldest_at: float | None = None


_row_of = msgspec.structs.astuple
_encode = msgspec.json.Encoder().encode
_decode_channels = msgspec.json.Decoder(list[_Channel]).decode
_decode_repeated = msgspec.json.Decoder(list[tuple[int, str, msgspec.Raw]]).decode
_decode_stored = msgspec.json.Decoder(list[tuple[int, msgspec.Raw]]).decode


class _Batch:
    """The rows that one transaction inserts, and the channels and keys it touches."""

    def __init__(self, db: apsw.Connection, epoch: str, now: float, jobs: Sequence[Job]) -> None:
        self._db = db
        self._epoch = epoch
        self._now = now
        self.rows: list[tuple[int, int, int, float, str, str | None, str | None, bytes]] = []
        # All that the transaction has to know is asked in one statement: a step lets go of the GIL (see file.py). A
        # second one only where there are keys, which the log of an app without commands does not have.
        names = list(dict.fromkeys(channel for job in jobs for channel, drafts in writes_of(job) if drafts))
        ((self.epoch, self.unsynced_boot, self._last_id, self.last_change, known),) = db.execute(
            _FIND, (_encode(names).decode(),)
        )
        self.answers = Answers(db, [job.key for job in jobs if not isinstance(job, Append)], now)
        self.channels = {channel.name: channel for channel in _decode_channels(known)}
        self._heads = {channel.id: channel.head for channel in self.channels.values()}
        self._first = self._find_repeated(db, jobs)

    def changes(self) -> list[tuple[int, int, int, int]]:
        """Return the rows that tell other processes what was appended."""
        grown = [channel for channel in self.channels.values() if channel.head > self._head(channel)]
        return [
            (number, channel.id, self._head(channel) + 1, channel.head)
            for number, channel in enumerate(grown, self.last_change + 1)
        ]

    def _head(self, channel: _Channel) -> int:
        """Where a channel's head was before this transaction."""
        return self._heads.get(channel.id, 0)

    def _find_repeated(self, db: apsw.Connection, jobs: Sequence[Job]) -> dict[tuple[str, str], Event]:
        """Return the events that the channels remember for the drafts' ``dedupe`` keys, by channel and key."""
        wanted = [
            (self.channels[channel].id, draft.dedupe)
            for job in jobs
            for channel, drafts in writes_of(job)
            for draft in drafts
            if draft.dedupe is not None and channel in self.channels
        ]
        if not wanted:
            return {}
        ((found,),) = db.execute(_FIND_REPEATED, (_encode(wanted).decode(),))
        names = {channel.id: channel.name for channel in self.channels.values()}
        return {
            (names[number], dedupe): events_of(self._epoch, names[number], b"[" + bytes(row) + b"]")[0]
            for number, dedupe, row in _decode_repeated(found)
        }

    def do(self, job: Job) -> Stored:
        """Do a job."""
        if isinstance(job, Append):
            return Stored(*self._place(job.channel, job.drafts))
        if isinstance(job, Commit):
            return self._commit(job)
        if isinstance(job, Claim):
            return Stored(self.answers.claim(job), [])
        self.answers.release(job)
        return Stored(None, [])

    def _commit(self, job: Commit) -> Stored:
        row = self.answers.held(job)
        if isinstance(row, Kept):
            return Stored(row, [])
        if row.stored is not None:
            return Stored(row.events or self._stored_before(job, row.stored), [])
        events: list[list[Event]] = []
        new: list[Event] = []
        for channel, drafts in job.writes:
            placed, added = self._place(channel, drafts)
            events.append(placed)
            new += added
        self.answers.settle(job, row, events)
        return Stored(events, new)

    def _stored_before(self, job: Commit, stored: Places) -> list[list[Event]]:
        """Return the events of a commit that is repeated: as they are kept, or else as they were."""
        at, places = stored
        check_repeated(job.writes, [len(some) for some in places])
        names = {channel.id: channel.name for channel in self.channels.values()}
        wanted = [
            (self.channels[channel].id, offset)
            for (channel, _), some in zip(job.writes, places, strict=True)
            for offset in some
        ]
        ((found,),) = self._db.execute(_FIND_STORED, (_encode(wanted).decode(),))
        kept = {
            (event.channel, event.offset): event
            for number, row in _decode_stored(found)
            for event in events_of(self._epoch, names[number], b"[" + bytes(row) + b"]")
        }
        return [
            [
                kept.get((channel, offset)) or self._event(channel, offset, draft, at)
                for offset, draft in zip(some, drafts, strict=True)
            ]
            for (channel, drafts), some in zip(job.writes, places, strict=True)
        ]

    def _event(self, channel: str, offset: int, draft: Draft, at: float) -> Event:
        return Event(Cursor(self._epoch, offset), channel, draft.name, draft.json, draft.key, at)

    def _place(self, name: str, drafts: Sequence[Draft]) -> tuple[list[Event], list[Event]]:
        """Give drafts their offsets, and return their events and the new ones of them. For a repeated ``dedupe``, take
        the first event."""
        events: list[Event] = []
        new: list[Event] = []
        for draft in drafts:
            event = self._first.get((name, draft.dedupe)) if draft.dedupe is not None else None
            if event is None:
                event = self._add(self._channel(name), draft)
                new.append(event)
            events.append(event)
        return events, new

    def _channel(self, name: str) -> _Channel:
        channel = self.channels.get(name)
        if channel is None:
            self._last_id += 1
            channel = self.channels[name] = _Channel(self._last_id, name)
        return channel

    def _add(self, channel: _Channel, draft: Draft) -> Event:
        name, key, dedupe, json, now = draft.name, draft.key, draft.dedupe, draft.json, self._now
        channel.head += 1
        self.rows.append((channel.id, channel.head, channel.total, now, name, key, dedupe, json))
        channel.total += len(json)
        if channel.oldest_at is None:
            channel.oldest_at = now
        event = self._event(channel.name, channel.head, draft, now)
        if dedupe is not None:  # a repeat may stand in this same group
            self._first[channel.name, dedupe] = event
        return event


class _Pruning:
    """Deletes what the limits do not keep, at most ``budget`` rows in one transaction."""

    def __init__(self, db: apsw.Connection, limits: Limits, now: float, budget: int) -> None:
        self._db = db
        self._limits = limits
        self._too_old = now - limits.keep_seconds
        self._budget = budget

    def prune_large(self, channels: Iterable[_Channel]) -> None:
        """Prune the channels that hold enough too much that deleting it is worth the statements."""
        for channel in channels:
            if self._is_large(channel):
                self._prune(channel)

    def sweep(self) -> bool:
        """Prune channels that have an event that is too old, and return whether these were all."""
        ((found,),) = self._db.execute(_FIND_AGED, (self._too_old, SQLITE_SWEEP_CHANNELS))
        aged = _decode_channels(found)
        for channel in aged:
            self._prune(channel)
        insert(self._db, _SAVE_CHANNELS, [_row_of(channel) for channel in aged])
        return len(aged) < SQLITE_SWEEP_CHANNELS and self._budget > 0

    def _is_large(self, channel: _Channel) -> bool:
        limits = self._limits
        count, size = channel.head - channel.oldest + 1, channel.total - channel.dropped
        return count > limits.keep_events + min(limits.keep_events // 8 + 16, SQLITE_PRUNE_ROWS) or (
            count > 1 and size > limits.keep_bytes + limits.keep_bytes // 8
        )

    def _prune(self, channel: _Channel) -> None:
        start = channel.oldest
        end = min(start + max(self._budget, 0), channel.head + 1)
        kept = self._first_kept(channel, end)
        if kept is None and end <= channel.head:
            kept = next(self._db.execute(_FIND_ONE, (channel.id, end)))
        channel.oldest, channel.oldest_at, channel.dropped = kept or (end, None, channel.total)
        self._db.execute(_PRUNE, (channel.id, start, channel.oldest))
        self._budget -= channel.oldest - start

    def _first_kept(self, channel: _Channel, end: int) -> tuple[int, float, int] | None:
        """Find offset, time and ``before`` of the first row before ``end`` that the limits keep.

        The newest event is kept whatever its size. All rows that are read here are deleted, but one: so to look costs
        no more than to delete.
        """
        start = max(channel.oldest, channel.head - int(self._limits.keep_events) + 1)
        too_much = channel.total - self._limits.keep_bytes
        bindings = (channel.id, start, end, self._too_old, too_much, channel.head)
        return next(self._db.execute(_FIND_FIRST_KEPT, bindings), None)
