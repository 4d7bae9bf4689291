"""What one transaction of a SqliteLog stores: the rows of its events, and the channels and keys that it touches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import apsw
import msgspec

from ..errors import ChannelEnded
from ..event import DELETED, END, Cursor, Draft, Event
from ..log.contract import Kept, check_repeated
from ..log.jobs import Append, Claim, Commit, Delete, Job, Writes, writes_of
from .answers import Answers, Places
from .bounds import SQLITE_INSERT_ROWS
from .changes import ADD_CHANGES, TRIM_CHANGES
from .file import insert
from .reading import events_of

__all__ = ["ENDED", "Batch", "Channel", "Stored", "decode_channels", "save_channels"]

ENDED: Final = 1
"""What ``channels.ended`` says of a channel that has ended: 0 where it goes on."""

BURIED: Final = 2
"""And of one that was deleted and has not begun anew: its one event stands for what was deleted."""

_FIND: Final = """
SELECT
    (SELECT epoch FROM log),
    (SELECT unsynced_boot FROM log),
    (SELECT ifnull(max(id), 0) FROM channels),
    (SELECT ifnull(max(number), 0) FROM changes),
    (
        SELECT json_group_array(
            json_array(c.id, c.name, c.head, c.oldest, c.total, c.dropped, c.oldest_at, c.ended, c.deleted)
        )
        FROM json_each(?) AS wanted CROSS JOIN channels AS c ON c.name = wanted.value
    )"""
_FIND_REPEATED: Final = """
SELECT json_group_array(
    json_array(e.channel, e.dedupe, json_array(e.offset, e.name, CAST(e.json AS TEXT), e.key, e.at, e.fold))
)
FROM json_each(?) AS wanted CROSS JOIN events AS e
ON e.channel = wanted.value ->> 0 AND e.dedupe = wanted.value ->> 1"""
_FIND_STORED: Final = """
SELECT json_group_array(
    json_array(e.channel, json_array(e.offset, e.name, CAST(e.json AS TEXT), e.key, e.at, e.fold))
)
FROM json_each(?) AS wanted CROSS JOIN events AS e
ON e.channel = wanted.value ->> 0 AND e.offset = wanted.value ->> 1"""
_ADD_EVENTS: Final = {
    n: f"INSERT INTO events VALUES {', '.join(['(?, ?, ?, ?, ?, ?, ?, ?, ?)'] * n)}" for n in SQLITE_INSERT_ROWS
}
_SAVE_CHANNELS: Final = {
    n: f"""
INSERT INTO channels VALUES {", ".join(["(?, ?, ?, ?, ?, ?, ?, ?, ?)"] * n)}
ON CONFLICT (id) DO UPDATE SET head = excluded.head, oldest = excluded.oldest, total = excluded.total,
    dropped = excluded.dropped, oldest_at = excluded.oldest_at, ended = excluded.ended,
    deleted = excluded.deleted"""
    for n in SQLITE_INSERT_ROWS
}
_CLEAR: Final = "DELETE FROM events WHERE channel = ?"

_GRAVE: Final = Draft(DELETED, END, None, END)
"""What takes the place of a channel's events when they are deleted."""


class Stored(NamedTuple):
    """What became of a job: what its caller is told, and the events that are new."""

    result: list[Event] | list[list[Event]] | Event | Kept | ChannelEnded | None
    new: Sequence[Event]


class Channel(msgspec.Struct, array_like=True):
    """A row of ``channels``, for the time of one transaction."""

    id: int
    name: str
    head: int = 0
    oldest: int = 1
    total: int = 0
    dropped: int = 0
    oldest_at: float | None = None
    ended: int = 0
    deleted: int = 0


_row_of = msgspec.structs.astuple
_encode = msgspec.json.Encoder().encode
decode_channels = msgspec.json.Decoder(list[Channel]).decode
_decode_repeated = msgspec.json.Decoder(list[tuple[int, str, msgspec.Raw]]).decode
_decode_stored = msgspec.json.Decoder(list[tuple[int, msgspec.Raw]]).decode


