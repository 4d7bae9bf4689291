"""What is read behind the present: from the window or the log, by followers and polls; and windows that come and go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from triolet import Cursor, Draft, Event, Limits, LogBusy, policies
from triolet.hub import Policy
from triolet.log import MemoryLog, Page, Status

from .doubles import CHANNEL, Client, CountingLog, HandTailLog, Sink, blocked, live, offsets, publish, running


async def test_more_events_than_a_window_holds_are_read_from_the_log() -> None:
    log = HandTailLog()
    async with running(log, Limits(window_events=4)) as hub:
        (client,) = await live(hub)
        await log.tell(*await publish(log, 10))
        assert client.seen == []
        await client.read_on()
        assert client.live
        assert client.seen == list(range(1, 11))


async def test_a_reader_in_the_window_does_not_ask_the_log() -> None:
    log = CountingLog()
    async with running(log) as hub:
        await live(hub)
        await publish(log, 5)
        await blocked()
        late = await Client(hub, Sink()).follow(Cursor("", 0))
        await late.read_on()
        assert (late.seen, log.reads) == ([1, 2, 3, 4, 5], 0)


async def test_a_page_is_bounded_in_events_and_in_bytes() -> None:
    log = MemoryLog()
    async with running(log, Limits(page_events=4, page_bytes=300)) as hub:
        await live(hub)
        await publish(log, 6)
        await publish(log, 3, size=200)
        await blocked()
        late = await Client(hub, Sink()).follow(Cursor("", 0))
        await late.read_on()
        assert [offsets(batch) for batch in late.sink.batches] == [[1, 2, 3, 4], [5, 6, 7], [8], [9]]


async def test_being_live_is_decided_without_a_step_between() -> None:
    log = CountingLog()
    async with running(log) as hub:
        client = await Client(hub, Sink()).follow()
        window = client.follower.window
        for _ in range(70):  # MemoryLog gives way at every 64th: the pump runs in between
            await publish(log)
            reading = await hub.read(client.follower)
            if reading.batch is not None:
                client.sink.send(reading.batch)
            client.follower.position = reading.position
            at_head = reading.position.offset == window.flushed
            assert client.follower.go_live() == at_head
            if client.live:
                client.follower.fall_behind()
        await client.read_on()
        await blocked()
        assert client.seen == list(range(1, 71))


async def test_the_head_is_asked_once_for_all_who_come_at_the_same_time() -> None:
    log = CountingLog()
    log.hold = trio.Event()
    async with running(log) as hub, trio.open_nursery() as nursery:
        clients = [Client(hub, Sink()) for _ in range(5)]
        for client in clients:
            nursery.start_soon(client.follow)
        await blocked()
        log.hold.set()
        await blocked()
        assert log.heads == 1
        assert hub.statistics().followers == 5


async def test_one_that_goes_while_the_head_is_asked_leaves_the_others_waiting_for_it() -> None:
    log = CountingLog()
    log.hold = trio.Event()
    async with running(log) as hub, trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def goes() -> None:
            with scope:
                await Client(hub, Sink()).follow()

        nursery.start_soon(goes)
        await blocked()
        stays = Client(hub, Sink())
        nursery.start_soon(stays.follow)
        await blocked()
        scope.cancel()
        await blocked()
        log.hold.set()
        await blocked()
        assert hub.statistics().followers == 1


async def test_a_log_that_fails_leaves_no_window() -> None:
    class FailingLog(MemoryLog):
        async def status(self, channel: str) -> Status:
            raise LogBusy("locked")

    async with running(FailingLog()) as hub:
        with pytest.raises(LogBusy):
            await Client(hub, Sink()).follow()
        assert hub.statistics().windows == 0


async def test_what_happens_while_the_head_is_asked_falls_nowhere_between() -> None:
    log = CountingLog()
    log.hold = trio.Event()
    async with running(log) as hub, trio.open_nursery() as nursery:
        client = Client(hub, Sink())
        nursery.start_soon(client.follow, Cursor("", 0))
        await blocked()
        await publish(log, 2)
        await blocked()
        log.hold.set()
        await blocked()
        await client.read_on()
        await publish(log)
        await blocked()
        assert client.seen == [1, 2, 3]


class LivesOn(MemoryLog):
    """A log that lives on from an earlier life, of which it has lost nothing."""

    async def read(self, channel: str, after: Cursor, **bounds: Any) -> Page:
        return await super().read(channel, Cursor("", after.offset) if after.epoch == "before" else after, **bounds)


@pytest.mark.parametrize("policy", [policies.latest(events=5), policies.skip(events=5)], ids=str)
@pytest.mark.parametrize("allow", [None, lambda event: True], ids=["all", "filtered"])
async def test_a_policy_counts_what_a_client_missed_not_what_a_lossless_failover_renamed(
    policy: Policy, allow: Callable[[Event], bool] | None
) -> None:
    log = LivesOn(epoch="now")
    async with running(log) as hub:
        await log.append(CHANNEL, [Draft.of(n, key="k") for n in range(30)])
        near = await Client(hub, Sink(), policy=policy).follow(Cursor("before", 25), allow=allow)
        assert await near.read_on() == []
        assert near.seen == [26, 27, 28, 29, 30]
        far = await Client(hub, Sink(), policy=policy).follow(Cursor("before", 24), allow=allow)
        assert [gap.after for gap in await far.read_on()] == [Cursor("now", 24)]


@pytest.mark.parametrize("allow", [None, lambda event: True], ids=["all", "filtered"])
async def test_who_has_the_end_of_a_channel_is_told_it_again_behind_a_lossless_failover(
    allow: Callable[[Event], bool] | None,
) -> None:
    log = LivesOn(epoch="now")
    async with running(log) as hub:
        await log.append(CHANNEL, [Draft.of(1), Draft.ending("over")])
        client = await Client(hub, Sink()).follow(Cursor("before", 2), allow=allow)
        await client.read_on()
        assert client.finished == 1
        assert b'"over"' in client.sink.taken


async def test_windows_that_nobody_follows_go_the_longest_unused_first() -> None:
    log = MemoryLog()
    async with running(log, Limits(idle_windows=2)) as hub:
        for channel in "abcd":
            client = await Client(hub, Sink()).follow(channel=channel)
            if channel != "b":
                hub.leave(client.follower)
        assert set(hub.channels) == {"b", "c", "d"}
        assert hub.statistics().followers == 1


async def test_a_window_that_went_is_opened_again_where_the_log_stands() -> None:
    log = MemoryLog(epoch="e")
    async with running(log, Limits(idle_windows=1)) as hub:
        for channel in (CHANNEL, "other"):
            hub.leave((await Client(hub, Sink()).follow(channel=channel)).follower)
        await publish(log, 3)
        await blocked()
        client = await Client(hub, Sink()).follow(Cursor("e", 1))
        assert await client.read_on() == []
        assert (client.seen, client.live) == ([2, 3], True)


async def test_polls_of_many_channels_leave_a_bounded_number_of_windows() -> None:
    log = MemoryLog()
    async with running(log, Limits(idle_windows=8)) as hub:
        for n in range(50):
            await hub.page(f"orders/{n}", None)
        assert hub.statistics().windows == 8


async def test_a_waiting_page_ends_with_the_first_event(autojump_clock: trio.testing.MockClock) -> None:
    log = MemoryLog()
    async with running(log) as hub, trio.open_nursery() as nursery:

        async def later() -> None:
            await trio.sleep(3)
            await publish(log, 2)

        nursery.start_soon(later)
        page = await hub.page(CHANNEL, Cursor("", 0), 10)
        assert [event.offset for event in page.events] == [1, 2]
        assert trio.current_time() == 3


async def test_a_waiting_page_ends_at_its_time_with_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with running(MemoryLog()) as hub:
        page = await hub.page(CHANNEL, None, 10)
        assert (page.events, page.gap, trio.current_time()) == ((), None, 10)
        assert hub.statistics().followers == 0


async def test_a_waiting_page_does_not_wait_where_there_is_a_gap_to_tell(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running(MemoryLog(epoch="e")) as hub:
        page = await hub.page(CHANNEL, Cursor("d", 7), 10)
        assert page.gap is not None
        assert trio.current_time() == 0


async def test_a_waiting_page_of_a_log_that_was_begun_again_does_not_read_it_over_and_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log = CountingLog()
    async with running(log) as hub:
        await hub.page(CHANNEL, None)
        log._epoch = "f"  # begun again, and the tail has not said so yet
        page = await hub.page(CHANNEL, Cursor("f", 0), 10)
        assert (page.events, trio.current_time()) == ((), 10)
        assert log.reads <= 2


async def test_a_waiting_page_of_a_log_that_is_ahead_of_its_window_waits(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log = HandTailLog()
    async with running(log) as hub, trio.open_nursery() as nursery:
        await hub.page(CHANNEL, None)
        events = await publish(log, 2)

        async def tell() -> None:
            await trio.sleep(1)
            await log.tell(*events)
            await log.tell(*await publish(log))

        nursery.start_soon(tell)
        page = await hub.page(CHANNEL, Cursor("", 2), 10)
        assert [event.offset for event in page.events] == [3]


async def test_what_came_with_another_life_of_the_log_was_not_missed_before(autojump_clock: MockClock) -> None:
    log = HandTailLog()
    async with running(log) as hub:
        await log.tell(*await publish(log, 50))
        client = await Client(hub, Sink(0)).follow(Cursor("e", 20))
        assert client.follower.lag()[:2] == (30, 30)
        await log.tell(*[Event(Cursor("f", n), CHANNEL, "message", b"1", None, 0.0) for n in range(1, 31)])
        assert client.follower.lag()[:2] == (30, 0)
