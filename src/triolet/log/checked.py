"""The door to a log: what one of a user's own returns, raises or never says is looked at here before it is believed.
That it breaks its contract is the store's fault, and told as that to whoever asks."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from weakref import WeakKeyDictionary

import trio

from ..bounds import LOG_FAULT_SECONDS
from ..errors import (
    ChannelEnded,
    ConfigError,
    DataError,
    LogAway,
    LogBroken,
    LogError,
    LogUncertain,
    NotServingError,
    WrongThreadError,
    only_exceptions,
    where,
)
from ..event import OWN_PREFIX, Cursor, Draft, Event, Gap, forgery
from .contract import EventLog, JoinsTransactions, Kept, Page, Status

__all__ = [
    "answering",
    "append_checked",
    "append_within_checked",
    "channels_checked",
    "checked",
    "claim_checked",
    "commit_checked",
    "delete_checked",
    "head_checked",
    "is_event",
    "read_checked",
    "release_checked",
    "say",
    "status_checked",
]

logger = logging.getLogger("triolet.log")

# What is not caught where it comes out of a background task would end the app. So of the errors that are the app's
# fault each call lets through only those that its caller can have brought about.
_OF_STORING: Final = (ChannelEnded, ConfigError, DataError)

_said: Final[WeakKeyDictionary[object, dict[str, float]]] = WeakKeyDictionary()
"""When it was logged last, of each method of a log, that it has failed."""


async def append_checked(log: EventLog, channel: str, drafts: Sequence[Draft]) -> list[Event]:
    """Store drafts as :meth:`EventLog.append` does. Raises LogBroken besides: what comes back is not their events."""
    with answering(log, "append", stores=True, passes=_of_storing(channel)):
        events = await log.append(channel, drafts)
        _check_stored(events, channel, drafts)
    return events


async def append_within_checked(
    log: JoinsTransactions, connection: object, channel: str, drafts: Sequence[Draft]
) -> list[Event]:
    """Store drafts as :meth:`JoinsTransactions.append_within` does. Raises LogBroken besides, as above."""
    with answering(log, "append_within", stores=True, passes=_OF_STORING):
        events = await log.append_within(connection, channel, drafts)
        _check_stored(events, channel, drafts)
    return events


async def read_checked(log: EventLog, channel: str, after: Cursor, *, limit: int, max_bytes: int) -> Page:
    """Read a page, as the hub does.

    Raises:
        LogBroken: it is no page of that channel after that cursor.
        LogError: the log cannot be read.

    Cancellation: nothing is lost.
    """
    with answering(log, "read"):
        page = await log.read(channel, after, limit=limit, max_bytes=max_bytes)
        _expect(isinstance(page, Page) and _is_cursor(page.head), page)
        _expect(page.gap is None or (isinstance(page.gap, Gap) and _is_cursor(page.gap.to)), page.gap)
        _expect(not page.events or page.events[0].offset > 0, "an event without a number")
        wrong = f"{len(page.events)} events, for a limit of {limit}" if len(page.events) > limit else ""
        wrong = wrong or _wrong_with(page, channel, after)
        if wrong:
            breach = _breach(after, wrong)
            say(log, "read", f"(): {breach}")
            raise breach
    return page


async def head_checked(log: EventLog, channel: str) -> Cursor:
    """Ask where a channel's head is. Raises LogError: the log cannot be read, or the answer is no cursor."""
    with answering(log, "head"):
        head = await log.head(channel)
        _expect(_is_cursor(head), head)
    return head


async def status_checked(log: EventLog, channel: str) -> Status:
    """Ask how far a channel has come, as the hub does.

    Raises:
        LogBroken: the answer is no status.
        LogError: the log cannot be read.

    Cancellation: nothing is lost.
    """
    with answering(log, "status"):
        status = await log.status(channel)
        _expect(isinstance(status, Status) and _is_cursor(status.head), status)
        _expect(status.end is None or is_event(status.end), status.end)
        _expect(status.deleted is None or _is_cursor(status.deleted), status.deleted)
    return status