class Batch:
    """The rows that one transaction inserts, and the channels and keys it touches.

    Args:
        db: the connection, in the transaction.
        epoch: the log's epoch.
        now: what time it is.
        jobs: what is to be done.

    Attributes:
        epoch: the one that is in the file.
        unsynced_boot: see ``prepare``.
        last_change: the number of the newest change before this transaction.
        channels: those that the jobs are about, by name.
        rows: of the events to insert.
    """

    def __init__(self, db: apsw.Connection, epoch: str, now: float, jobs: Sequence[Job]) -> None:
        self._db = db
        self._epoch = epoch
        self._now = now
        self.rows: list[tuple[int, int, int, float, str, str | None, str | None, bytes, str | None]] = []
        # All that the transaction has to know is asked in one statement: a step lets go of the GIL (see file.py). A
        # second one only where there are keys, which the log of an app without commands does not have.
        names = list(dict.fromkeys(name for job in jobs for name in _channels_of(job)))
        ((self.epoch, self.unsynced_boot, self._last_id, self.last_change, known),) = db.execute(
            _FIND, (_encode(names).decode(),)
        )
        self._answers = Answers(db, [job.key for job in jobs if not isinstance(job, Append | Delete)], now)
        self.channels = {channel.name: channel for channel in decode_channels(known)}
        self._heads = {channel.id: channel.head for channel in self.channels.values()}
        self._first: dict[tuple[str, str | None], Event] = self._find_repeated(db, jobs)

    def do(self, job: Job) -> Stored:
        """Do a job. One that is refused has done nothing, and the others of the transaction go on."""
        if isinstance(job, Append):
            refusal = self._refusal(((job.channel, job.drafts),))
            return Stored(*self._place(job.channel, job.drafts)) if refusal is None else Stored(refusal, ())
        if isinstance(job, Commit):
            return self._commit(job)
        if isinstance(job, Claim):
            return Stored(self._answers.claim(job), ())
        if isinstance(job, Delete):
            event = self._delete(job.channel)
            return Stored(event, (event,))
        self._answers.release(job)
        return Stored(None, ())

    def save(self) -> int:
        """Write all but the channels, and return how many changes that were."""
        self._answers.save()
        insert(self._db, _ADD_EVENTS, self.rows)
        changes = self._changes()
        if changes:
            insert(self._db, ADD_CHANGES, changes)
            self._db.execute(TRIM_CHANGES, (changes[-1][0],))
        return len(changes)

    def _changes(self) -> list[tuple[int, int, int, int]]:
        """Return the rows that tell other processes what was appended."""
        grown = [channel for channel in self.channels.values() if channel.head > self._head(channel)]
        return [
            (number, channel.id, self._head(channel) + 1, channel.head)
            for number, channel in enumerate(grown, self.last_change + 1)
        ]

    def _head(self, channel: Channel) -> int:
        """Where a channel's head was before this transaction."""
        return self._heads.get(channel.id, 0)

    def _find_repeated(self, db: apsw.Connection, jobs: Sequence[Job]) -> dict[tuple[str, str | None], Event]:
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

    # --- what is done

    def _refusal(self, writes: Writes) -> ChannelEnded | None:
        """Return why nothing of this can be appended: a channel has ended, and not all of it is a repeat."""
        for name, drafts in writes:
            channel = self.channels.get(name)
            has_ended = channel is not None and channel.ended == ENDED
            if has_ended and not all((name, draft.dedupe) in self._first for draft in drafts):
                return ChannelEnded(name)
        return None

    def _commit(self, job: Commit) -> Stored:
        row = self._answers.held(job)
        if isinstance(row, Kept):
            return Stored(row, ())
        if row.stored is not None:
            return Stored(row.events or self._stored_before(job, row.stored), ())
        refusal = self._refusal(job.writes)
        if refusal is not None:
            return Stored(refusal, ())
        events: list[list[Event]] = []
        new: list[Event] = []
        for channel, drafts in job.writes:
            placed, added = self._place(channel, drafts)
            events.append(placed)
            new += added
        self._answers.settle(job, row, events)
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
        return Event(Cursor(self._epoch, offset), channel, draft.name, draft.json, draft.key, at, draft.fold)

    def _place(self, name: str, drafts: Sequence[Draft]) -> tuple[list[Event], list[Event]]:
        """Give drafts their offsets, and return their events and the new ones of them. For a repeated ``dedupe``, take
        the first event."""
        events: list[Event] = []
        new: list[Event] = []
        for draft in drafts:
            event = self._first.get((name, draft.dedupe)) if draft.dedupe is not None else None
            if event is None:
                event = self._add(self._channel(name), draft, draft.dedupe)
                new.append(event)
            events.append(event)
        return events, new

    def _channel(self, name: str) -> Channel:
        channel = self.channels.get(name)
        if channel is None:
            self._last_id += 1
            channel = self.channels[name] = Channel(self._last_id, name)
        return channel

    def _add(self, channel: Channel, draft: Draft, dedupe: str | None) -> Event:
        name, json, now = draft.name, draft.json, self._now
        if channel.ended == BURIED:
            # What stands for the deleted is passed over from now on. It is left in the file until the next pruning:
            # other processes may not have read it yet, and forget what was deleted when they do.
            _pass_over(channel)
        channel.head += 1
        self.rows.append((channel.id, channel.head, channel.total, now, name, draft.key, dedupe, json, draft.fold))
        channel.total += len(json)
        channel.ended = ENDED if name == END else 0
        if channel.oldest_at is None:
            channel.oldest_at = now
        event = self._event(channel.name, channel.head, draft, now)
        if dedupe is not None:  # a repeat may stand in this same group
            self._first[channel.name, dedupe] = event
        return event

    def _delete(self, name: str) -> Event:
        channel = self._channel(name)
        self._db.execute(_CLEAR, (channel.id,))
        self.rows = [row for row in self.rows if row[0] != channel.id]  # of this same group
        self._first = {key: event for key, event in self._first.items() if key[0] != name}
        _pass_over(channel)
        event = self._add(channel, _GRAVE, None)
        channel.ended, channel.deleted = BURIED, event.offset
        return event


def _pass_over(channel: Channel) -> None:
    """Begin a channel anew: of what it has, nothing is read any more."""
    channel.oldest, channel.dropped, channel.oldest_at = channel.head + 1, channel.total, None
    channel.ended = 0


def save_channels(db: apsw.Connection, channels: Sequence[Channel]) -> None:
    """Write rows of ``channels``."""
    insert(db, _SAVE_CHANNELS, [_row_of(channel) for channel in channels])


def _channels_of(job: Job) -> Sequence[str]:
    """Return the channels whose rows a job needs."""
    if isinstance(job, Append | Delete):
        return (job.channel,)
    return [channel for channel, drafts in writes_of(job) if drafts]
