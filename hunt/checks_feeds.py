"""What is promised to a task of a server's own that follows a channel: each event after its cursor, once, in order and
in time, or a gap that says what is missing; and, when it stops, the cursor from which it misses nothing."""

from __future__ import annotations

from collections.abc import Iterator

from triolet.event import Cursor

from .book import Book
from .checks_programs import Reference, lag_of
from .feed_history import Fed, Feeding, OfFeed, Starved
from .findings import Finding
from .history import History
from .plan import FeedPlan, Plan, channel_name
from .subscriber import BrokenPromiseError, promise
from .talks import AFTERMATH_SECONDS, LATE_SECONDS, Weatherman, hearing_seconds

__all__ = ["check_feeds"]


def check_feeds(plan: Plan, history: History, book: Book, weather: Weatherman) -> Iterator[Finding]:
    """Hold what they were given against the log."""
    readers = {feed.name: _Reader(plan, book, weather, feed) for feed in plan.feeds}
    for index, record in enumerate(history.records):
        if isinstance(record, OfFeed):
            yield from readers[record.feed].hear(index, record)


class _Reader:
    """Follows one of them, through all lives of its server."""

    def __init__(self, plan: Plan, book: Book, weather: Weatherman, feed: FeedPlan) -> None:
        self._plan, self._book, self._weather, self._feed = plan, book, weather, feed
        self._lag = lag_of(plan)
        self._channel = channel_name(feed.channel)
        self._since = 0.0
        self._reference: Reference | None = None

    def hear(self, index: int, record: OfFeed) -> Iterator[Finding]:
        """Judge one record. What comes behind a broken promise, until it follows again, is not judged."""
        try:
            if isinstance(record, Feeding):
                self._since = record.at
                self._reference = Reference(
                    self._book, self._channel, record.after, (), begun=record.at, lag=self._lag, quick=False
                )
            elif self._reference is not None and isinstance(record, Fed):
                self._take(self._reference, index, record)
            elif self._reference is not None and isinstance(record, Starved):
                yield from self._late(self._reference, record.at)
                self._stops(self._reference, record.cursor)
        except BrokenPromiseError as broken:
            self._reference = None
            came = f"{broken.came}, to {record.feed}"
            yield Finding(broken.kind, record.at, broken.promised, came, None, self._channel)

    def _take(self, reference: Reference, index: int, fed: Fed) -> None:
        message = fed.message
        if message["type"] == "live":
            cursor = Cursor.parse(message["cursor"])
            earliest = self._book.life(self._channel, cursor.epoch).head(self._book.before(self._since - self._lag))
            told = f"{self._channel} up to {earliest} at least, before it is said to be live"
            promise(cursor.offset >= earliest, "live too early", told, cursor)
        reference.hear(index, fed.at, message)

    def _stops(self, reference: Reference, cursor: str | None) -> None:
        """Where it would go on is where it stands. Behind an end it is told that again."""
        if cursor is not None and reference.position is not None and reference.ended is None:
            reference.stops(cursor, "feed")

    def _late(self, reference: Reference, until: float) -> Iterator[Finding]:
        """Once it was up to date it is given each event soon after it was published."""
        if self._feed.pause or self._plan.log.read_seconds:
            return
        bound = LATE_SECONDS + hearing_seconds(self._plan)
        for event, _, came in reference.late(bound, until):
            begin, due = event.at - AFTERMATH_SECONDS, event.at + bound
            if not (self._weather.of_log(begin, due) or self._weather.draining(None, begin, due)):
                promised = f"{event.cursor} of {self._channel} within {bound:g} s, to {self._feed.name}"
                yield Finding("a late event", due, promised, came, None, self._channel)
                return