async def delete_checked(log: EventLog, channel: str) -> Event:
    """Delete as :meth:`EventLog.delete` does. Raises LogBroken besides: what comes back is no event."""
    with answering(log, "delete", stores=True, passes=() if log.can_end else (ConfigError,)):
        event = await log.delete(channel)
        _expect(is_event(event) and event.channel == channel, event)
    return event


async def channels_checked(log: EventLog, prefix: str = "", after: str = "", limit: int = 1_000) -> list[str]:
    """List as :meth:`EventLog.channels` does.

    Raises:
        ConfigError: this log has no list.
        LogBroken: the answer is no page behind ``after``: whoever asks on behind its last name might never come to the
            end.
        LogError: the log cannot be read.
    """
    with answering(log, "channels", passes=() if log.can_end else (ConfigError,)):
        names = list(await log.channels(prefix, after, limit))
        _expect(len(names) <= limit, f"{len(names)} names, for a limit of {limit}")
        before = after.encode()
        for name in names:
            _expect(name.startswith(prefix) and name.encode() > before, f"{name!r:.80} where that does not belong")
            before = name.encode()
    return names


async def claim_checked(log: EventLog, key: bytes, print: bytes, holder: bytes, seconds: float) -> Kept | None:
    """Claim as :meth:`EventLog.claim` does. Raises LogBroken besides: it returned neither None nor what is kept."""
    with answering(log, "claim", passes=_without_answers(log)):
        kept = await log.claim(key, print, holder, seconds)
        _expect(kept is None or (_is_kept(kept) and bool(kept.print)), kept)
    return kept


async def commit_checked(
    log: EventLog,
    key: bytes,
    holder: bytes,
    answer: bytes,
    seconds: float,
    writes: Sequence[tuple[str, Sequence[Draft]]],
) -> list[list[Event]] | Kept:
    """Commit as :meth:`EventLog.commit` does. Raises LogBroken besides: it returned neither what is kept nor the events
    of the writes."""
    with answering(log, "commit", stores=True, passes=_OF_STORING):
        stored = await log.commit(key, holder, answer, seconds, writes)
        if isinstance(stored, Kept):
            _expect(_is_kept(stored), stored)
        else:
            _expect(len(stored) == len(writes), f"{len(stored)} lists of events for {len(writes)} writes")
            for events, (channel, drafts) in zip(stored, writes, strict=True):
                _check_stored(events, channel, drafts)
    return stored


async def release_checked(log: EventLog, key: bytes, holder: bytes) -> None:
    """Give a claim back as :meth:`EventLog.release` does."""
    with answering(log, "release", passes=_without_answers(log)):
        await log.release(key, holder)


# --- what is wrong with an answer


