"""What is promised of whole channels: that they end once and for good, that everybody hears of it, that what is deleted
is gone, and that the list of them is right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf

from triolet.event import Cursor

from .book import Book
from .channel_history import Closed, Listed
from .findings import Finding
from .history import ENDED, Appended, History, Publishing, Unpublished
from .plan import Plan
from .subscriber import Subscriber
from .talks import AFTERMATH_SECONDS, LATE_SECONDS, LOSS_SECONDS, Talk, Weatherman, hearing_seconds

__all__ = ["check_channels", "has_the_end"]


def has_the_end(book: Book, talk: Talk) -> bool:
    """Whether an event stream is asked for by one who has been told that the channel has ended: he is answered 204."""
    asked = talk.asked
    if asked.channel is None or asked.after is None or not asked.transport.startswith("sse"):
        return False
    event = book.event(asked.channel, Cursor.parse(asked.after))
    return event is not None and event.is_end


def check_channels(
    plan: Plan, history: History, book: Book, talks: Mapping[int, Talk], weather: Weatherman
) -> Iterator[Finding]:
    """Hold what became of channels against what their followers, and whoever asked, were told."""
    yield from _ends(book)
    ends = [event for _, life in book.lives() for event in life.events if event.is_end]
    for index, record in enumerate(history.records):
        if isinstance(record, Closed):
            yield from _closed(record, index, book)
        elif isinstance(record, Listed):
            yield from _listed(record, index, book)
    yield from _refused(history, ends)
    for talk in talks.values():
        if talk.flows:
            yield from _told(plan, book, talk, weather, ends)


def _ends(book: Book) -> Iterator[Finding]:
    """Behind an end nothing is stored but that all was deleted."""
    for channel, life in book.lives():
        for end, event in zip(life.events, life.events[1:], strict=False):
            if end.is_end and not end.is_tombstone and not event.is_tombstone:
                promised = f"nothing in {channel} behind its end at {end.cursor}"
                yield Finding("an event behind an end", event.at, promised, f"{event}", channel=channel)


def _closed(closed: Closed, index: int, book: Book) -> Iterator[Finding]:
    """Whoever has ended a channel, or deleted it, is told the event that says so."""
    if closed.cursor is None:
        return
    at = Cursor.parse(closed.cursor)
    life = book.life(closed.channel, at.epoch)
    event = book.event(closed.channel, at)
    is_there = event is not None and life.at[at.offset - 1] < index and event.is_end
    if event is None or not is_there or (closed.what == "delete") != event.is_tombstone:
        promised = f"the event by which {closed.channel} has come to {closed.what}"
        yield Finding("an end is not stored", closed.at, promised, f"{event}", channel=closed.channel)
    elif closed.what == "delete" and event.at < closed.since:
        promised = f"that {closed.channel} is deleted after {closed.since:.3f}"
        yield Finding("an end is not stored", closed.at, promised, f"{event}", channel=closed.channel)


def _refused(history: History, ends: list[Appended]) -> Iterator[Finding]:
    """A publish is refused where the channel has ended, and nowhere else."""
    asked = {record.attempt: record for record in history.records if isinstance(record, Publishing)}
    for record in history.records:
        if isinstance(record, Unpublished) and record.why == ENDED:
            channel = asked[record.attempt].channel
            before = [end for end in ends if end.channel == channel and end.at <= record.at and not end.is_tombstone]
            if not before:
                promised = f"that {channel}, which has not ended, takes events"
                yield Finding("a publish refused", record.at, promised, f"{record}", channel=channel)


def _listed(listed: Listed, index: int, book: Book) -> Iterator[Finding]:
    """A list has each channel of which something was kept all the time, and none of which nothing ever was."""
    began = book.before(listed.since)
    epochs = {book.epoch(began), book.epoch(index)}
    every = {channel for channel, _ in book.lives() if not channel.startswith("triolet.")}
    wanted = {name for name in every if name.startswith(listed.prefix) and name > listed.after}
    sure = {name for name in wanted if len(epochs) == 1 and _is_kept(book, name, began) and _is_kept(book, name, index)}
    may = {name for name in wanted if any(book.life(name, epoch).head(index) for epoch in epochs)}
    names = listed.names
    last = names[-1] if len(names) == listed.limit else "\U0010ffff"
    missing = {name for name in sure if name <= last} - set(names)
    if missing or set(names) - may or list(names) != sorted(set(names)) or len(names) > listed.limit:
        promised = f"{listed.limit} at most of {', '.join(sorted(wanted))}, with {', '.join(sorted(sure))}"
        yield Finding("a list of channels", listed.at, promised, ", ".join(names) or "none")


def _is_kept(book: Book, channel: str, index: int) -> bool:
    if index < 0:
        return False
    epoch, time = book.epoch(index), book.time(index)
    head = book.life(channel, epoch).head(index)
    return 0 < book.oldest(channel, epoch, index, time) <= head


def _told(plan: Plan, book: Book, talk: Talk, weather: Weatherman, ends: list[Appended]) -> Iterator[Finding]:
    """Of an end each follower hears in time, and whoever comes later at once; and a stream of one channel is over."""
    bound = LATE_SECONDS + 6 * talk.plan.latency + hearing_seconds(plan)
    for subscriber in talk.subscribers:
        for end in ends:
            due = max(end.at, subscriber.opened_at) + bound
            over = min(subscriber.until, talk.ended_at, talk.broken_at)
            if end.channel != subscriber.channel or due > over or subscriber.opened_at == inf:
                continue
            stays = book.end(end.channel, book.before(due)) is end
            if stays and weather.good(talk, min(end.at, due - LOSS_SECONDS) - AFTERMATH_SECONDS, due):
                yield _untold(subscriber, end, due, talk)
                return
    for word in talk.heard("end"):
        due = word.at + LATE_SECONDS + 3 * talk.plan.latency
        if talk.asked.channel is not None and talk.ended_at > due:
            if weather.good(talk, word.at - AFTERMATH_SECONDS, due):
                promised = f"the end of the stream within {due - word.at:g} s, for the channel has ended"
                yield Finding("an end without a bye", due, promised, talk.how, talk.conn, talk.asked.channel)
            return


def _untold(subscriber: Subscriber, end: Appended, due: float, talk: Talk) -> Finding:
    promised = f"the end of {subscriber.channel} at {end.cursor} by then"
    return Finding("an end that is not told", due, promised, "nothing", talk.conn, subscriber.channel)
