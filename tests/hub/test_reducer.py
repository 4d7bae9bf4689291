"""Reducers: the state is that of all events, whatever retention has dropped; and how it is kept so."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from triolet import Cursor, Draft, Event, Keep, Limits, LogError, Reducer
from triolet.errors import ConfigError, DataError, SnapshotError
from triolet.hub import Keeper
from triolet.limits import SNAPSHOTS
from triolet.log import EventLog, MemoryLog, Page, Status
from triolet.testing.scripted import ScriptedLog, away

CHANNEL = "carts/1"


def add(state: list[int], event: Event) -> list[int]:
    if event.data == "fails":
        raise ValueError("of the app's")
    return [*state, event.data]


def reducer(every: int = 4, name: str = "add", **options: Any) -> Reducer:
    return Reducer(add, initial=[], name=name, channels="carts/*", every=every, **options)


def virtual() -> Callable[[], float]:
    return lambda: 1_000_000.0 + trio.current_time()


@asynccontextmanager
async def keeping(log: EventLog, limits: Limits, *reducers: Reducer, seed: int = 0) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Keeper(log, limits, reducers, random.Random(seed)).run)
        await trio.testing.wait_all_tasks_blocked()
        yield
        nursery.cancel_scope.cancel()


async def publish(log: EventLog, *values: Any, channel: str = CHANNEL) -> None:
    await log.append(channel, [Draft.of(value) for value in values])


async def state(log: EventLog, limits: Limits, reduce: Reducer, channel: str = CHANNEL) -> tuple[Any, str, int | None]:
    taken = await reduce.take(log, limits, channel)
    return json.loads(taken.json), str(taken.cursor), taken.missed


async def kept(log: EventLog) -> list[Any]:
    """What is kept, of all channels."""
    found = []
    for name in await log.channels(SNAPSHOTS):
        page = await log.read(name, Cursor("", 0), limit=10, max_bytes=1 << 30)
        found += [event.data for event in page.events]
    return found


async def test_the_state_is_made_of_all_events(autojump_clock: MockClock) -> None:
    limits = Limits(page_events=2)
    async with MemoryLog(limits, epoch="e").open() as log:
        assert await state(log, limits, reducer()) == ([], "e.0", 0)
        await publish(log, 1, 2, 3, 4, 5)
        assert await state(log, limits, reducer()) == ([1, 2, 3, 4, 5], "e.5", 0)
        assert await kept(log) == []  # to be asked keeps nothing


@pytest.mark.parametrize("levels", [31, 32])
async def test_a_state_as_deep_as_an_event_can_be_is_kept(levels: int, autojump_clock: MockClock) -> None:
    deep: Any = 1
    for _ in range(levels):
        deep = [deep]
    newest = Reducer(lambda state, event: event.data, name="newest", channels="carts/*", every=1)
    limits = Limits()
    async with MemoryLog(limits, virtual(), epoch="e").open() as log, keeping(log, limits, newest):
        await publish(log, deep)
        await trio.sleep(60)
        assert [said["cursor"] for said in await kept(log)] == ["e.1"]
        assert await state(log, limits, newest) == (deep, "e.1", 0)


async def test_a_state_that_an_earlier_version_has_kept_is_read(autojump_clock: MockClock) -> None:
    async with MemoryLog(epoch="e").open() as log:
        await reducer().keep(log, Limits(), CHANNEL)
        (place,) = await log.channels(SNAPSHOTS)
        said = {"name": "add", "channel": CHANNEL, "cursor": "e.0", "missed": 0, "state": [9]}  # it was no text
        await log.append(place, [Draft.of(said)])
        await publish(log, 1)
        assert await state(log, Limits(), reducer()) == ([9, 1], "e.1", 0)


async def test_a_log_that_fails_in_a_way_of_its_own_ends_no_keeping(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(MemoryLog):
        fails = True

        async def append(self, channel: str, drafts: Sequence[Draft]) -> list[Event]:
            if channel.startswith(SNAPSHOTS) and self.fails:
                raise KeyError("a bug of the log's")
            return await super().append(channel, drafts)

    limits = Limits()
    log = Failing(limits, virtual(), epoch="e")
    async with log.open(), keeping(log, limits, reducer(every=1)):
        await publish(log, 1)
        await trio.sleep(60)
        assert [record.getMessage().partition(" at ")[0] for record in caplog.records] == [
            "Failing.append() failed: KeyError"
        ]
        log.fails = False
        await publish(log, 2)
        await trio.sleep(60)
        assert [said["cursor"] for said in await kept(log)] == ["e.2"]


async def test_it_is_kept_after_so_many_events(autojump_clock: MockClock) -> None:
    limits = Limits(keep_events=5)
    async with MemoryLog(limits, virtual(), epoch="e").open() as log, keeping(log, limits, reducer()):
        await publish(log, 1, 2, 3)
        await trio.sleep(2)
        assert await kept(log) == []
        await publish(log, 4)
        await trio.sleep(2)
        (said,) = await kept(log)
        assert said == {"name": "add", "channel": CHANNEL, "cursor": "e.4", "missed": 0, "json": "[1,2,3,4]"}
        for n in range(5, 41):
            await publish(log, n)
            await trio.sleep(0.6)
        assert await state(log, limits, reducer()) == (list(range(1, 41)), "e.40", 0)
        assert len(await kept(log)) == 1


async def test_few_events_are_kept_before_they_are_too_old(autojump_clock: MockClock) -> None:
    limits = Limits(keep={"carts/*": Keep(seconds=40)})
    async with MemoryLog(limits, virtual(), epoch="e").open() as log, keeping(log, limits, reducer(every=100)):
        await publish(log, 1, 2)
        await trio.sleep(1_000)
        page = await log.read(CHANNEL, Cursor("", 0), limit=9, max_bytes=9)
        assert page.events == ()
        assert await state(log, limits, reducer()) == ([1, 2], "e.2", 0)
        await publish(log, 3)
        assert await state(log, limits, reducer()) == ([1, 2, 3], "e.3", 0)


async def test_what_came_while_nobody_served_is_looked_at_in_the_beginning(autojump_clock: MockClock) -> None:
    limits = Limits(keep_seconds=300)
    async with MemoryLog(limits, virtual(), epoch="e").open() as log:
        await publish(log, 1, 2)
        await publish(log, 1, channel="other/1")
        async with keeping(log, limits, reducer(every=100)):
            await trio.sleep(100)
        assert [said["channel"] for said in await kept(log)] == [CHANNEL]
        await trio.sleep(1_000)
        assert await state(log, limits, reducer()) == ([1, 2], "e.2", 0)


async def test_what_was_lost_before_it_could_be_kept_is_counted(autojump_clock: MockClock) -> None:
    limits = Limits(keep_events=3)
    async with MemoryLog(limits, epoch="e").open() as log:
        await publish(log, *range(1, 11))
        assert await state(log, limits, reducer()) == ([8, 9, 10], "e.10", 7)
        assert await reducer().keep(log, limits, CHANNEL) == 0
        await publish(log, *range(11, 21))
        assert await state(log, limits, reducer()) == ([8, 9, 10, 18, 19, 20], "e.20", 14)


async def test_a_log_that_fails_in_a_way_of_its_own_is_the_stores_fault(autojump_clock: MockClock) -> None:
    class Failing(MemoryLog):
        async def status(self, channel: str) -> Status:
            raise KeyError("a bug of the log's")

    limits = Limits(keep_events=2)
    async with Failing(limits, epoch="e").open() as log:
        await publish(log, 1, 2, 3, 4)  # the first two are gone: by a deletion, or by retention?
        with pytest.raises(LogError, match=r"Failing\.status\(\) failed, with KeyError"):
            await reducer().take(log, limits, CHANNEL)


async def test_an_event_on_which_it_fails_is_passed_over_and_counted(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with MemoryLog(epoch="e").open() as log:
        await publish(log, 1, "fails", 2)
        assert await state(log, Limits(), reducer()) == ([1, 2], "e.3", 1)
    assert "the reducer 'add' failed on e.2: ValueError at test_reducer.py" in caplog.text


async def test_all_channels_are_those_of_the_app(autojump_clock: MockClock) -> None:
    async with MemoryLog(epoch="e").open() as log:
        every = Reducer(add, initial=[], name="all", every=1)
        async with keeping(log, Limits(), every):
            await publish(log, 1, channel="triolet.runs")
            await publish(log, 1, channel="any")
            await trio.sleep(100)
        assert [said["channel"] for said in await kept(log)] == ["any"]


async def test_another_name_makes_another_state(autojump_clock: MockClock) -> None:
    async with MemoryLog(epoch="e").open() as log:
        await publish(log, 1)
        await reducer().keep(log, Limits(), CHANNEL)
        await log.delete(CHANNEL)
        assert (await state(log, Limits(), reducer(name="add-2")))[0] == []


async def test_a_deletion_begins_it_anew_and_an_end_is_no_event_of_it(autojump_clock: MockClock) -> None:
    async with MemoryLog(epoch="e").open() as log, keeping(log, Limits(), reducer(every=100)):
        await publish(log, 1, 2)
        await trio.sleep(100)
        await log.delete(CHANNEL)
        await trio.sleep(2)
        assert [said["json"] for said in await kept(log)] == ["[]"]
        await publish(log, 3)
        assert await state(log, Limits(), reducer()) == ([3], "e.4", 0)
        await log.append(CHANNEL, [Draft.ending(None)])
        await trio.sleep(2)
        assert [said["cursor"] for said in await kept(log)] == ["e.5"]
        assert await state(log, Limits(), reducer()) == ([3], "e.5", 0)


async def test_of_what_was_deleted_nothing_is_in_a_state_however_soon_something_comes(
    autojump_clock: MockClock,
) -> None:
    async with MemoryLog(epoch="e").open() as log:
        await publish(log, 1, 2)
        await reducer().keep(log, Limits(), CHANNEL)
        await publish(log, 3)
        (place,) = await log.channels(SNAPSHOTS)
        late = (await log.read(place, Cursor("", 0), limit=1, max_bytes=1)).events[0]
        await log.delete(CHANNEL)
        await publish(log, 4)
        assert await state(log, Limits(), reducer()) == ([4], "e.5", 0)
        assert await state(log, Limits(), reducer(name="new")) == ([4], "e.5", 0)
        await reducer().keep(log, Limits(), CHANNEL)
        await log.append(place, [Draft(late.json)])  # of a process that has read before it was deleted
        assert await state(log, Limits(), reducer()) == ([4], "e.5", 0)
        await log.delete(CHANNEL)
        await publish(log, 5)
        assert await state(log, Limits(), reducer()) == ([5], "e.7", 0)


async def test_what_is_lost_behind_a_deletion_is_told_and_nothing_before_it(autojump_clock: MockClock) -> None:
    limits = Limits(keep_events=2)
    async with MemoryLog(limits, epoch="e").open() as log:
        await publish(log, 1)
        await reducer().keep(log, limits, CHANNEL)
        await log.delete(CHANNEL)
        await publish(log, 2, 3, 4)
        assert await state(log, limits, reducer()) == ([3, 4], "e.5", 1)


async def test_a_channel_that_is_deleted_while_its_state_is_made_has_nothing_of_before_in_it(
    autojump_clock: MockClock,
) -> None:
    class Late(MemoryLog):
        """A log that is deleted from, and goes on, behind the next reading of the channel."""

        armed = False

        async def read(self, channel: str, after: Cursor, *, limit: int, max_bytes: int) -> Page:
            page = await super().read(channel, after, limit=limit, max_bytes=max_bytes)
            if self.armed and channel == CHANNEL:
                self.armed = False
                await self.delete(CHANNEL)
                await publish(self, 6)
            return page

    limits = Limits(keep_events=2)
    log = Late(limits, epoch="e")
    async with log.open():
        await publish(log, 1)
        await reducer().keep(log, limits, CHANNEL)
        await publish(log, 2)
        await log.delete(CHANNEL)
        await publish(log, 3, 4, 5)
        log.armed = True
        assert await state(log, limits, reducer()) == ([6], "e.8", 0)


async def test_another_life_of_the_log_begins_it_anew(autojump_clock: MockClock) -> None:
    async with MemoryLog(epoch="e").open() as log:
        await publish(log, 1, 2)
        await reducer().keep(log, Limits(), CHANNEL)
        (place,) = await log.channels(SNAPSHOTS)
        page = await log.read(place, Cursor("", 0), limit=1, max_bytes=1)
    for cursor in ("other.7", "e.9"):
        async with MemoryLog(epoch="e").open() as log:
            await log.append(place, [Draft.of({**page.events[0].data, "cursor": cursor, "json": "[0]"})])
            await publish(log, 5)
            assert await state(log, Limits(), reducer()) == ([5], "e.1", 0)


async def test_what_is_no_state_of_ours_is_as_none(autojump_clock: MockClock) -> None:
    async with MemoryLog(epoch="e").open() as log:
        await publish(log, 1)
        await reducer().keep(log, Limits(), CHANNEL)
        (place,) = await log.channels(SNAPSHOTS)
        lies: list[Any] = [None, [], {}, {"name": "add", "channel": CHANNEL, "cursor": "?"}, {"name": "other"}]
        for wrong in lies:
            await log.append(place, [Draft.of(wrong)])
            assert await state(log, Limits(), reducer()) == ([1], "e.1", 0)


async def test_a_log_that_is_away_is_asked_again(autojump_clock: MockClock) -> None:
    log = ScriptedLog(MemoryLog(epoch="e"))
    async with log.open(), keeping(log, Limits(), reducer()):
        with log.having(*away()):
            await log.inner.append(CHANNEL, [Draft.of(n) for n in (1, 2, 3, 4)])
            await trio.sleep(5)
        await trio.sleep(5)
        assert [said["json"] for said in await kept(log)] == ["[1,2,3,4]"]


async def test_of_two_processes_one_keeps(autojump_clock: MockClock) -> None:
    limits = Limits()
    async with MemoryLog(limits, epoch="e").open() as log:
        async with keeping(log, limits, reducer(), seed=1), keeping(log, limits, reducer(), seed=2):
            await publish(log, 1, 2, 3, 4)
            await trio.sleep(100)
        (place,) = await log.channels(SNAPSHOTS)
        assert (await log.head(place)).offset == 1


async def test_a_state_that_cannot_be_is_none_and_harms_nothing(autojump_clock: MockClock) -> None:
    def broken(state: Any, event: Event) -> Any:
        return {1, 2}

    def huge(state: Any, event: Event) -> Any:
        return "x" * 2_000_000

    async with MemoryLog(epoch="e").open() as log:
        broken_one, huge_one = (Reducer(one, name=one.__name__, every=1) for one in (broken, huge))
        async with keeping(log, Limits(), broken_one, huge_one, reducer(every=1)):
            await publish(log, 1)
            await trio.sleep(100)
            for one in (broken_one, huge_one):
                with pytest.raises(SnapshotError, match="there is no snapshot of the channel 'carts/1'"):
                    await one.take(log, Limits(), CHANNEL)
            assert [said["name"] for said in await kept(log)] == ["add"]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"reduce": 5}, "an ordinary function of a state"),
        ({"reduce": publish}, "an ordinary function of a state"),
        ({"name": ""}, "name="),
        ({"name": "x" * 200}, "name="),
        ({"every": 0}, "every="),
        ({"every": 1.5}, "every="),
        ({"channels": ""}, "pattern"),
    ],
)
def test_a_reducer_that_cannot_be_is_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        Reducer(**{"reduce": add, "name": "add", **options})
    with pytest.raises(DataError):
        Reducer(add, name="add", initial={1})


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("publish"), st.integers(1, 7)),
            st.tuples(st.just("sleep"), st.sampled_from([0.1, 1.0, 5.0, 30.0])),
            st.tuples(st.just("restart"), st.just(0)),
        ),
        max_size=25,
    ),
    st.integers(1, 6),
)
@settings(max_examples=60, deadline=None)
def test_the_state_is_that_of_the_whole_history(steps: list[tuple[str, Any]], every: int) -> None:
    """For every schedule in which retention leaves time enough to keep it."""
    trio.run(_play, steps, every, clock=MockClock(autojump_threshold=0))


async def _play(steps: list[tuple[str, Any]], every: int) -> None:
    limits, number = Limits(keep_events=20, keep_seconds=200, page_events=3), 0
    async with MemoryLog(limits, virtual(), epoch="e").open() as log:
        steps = [*steps, ("sleep", 1.0)]
        while steps:
            async with keeping(log, limits, reducer(every)):
                while steps:
                    step, what = steps.pop(0)
                    if step == "publish":
                        await publish(log, *range(number + 1, number + what + 1))
                        number += what
                        await trio.sleep(1.1)
                    elif step == "sleep":
                        await trio.sleep(what)
                    else:
                        break
                    assert await state(log, limits, reducer(every)) == (list(range(1, number + 1)), f"e.{number}", 0)
