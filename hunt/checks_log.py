"""What the log must hold, and what whoever publishes is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from triolet.event import Cursor

from .book import Book
from .findings import Finding
from .folding import key_of
from .history import CANCELLED, NOT_SERVED, WRONG_LOOP, Appended, History, Kept, Published, Publishing, Unpublished

__all__ = ["check_log"]


def check_log(history: History, book: Book) -> Iterator[Finding]:
    """Every publish that returned is in the log once; one that surely failed is not; offsets have no hole; of what is
    read at the end nothing is missing."""
    yield from _offsets(book)
    yield from _once(book)
    yield from _publishes(history, book)
    for index, record in enumerate(history.records):
        if isinstance(record, Kept):
            yield from _kept(record, index, book)


def _offsets(book: Book) -> Iterator[Finding]:
    for channel, life in book.lives():
        for wrong in life.wrong:
            promised = f"offsets without a hole in {channel}, {len(life.events) + 1} at most"
            yield Finding("an offset", wrong.at, promised, f"{wrong.cursor}", channel=channel)
        for event in life.events:
            key = event.key if event.number is None else key_of(event.number, event.fold or "")
            if event.key != key:
                yield Finding("a key", event.at, f"{key}", f"{event.key}", channel=channel)


def _once(book: Book) -> Iterator[Finding]:
    """No number is in a log's life twice, unless it was published twice without dedupe: no plan does that."""
    for channel, life in book.lives():
        seen: dict[int, Appended] = {}
        for event in life.events:
            first = event if event.number is None else seen.setdefault(event.number, event)
            if first is not event and first.dedupe is None:
                promised = f"number {event.number} once in {channel}, at {first.cursor}"
                yield Finding("published twice", event.at, promised, f"again at {event.cursor}", channel=channel)


def _publishes(history: History, book: Book) -> Iterator[Finding]:
    asked = {record.attempt: record for record in history.records if isinstance(record, Publishing)}
    places: dict[tuple[str, int | None], list[Appended]] = {}
    for record in history.records:
        if isinstance(record, Appended):
            places.setdefault((record.channel, record.number), []).append(record)
    begun = {record.attempt: index for index, record in enumerate(history.records) if isinstance(record, Publishing)}
    for index, record in enumerate(history.records):
        if isinstance(record, Published | Unpublished) and asked[record.attempt].via == "elsewhere":
            if isinstance(record, Published) or record.why not in (WRONG_LOOP, NOT_SERVED, CANCELLED):
                promised = "that whoever publishes in another event loop is refused, and no log is asked"
                yield Finding("a publish from elsewhere", record.at, promised, f"{record}")
        elif isinstance(record, Published):
            yield from _returned(record, asked[record.attempt], begun[record.attempt], index, book)
        elif isinstance(record, Unpublished) and record.sure:
            about = asked[record.attempt]
            for number in about.numbers:
                stored = places.get((about.channel, number))
                if stored and about.dedupes[0] is None:
                    promised = f"that number {number} was surely not stored ({record.why})"
                    yield Finding("a failed publish", record.at, promised, f"it is at {stored[0].cursor}")


def _returned(told: Published, asked: Publishing, begun: int, index: int, book: Book) -> Iterator[Finding]:
    if told.numbers != asked.numbers:
        yield Finding("a publish", told.at, f"the events {asked.numbers}", f"{told.numbers}", channel=asked.channel)
    for number, cursor, dedupe in zip(told.numbers, told.cursors, asked.dedupes, strict=False):
        at = Cursor.parse(cursor)
        event = book.event(asked.channel, at)
        if event is None or event.number != number or book.life(asked.channel, at.epoch).at[at.offset - 1] > index:
            promised = f"number {number} in {asked.channel} at {cursor}"
            yield Finding("a publish is not stored", told.at, promised, f"{event}", channel=asked.channel)
        elif dedupe is not None:
            yield from _repeated(asked, begun, at, number, book)


def _repeated(asked: Publishing, begun: int, at: Cursor, number: int, book: Book) -> Iterator[Finding]:
    """A repeated publish returns the first event, as long as that is kept."""
    life = book.life(asked.channel, at.epoch)
    again = life.at[at.offset - 1]
    oldest = book.oldest(asked.channel, at.epoch, again - 1, book.time(again))
    for first in life.events[: at.offset - 1]:
        kept = first.cursor.offset >= oldest and life.at[first.cursor.offset - 1] < begun
        if first.number == number and kept:
            promised = f"{first.cursor} again, for the same dedupe"
            yield Finding("a repeated publish", asked.at, promised, f"{at}", channel=asked.channel)


def _kept(kept: Kept, index: int, book: Book) -> Iterator[Finding]:
    oldest = book.oldest(kept.channel, kept.epoch, index, kept.at)
    events = book.life(kept.channel, kept.epoch).events[max(0, oldest - 1) :]
    expected = tuple((event.cursor.offset, event.number) for event in events)
    if kept.events != expected:
        promised = f"{_span(expected)} of {kept.channel}, as retention says"
        yield Finding("retention", kept.at, promised, _span(kept.events), channel=kept.channel)


def _span(events: Sequence[tuple[int, int | None]]) -> str:
    return f"the events {events[0][0]} to {events[-1][0]}" if events else "no events"