@contextmanager
def answering(
    log: EventLog | JoinsTransactions, method: str, *, stores: bool = False, passes: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Make a LogError of whatever else a log of one's own raises, of what is none of its answers, and of none at all:
    that is the store's fault, and those who wait for it are told so, on every transport.

    Args:
        log: the log.
        method: which of its methods is asked.
        stores: whether something may be stored where no answer comes.
        passes: what it may raise besides.
    """
    let_out: tuple[type[Exception], ...] = (LogError, NotServingError, WrongThreadError, *passes)
    patience = getattr(log, "patience", math.inf)
    try:
        with only_exceptions():
            if patience == math.inf:
                yield
                waited = None
            else:
                with trio.move_on_after(patience) as waited:
                    yield
    except let_out as error:
        if type(error) in (LogError, LogBroken):  # the others are told by the log itself, or to whoever publishes
            say(log, method, f"() failed: {where(error)}")
        raise
    except _Wrong as wrong:
        raise LogBroken(say(log, method, f"() returned {wrong}")) from None
    except Exception as error:
        say(log, method, f"() failed: {where(error)}")
        raise LogBroken(f"{type(log).__name__}.{method}() failed, with {type(error).__name__}") from error
    if waited is not None and waited.cancelled_caught:
        said = say(log, method, f"() has not answered for {patience:g} s")
        raise LogUncertain(f"{said}: it may have been done") if stores else LogAway(said)


def say(log: object, method: str, what: str) -> str:
    """Log what is wrong with a method, once in a while, and return that: it may be asked each second, and for each
    client."""
    said = f"{type(log).__name__}.{method}{what}"
    try:
        last = _said.setdefault(log, {})
    except TypeError:  # it cannot be remembered: it has slots, or no hash
        last = {}
    now = trio.current_time()
    if now >= last.get(method, -math.inf) + LOG_FAULT_SECONDS:
        last[method] = now
        logger.error("%s", said)
    return said


def _of_storing(channel: str) -> tuple[type[Exception], ...]:
    return () if channel.startswith(OWN_PREFIX) else _OF_STORING  # of what is Triolet's own nothing is the app's fault


def _without_answers(log: EventLog) -> tuple[type[Exception], ...]:
    return () if log.can_commit else (ConfigError,)


class _Wrong(Exception):
    """An answer is none, and what it is instead."""


def _expect(is_so: bool, found: object) -> None:
    if not is_so:
        raise _Wrong(found if isinstance(found, str) else type(found).__name__)


def _check_stored(events: Sequence[Event], channel: str, drafts: Sequence[Draft]) -> None:
    _expect(len(events) == len(drafts), f"{len(events)} events for {len(drafts)} drafts")
    for event in events:
        _expect(is_event(event) and event.channel == channel, event)


def is_event(event: Any) -> bool:
    """Whether it is an event, as far as those rely on it who are told of it: its data are what they may."""
    return isinstance(event, Event) and _is_cursor(event.cursor) and type(event.channel) is str


def _is_cursor(cursor: Any) -> bool:
    return (
        isinstance(cursor, Cursor) and type(cursor.offset) is int and cursor.offset >= 0 and type(cursor.epoch) is str
    )


def _is_kept(kept: Any) -> bool:
    return isinstance(kept, Kept) and type(kept.print) is bytes and isinstance(kept.answer, bytes | None)


def checked(page: Page, channel: str, after: Cursor) -> Page:
    """Return a page if it is what :meth:`EventLog.read` promises of it.

    A page with a hole, in another order, with an event twice or of another channel would be sent to clients as it is,
    and each of them would lose events without a word; a line break in a name would forge a field of an event stream.
    Looking costs a few µs, a part of encoding it.

    Raises:
        LogBroken: the message says what is wrong, and with which cursor; nothing of the data.
    """
    wrong = _wrong_with(page, channel, after)
    if wrong:
        raise _breach(after, wrong)
    return page


def _breach(after: Cursor, wrong: str) -> LogBroken:
    return LogBroken(f"the log breaks its contract, reading after {after}: {wrong}; try triolet.testing.check_log")


def _wrong_with(page: Page, channel: str, after: Cursor) -> str:
    epoch, head, gap = page.head.epoch, page.head.offset, page.gap
    if gap is not None and (gap.to.epoch != epoch or not 0 <= gap.to.offset <= head):
        return f"the gap leads to {gap.to}, the head is {page.head}"
    start = after.offset if gap is None else gap.to.offset
    if gap is None and after == Cursor("", 0):  # from the oldest that is kept, if any
        start = page.events[0].cursor.offset - 1 if page.events else head
    if start > head:
        return f"the head is {page.head}, without a gap that says so"
    if not page.events:
        return "" if start == head else f"no events, though the head is {page.head}"
    for offset, event in enumerate(page.events, start + 1):
        if event.cursor.offset != offset or event.cursor.epoch != epoch or event.channel != channel:
            return f"{event.cursor} stands where {Cursor(epoch, offset)} is to follow"
    if start + len(page.events) > head:
        return f"events past the head {page.head}"
    forged = forgery(page.events)
    return "" if forged is None else f"{forged} has a name, a key, data or a time that no event can have"
