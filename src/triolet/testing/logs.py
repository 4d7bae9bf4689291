"""The conformance suite of event logs: what ``EventLog`` promises, checked from outside.

Whoever writes a log of their own runs it in a test, as Triolet does over its own::

    async def test_my_log_keeps_the_contract() -> None:
        await check_log(lambda limits, clock: MyLog(limits, clock=clock))

or one check a test, for a report that names what broke::

    @pytest.mark.parametrize("check", LOG_CHECKS)
    async def test_my_log(check: LogCheck) -> None:
        await check(lambda limits, clock: MyLog(limits, clock=clock))

Nothing here sleeps or sets a deadline, so a log may use threads, processes or the network, under a virtual
clock that nobody moves as well as under the real one. A broken contract is an AssertionError that says what
was promised; only a log that never announces an event keeps the suite waiting, so give the test a timeout.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from ..errors import NotServingError
from ..event import Cursor, Draft, Event, Gap
from ..limits import Limits
from ..log.contract import EventLog, Page
from .log_commands import COMMAND_CHECKS, PairFactory, check_pair
from .log_ends import END_CHECKS, check_ends_of_pair
from .log_subject import OLDEST, Clock, LogCheck, LogFactory, Subject, hear, offsets, opened, same, true

__all__ = ["LOG_CHECKS", "LogCheck", "LogFactory", "check_log"]

FLOOD: Final = 20_000
"""Events that nobody listens to meanwhile."""

EACH: Final = 20 * 2 * (1 + 2 + 3)
"""Events that 20 publishers append to each of three channels."""

AWKWARD_JSON: Final = (
    b"null",
    b'"\\u0000 \\" \\\\ \\ud83d\\ude00"',
    '"Å \u2028 \U0001f600 \x7f"'.encode(),
    b'{ "a" : 1.0 , "b" : [ 1e308, 12345678901234567890123 ] }',
    b'"' + b"x" * (1 << 20) + b'"',
)
"""JSON that comes back changed from whoever decodes it on the way."""

AWKWARD_CHANNELS: Final = ("a/b", "A/B", " ", "%s'\";--", "*?[a]:{b}", "Å\U0001f600", "x" * 255)
"""Names of channels that a store might confuse, fold or quote wrongly."""


async def check_log(factory: LogFactory, *, pair: PairFactory | None = None) -> None:
    """Check that a log keeps every promise of EventLog.

    Of a log that has no ``claim`` and ``commit``, or no ``status``, ``delete`` and ``channels``, and inherits those of
    EventLog, they are not checked, and a line in the log ``triolet.testing`` says so.

    Args:
        factory: see LogFactory. It is called once or more for each check.
        pair: makes two logs at each call, unopened, of one store that is new and empty: where processes share a log,
            claims and commits must hold between them. None where they cannot.

    Raises:
        AssertionError: a promise is broken; the message says which.
    """
    for check in LOG_CHECKS:
        await check(factory)
    if pair is not None:
        await check_pair(pair)
        await check_ends_of_pair(pair)


# --- appending and reading


async def _check_empty_channel(factory: LogFactory) -> None:
    async with opened(factory) as subject:
        head = await subject.log.head("new")
        same(head.offset, 0, "a channel that nobody appended to has the head 0")
        same(Cursor.parse(str(head)), head, "an epoch is made of 1 to 32 of A-Z a-z 0-9 _ -")
        same(await subject.page("new"), Page((), None, head), "such a channel reads as empty, without a gap")
        same(await subject.page("new", head), Page((), None, head), "reading after the head finds nothing")
        same(await subject.log.append("new", []), [], "appending nothing returns nothing")
        same(await subject.log.head("new"), head, "appending nothing changes nothing")


async def _check_numbering(factory: LogFactory) -> None:
    async with opened(factory) as subject:
        epoch = (await subject.log.head("a")).epoch
        first = await subject.log.append("a", [Draft.of(1, name="x", key="k"), Draft.of({"b": None})])
        subject.clock.now += 1.25
        second = await subject.put("a", "three")
        other = await subject.put("b", 1)
        expected = [
            Event(Cursor(epoch, 1), "a", "x", b"1", "k", 1_000_000.0),
            Event(Cursor(epoch, 2), "a", "message", b'{"b":null}', None, 1_000_000.0),
            Event(Cursor(epoch, 3), "a", "message", b'"three"', None, 1_000_001.25),
        ]
        same(first + second, expected, "append returns its drafts as events, numbered 1, 2, 3 …")
        same(other[0].cursor, Cursor(epoch, 1), "each channel counts for itself, in the log's one epoch")
        same(await subject.all("a"), expected, "what is read is what append returned")
        same(await subject.log.head("a"), Cursor(epoch, 3), "the head is the newest event's cursor")
        same(await subject.all("b"), other, "channels do not mix")


async def _check_bytes(factory: LogFactory) -> None:
    async with opened(factory) as subject:
        drafts = [Draft(json) for json in AWKWARD_JSON]
        drafts += [Draft.of(0, name=name, key=name) for name in ("a'b", "Å\U0001f600", "%00", "x" * 128)]
        for channel in AWKWARD_CHANNELS:
            await subject.log.append(channel, drafts)
        for channel in AWKWARD_CHANNELS:
            events = await subject.all(channel)
            same([event.channel for event in events], [channel] * len(drafts), "names of channels stay as they are")
            same([event.json for event in events], [draft.json for draft in drafts], "data stays byte for byte")
            same([event.name for event in events], [draft.name for draft in drafts], "names stay as they are")
            same([event.key for event in events], [draft.key for draft in drafts], "keys stay as they are")


async def _check_pages(factory: LogFactory) -> None:
    async with opened(factory) as subject:
        events = await subject.log.append("a", [Draft(b'"' + b"x" * (n - 2) + b'"') for n in (10, 90, 2, 500, 20, 30)])
        head = events[-1].cursor
        for after in range(len(events) + 1):
            for limit in (1, 2, len(events), 1_000):
                page = await subject.page("a", Cursor(head.epoch, after), limit)
                expected = Page(tuple(events[after : after + limit]), None, head)
                same(page, expected, f"a page after {after} holds the next {limit} events, if there are so many")
        for after, max_bytes, count in ((0, 100, 2), (0, 99, 1), (0, 1, 1), (2, 501, 1), (3, 50, 1), (3, 520, 2)):
            page = await subject.log.read("a", Cursor("", after), limit=10, max_bytes=max_bytes)
            promise = f"a page after {after} of at most {max_bytes} bytes holds what fits, but at least one event"
            same(list(page.events), events[after : after + count], promise)
            same(page.head, head, "a page that was cut short still tells the head")


async def _check_foreign_cursors(factory: LogFactory) -> None:
    async with opened(factory) as subject:
        events = await subject.put("a", 1, 2, 3)
        epoch = events[0].cursor.epoch
        head, zero = Cursor(epoch, 3), Cursor(epoch, 0)
        for after in (Cursor(epoch, 9), Cursor("", 10**18 - 1)):
            expected = Page((), Gap(Cursor(head.epoch, after.offset), head, None, "future"), head)
            same(await subject.page("a", after), expected, "a cursor past the head is a gap: future")
        for after in (Cursor("other", 2), Cursor("other", 0), Cursor("other", 10**18 - 1)):
            expected = Page(tuple(events), Gap(after, zero, None, "epoch"), head)
            same(await subject.page("a", after), expected, "another epoch is a gap, and all that is kept")
        same(await subject.page("a", zero), Page(tuple(events), None, head), "nothing is missing after 0")
        same(await subject.page("a", Cursor("", 2)), Page(tuple(events[2:]), None, head), "bare offsets are read")


# --- retention


async def _check_retention_by_count(factory: LogFactory) -> None:
    async with opened(factory, Limits(keep_events=10)) as subject:
        for start in range(0, 2_000, 100):
            await subject.put("a", *range(start, start + 100))
        events = await _check_what_is_left(subject, "a", 2_000)
        true(10 <= len(events) <= 1_000, f"of 2,000 events and keep_events=10, {len(events):,} were kept")


async def _check_retention_by_age(factory: LogFactory) -> None:
    async with opened(factory, Limits(keep_seconds=60)) as subject:
        await subject.put("a", 1, 2, 3)
        subject.clock.now += 50
        await subject.put("a", 4)
        same(offsets(await subject.all("a")), [1, 2, 3, 4], "what is younger than keep_seconds is kept")
        subject.clock.now += 11
        same(offsets(await _check_what_is_left(subject, "a", 4)), [4], "what is older is gone")
        subject.clock.now += 60
        same(await _check_what_is_left(subject, "a", 4), [], "all may go, the head stays")
        same((await subject.put("a", 5))[0].offset, 5, "and counting goes on from it")
        await _check_what_is_left(subject, "a", 5)


async def _check_retention_by_bytes(factory: LogFactory) -> None:
    async with opened(factory, Limits(keep_bytes=10_000)) as subject:
        for _ in range(20):
            await subject.put("a", *["x" * 998] * 10)
        events = await _check_what_is_left(subject, "a", 200)
        true(10 <= len(events) <= 100, f"of 200,000 bytes and keep_bytes=10_000, {len(events)} kB were kept")
        await subject.put("a", "x" * 20_000)
        newest = (await _check_what_is_left(subject, "a", 201))[-1:]
        same(offsets(newest), [201], "the newest event is kept whatever its size")


async def _check_what_is_left(subject: Subject, channel: str, head: int) -> list[Event]:
    """Check that reading is consistent, whatever was dropped. Return what is kept."""
    cursor = await subject.log.head(channel)
    same(cursor.offset, head, "the head stays when retention drops events")
    page = await subject.page(channel)
    events = list(page.events)
    oldest = events[0].offset if events else head + 1
    same(page.gap, None, "a bare 0 asks for the oldest kept: no gap")
    same(offsets(events), list(range(oldest, head + 1)), "retention drops the oldest, and leaves no hole")
    for offset in {0, 1, oldest - 2, oldest - 1, oldest, head} & set(range(head + 1)):
        after = Cursor(cursor.epoch, offset)
        if offset < oldest - 1:
            had = Cursor(cursor.epoch, offset)
            gap = Gap(had, Cursor(cursor.epoch, oldest - 1), oldest - 1 - offset, "expired")
            expected = Page(page.events, gap, cursor)
            same(await subject.page(channel, after), expected, "what is gone is a gap that counts it: expired")
        else:
            expected = Page(tuple(events[offset - oldest + 1 :]), None, cursor)
            same(await subject.page(channel, after), expected, "what is still there is read without a gap")
    return events


# --- dedupe


async def _check_dedupe(factory: LogFactory) -> None:
    async with opened(factory) as subject:
        with subject.log.tail() as tail:
            (first,) = await subject.log.append("a", [Draft.of(1, dedupe="k")])
            subject.clock.now += 1
            again = await subject.log.append("a", [Draft.of(2, name="other", key="y", dedupe="k")])
            same(again, [first], "a repeated dedupe returns the first event")
            mixed = await subject.log.append(
                "a", [Draft.of(3), Draft.of(4, dedupe="k"), Draft.of(5, dedupe="m"), Draft.of(6, dedupe="m")]
            )
            same(offsets(mixed), [2, 1, 3, 3], "dedupe works within one append, and beside new events")
            same(mixed[2], mixed[3], "the first of two in one append is the event")
            other = await subject.log.append("b", [Draft.of(7, dedupe="k")])
            same([event.json for event in other], [b"7"], "each channel remembers for itself")
            await subject.put("a", *range(300))
            late = await subject.log.append("a", [Draft.of(8, dedupe="m")])
            same(late, [mixed[2]], "a dedupe is remembered as long as its event is kept")
            end = await subject.put("a", "end")
            same(end[0].offset, 304, "repeated drafts take no offset")
            heard = await hear(tail, "a", 304)
            same(offsets(heard["a"]), list(range(1, 305)), "a repeated append is announced once")


async def _check_dedupe_in_a_race(factory: LogFactory) -> None:
    async with opened(factory) as subject:
        results: list[Event] = []

        async def publish(number: int) -> None:
            results.extend(await subject.log.append("a", [Draft.of(number, dedupe="once")]))

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(publish, number)
        same(results, [results[0]] * 20, "of publishers that repeat each other at once, all get the same event")
        same(await subject.all("a"), results[:1], "and it is stored once")


# --- listening


async def _check_tail(factory: LogFactory) -> None:
    async with opened(factory) as subject:
        await subject.put("a", "before")
        with subject.log.tail() as one, subject.log.tail() as two:
            events = await subject.put("a", 1, 2) + await subject.put("a", 3)
            other = await subject.put("b", 1)
            await subject.put("end", 0)
            for tail in (one, two):
                heard = await hear(tail, "end", 1)
                same(heard["a"], events, "a listener hears what append returns, from when it began to listen")
                same(heard["b"], other, "it hears all channels")
            with trio.CancelScope() as scope:
                scope.cancel()
                await anext(one)
            more = await subject.put("a", 4)
            same((await hear(one, "a", 5))["a"], more, "a cancelled step loses nothing")
        with subject.log.tail() as late:
            newest = await subject.put("a", 5)
            same((await hear(late, "a", 6))["a"], newest, "who listens later hears what comes later")


async def _check_slow_listener(factory: LogFactory) -> None:
    async with opened(factory) as subject:
        with subject.log.tail() as tail:
            await subject.put("quiet", 1)
            for start in range(0, FLOOD, 250):
                await subject.put("a", *range(start, start + 250))
            heard = await hear(tail, "a", FLOOD)
            places = offsets(heard["a"])
        whole = "quiet" in heard and len(places) == FLOOD
        same(places[-1], FLOOD, "a listener that was behind hears the newest")
        same(places, sorted(set(places)), "in order and once; a hole is where it lost the oldest")
        same("" in heard, not whole, "an empty step comes where a listener has lost something, and only there")
        same((await subject.log.head("a")).offset, FLOOD, "no listener keeps an append waiting")


# --- many at once


async def _check_twenty_publishers(factory: LogFactory) -> None:
    async with opened(factory) as subject:
        returned: dict[str, list[Event]] = {"a": [], "b": [], "c": []}
        followed: list[Event] = []

        async def publish(number: int) -> None:
            last = dict.fromkeys(returned, 0)
            for turn in range(18):
                channel = "abc"[(number + turn) % 3]
                events = await subject.put(channel, *[number] * (1 + turn // 3 % 3))
                places = offsets(events)
                same(places, sorted(set(places)), "the events of one append are in the order of its drafts")
                true(places[0] > last[channel], "an append that began after another returned comes after it")
                last[channel] = places[-1]
                returned[channel] += events

        async def follow() -> None:
            after = Cursor("", 0)
            while len(followed) < EACH:
                page = await subject.page("a", after, 7)
                true(page.gap is None, "nothing is lost between two pages while others append")
                followed.extend(page.events)
                after = page.events[-1].cursor if page.events else after
                await trio.lowlevel.checkpoint()

        with subject.log.tail() as tail:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follow)
                for number in range(20):
                    nursery.start_soon(publish, number)
            await subject.put("end", 0)
            heard = await hear(tail, "end", 1)
        same(followed, await subject.all("a"), "who follows by pages gets each event once, in order")
        for channel, events in returned.items():
            kept = await subject.all(channel)
            same(offsets(kept), list(range(1, EACH + 1)), "20 publishers at once leave no hole")
            same(sorted(events, key=lambda event: event.offset), kept, "each append got its own events")
            same(heard[channel], kept, "tail is in the order of the offsets, within each channel")


async def _check_cancelled_appends(factory: LogFactory) -> None:
    async with opened(factory) as subject:
        returned: list[Event] = []

        async def publish(number: int) -> None:
            returned.extend(await subject.put("a", number, number, number))

        with subject.log.tail() as tail:
            for patience in range(60):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(publish, patience)
                    nursery.start_soon(publish, -1 - patience)
                    for _ in range(patience):
                        await trio.lowlevel.checkpoint()
                    nursery.cancel_scope.cancel()
            (end,) = await subject.put("a", "end")
            heard = (await hear(tail, "a", end.offset))["a"]
        kept = await subject.all("a")
        same(offsets(kept), list(range(1, end.offset + 1)), "cancelled appends leave no hole")
        same(heard, kept, "what is stored is announced, also when nobody waits for it any more")
        counts = {event.json: 0 for event in kept[:-1]}
        for event in kept[:-1]:
            counts[event.json] += 1
        same(set(counts.values()) - {3}, set(), "a cancelled append is stored whole or not at all")
        true(set(offsets(returned)) <= set(offsets(kept)), "what returned is stored")


async def _check_cancelled_reads(factory: LogFactory) -> None:
    async with opened(factory) as subject:
        events = await subject.put("a", *range(500))
        for patience in range(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(subject.page, "a")
                nursery.start_soon(subject.log.head, "a")
                for _ in range(patience):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            same(len(await subject.all("a")), len(events), "a cancelled read leaves the log as it was")


# --- being open


async def _check_open_only(factory: LogFactory) -> None:
    log = factory(Limits(), Clock())
    await _check_refuses(log, "not open yet")
    async with log.open():
        (event,) = await log.append("a", [Draft.of(1)])
    await _check_refuses(log, "open no more")
    async with log.open():
        head, page = await log.head("a"), await log.read("a", event.cursor, limit=1, max_bytes=1)
    goes_on, told = head.epoch == event.cursor.epoch, page.gap and page.gap.reason
    true(head == event.cursor or not goes_on, "a log that is opened again in its epoch has kept everything")
    same(told, None if goes_on else "epoch", "one that has begun another epoch says so by a gap: epoch")


async def _check_refuses(log: EventLog, when: str) -> None:
    async def listen() -> None:
        with log.tail():
            pass

    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "append": lambda: log.append("a", [Draft.of(1)]),
        "read": lambda: log.read("a", OLDEST, limit=1, max_bytes=1),
        "head": lambda: log.head("a"),
        "tail": listen,
    }
    for name, call in calls.items():
        try:
            await call()
        except NotServingError:
            continue
        raise AssertionError(f"{name} of a log that is {when} raises NotServingError")


LOG_CHECKS: Final[tuple[LogCheck, ...]] = (
    _check_empty_channel,
    _check_numbering,
    _check_bytes,
    _check_pages,
    _check_foreign_cursors,
    _check_retention_by_count,
    _check_retention_by_age,
    _check_retention_by_bytes,
    _check_tail,
    _check_slow_listener,
    _check_dedupe,
    _check_dedupe_in_a_race,
    _check_twenty_publishers,
    _check_cancelled_appends,
    _check_cancelled_reads,
    _check_open_only,
    *COMMAND_CHECKS,
    *END_CHECKS,
)
"""One check for each promise, in the order in which a new log is best made to keep them."""
