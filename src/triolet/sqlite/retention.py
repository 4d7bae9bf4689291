"""What a SqliteLog forgets: some rows in each transaction, so that retention always catches up and no append waits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import apsw

from ..limits import Retention
from .batch import ENDED, Channel, decode_channels, save_channels
from .bounds import SQLITE_PRUNE_ROWS, SQLITE_SWEEP_CHANNELS, SQLITE_SWEEP_LOOKS, SQLITE_SWEEPS

__all__ = ["Pruning", "Sweep"]

_FIND_AGED: Final = """
SELECT json_group_array(json_array(id, name, head, oldest, total, dropped, oldest_at, ended, deleted))
FROM (
    SELECT * FROM channels WHERE oldest_at < ? AND (oldest_at, id) > (?, ?) ORDER BY oldest_at, id LIMIT ?
)"""
_FIND_FIRST_KEPT: Final = """
SELECT offset, at, before FROM events
WHERE channel = ? AND offset >= ? AND offset < ? AND (at >= ? OR offset = ?) AND (before >= ? OR offset = ?)
ORDER BY offset LIMIT 1"""
_FIND_ONE: Final = "SELECT offset, at, before FROM events WHERE channel = ? AND offset = ?"
_PRUNE: Final = "DELETE FROM events WHERE channel = ? AND offset < ?"

_START: Final = (float("-inf"), 0)


class Sweep:
    """A walk through the channels from the oldest event on, for those that have grown old without being appended to.

    A walk, because channels may be kept for different times: the oldest need not be the one whose time is over.

    Args:
        shortest_seconds: the shortest time for which any channel is kept.

    Attributes:
        place: time and channel up to which it has come.
    """

    def __init__(self, shortest_seconds: float) -> None:
        self.shortest_seconds = shortest_seconds
        self.place = _START
        self._next = float("-inf")

    def is_due(self, now: float) -> bool:
        """Whether to go on with it in this transaction."""
        return now >= self._next

    def end(self, now: float) -> None:
        """It has come to the end: the next one begins after some time."""
        self.place = _START
        self._next = now + self.shortest_seconds / SQLITE_SWEEPS


class Pruning:
    """Deletes what is not kept any more, some rows of it in one transaction.

    Args:
        db: the connection, in the transaction.
        kept: how much of a channel is kept.
        now: what time it is.
        inserted: how many rows the transaction has inserted.
    """

    def __init__(self, db: apsw.Connection, kept: Callable[[str], Retention], now: float, inserted: int) -> None:
        self._db = db
        self._kept = kept
        self._now = now
        self._budget = 2 * inserted + SQLITE_PRUNE_ROWS

    def prune_large(self, channels: Iterable[Channel]) -> None:
        """Prune the channels that hold enough too much that deleting it is worth the statements."""
        for channel in channels:
            if self._is_large(channel):
                self._prune(channel)

    def sweep(self, sweep: Sweep) -> None:
        """Go on with a walk, and prune those that have an event that is too old."""
        before = self._now - sweep.shortest_seconds
        ((rows,),) = self._db.execute(_FIND_AGED, (before, *sweep.place, SQLITE_SWEEP_LOOKS))
        found = sorted([(channel.oldest_at or 0.0, channel.id, channel) for channel in decode_channels(rows)])
        pruned: list[Channel] = []
        for at, number, channel in found:
            if at < self._now - self._kept(channel.name).seconds:
                if len(pruned) == SQLITE_SWEEP_CHANNELS or self._budget <= 0:
                    break
                self._prune(channel)
                pruned.append(channel)
                if self._budget <= 0:
                    break  # perhaps there is more of this one
            sweep.place = at, number
        else:
            if len(found) < SQLITE_SWEEP_LOOKS:
                sweep.end(self._now)
        save_channels(self._db, pruned)

    def _is_large(self, channel: Channel) -> bool:
        keep = self._kept(channel.name)
        count, size = channel.head - channel.oldest + 1, channel.total - channel.dropped
        return count > keep.events + min(keep.events // 8 + 16, SQLITE_PRUNE_ROWS) or (
            count > 1 and size > keep.bytes + keep.bytes // 8
        )

    def _prune(self, channel: Channel) -> None:
        start = channel.oldest
        end = min(start + max(self._budget, 0), channel.head + 1)
        kept = self._first_kept(channel, end)
        if kept is None and end <= channel.head:
            kept = next(self._db.execute(_FIND_ONE, (channel.id, end)))
        channel.oldest, channel.oldest_at, channel.dropped = kept or (end, None, channel.total)
        if channel.ended == ENDED and channel.oldest == channel.head:
            channel.oldest_at = None  # an end never grows old: no sweep need look at it
        self._db.execute(_PRUNE, (channel.id, channel.oldest))
        self._budget -= channel.oldest - start

    def _first_kept(self, channel: Channel, end: int) -> tuple[int, float, int] | None:
        """Find offset, time and ``before`` of the first row before ``end`` that is kept.

        The newest event is kept whatever its size, and an end whatever its age. All rows that are read here are
        deleted, but one: so to look costs no more than to delete.
        """
        keep, head = self._kept(channel.name), channel.head
        start = max(channel.oldest, head - keep.events + 1)
        too_old, too_much = self._now - keep.seconds, channel.total - keep.bytes
        bindings = (channel.id, start, end, too_old, head if channel.ended == ENDED else 0, too_much, head)
        return next(self._db.execute(_FIND_FIRST_KEPT, bindings), None)
