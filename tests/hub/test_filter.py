"""Clients that may not see every event: what they are written and what not, and what the others notice of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from triolet import ConfigError, Cursor, Draft, Event, Limits, policies
from triolet.budget import Budget
from triolet.counters import Metrics
from triolet.event import Gap
from triolet.hub import Hub, State, Subscription, check_allow
from triolet.hub.filter import Filter
from triolet.log import MemoryLog
from triolet.wire.codec import SSE_CHUNKED, WEBSOCKET, WEBSOCKET_DEFLATED, WEBSOCKET_TEXT

from .doubles import CHANNEL, Client, CountingLog, HandTailLog, Sink, blocked, live, publish, running

EVENT = Event(Cursor("e", 1), CHANNEL, "message", b'"secret"', None, 0.0)


def even(event: Event) -> bool:
    return event.offset % 2 == 0


def nothing(event: Event) -> bool:
    return False


def raises(event: Event) -> bool:
    raise LookupError(f"{event.data} of {event.channel}")


async def filtered(hub: Hub, allow: Callable[[Event], bool], count: int = 1, **options: Any) -> list[Client]:
    """So many that have caught up, and may see what this allows."""
    clients = [await Client(hub, Sink(), **options).follow(allow=allow) for _ in range(count)]
    for client in clients:
        await client.read_on()
    assert all(client.live for client in clients)
    return clients


# --- the app's function


@pytest.mark.parametrize("answer", [None, 1, "yes", object(), [0]])
def test_what_is_neither_yes_nor_no_is_a_no_and_is_said_once(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    allow = Filter(lambda event: answer, metrics)
    assert [allow.allows(EVENT) for _ in range(3)] == [False] * 3
    assert metrics.allow_failures == 3
    (record,) = caplog.records
    assert type(answer).__name__ in record.getMessage()


class CancelledError(BaseException):
    """As asyncio's."""


def foreign(event: Event) -> bool:
    raise CancelledError("secret")


