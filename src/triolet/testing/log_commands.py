"""The conformance suite's part on what is to happen once: ``claim``, ``commit`` and ``release``.

A log that has none of them can be checked too: these checks are then left out, and a line in the log says so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Final

import trio

from ..errors import DataError, NotServingError
from ..event import Cursor, Draft, Event
from ..limits import Limits
from ..log.contract import NOTHING_KEPT, EventLog, Kept
from .log_subject import Clock, LogCheck, LogFactory, Subject, hear, offsets, opened, same, true, where_it_can

__all__ = ["COMMAND_CHECKS", "PAIR_CHECKS", "PairCheck", "PairFactory", "check_pair"]

PairFactory = Callable[[Limits, Callable[[], float]], tuple[EventLog, EventLog]]
"""Makes two unopened logs at each call, as two processes have them, of one store that is new and empty."""

PairCheck = Callable[[PairFactory], Awaitable[None]]
"""Checks one promise on a pair of logs."""

Writes = Sequence[tuple[str, Sequence[Draft]]]

KEY: Final = b"\0k" * 16
OTHER: Final = b"\xff" * 32
PRINT: Final = b"p\0" * 16
MINE: Final = b"mine\0"
ITS: Final = b"\xffits"
ANSWERS: Final = (b"", b"\0\xff", b"x" * (1 << 20))
"""Answers that a store might confuse, decode or cut."""


def _writes(*channels: str, value: object = None) -> list[tuple[str, list[Draft]]]:
    return [(channel, [Draft.of(value), Draft.of([value])]) for channel in channels]


async def _stored(log: EventLog, writes: Writes, *, key: bytes = KEY, holder: bytes = MINE) -> list[list[Event]]:
    """Commit, and check that it was done."""
    done = await log.commit(key, holder, b"answer", 60, writes)
    true(isinstance(done, list), f"a commit of what this holder has claimed returns events, not {done!r:.200}")
    assert isinstance(done, list)
    return done


async def _check_claims(factory: LogFactory) -> None:
    async with opened(factory) as subject:
        log = subject.log
        same(await log.claim(KEY, PRINT, MINE, 10), None, "what nobody has claimed can be claimed")
        again = await log.claim(KEY, b"q" * 32, ITS, 10)
        same(again, Kept(PRINT, None), "a key that is held by another is running, and tells the print of its claim")
        same(await log.claim(OTHER, PRINT, ITS, 10), None, "each key is claimed for itself")
        subject.clock.now += 8
        same(await log.claim(KEY, PRINT, MINE, 10), None, "its own holder may claim again")
        subject.clock.now += 9
        same(await log.claim(KEY, PRINT, ITS, 10), Kept(PRINT, None), "claiming again renews the claim")
        subject.clock.now += 1
        same(await log.claim(KEY, b"q" * 32, ITS, 10), None, "a claim lapses when its seconds are over")
        same(await log.claim(KEY, PRINT, MINE, 10), Kept(b"q" * 32, None), "then it is the next holder's")


async def _check_claims_in_a_race(factory: LogFactory) -> None:
    async with opened(factory) as subject:
        await _race([subject.log])


async def _race(logs: Sequence[EventLog]) -> None:
    """Have 20 holders claim the same ten keys at once, and each that holds one commit."""
    held: dict[bytes, list[int]] = {}

    async def run(number: int) -> None:
        log, holder = logs[number % len(logs)], bytes([number])
        for turn in range(10):
            key = bytes([turn]) * 32
            if await log.claim(key, PRINT, holder, 10) is None:
                held.setdefault(key, []).append(number)
                await _stored(log, _writes("a", f"b{turn}", value=number), key=key, holder=holder)

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(run, number)
    winners = [holders for _, holders in sorted(held.items())]
    same([len(holders) for holders in winners], [1] * 10, "of holders that claim at once, one holds the key")
    for log in logs:
        subject = Subject(log, Clock())
        same(offsets(await subject.all("a")), list(range(1, 21)), "each commit is stored once")
        for turn, (holder,) in enumerate(winners):
            data = [event.data for event in await subject.all(f"b{turn}")]
            same(data, [holder, [holder]], "what is stored is the holder's")


async def _check_release(factory: LogFactory) -> None:
    async with opened(factory) as subject:
        log = subject.log
        await log.release(KEY, MINE)
        await log.claim(KEY, PRINT, MINE, 10)
        await log.release(KEY, ITS)
        same(await log.claim(KEY, PRINT, ITS, 10), Kept(PRINT, None), "only its holder releases a key")
        await log.release(KEY, MINE)
        same(await log.commit(KEY, MINE, b"", 60, _writes("a")), NOTHING_KEPT, "what is released is not committed")
        same(await log.claim(KEY, PRINT, ITS, 10), None, "what is released can be claimed")
        await log.release(KEY, MINE)
        same(await log.claim(KEY, PRINT, MINE, 10), Kept(PRINT, None), "an earlier holder releases nothing")
        await _stored(log, _writes("a"), holder=ITS)
        await log.release(KEY, ITS)
        same(await log.claim(KEY, PRINT, MINE, 10), Kept(PRINT, b"answer"), "an answer is not released")


async def _check_commit(factory: LogFactory) -> None:
    async with opened(factory) as subject:
        log, (before,) = subject.log, await subject.put("b", "before")
        with log.tail() as tail:
            await log.claim(KEY, PRINT, MINE, 10)
            subject.clock.now += 1.5
            drafts = [Draft.of(1, name="x", key="k"), Draft.of({"b": None})]
            done = await _stored(log, [("a", drafts), ("b", [Draft.of(2)]), ("c", []), ("a", [Draft.of(3)])])
            after = await subject.put("b", "after")
            epoch, at = before.cursor.epoch, 1_000_001.5
            expected = [
                [
                    Event(Cursor(epoch, 1), "a", "x", b"1", "k", at),
                    Event(Cursor(epoch, 2), "a", "message", b'{"b":null}', None, at),
                ],
                [Event(Cursor(epoch, 2), "b", "message", b"2", None, at)],
                [],
                [Event(Cursor(epoch, 3), "a", "message", b"3", None, at)],
            ]
            same(done, expected, "commit returns for each of the writes its events, numbered on in each channel")
            same(await subject.all("a"), expected[0] + expected[3], "what is read is what commit returned")
            same(await subject.all("b"), [before, *expected[1], *after], "commits and appends are in one order")
            same((await log.head("c")).offset, 0, "a write of nothing changes nothing")
            heard = await hear(tail, "b", 3)
            same(
                heard, {"a": await subject.all("a"), "b": [*expected[1], *after]}, "what is committed is announced once"
            )
        for holder in (MINE, ITS):
            kept = await log.claim(KEY, b"q" * 32, holder, 10)
            same(kept, Kept(PRINT, b"answer"), "what is answered cannot be claimed, and tells its answer")


async def _check_answers(factory: LogFactory) -> None:
    async with opened(factory) as subject:
        log = subject.log
        for number, answer in enumerate(ANSWERS):
            key = bytes([number]) * 32
            await log.claim(key, PRINT, MINE, 10)
            same(await log.commit(key, MINE, answer, 60, []), [], "an answer may stand alone")
            same(await log.claim(key, PRINT, ITS, 10), Kept(PRINT, answer), "an answer stays byte for byte")
        subject.clock.now += 59
        same(await log.claim(b"\0" * 32, PRINT, ITS, 10), Kept(PRINT, b""), "an answer is kept for its seconds")
        subject.clock.now += 1
        same(await log.commit(b"\1" * 32, MINE, b"", 60, []), NOTHING_KEPT, "then nothing is kept")
        same(await log.claim(b"\0" * 32, b"q" * 32, ITS, 10), None, "then the key can be claimed anew")
        await _stored(log, _writes("a"), key=b"\0" * 32, holder=ITS)
        subject.clock.now += 100
        for number in range(300):  # more than a store deletes in one go
            key = b"\2" * 31 + bytes([number % 256])
            await log.claim(key, PRINT, MINE, 10)
            await log.commit(key, MINE, b"", 10, [])
            subject.clock.now += 10
        same(await log.claim(b"\0" * 32, PRINT, MINE, 10), None, "and so on for ever")


async def _check_commit_of_others(factory: LogFactory) -> None:
    async with opened(factory) as subject:
        log, clock = subject.log, subject.clock
        same(
            await log.commit(KEY, MINE, b"", 60, _writes("a")), NOTHING_KEPT, "what nobody has claimed is not committed"
        )
        await log.claim(KEY, PRINT, MINE, 10)
        same(await log.commit(KEY, ITS, b"", 60, _writes("a")), Kept(PRINT, None), "nor what another holds")
        clock.now += 10
        same(await log.commit(KEY, MINE, b"", 60, _writes("a")), NOTHING_KEPT, "nor what was held until now")
        await log.claim(KEY, PRINT, ITS, 10)
        same(await log.commit(KEY, MINE, b"", 60, _writes("a")), Kept(PRINT, None), "nor what was taken over")
        same((await log.head("a")).offset, 0, "and nothing of it is stored")
        await _stored(log, _writes("a"), holder=ITS)
        late = await log.commit(KEY, MINE, b"late", 60, _writes("a"))
        same(late, Kept(PRINT, b"answer"), "a holder that comes too late is told the answer")
        same((await log.head("a")).offset, 2, "and stores nothing")


async def _check_repeated_commit(factory: LogFactory) -> None:
    async with opened(factory) as subject:
        log = subject.log
        (first,) = await log.append("a", [Draft.of(0, name="n", key="k", dedupe="d")])
        writes = [("a", [Draft.of(1), Draft.of(2, dedupe="d"), Draft.of(3, dedupe="e")]), *_writes("b", "c")]
        with log.tail() as tail:
            await log.claim(KEY, PRINT, MINE, 10)
            done = await _stored(log, writes)
            true(done[0][1] == first and offsets(done[0]) == [2, 1, 3], "drafts of a commit are deduped as an append's")
            await subject.put("a", "between")
            subject.clock.now += 20
            try:
                await log.commit(KEY, MINE, b"", 60, writes[:2])
                raise AssertionError("a commit that is repeated with other writes raises DataError")
            except DataError:
                pass
            for _ in range(2):
                again = await log.commit(KEY, MINE, b"other", 60, writes)
                same(
                    again,
                    done,
                    "the same holder's commit, repeated, returns the same events, after its claim's time too",
                )
            same(await log.claim(KEY, PRINT, ITS, 10), Kept(PRINT, b"answer"), "the first answer stays")
            (end,) = await subject.put("a", "end")
            heard = await hear(tail, "a", end.offset)
        kept = await subject.all("a")
        same(offsets(kept), [1, 2, 3, 4, 5], "a repeated commit is stored once")
        same(heard, {"a": kept[1:], "b": done[1], "c": done[2]}, "and announced once")
        (late,) = await log.append("a", [Draft.of(9, dedupe="e")])
        same(late, done[0][2], "a commit's dedupe is remembered for appends")


async def _check_commit_and_retention(factory: LogFactory) -> None:
    async with opened(factory, Limits(keep_events=10)) as subject:
        for number in range(400):
            key = number.to_bytes(32, "big")
            await subject.log.claim(key, PRINT, MINE, 10)
            await _stored(subject.log, [("a", [Draft.of(number)] * 5)], key=key)
        events = await subject.all("a")
        true(10 <= len(events) <= 1_000, f"of 2,000 committed events and keep_events=10, {len(events):,} were kept")
        last = await _stored(subject.log, [("a", [Draft.of(399)] * 5)], key=(399).to_bytes(32, "big"))
        same(last, [events[-5:]], "a repeated commit returns the same events")
        first = await _stored(subject.log, [("a", [Draft.of(0)] * 5)], key=bytes(32))
        same([offsets(each) for each in first], [[1, 2, 3, 4, 5]], "also when they are no longer kept")


async def _check_commits_and_appends(factory: LogFactory) -> None:
    async with opened(factory) as subject:
        returned: dict[str, list[Event]] = {"a": [], "b": []}

        async def work(number: int) -> None:
            last = dict.fromkeys(returned, 0)
            for turn in range(12):
                key = bytes([number, turn]) * 16
                if turn % 3 == number % 3:
                    done = {"ab"[turn % 2]: await subject.put("ab"[turn % 2], number, number)}
                else:
                    await subject.log.claim(key, PRINT, MINE, 10)
                    both = await _stored(subject.log, _writes("b", "a", value=number), key=key)
                    done = {"b": both[0], "a": both[1]}
                for channel, events in done.items():
                    places = offsets(events)
                    true(last[channel] < places[0] < places[1], "what began after another returned comes after it")
                    last[channel] = places[-1]
                    returned[channel] += events

        with subject.log.tail() as tail:
            async with trio.open_nursery() as nursery:
                for number in range(12):
                    nursery.start_soon(work, number)
            await subject.put("end", 0)
            heard = await hear(tail, "end", 1)
        for channel, events in returned.items():
            kept = await subject.all(channel)
            same(offsets(kept), list(range(1, len(events) + 1)), "commits and appends at once leave no hole")
            same(sorted(events, key=lambda event: event.offset), kept, "each got its own events")
            same(heard[channel], kept, "tail is in the order of the offsets, within each channel")


async def _check_cancelled_commits(factory: LogFactory) -> None:
    async with opened(factory) as subject:
        log = subject.log
        with log.tail() as tail:
            for patience in range(60):
                key = bytes([patience]) * 32
                await log.claim(key, PRINT, MINE, 10)
                writes = _writes("a", f"b{patience}", "c", value=patience)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(log.commit, key, MINE, b"answer", 60, writes)
                    nursery.start_soon(subject.put, "c", -patience)
                    for _ in range(patience):
                        await trio.lowlevel.checkpoint()
                    nursery.cancel_scope.cancel()
                await subject.put("a", "end")  # what was on its way is there before it
                stored = (await log.head(f"b{patience}")).offset
                known = [event.data for event in await subject.all("a")]
                true(stored in (0, 2), "a cancelled commit is stored whole or not at all")
                same(known.count(patience), stored // 2, "in all of its channels")
                answer = b"answer" if stored else None
                same(await log.claim(key, PRINT, ITS, 10), Kept(PRINT, answer), "with its answer, or without")
                again = await _stored(log, writes, key=key)
                same(again[1], await subject.all(f"b{patience}"), "and can be repeated")
                same((await log.head(f"b{patience}")).offset, 2, "once")
            (end,) = await subject.put("a", "end")
            heard = await hear(tail, "a", end.offset)
        for channel in ("a", "c"):
            same(heard[channel], await subject.all(channel), "what is stored is announced once, whoever waits for it")


async def _check_cancelled_claims(factory: LogFactory) -> None:
    async with opened(factory) as subject:
        log = subject.log
        for patience in range(30):
            key = bytes([patience]) * 32
            for call in (lambda key=key: log.claim(key, PRINT, MINE, 10), lambda key=key: log.release(key, MINE)):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(call)
                    for _ in range(patience):
                        await trio.lowlevel.checkpoint()
                    nursery.cancel_scope.cancel()
            same(await log.claim(key, PRINT, MINE, 10), None, "its holder claims again what was cancelled")
            same(await log.claim(key, PRINT, ITS, 10), Kept(PRINT, None), "and holds it then")


async def _check_commands_open_only(factory: LogFactory) -> None:
    log = factory(Limits(), Clock())
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "claim": lambda: log.claim(KEY, PRINT, MINE, 10),
        "commit": lambda: log.commit(KEY, MINE, b"", 60, _writes("a")),
        "release": lambda: log.release(KEY, MINE),
    }
    async with log.open():
        epoch = (await log.head("a")).epoch
        await log.claim(KEY, PRINT, MINE, 10)
        await _stored(log, _writes("a"))
    for name, call in calls.items():
        try:
            await call()
        except NotServingError:
            continue
        raise AssertionError(f"{name} of a log that is open no more raises NotServingError")
    async with log.open():
        kept, goes_on = await log.claim(KEY, PRINT, ITS, 10), (await log.head("a")).epoch == epoch
    true(kept == Kept(PRINT, b"answer") or not goes_on, "a log that is opened again in its epoch keeps its answers")


# --- two processes


async def _check_pair_claims(factory: PairFactory) -> None:
    clock = Clock()
    one, other = factory(Limits(), clock)
    async with one.open(), other.open():
        same(await one.claim(KEY, PRINT, MINE, 10), None, "what nobody has claimed can be claimed")
        same(await other.claim(KEY, PRINT, ITS, 10), Kept(PRINT, None), "a claim is every process's")
        with one.tail() as own, other.tail() as others:
            done = await _stored(one, _writes("a", "b"))
            same(await other.claim(KEY, PRINT, ITS, 10), Kept(PRINT, b"answer"), "and so is an answer")
            same(await other.commit(KEY, ITS, b"", 60, _writes("a")), Kept(PRINT, b"answer"), "commit tells it too")
            same(await _stored(other, _writes("a", "b")), done, "a commit may be repeated from another process")
            (end,) = await Subject(other, clock).put("end", 1)
            expected = {"a": done[0], "b": done[1], "end": [end]}
            for tail in (own, others):
                same(await hear(tail, "end", 1), expected, "every process hears of a commit, once")
        await one.claim(OTHER, PRINT, MINE, 10)
        clock.now += 10
        same(await other.claim(OTHER, PRINT, ITS, 10), None, "a claim lapses for every process")
        same(await one.commit(OTHER, MINE, b"", 60, _writes("a")), Kept(PRINT, None), "and is the other's then")
        await other.release(OTHER, ITS)
        same(await one.claim(OTHER, PRINT, MINE, 10), None, "what is released, any process may claim")


async def _check_pair_in_a_race(factory: PairFactory) -> None:
    async with AsyncExitStack() as stack:
        logs = [await stack.enter_async_context(log.open()) for log in factory(Limits(), Clock())]
        await _race(logs)


async def check_pair(factory: PairFactory) -> None:
    """Check that two logs of one store keep claims and commits between them.

    Raises:
        AssertionError: a promise is broken; the message says which.
    """
    for check in PAIR_CHECKS:
        await check(factory)


PAIR_CHECKS: Final[tuple[PairCheck, ...]] = (_check_pair_claims, _check_pair_in_a_race)
"""One check for each promise that processes give each other."""


COMMAND_CHECKS: Final[tuple[LogCheck, ...]] = tuple(
    where_it_can(check, "commit", "cannot commit, so apps with it have no commands")
    for check in (
        _check_claims,
        _check_claims_in_a_race,
        _check_release,
        _check_commit,
        _check_answers,
        _check_commit_of_others,
        _check_repeated_commit,
        _check_commit_and_retention,
        _check_commits_and_appends,
        _check_cancelled_commits,
        _check_cancelled_claims,
        _check_commands_open_only,
    )
)
"""One check for each promise about what is to happen once."""
