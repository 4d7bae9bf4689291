"""Catching up: turns, shared pages, and what is left out of them on a policy's word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from triolet import Cursor, Draft, Event, Limits, LogBusy, policies
from triolet.budget import Budget
from triolet.hub import Hub, HubStatistics, Reading, StateFunction, Step, Subscription
from triolet.hub.replay import Replay
from triolet.log import MemoryLog
from triolet.wire.codec import SSE, WEBSOCKET

from .doubles import CHANNEL, Client, CountingLog, Sink, blocked, live, publish, running

START = Cursor("", 0)
NOW = Cursor("e", 1)


def replay(held: list[int], **limits: Any) -> Replay:
    return Replay(Limits(**limits), held.append)


def page(size: int = 10) -> Reading:
    return Reading(NOW, (), b"x" * size, NOW)


async def keyed(log: MemoryLog, keys: Sequence[str | None]) -> list[Event]:
    """Append an event for each of these keys."""
    return await log.append(CHANNEL, [Draft.of({"n": n}, key=key) for n, key in enumerate(keys, 1)])


async def test_turns_are_bounded_and_first_come_first_served(autojump_clock: MockClock) -> None:
    turns, order = replay([], replay_turns=2), list[int]()

    async def client(number: int, near: bool) -> None:
        async with turns.turn(near=near):
            order.append(number)
            await trio.sleep(1 + number / 100)

    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(client, number, False)
            await blocked()
        assert turns.taking_part == 6
        nursery.start_soon(client, 100, True)  # a moment's slowness does not wait for them
        await blocked()
        assert order == [0, 1, 100]
    assert order[3:] == [2, 3, 4, 5]
    assert turns.taking_part == 0


async def test_a_page_is_made_once_for_all_who_stand_at_the_same_place(autojump_clock: MockClock) -> None:
    held: list[int] = []
    pages, made = replay(held), 0
    found: list[Reading] = []

    async def make() -> Reading:
        nonlocal made
        made += 1
        await trio.sleep(1)
        return page()

    async def client() -> None:
        async with pages.turn(near=False):
            found.append(await pages.page("here", make))

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(client)
    assert made == 1
    assert all(one is found[0] for one in found)
    assert (sum(held), max(held)) == (0, 10)


async def test_pages_are_bounded_and_not_shared_for_long(autojump_clock: MockClock) -> None:
    held: list[int] = []
    pages, made = replay(held, replay_bytes=25), list[str]()

    async def ask(place: str) -> None:
        async def make() -> Reading:
            made.append(place)
            return page()

        await pages.page(place, make)

    async with pages.turn(near=False):
        for place in ("a", "b", "a", "c", "b", "a"):  # the third pushes the first out
            await ask(place)
        assert made == ["a", "b", "c", "a"]
        assert sum(held) == 20
        await trio.sleep(6)
        await ask("a")
        assert made[4:] == ["a"]
    assert sum(held) == 0


async def test_a_page_that_was_read_without_a_turn_is_not_kept() -> None:
    held: list[int] = []

    async def make() -> Reading:
        return page()

    assert (await replay(held).page("here", make)).batch == b"x" * 10
    assert sum(held) == 0


async def test_who_waits_for_a_page_that_fails_makes_it(autojump_clock: MockClock) -> None:
    pages, tries = replay([]), 0
    found: list[object] = []

    async def make() -> Reading:
        nonlocal tries
        tries += 1
        await trio.sleep(1)
        if tries == 1:
            raise LogBusy("locked")
        return page()

    async def client() -> None:
        async with pages.turn(near=False):
            try:
                found.append((await pages.page("here", make)).batch)
            except LogBusy:
                found.append("busy")

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(client)
    assert (tries, found) == (2, ["busy", b"x" * 10, b"x" * 10])


async def test_a_herd_reads_each_page_of_the_log_once() -> None:
    log = CountingLog()
    async with running(log, Limits(window_events=4, page_events=10)) as hub:
        await publish(log, 100)
        herd = [await Client(hub, Sink()).follow(START) for _ in range(20)]
        async with hub.replay.turn(near=False):
            for client in herd:
                await client.read_on()
        assert all(client.live and client.seen == list(range(1, 101)) for client in herd)
        assert log.reads == 10


async def test_latest_sends_the_newest_of_each_key_and_all_without_one() -> None:
    log = MemoryLog(epoch="e")
    async with running(log, Limits(window_events=4, page_events=3)) as hub:
        await keyed(log, ["a", "b", "a", None, "b", "a", "c", None])
        client = await Client(hub, Sink(), policy=policies.latest(events=3)).follow(START)
        (gap,) = await client.read_on()
        # pages of three are read until more than three events are worth sending
        assert client.seen == [4, 5, 6, 7, 8]
        assert (gap.after, gap.to, gap.missed, gap.reason) == (Cursor("e", 0), Cursor("e", 8), 3, "conflated")
        assert client.live


async def test_latest_leaves_a_client_alone_that_is_not_far_behind() -> None:
    log = MemoryLog()
    async with running(log) as hub:
        await keyed(log, ["a"] * 5)
        client = await Client(hub, Sink(), policy=policies.latest(events=5)).follow(START)
        assert await client.read_on() == []
        assert client.seen == [1, 2, 3, 4, 5]


async def test_latest_says_nothing_where_nothing_is_left_out() -> None:
    log = MemoryLog()
    async with running(log) as hub:
        await keyed(log, ["a", "b", "c", None])
        client = await Client(hub, Sink(), policy=policies.latest(events=1)).follow(START)
        assert await client.read_on() == []
        assert client.seen == [1, 2, 3, 4]


async def test_latest_names_what_retention_took_before_what_it_leaves_out_itself() -> None:
    log = MemoryLog(Limits(keep_events=4), epoch="e")
    async with running(log) as hub:
        await keyed(log, ["a"] * 10)
        await blocked()  # or the window takes them from the tail, and has what the log has dropped
        client = await Client(hub, Sink(), policy=policies.latest(events=1)).follow(Cursor("e", 2))
        gaps = await client.read_on()
        assert [(gap.after.offset, gap.to.offset, gap.missed, gap.reason) for gap in gaps] == [
            (2, 6, 4, "expired"),
            (6, 10, 3, "conflated"),
        ]
        assert client.seen == [10]
        assert client.live


async def test_latest_counts_from_the_oldest_that_is_kept_where_that_was_asked_for() -> None:
    log = MemoryLog(Limits(keep_events=4), epoch="e")
    async with running(log) as hub:
        await keyed(log, ["a"] * 10)
        await blocked()
        client = await Client(hub, Sink(), policy=policies.latest(events=1)).follow(START)
        (gap,) = await client.read_on()
        assert (gap.after, gap.to, gap.missed) == (Cursor("e", 6), Cursor("e", 10), 3)


async def test_latest_gets_on_though_retention_passes_it_each_time() -> None:
    log = MemoryLog(Limits(keep_events=4), epoch="e")
    async with running(log, Limits(window_events=1, page_events=2)) as hub:
        client = await Client(hub, Sink(), policy=policies.latest(events=1)).follow(START)
        for n in range(5):
            await keyed(log, ["a"] * 10)
            await blocked()
            reading = await hub.read(client.follower)
            assert reading.batch is not None
            assert [gap.reason for gap in reading.gaps] == ["expired", "conflated"][n == 0 :]
            client.follower.advance(Cursor("e", 10 * n + 2))


async def test_a_herd_is_conflated_once() -> None:
    log = CountingLog()
    async with running(log, Limits(window_events=1, page_events=10)) as hub:
        await keyed(log, ["a", "b"] * 50)
        herd = [await Client(hub, Sink(), policy=policies.latest(events=10)).follow(START) for _ in range(20)]
        async with hub.replay.turn(near=False):
            for client in herd:
                assert [gap.missed for gap in await client.read_on()] == [98]
        assert all(client.live and client.seen == [99, 100] for client in herd)
        assert log.reads == 10


async def test_a_conflated_page_is_shared_though_events_go_on_coming() -> None:
    log = CountingLog()
    async with running(log, Limits(window_events=1, page_events=10)) as hub:
        await keyed(log, ["a", "b"] * 50)
        herd = [await Client(hub, Sink(), policy=policies.latest(events=10)).follow(START) for _ in range(8)]
        async with hub.replay.turn(near=False):
            for n, client in enumerate(herd):
                await client.read_on()
                assert client.live
                assert client.seen[:2] == [99, 100]
                assert client.seen[2:] == list(range(101, 101 + n))
                await keyed(log, ["a"])
                await blocked()
        assert all(client.seen == [99, 100, *range(101, 109)] for client in herd)
        assert log.reads < 40


async def test_a_policy_that_always_skips_is_not_told_of_gaps_where_nothing_was_skipped() -> None:
    log = MemoryLog(epoch="e")
    async with running(log) as hub:
        await live(hub)
        await publish(log, 50)
        await blocked()
        client = await Client(hub, Sink(), policy=lambda lag: Step.SKIP).follow(Cursor("e", 50))
        assert await client.read_on() == []
        assert client.live
        late = await Client(hub, Sink(), policy=lambda lag: Step.SKIP).follow(Cursor("e", 70))
        assert [gap.reason for gap in await late.read_on()] == ["future"]
        assert late.live


async def test_skip_jumps_to_where_the_live_are() -> None:
    log = MemoryLog(epoch="e")
    async with running(log) as hub:
        await publish(log, 50)
        client = await Client(hub, Sink(), policy=policies.skip(events=20)).follow(Cursor("", 10))
        (gap,) = await client.read_on()
        assert (gap.after, gap.to, gap.missed, gap.reason) == (Cursor("e", 10), Cursor("e", 50), 40, "skipped")
        assert client.live
        await publish(log, 1)
        await blocked()
        assert client.seen == [51]
        assert client.steps == [Step.SKIP]


async def test_a_cursor_of_another_life_gets_its_gap_before_the_policys() -> None:
    log = MemoryLog(epoch="e")
    async with running(log, Limits(page_events=10)) as hub:
        await publish(log, 50)
        client = await Client(hub, Sink(), policy=policies.skip(events=20)).follow(Cursor("old", 45))
        assert [gap.reason for gap in await client.read_on()] == ["epoch", "skipped"]
        assert client.live


@pytest.mark.parametrize("allow", [None, lambda event: True], ids=["all", "filtered"])
async def test_pages_of_two_codecs_are_not_mixed_up(allow: Callable[[Event], bool] | None) -> None:
    log = MemoryLog()
    async with running(log, Limits(window_events=1)) as hub:
        await publish(log, 5)
        async with hub.replay.turn(near=False):
            for codec in (WEBSOCKET, SSE, WEBSOCKET, SSE):
                client = await Client(hub, Sink(), codec).follow(START, allow=allow)
                await client.read_on()
                assert client.sink.taken.startswith(b"id: ") == (codec is SSE)


@pytest.mark.parametrize("windows_bytes", [1, 2_000])
async def test_windows_are_emptied_past_their_bound_and_nothing_is_lost(windows_bytes: int) -> None:
    log = MemoryLog()
    async with running(log, Limits(windows_bytes=windows_bytes)) as hub:
        clients = [await Client(hub, Sink()).follow(channel=f"channel {n}") for n in range(10)]
        for client in clients:
            await client.read_on()
        for n in range(10):
            await publish(log, 3, channel=f"channel {n}", size=50)
            await blocked()
            assert hub.statistics().window_bytes <= windows_bytes + 3_000
        for client in clients:
            await client.read_on()
            assert client.seen == [1, 2, 3]


async def test_a_window_stays_within_its_bound_though_it_is_read_by_another_codec_and_nothing_comes_any_more() -> None:
    log = MemoryLog()
    async with running(log, Limits(windows_bytes=5_000)) as hub:
        await hub.windows.open(CHANNEL)
        await publish(log, 10, size=200)
        await blocked()
        for codec in (WEBSOCKET, SSE):
            client = await Client(hub, Sink(), codec).follow(START)
            await client.read_on()
            assert hub.statistics().window_bytes <= 5_000


async def test_windows_alone_never_keep_newcomers_out() -> None:
    log = MemoryLog()
    budget = Budget(100_000)  # limits.windows_bytes is far more
    hub = Hub(log, Limits(), budget)
    async with log.open(), trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        for n in range(50):
            await hub.windows.open(f"channel {n}")
            await publish(log, channel=f"channel {n}", size=3_000)
            await blocked()
            assert not budget.near
        nursery.cancel_scope.cancel()
    assert budget.held == 0


async def test_a_window_that_could_not_be_opened_gives_back_what_it_had_from_the_tail() -> None:
    log = CountingLog()
    log.hold = trio.Event()
    async with running(log) as hub:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hub.windows.open, CHANNEL)
            await blocked()
            await publish(log, 3, size=1_000)
            await blocked()
            assert hub.statistics().window_bytes > 3_000
            nursery.cancel_scope.cancel()
        assert hub.statistics() == HubStatistics(0, 0, 0, 0, 0)


async def test_a_window_that_nobody_follows_is_emptied_before_one_with_followers() -> None:
    log = MemoryLog()
    async with running(log, Limits(windows_bytes=9_000)) as hub:
        (follower,) = await live(hub)
        await publish(log, 3, size=200)
        await blocked()
        await hub.windows.open("idle")
        await publish(log, 30, channel="idle", size=200)
        await blocked()
        await publish(log, 6, size=200)
        await blocked()
        assert (await hub.windows.open("idle")).window.first == 31
        assert follower.follower.window.first == 1


async def test_an_app_that_is_slow_to_give_states_holds_up_who_wants_one_and_nobody_else(
    autojump_clock: MockClock,
) -> None:
    log = CountingLog()

    async def slow(channel: str) -> tuple[str, str]:
        await trio.sleep(5)
        return "a state", "0"

    async with running(log, Limits(window_events=4, page_events=10)) as hub:
        await publish(log, 20)
        source = StateFunction(slow, None, is_personal=False)
        async with trio.open_nursery() as nursery:
            for channel in ("a", "b", "c"):  # more than pages are made at once
                nursery.start_soon(hub.pages, [Subscription(channel, snapshot=source)])
            await blocked()
            begun = trio.current_time()
            client = await Client(hub, Sink()).follow(START)
            await client.read_on()
            assert (client.seen, trio.current_time() - begun) == ([*range(1, 21)], 0)


async def test_who_waits_for_a_state_takes_no_turn_of_those_who_want_none(autojump_clock: MockClock) -> None:
    turns, order = replay([], replay_turns=2), list[str]()

    async def client(name: str, near: bool, wants_state: bool) -> None:
        async with turns.turn(near=near, wants_state=wants_state):
            order.append(name)
            await trio.sleep(10)

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(client, f"state {number}", True, True)
            await blocked()
        for near in (True, False):
            nursery.start_soon(client, f"near {near}", near, False)
            await blocked()
        assert order == ["state 0", "state 1", "near True", "near False"]
    assert order[4:] == ["state 2"]
