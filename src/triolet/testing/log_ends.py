"""The conformance suite's part on ends, deletion, the list of channels, and what some channels are kept otherwise.

A log that knows no ends can be checked too: those checks are then left out, and a line in the log says so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from ..errors import ChannelEnded, NotServingError
from ..event import DELETED, END, Cursor, Draft, Event, Gap
from ..limits import Keep, Limits
from ..log.contract import Kept, Page, Status
from .log_commands import ITS, KEY, MINE, PRINT, PairFactory
from .log_subject import OLDEST, Clock, LogCheck, LogFactory, Subject, hear, offsets, opened, same, true, where_it_can

__all__ = ["END_CHECKS", "check_ends_of_pair"]

LAST: Final = Draft.ending({"outcome": "done"})


async def refuses(call: Callable[[], Awaitable[object]], what: str) -> None:
    """Check that a call is refused because the channel has ended."""
    try:
        await call()
    except ChannelEnded:
        return
    raise AssertionError(f"{what} raises ChannelEnded")


async def _check_end(factory: LogFactory) -> None:
    async with opened(factory) as subject:
        log = subject.log
        first = await subject.put("a", 1, 2)
        same(await log.status("a"), Status(first[-1].cursor), "a channel that goes on has no end")
        with log.tail() as tail:
            (end,) = await log.append("a", [LAST])
            same((end.name, end.offset, end.data), (END, 3, {"outcome": "done"}), "an end is the event after the last")
            same((await hear(tail, "a", 3))["a"], [end], "it is announced as any other")
            same(await log.status("a"), Status(end.cursor, end), "the status tells the end")
            await refuses(lambda: subject.put("a", 3), "an append to a channel that has ended")
            await refuses(lambda: log.append("a", [LAST, Draft.of(3)]), "an append that is no repeat as a whole")
            same(await log.append("a", [Draft.ending("other")]), [end], "to end twice is to end once")
            same(await log.append("a", []), [], "appending nothing is refused nowhere")
            same(await subject.all("a"), [*first, end], "nothing was stored")
            (other,) = await subject.put("b", 1)
            same((await hear(tail, "b", 1)), {"b": [other]}, "nor announced; other channels go on")
        same(await log.status("b"), Status(other.cursor), "each channel ends for itself")
        (empty,) = await log.append("empty", [LAST])
        same(await log.status("empty"), Status(Cursor(end.cursor.epoch, 1), empty), "a channel without events can end")
        await refuses(
            lambda: log.append("none", [Draft.of(1), LAST, Draft.of(2)]), "an append that goes on after its end"
        )
        same(await subject.all("none"), [], "of which nothing is stored")
        drafts = [Draft.of(1), LAST]
        same(offsets(await log.append("whole", drafts)), [1, 2], "the end may come with the last events")
        await refuses(lambda: subject.put("whole", 2), "an append to a channel that has ended so")


async def _check_end_and_retention(factory: LogFactory) -> None:
    async with opened(factory, Limits(keep_events=2, keep_seconds=60, keep_bytes=100)) as subject:
        log = subject.log
        await subject.put("a", 1, 2, "x" * 90)
        (end,) = await log.append("a", [LAST])
        for seconds in (0, 59, 61, 1_000_000):
            subject.clock.now += seconds
            await subject.put("b", *range(40))
            same(await log.status("a"), Status(end.cursor, end), "retention never drops an end")
            page = await subject.page("a")
            same(page.events[-1:], (end,), "who reads what is kept reads the end")
            await refuses(lambda: subject.put("a", 3), "an append, however late,")
        same(await subject.all("a"), [end], "what came before the end is dropped as ever")
        gap = Gap(Cursor(end.cursor.epoch, 1), Cursor(end.cursor.epoch, 3), 2, "expired")
        expected = Page((end,), gap, end.cursor)
        same(await subject.page("a", Cursor("", 1)), expected, "and its loss is told, and then the end")


async def _check_end_in_a_commit(factory: LogFactory) -> None:
    async with opened(factory) as subject:
        log = subject.log
        if not log.can_commit:
            return
        await log.append("a", [LAST])
        await log.claim(KEY, PRINT, MINE, 10)
        writes = [("b", [Draft.of(1)]), ("a", [Draft.of(2)])]
        await refuses(lambda: log.commit(KEY, MINE, b"", 60, writes), "a commit to a channel that has ended")
        same(await subject.all("b"), [], "nothing of it was stored")
        same(await log.claim(KEY, PRINT, ITS, 10), Kept(PRINT, None), "the key is held as before")
        done = await log.commit(KEY, MINE, b"", 60, [("b", [Draft.of(1), LAST]), ("a", [LAST])])
        assert isinstance(done, list)
        same([offsets(events) for events in done], [[1, 2], [1]], "an end may be committed, and repeated")
        await refuses(lambda: subject.put("b", 2), "an append to a channel that a commit has ended")


async def _check_delete(factory: LogFactory) -> None:
    async with opened(factory) as subject:
        log = subject.log
        (old, *_) = await log.append("a", [Draft.of(1, dedupe="k"), Draft.of(2), Draft.of(3)])
        epoch, (other,) = old.cursor.epoch, await subject.put("b", 1)
        subject.clock.now += 1
        with log.tail() as tail:
            event = await log.delete("a")
            expected = Event(Cursor(epoch, 4), "a", END, DELETED, None, subject.clock.now)
            same(event, expected, "one event takes the place of what was deleted")
            same((await hear(tail, "a", 4))["a"], [event], "it is announced")
            there = Status(event.cursor, event, event.cursor)
            same(await log.status("a"), there, "the head goes on, and the status tells the end and the deletion")
            gap = Gap(Cursor(epoch, 1), Cursor(epoch, 3), 2, "expired")
            same(await subject.page("a", old.cursor), Page((event,), gap, event.cursor), "a cursor into it is a gap")
            same(await subject.all("a"), [event], "nothing else is left")
            (new,) = await log.append("a", [Draft.of(4, dedupe="k")])
            same((new.offset, new.json), (5, b"4"), "it takes events again, and remembers no dedupe")
            same((await hear(tail, "a", 5))["a"], [new], "which are announced")
        same(await subject.all("a"), [new], "the first one takes the place of what stood for the deleted")
        same(await log.status("a"), Status(new.cursor, None, event.cursor), "and the channel goes on, once deleted")
        gap = Gap(Cursor(epoch, 1), Cursor(epoch, 4), 3, "expired")
        same(await subject.page("a", old.cursor), Page((new,), gap, new.cursor), "cursors of before it are a gap still")
        same(await subject.all("b"), [other], "other channels are as they were")
        (end,) = await log.append("a", [LAST])
        same(
            await log.status("a"), Status(end.cursor, end, event.cursor), "where it was deleted is known of an end too"
        )
        again = await log.delete("a")
        same(offsets([again]), [7], "what has ended can be deleted")
        same(offsets(await subject.put("a", 5)), [8], "and begins anew")
        same((await log.status("a")).deleted, again.cursor, "and of two deletions the last one is told")
        subject.clock.now += Limits().keep_seconds + 1
        same((await log.status("a")).deleted, again.cursor, "also where no event is kept any more")
        never = await log.delete("never")
        same((never.offset, await subject.all("never")), (1, [never]), "a channel that never was can be deleted")
        twice = await log.delete("never")
        same((twice.offset, await subject.all("never")), (2, [twice]), "and so can one that was deleted")


async def _check_delete_in_a_race(factory: LogFactory) -> None:
    async with opened(factory) as subject:
        returned: list[Event] = []

        async def publish(number: int) -> None:
            for _ in range(10):
                returned.extend(await subject.put("a", number, number))

        async def delete() -> None:
            for _ in range(10):
                returned.append(await subject.log.delete("a"))

        with subject.log.tail() as tail:
            async with trio.open_nursery() as nursery:
                for number in range(5):
                    nursery.start_soon(publish, number)
                nursery.start_soon(delete)
            await subject.put("end", 0)
            heard = (await hear(tail, "end", 1))["a"]
        same(sorted(offsets(returned)), list(range(1, 111)), "deleting at once with appends leaves no hole")
        same(offsets(heard), list(range(1, 111)), "all of it is announced in order")
        last = max([event.offset for event in returned if event.ends])
        kept = await subject.all("a")
        expected = [event for event in heard if event.offset > last] or [event for event in heard if event.ends][-1:]
        same(kept, expected, "what came after the last deletion is kept")


async def _check_channels(factory: LogFactory) -> None:
    async with opened(factory, Limits(keep_seconds=60)) as subject:
        log = subject.log
        same(await log.channels(), [], "a new log has no channels")
        names = ["b/1", "b/2", "a", "b", "B/1", "b/%", "b/_x", "b/*", "Å/1", "\U0001f600", "b/" + "x" * 253, "c"]
        for name in names:
            await subject.put(name, 1)
        in_order = sorted(names, key=str.encode)
        same(await log.channels(), in_order, "channels are told in the order of their bytes")
        for prefix in ("", "b/", "b", "B", "b/%", "b/_", "b/*", "Å", "\U0001f600", "nothing"):
            expected = [name for name in in_order if name.startswith(prefix)]
            same(await log.channels(prefix), expected, f"a prefix is taken as it is: {prefix!r}")
            found: list[str] = []
            while more := await log.channels(prefix, found[-1] if found else "", 2):
                true(len(more) <= 2, "a page has as many names as were asked for at most")
                found += more
            same(found, expected, "pages go on behind a name")
        await log.delete("a")
        true("a" in await log.channels(), "a channel that was deleted is there until that is forgotten too")
        subject.clock.now += 61
        await subject.put("c", 2)
        await log.append("b", [LAST])
        for name in names:
            await subject.page(name)
        same(sorted(set(await log.channels()) & {"b", "c"}), ["b", "c"], "what keeps an event is told")


async def _check_keep(factory: LogFactory) -> None:
    keep = {"few/*": Keep(events=3), "*/short": Keep(seconds=10), "small*": Keep(bytes=1_000)}
    async with opened(factory, Limits(keep_events=50, keep_seconds=100, keep=keep)) as subject:
        for _ in range(10):
            for channel in ("few/short", "few", "x/short", "small", "other"):
                await subject.put(channel, *["x" * 98] * 10)
        sizes = {name: len(await subject.all(name)) for name in ("few/short", "few", "x/short", "small", "other")}
        few, small = sizes.pop("few/short"), sizes.pop("small")
        true(3 <= few <= 60, f"of 100 events and Keep(events=3), {few} were kept")
        true(10 <= small <= 40, f"of 10,000 bytes and Keep(bytes=1_000), {small * 100} were kept")
        true(all(count >= 50 for count in sizes.values()), f"others are kept as limits say: {sizes}")
        subject.clock.now += 11
        same(await subject.all("x/short"), [], "Keep(seconds=10) holds for age")
        true(await subject.all("few/short"), "the first pattern that matches says how all of it is kept")
        true(len(await subject.all("other")) >= 50, "and not for others")
        subject.clock.now += 90
        same(await subject.all("few/short"), [], "what Keep does not say is as limits have it")


async def _check_fold_is_kept(factory: LogFactory) -> None:
    async with opened(factory) as subject:
        drafts = [Draft.of("a", key="k", fold="concat"), Draft.of(1, key="k", fold="sum", dedupe="d"), Draft.of(2)]
        with subject.log.tail() as tail:
            events = await subject.log.append("a", drafts)
            same([event.fold for event in events], ["concat", "sum", None], "how an event is folded stays with it")
            same((await hear(tail, "a", 3))["a"], events, "where it is announced")
        same(await subject.all("a"), events, "and where it is read")
        same(await subject.log.append("a", drafts[1:2]), events[1:2], "also of a repeat")


async def _check_ends_open_only(factory: LogFactory) -> None:
    log = factory(Limits(), Clock())
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "status": lambda: log.status("a"),
        "delete": lambda: log.delete("a"),
        "channels": log.channels,
    }
    async with log.open():
        (end,) = await log.append("a", [LAST])
    for name, call in calls.items():
        try:
            await call()
        except NotServingError:
            continue
        raise AssertionError(f"{name} of a log that is open no more raises NotServingError")
    async with log.open():
        status = await log.status("a")
        goes_on = status.head.epoch == end.cursor.epoch
        true(status == Status(end.cursor, end) or not goes_on, "a log that is opened again in its epoch keeps its ends")


async def check_ends_of_pair(factory: PairFactory) -> None:
    """Check that ends and deletions are every process's."""
    one, other = factory(Limits(), Clock())
    async with one.open(), other.open():
        with other.tail() as tail:
            (end,) = await one.append("a", [LAST])
            same((await hear(tail, "a", 1))["a"], [end], "every process hears of an end")
            same(await other.status("a"), Status(end.cursor, end), "and reads it")
            await refuses(lambda: other.append("a", [Draft.of(1)]), "an append of another process's")
            event = await other.delete("a")
            same((await hear(tail, "a", 2))["a"], [event], "and of a deletion")
            (new,) = await one.append("a", [Draft.of(1)])
            same((await hear(tail, "a", 3))["a"], [new], "after which any process may append")
        same(await Subject(other, Clock()).page("a", OLDEST), Page((new,), None, new.cursor), "and all read the same")


END_CHECKS: Final[tuple[LogCheck, ...]] = (
    _check_keep,
    _check_fold_is_kept,
    *(
        where_it_can(check, "end", "knows no ends, so apps with it have none")
        for check in (
            _check_end,
            _check_end_and_retention,
            _check_end_in_a_commit,
            _check_delete,
            _check_delete_in_a_race,
            _check_channels,
            _check_ends_open_only,
        )
    ),
)
"""One check for each promise about ends, and what is kept."""