@pytest.mark.parametrize("allow", [raises, foreign])
def test_one_that_raises_says_no_and_is_logged_once_without_what_it_quotes(
    allow: Callable[[Event], bool], caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()
    asked = Filter(allow, metrics)
    assert [asked.allows(EVENT) for _ in range(3)] == [False] * 3
    assert metrics.snapshot().allow_failures == 3
    (record,) = caplog.records
    assert (record.levelno, record.name) == (logging.ERROR, "triolet.hub")
    assert "test_filter.py:" in record.getMessage()
    assert "secret" not in record.getMessage()


def test_what_ends_the_process_is_not_swallowed() -> None:
    def interrupted(event: Event) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Filter(interrupted, Metrics()).allows(EVENT)


class Awaited:
    async def __call__(self, event: Event) -> bool:
        return True


async def awaited(event: Event) -> bool:
    return True


def generated(event: Event) -> Any:
    yield True


@pytest.mark.parametrize("allow", [awaited, partial(awaited), Awaited(), Awaited().__call__, generated, 7, None])
def test_what_cannot_answer_at_once_is_refused_where_the_route_is_made(allow: Any) -> None:
    with pytest.raises(ConfigError, match="allow="):
        check_allow(allow)


@pytest.mark.parametrize("allow", [even, partial(even), lambda event: True, bool])
def test_a_function_may_be_of_any_kind(allow: Any) -> None:
    check_allow(allow)


# --- live


@pytest.mark.parametrize("codec", [WEBSOCKET, WEBSOCKET_DEFLATED, SSE_CHUNKED, WEBSOCKET_TEXT])
async def test_each_is_written_its_own_selection_and_the_others_what_they_were(codec: Any) -> None:
    log = MemoryLog(epoch="e")
    async with running(log) as hub:
        plain = [await Client(hub, TextSink() if codec is WEBSOCKET_TEXT else Sink(), codec).follow() for _ in range(2)]
        some = [
            await Client(hub, TextSink() if codec is WEBSOCKET_TEXT else Sink(), codec).follow(allow=allow)
            for allow in (even, lambda event: event.offset == 3, nothing)
        ]
        for client in (*plain, *some):
            await client.read_on()
        events = await publish(log, 4)
        await blocked()
        parts = [codec.event(event) for event in events]
        assert [one.sink.batches for one in plain] == [[codec.join(parts)]] * 2
        assert plain[0].sink.batches[0] is plain[1].sink.batches[0]
        assert [one.sink.batches for one in some] == [[codec.join([parts[1], parts[3]])], [codec.join([parts[2]])], []]
        assert {one.follower.position for one in (*plain, *some)} == {Cursor("e", 4)}
        assert all(one.live for one in some)


class TextSink(Sink):
    """An outlet that takes batches of texts."""

    def _send(self, batch: Any) -> int:
        self.batches.append(batch)
        return len(batch)


async def test_they_stand_in_no_flat_list() -> None:
    log = MemoryLog()
    async with running(log) as hub:
        await live(hub, 3)
        (one,) = await filtered(hub, even)
        audience = hub.windows.find(CHANNEL)
        assert audience is not None
        assert [group.followers.count(one.follower) for group in audience.live.values()] == [0]
        assert (hub.statistics().live, hub.statistics().followers) == (4, 4)
        hub.leave(one.follower)
        assert (hub.statistics().live, hub.statistics().followers, list(audience.filtered)) == (3, 3, [])


async def test_an_event_is_encoded_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    encode = type(WEBSOCKET).event

    def counted(codec: Any, event: Event) -> Any:
        encoded.append(event.offset)
        return encode(codec, event)

    monkeypatch.setattr(type(WEBSOCKET), "event", counted)
    log = MemoryLog()
    async with running(log) as hub:
        await live(hub, 2)
        await filtered(hub, even, 3)
        await filtered(hub, lambda event: True, 3)
        await publish(log, 5)
        await blocked()
    assert encoded == [1, 2, 3, 4, 5]


async def test_a_round_counts_what_was_written() -> None:
    log = MemoryLog()
    metrics = Metrics()
    hub = Hub(log, Limits(), Budget(1 << 30), metrics)
    async with log.open(), trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        await live(hub, 2)
        await filtered(hub, even)
        await filtered(hub, nothing)
        await publish(log, 4)
        await blocked()
        assert metrics.delivered == 2 * 4 + 2
        assert metrics.written.snapshot().count == 3
        nursery.cancel_scope.cancel()


async def test_the_stream_goes_on_where_the_function_fails() -> None:
    asked: list[int] = []

    def fails_once(event: Event) -> bool:
        asked.append(event.offset)
        if event.offset == 2:
            raise LookupError
        return True

    log = MemoryLog()
    async with running(log) as hub:
        (one,), (other,) = await filtered(hub, fails_once), await live(hub)
        await publish(log, 3)
        await blocked()
        await publish(log)
        await blocked()
        assert (one.seen, other.seen) == ([1, 3, 4], [1, 2, 3, 4])
        assert asked == [1, 2, 3, 4]


async def test_a_short_write_leaves_the_rest_to_the_writer() -> None:
    log = MemoryLog()
    async with running(log) as hub:
        (slow,) = await filtered(hub, even)
        slow.sink.room = 10
        await publish(log, 2)
        await blocked()
        assert (slow.follower.state, slow.woken, len(slow.sink.taken)) == (State.BEHIND, 1, 10)
        await publish(log, 3)
        await blocked()
        slow.sink.drain()
        await slow.read_on()
        assert slow.live
        assert slow.seen == [2, 4]


async def test_the_function_may_end_its_own_follower() -> None:
    log = MemoryLog()
    async with running(log) as hub:

        def leaves(event: Event) -> bool:
            hub.leave(one.follower)
            return True

        (one,) = await filtered(hub, leaves)
        await publish(log)
        await blocked()
        assert (one.seen, hub.statistics().live) == ([], 0)


async def test_a_window_that_is_emptied_during_the_round_takes_nothing_from_it() -> None:
    log = MemoryLog()
    async with running(log) as hub:

        def shrinks(event: Event) -> bool:
            hub.shrink()
            return True

        first, second = await filtered(hub, shrinks, 2)
        await publish(log, 3)
        await blocked()
        assert (first.seen, second.seen) == ([1, 2, 3], [1, 2, 3])


async def test_one_that_the_tail_has_lost_something_for_reads_on_behind_it() -> None:
    log = HandTailLog(Limits())
    async with running(log, Limits(window_events=3)) as hub:
        (one,) = await filtered(hub, even)
        await publish(log, 7)
        await log.tell()
        assert one.follower.state is State.BEHIND
        await one.read_on()
        assert (one.seen, one.live) == ([2, 4, 6], True)


# --- behind


async def test_a_page_from_the_log_is_read_once_and_is_selected_for_each() -> None:
    log = CountingLog()
    async with running(log, Limits(page_events=100)) as hub:
        await publish(log, 9)
        await blocked()  # the tail is empty now, and the window opens behind its events
        reads = log.reads
        thirds: Callable[[Event], bool] = lambda event: event.offset % 3 == 0  # noqa: E731
        some = [await Client(hub, Sink()).follow(Cursor("", 0), allow=allow) for allow in (even, thirds, nothing)]
        whole = await Client(hub, Sink()).follow(Cursor("", 0))
        async with hub.replay.turn(near=False):
            for client in (*some, whole):
                await client.read_on()
        assert [one.seen for one in some] == [[2, 4, 6, 8], [3, 6, 9], []]
        assert whole.seen == list(range(1, 10))
        assert log.reads - reads == 2  # one with, one without
        assert all(one.live for one in some)
        assert hub.replay.statistics().bytes == 0


@pytest.mark.parametrize("held", [True, False], ids=["window", "log"])
async def test_pages_with_nothing_for_the_client_are_passed_over_to_the_present(held: bool) -> None:
    log = CountingLog()
    async with running(log, Limits(page_events=2)) as hub:
        if held:
            await live(hub)
        await publish(log, 11)
        await blocked()
        late = await Client(hub, Sink()).follow(Cursor("", 0), allow=lambda event: event.offset in (5, 10))
        await late.read_on()
        assert (late.seen, late.live, log.reads == 0) == ([5, 10], True, held)


async def test_latest_is_the_newest_that_the_client_may_see(autojump_clock: MockClock) -> None:
    log = MemoryLog(epoch="e")
    async with running(log, Limits(page_events=3)) as hub:
        for key in "abababab":
            await log.append(CHANNEL, [Draft.of(0, key=key)])
        late = Client(hub, Sink(), policy=policies.latest(events=1))
        await late.follow(Cursor("", 0), allow=lambda event: event.offset < 6 or event.key == "b")
        # It may see a: 1, 3, 5, and b: 2, 4, 6, 8.
        assert await late.read_on() == [Gap(Cursor("e", 0), Cursor("e", 8), 5, "conflated")]
        assert (late.seen, late.follower.position, late.live) == ([5, 8], Cursor("e", 8), True)


async def test_where_conflating_leaves_out_nothing_that_the_client_may_see_there_is_no_gap() -> None:
    log = MemoryLog(epoch="e")
    async with running(log) as hub:
        for key in "aaab":
            await log.append(CHANNEL, [Draft.of(0, key=key)])
        for allow, seen in ((even, [2, 4]), (nothing, [])):
            late = Client(hub, Sink(), policy=policies.latest(events=1))
            await late.follow(Cursor("", 0), allow=allow)
            assert await late.read_on() == []
            assert (late.seen, late.follower.position, late.live) == (seen, Cursor("e", 4), True)


async def test_other_gaps_count_all_events() -> None:
    log = MemoryLog(Limits(keep_events=4), epoch="e")
    async with running(log, Limits(keep_events=4)) as hub:
        await publish(log, 9)
        late = await Client(hub, Sink()).follow(Cursor("e", 0), allow=even)
        assert await late.read_on() == [Gap(Cursor("e", 0), Cursor("e", 5), 5, "expired")]
        skipping = Client(hub, Sink(), policy=policies.skip(events=1))
        await skipping.follow(Cursor("e", 5), allow=even)
        assert await skipping.read_on() == [Gap(Cursor("e", 5), Cursor("e", 9), 4, "skipped")]
        other = await Client(hub, Sink()).follow(Cursor("d", 3), allow=even)
        (gap,) = await other.read_on()
        assert (gap.reason, gap.missed) == ("epoch", None)
        assert (late.seen, skipping.seen, other.seen) == ([6, 8], [], [6, 8])


async def test_publishers_wait_for_one_whose_policy_blocks_until_it_has_what_is_for_it(
    autojump_clock: MockClock,
) -> None:
    log = MemoryLog()
    async with running(log) as hub, trio.open_nursery() as nursery:
        (slow,) = await filtered(hub, even, policy=policies.block(events=1, seconds=60))
        slow.sink.room = 0
        for _ in range(2):
            await hub.publish(CHANNEL, [Draft.of(0)] * 2)
            await blocked()
        done = trio.Event()

        async def publish_more() -> None:
            await hub.publish(CHANNEL, [Draft.of(0)])
            done.set()

        nursery.start_soon(publish_more)
        await blocked()
        assert not done.is_set()
        slow.sink.drain()
        while slow.follower.state is State.BEHIND:
            reading = await hub.read(slow.follower)
            slow.follower.advance(reading.position)
            slow.follower.go_live()
        await done.wait()


# --- polls


async def test_a_poll_waits_for_an_event_that_the_client_may_see(autojump_clock: MockClock) -> None:
    log = MemoryLog(epoch="e")
    async with running(log, Limits(page_events=3)) as hub, trio.open_nursery() as nursery:
        await publish(log, 8)

        async def publish_later() -> None:
            for _ in range(4):
                await trio.sleep(1)
                await publish(log)

        nursery.start_soon(publish_later)
        before = trio.current_time()
        (page,) = await hub.pages([Subscription(CHANNEL, Cursor("e", 0), allow=lambda event: event.offset >= 11)], 30)
        assert trio.current_time() == before + 3
        assert [event.offset for event in page.events] == [11]
        assert (page.end, page.head) == (Cursor("e", 11), Cursor("e", 11))


async def test_a_poll_does_not_wait_while_there_is_more_to_read(autojump_clock: MockClock) -> None:
    log = MemoryLog(epoch="e")
    async with running(log, Limits(page_events=3)) as hub:
        await publish(log, 8)
        before = trio.current_time()
        (page,) = await hub.pages([Subscription(CHANNEL, Cursor("e", 0), allow=lambda event: event.offset == 7)], 30)
        assert ([event.offset for event in page.events], page.end) == ([7], Cursor("e", 8))
        assert trio.current_time() == before


async def test_a_poll_for_which_nothing_comes_moves_on_without_being_busy(autojump_clock: MockClock) -> None:
    log = CountingLog()
    async with running(log, Limits(page_events=3)) as hub, trio.open_nursery() as nursery:
        await publish(log, 8)
        await blocked()

        async def publish_later() -> None:
            for _ in range(20):
                await trio.sleep(1)
                await publish(log)

        nursery.start_soon(publish_later)
        before = trio.current_time()
        (page,) = await hub.pages([Subscription(CHANNEL, Cursor("", 0), allow=nothing)], 10.5)
        assert trio.current_time() == before + 10.5
        assert (page.events, page.gap, page.end.offset) == ((), None, 18)
        assert log.reads == 3  # what came while it waited is in the window
        nursery.cancel_scope.cancel()


async def test_a_short_poll_is_given_what_is_for_it_of_one_page() -> None:
    log = MemoryLog(epoch="e")
    async with running(log, Limits(page_events=3)) as hub:
        await publish(log, 8)
        (page,) = await hub.pages([Subscription(CHANNEL, Cursor("e", 0), allow=lambda event: event.offset == 5)])
        assert (page.events, page.end, page.head) == ((), Cursor("e", 3), Cursor("e", 8))
        (page,) = await hub.pages([Subscription(CHANNEL, page.end, allow=lambda event: event.offset == 5)])
        assert ([event.offset for event in page.events], page.end) == ([5], Cursor("e", 6))
