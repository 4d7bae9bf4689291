"""The record of a channel: what its events say, in whatever order late ones come."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import trio
from trio.testing import MockClock

from tests.presence.processes import LIMITS, ROOM, Log, cluster, here
from triolet import Cursor, Draft, Event, Limits, Member
from triolet.counters import Metrics
from triolet.log.contract import Page
from triolet.presence import record
from triolet.presence.leases import PROCESSES, Leases
from triolet.presence.record import Records, apply
from triolet.presence.statements import Statement, presence_channel

ADA = "one.1"


def told(drafts: Iterable[Draft]) -> list[Event]:
    """Events of a channel, published at 1, 2, 3 …"""
    return [
        Event(Cursor("E", number), ROOM, draft.name, draft.json, draft.key, number)
        for number, draft in enumerate(drafts, 1)
    ]


def nobody(channel: str, session: str) -> bool:
    """No session is this process's own."""
    return False


def said(stated: int, session: str = ADA) -> Statement:
    """What is said of Ada's session."""
    return Statement("ada", session, stated)


def record_of(drafts: Iterable[Draft]) -> dict[str, tuple[Statement, float]]:
    """The record that these make."""
    present: dict[str, tuple[Statement, float]] = {}
    apply(present, told(drafts))
    return present


def test_a_leave_that_comes_late_does_not_end_a_session_that_came_back() -> None:
    assert list(record_of([said(1).joins(), said(2).joins(), said(1).leaves("lost")])) == [ADA]
    assert not record_of([said(1).joins(), said(2).joins(), said(2).leaves("left")])


def test_a_leave_ends_what_was_stated_before_it_too() -> None:
    assert not record_of([said(1).joins(), said(3).leaves("left")])


def test_a_leave_ends_no_other_session_of_the_same_member() -> None:
    assert list(record_of([said(1).joins(), said(1, "one.2").joins(), said(1).leaves("left")])) == ["one.2"]


def test_a_join_that_is_repeated_keeps_when_and_after_whom_the_session_came() -> None:
    present = record_of([said(1).joins(), said(1, "one.2").joins(), said(2).joins()])
    assert [(name, since) for name, (_, since) in present.items()] == [(ADA, 1), ("one.2", 2)]
    present = record_of([said(1).joins(), said(1, "one.2").joins(), said(1).leaves("left"), said(2).joins()])
    assert [(name, since) for name, (_, since) in present.items()] == [("one.2", 2), (ADA, 4)]


def test_a_join_nested_too_deep_to_be_read_here_is_passed_over() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    event = Event(
        Cursor("E", 1), ROOM, "join", b'{"member":"bob","session":"x.1","stated":1,"info":%b}' % deep, None, 0
    )
    present: dict[str, tuple[Statement, float]] = {}
    apply(present, [event, *told([said(1).joins()])])
    assert list(present) == [ADA]


async def test_the_roster_has_who_came_back_when_a_leave_comes_late(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        process = await it.start("one")
        # By a process that cannot hear of it, so it does not state its session a third time.
        late = [said(1, "away.1").joins(), said(2, "away.1").joins(), said(1, "away.1").leaves("lost")]
        await it.log.append(presence_channel(ROOM), late)
        assert await here(process) == ["ada"]


async def test_a_channel_in_which_nobody_died_is_not_read_at_every_look(autojump_clock: MockClock) -> None:
    async with cluster() as it:
        process = await it.start("one")
        process.join(ROOM, Member("ada"))
        await trio.sleep(40)
        reads = it.log.reads
        await trio.sleep(100)
        assert it.log.reads == reads


async def test_the_record_that_was_unused_for_longest_goes_first(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "PRESENCE_RECORDS", 3)
    log = Log(LIMITS)
    records = Records(log, LIMITS, Leases("own", log, LIMITS, Metrics(), lambda: None), nobody, Metrics())
    async with log.open():
        for number in range(4):
            await log.append(str(number), [said(1, f"process{number}.1").joins()])
        for channel in "0", "1", "2", "0", "3":
            await records.sweep(channel)
    assert set(records.by_process()) == {"process0", "process2", "process3"}


async def test_two_that_ask_at_once_read_a_channel_once(autojump_clock: MockClock) -> None:
    limits = Limits(page_events=1)
    log = Log(limits)
    records = Records(log, limits, Leases("own", log, limits, Metrics(), lambda: None), nobody, Metrics())
    async with log.open():
        await log.append(ROOM, [said(1, f"one.{number}").joins() for number in range(9)])
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(records.sweep, ROOM)
    assert records.by_process() == {"one": 9}
    assert log.reads == 9 + 4, "nine pages of one, and a look by each of the others"


async def test_who_left_among_what_retention_dropped_is_not_present(autojump_clock: MockClock) -> None:
    limits = Limits(keep_events=3)
    log = Log(limits)
    records = Records(log, limits, Leases("own", log, limits, Metrics(), lambda: None), nobody, Metrics())
    async with log.open():
        await log.append(ROOM, [said(1).joins()])
        await records.sweep(ROOM)
        await log.append(ROOM, [said(1).leaves("left"), *(said(1, f"one.{number}").joins() for number in range(2, 6))])
        record = await records.sweep(ROOM)
    assert list(record.present) == ["one.3", "one.4", "one.5"]


class Dying(Log):
    """A log during whose reading a process says goodbye."""

    leases: Leases

    async def read(self, channel: str, after: Cursor, *, limit: int, max_bytes: int) -> Page:
        page = await super().read(channel, after, limit=limit, max_bytes=max_bytes)
        self.leases.deaths += 1
        return page


async def test_a_process_that_dies_while_the_record_is_read_is_looked_for_again(autojump_clock: MockClock) -> None:
    log = Dying(LIMITS)
    log.leases = leases = Leases("own", log, LIMITS, Metrics(), lambda: None)
    records = Records(log, LIMITS, leases, nobody, Metrics())
    leases.listen_anew()
    async with log.open():
        for _ in range(5):
            (event,) = await log.append(PROCESSES, [Draft.of({"process": "own"}, name="alive")])
            leases.hear(event)
            await trio.sleep(5)
        assert leases.judges
        await records.sweep(ROOM)
        assert not records.is_swept(ROOM)
