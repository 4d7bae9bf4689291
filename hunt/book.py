"""The book: what the log held at each moment, from the records of the log alone."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate

from triolet.event import Cursor
from triolet.limits import Limits, Retention

from .history import Appended, Lost, Record

__all__ = ["Book", "Life"]


class Life:
    """One channel in one life of the log: its events by offset, when each came, and what was kept."""

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.events: list[Appended] = []
        self.at: list[int] = []
        self._times: list[float] = []
        self._sizes: list[int] = [0]
        self._buried: list[int] = []
        self.wrong: list[Appended] = []

    def inherit(self, parent: Life, kept: int) -> None:
        """Go on with what an earlier life had, up to an offset."""
        for index, event in zip(parent.at[:kept], parent.events[:kept], strict=True):
            self.add(index, event)

    def add(self, index: int, event: Appended) -> None:
        """Take an event in; one at a wrong place is remembered as ``wrong``."""
        if event.cursor.offset != len(self.events) + 1:
            self.wrong.append(event)
            return
        self.events.append(event)
        self.at.append(index)
        self._times.append(event.at)
        self._sizes.append(self._sizes[-1] + event.size)
        if event.is_tombstone:
            self._buried.append(event.cursor.offset)

    def head(self, index: int) -> int:
        """Offset of the newest event at a place in the history."""
        return bisect_right(self.at, index)

    def begins(self, head: int) -> int:
        """Offset of the first event that was not deleted when ``head`` is the newest. What stands for those that were
        is dropped by the next."""
        buried = bisect_right(self._buried, head)
        last = self._buried[buried - 1] if buried else 0
        return last + (last != head)

    def oldest(self, head: int, time: float, kept: Retention) -> int:
        """Offset of the oldest event that is kept when ``head`` is the newest; ``head + 1`` where none is. An end is
        always kept."""
        oldest = max(1, self.begins(head), head - kept.events + 1)
        oldest = max(oldest, bisect_right(self._times, time - kept.seconds - 1e-9, hi=head) + 1)
        while oldest < head and self._sizes[head] - self._sizes[oldest - 1] > kept.bytes:
            oldest += 1
        has_ended = head > 0 and self.events[head - 1].is_end and not self.events[head - 1].is_tombstone
        return min(oldest, head) if has_ended else oldest


class Book:
    """All channels, in all lives of the log."""

    def __init__(self, records: Sequence[Record], limits: Limits) -> None:
        self.limits = limits
        self._births: dict[str, Lost] = {}
        self.epochs: list[str] = []
        self._begun: list[int] = []
        self._lives: dict[tuple[str, str], Life] = {}
        self._times = list(accumulate((record.at for record in records), max))
        for index, record in enumerate(records):
            if isinstance(record, Lost):
                self.epochs.append(record.epoch)
                self._begun.append(index)
                self._births[record.epoch] = record
                for channel, kept in record.kept:
                    self.life(channel, record.epoch).inherit(self.life(channel, record.parent), kept)
            elif isinstance(record, Appended):
                self.life(record.channel, record.cursor.epoch).add(index, record)

    def life(self, channel: str, epoch: str) -> Life:
        """A channel in one life of the log."""
        return self._lives.setdefault((channel, epoch), Life(epoch))

    def lives(self) -> list[tuple[str, Life]]:
        """All of them, with their channels' names."""
        return [(channel, life) for (channel, _), life in self._lives.items()]

    def epoch(self, index: int) -> str:
        """The life of the log at a place in the history."""
        return self.epochs[max(0, bisect_right(self._begun, index) - 1)]

    def upto(self, channel: str, before: str, epoch: str) -> int | None:
        """Up to which offset a life has what an earlier one had; None where it knows nothing of that."""
        upto = None
        while epoch != before:
            birth = self._births.get(epoch)
            if birth is None or not birth.parent or not birth.carries:
                return None
            kept = dict(birth.kept).get(channel, 0)
            upto, epoch = kept if upto is None else min(upto, kept), birth.parent
        return upto

    def carries(self, channel: str, cursor: Cursor, epoch: str) -> bool:
        """Whether a cursor stands in another, later life as it did in its own: nothing of it was lost."""
        upto = self.upto(channel, cursor.epoch, epoch)
        return upto is not None and cursor.offset <= upto

    def head(self, channel: str, index: int) -> Cursor:
        """The newest event's cursor at a place in the history."""
        epoch = self.epoch(index)
        return Cursor(epoch, self.life(channel, epoch).head(index))

    def event(self, channel: str, cursor: Cursor) -> Appended | None:
        """The event at a cursor, if there is one."""
        events = self.life(channel, cursor.epoch).events
        return events[cursor.offset - 1] if 1 <= cursor.offset <= len(events) else None

    def oldest(self, channel: str, epoch: str, index: int, time: float) -> int:
        """Offset of the oldest event kept, of what there was at a place in the history, at a time."""
        life = self.life(channel, epoch)
        return life.oldest(life.head(index), time, self.limits.kept(channel))

    def has_ended(self, channel: str, index: int, time: float) -> bool:
        """Whether a channel has ended by a place in the history, and had at an earlier time: for good, as it seems."""
        now, then = self.end(channel, index), self.end(channel, self.before(time))
        return now is not None and now is then

    def end(self, channel: str, index: int) -> Appended | None:
        """What has ended a channel at a place in the history, or tells that all of it was deleted; None: it goes on."""
        epoch = self.epoch(index)
        life = self.life(channel, epoch)
        head = life.head(index)
        is_there = head > 0 and self.oldest(channel, epoch, index, self.time(index)) <= head
        return life.events[head - 1] if is_there and life.events[head - 1].is_end else None

    def time(self, index: int) -> float:
        """When a record of the history was made."""
        return self._times[index]

    def before(self, time: float) -> int:
        """The last place in the history that is earlier than a time; -1 where none is."""
        return bisect_left(self._times, time) - 1
