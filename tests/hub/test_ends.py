"""Channels that end, or are deleted, in the pump's hands: whatever comes in one step of the tail."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from triolet import Cursor, Draft, Limits
from triolet.hub import Hub, State
from triolet.log import MemoryLog, Page

from .doubles import CHANNEL, Client, HandTailLog, Sink, blocked, running


class HeldLog(HandTailLog):
    """A log whose answers can be held up on their way."""

    hold: trio.Event | None = None

    async def read(self, channel: str, after: Cursor, *, limit: int, max_bytes: int) -> Page:
        page = await super().read(channel, after, limit=limit, max_bytes=max_bytes)
        if self.hold is not None:
            await self.hold.wait()
        return page


async def live(hub: Hub) -> Client:
    client = await Client(hub, Sink()).follow()
    await client.read_on()
    assert client.live
    return client


async def test_an_end_is_told_before_what_comes_after_the_deletion_behind_it(autojump_clock: MockClock) -> None:
    log = HandTailLog()
    async with running(log) as hub:
        client = await live(hub)
        events = [
            *await log.append(CHANNEL, [Draft.of(1)]),
            *await log.append(CHANNEL, [Draft.ending("over")]),
            await log.delete(CHANNEL),
            *await log.append(CHANNEL, [Draft.of("anew")]),
        ]
        await log.tell(*events)
        assert (client.finished, client.follower.state) == (1, State.ENDED)
        assert b'"over"' in client.sink.taken
        assert b"anew" not in client.sink.taken
        late = await Client(hub, Sink()).follow(Cursor("", 0))
        await late.read_on()
        assert (late.seen, late.live) == ([4], True)


async def test_what_was_deleted_in_the_step_in_which_it_came_is_given_to_nobody(autojump_clock: MockClock) -> None:
    log = HandTailLog()
    async with running(log) as hub:
        client = await live(hub)
        events = [*await log.append(CHANNEL, [Draft.of("secret")]), await log.delete(CHANNEL)]
        await log.tell(*events)
        assert client.finished == 0  # it fell behind, over a hole
        gaps = await client.read_on()
        assert [gap.reason for gap in gaps] == ["expired"]
        assert (client.finished, b"secret" in client.sink.taken) == (1, False)


async def test_an_end_that_the_tail_has_lost_is_found_in_the_log(autojump_clock: MockClock) -> None:
    log = HandTailLog()
    async with running(log) as hub:
        client = await live(hub)
        await log.append(CHANNEL, [Draft.ending(None)])
        await log.tell()
        assert not client.live
        await client.read_on()
        assert (client.finished, client.follower.state) == (1, State.ENDED)


async def test_one_that_is_behind_when_a_channel_ends_hears_all_and_then_the_end(autojump_clock: MockClock) -> None:
    log = MemoryLog(epoch="e")
    async with running(log, Limits(window_events=2, page_events=2)) as hub:
        client = await Client(hub, Sink()).follow(Cursor("", 0))
        await hub.publish(CHANNEL, [Draft.of(n) for n in range(5)])
        await hub.publish(CHANNEL, [Draft.ending(None)])
        await blocked()
        await client.read_on()
        assert (client.sink.taken.count(b'"type":"event"'), client.finished) == (5, 1)
        assert client.sink.batches[-1].count(b'"type":"end"') == 1
        assert hub.statistics().followers == 0


async def test_a_poll_that_stands_behind_a_deletion_is_told_of_no_end(autojump_clock: MockClock) -> None:
    log = HandTailLog()
    async with running(log) as hub:
        await live(hub)
        await log.tell(await log.delete(CHANNEL))
        (event,) = await log.append(CHANNEL, [Draft.of("anew")])  # of which the tail has not told yet
        page = await hub.page(CHANNEL, event.cursor)
        assert (page.ending, page.end) == (None, event.cursor)


async def test_a_poll_is_not_told_of_an_end_in_a_life_of_the_log_that_it_does_not_know(
    autojump_clock: MockClock,
) -> None:
    log = HandTailLog()
    async with running(log) as hub:
        (end,) = await log.append(CHANNEL, [Draft.ending(1)])
        assert (await hub.page(CHANNEL, end.cursor)).ending == end
        log._channels.clear()
        log._epoch = "f"  # it was put back, and the tail has not told of it yet
        await log.append(CHANNEL, [Draft.ending(2)])
        page = await hub.page(CHANNEL, end.cursor)
        assert (page.ending, page.end) == (None, end.cursor)


async def test_who_comes_after_a_deleted_channel_goes_on_is_not_told_that_it_is_over(autojump_clock: MockClock) -> None:
    """Also where the tail has not told of it yet: a client that is told so stays away for good."""
    log = HandTailLog()
    async with running(log) as hub:
        await live(hub)
        tombstone = await log.delete(CHANNEL)
        await log.tell(tombstone)
        (anew,) = await log.append(CHANNEL, [Draft.of("anew")])
        clients = [await Client(hub, Sink()).follow(after) for after in (None, tombstone.cursor, Cursor("", 0))]
        polled = await hub.page(CHANNEL, tombstone.cursor)
        for client in clients:
            await client.read_on()
            assert (client.finished, client.live) == (0, True)
        assert [client.seen for client in clients] == [[], [2], [2]]
        assert (polled.ending, polled.events) == (None, (anew,))
        await log.tell(anew)
        (last,) = await log.append(CHANNEL, [Draft.of("last")])
        await log.tell(last)
        assert [client.seen for client in clients] == [[3], [2, 3], [2, 3]]


@pytest.mark.parametrize("is_told", [True, False], ids=["", "which the tail has not told yet"])
async def test_a_page_that_says_that_it_is_over_is_given_to_nobody_when_the_channel_goes_on(
    is_told: bool, autojump_clock: MockClock
) -> None:
    log = HandTailLog()
    async with running(log) as hub, hub.replay.turn(near=False):  # somebody catches up, so pages are kept
        await live(hub)
        events = await log.append(CHANNEL, [Draft.of(1), Draft.of(2)])
        await log.tell(*events, await log.delete(CHANNEL))
        early = await Client(hub, Sink()).follow(Cursor("", 1))
        await early.read_on()
        assert early.finished == 1
        anew = await log.append(CHANNEL, [Draft.of("anew")])
        if is_told:
            await log.tell(*anew)
        late = await Client(hub, Sink()).follow(Cursor("", 1))
        await late.read_on()
        assert (late.finished, late.live, late.seen) == (0, True, [4])


async def test_what_is_deleted_while_a_page_of_it_is_read_is_given_to_nobody_who_comes_later(
    autojump_clock: MockClock,
) -> None:
    log, limits = HeldLog(), Limits(window_events=1)
    async with running(log, limits) as hub, hub.replay.turn(near=False), trio.open_nursery() as nursery:
        early, late = [await Client(hub, Sink()).follow(Cursor("", 0)) for _ in range(2)]
        await log.tell(*await log.append(CHANNEL, [Draft.of("secret")] * 3))
        log.hold = trio.Event()
        nursery.start_soon(early.read_on)
        await blocked()
        await log.tell(await log.delete(CHANNEL))
        log.hold.set()
        await blocked()
        await late.read_on()
        assert (late.finished, b"secret" in late.sink.taken) == (1, False)
