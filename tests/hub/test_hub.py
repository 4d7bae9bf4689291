"""Rounds: what the pump writes, to whom, and what it never does."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from triolet import Cursor, Draft, Limits, LogBusy, policies
from triolet.bounds import WRITES_BETWEEN_CHECKPOINTS
from triolet.budget import Budget
from triolet.counters import Metrics
from triolet.hub import Hub, State, Step
from triolet.log import Kept, MemoryLog, Status
from triolet.wire.codec import SSE_CHUNKED, WEBSOCKET, WEBSOCKET_TEXT

from .doubles import CHANNEL, Client, HandTailLog, Sink, blocked, live, publish, running


async def test_a_live_client_is_sent_what_happens() -> None:
    log = MemoryLog()
    async with running(log) as hub:
        (client,) = await live(hub)
        await publish(log, 3)
        await blocked()
        assert client.seen == [1, 2, 3]
        assert client.follower.position.offset == 3


async def test_many_at_one_place_are_given_the_same_object() -> None:
    log = MemoryLog()
    async with running(log) as hub:
        clients = await live(hub, 5)
        await publish(log, 2)
        await blocked()
        assert len({id(client.sink.batches[-1]) for client in clients}) == 1


async def test_many_behind_at_one_place_are_given_the_same_object_too() -> None:
    log = MemoryLog(epoch="e")
    async with running(log) as hub:
        await live(hub)
        await publish(log, 5)
        await blocked()
        late = [await Client(hub, Sink()).follow(Cursor("e", 2)) for _ in range(3)]
        for client in late:
            await client.read_on()
        assert [client.seen for client in late] == [[3, 4, 5]] * 3
        assert len({id(client.sink.batches[0]) for client in late}) == 1


async def test_what_comes_during_a_round_goes_out_together_in_the_next() -> None:
    log = MemoryLog()
    async with running(log) as hub:
        (client,) = await live(hub)
        for _ in range(5):  # MemoryLog gives way only at every 64th append
            await publish(log)
        await blocked()
        assert client.seen == [1, 2, 3, 4, 5]
        assert len(client.sink.batches) < 5


async def test_each_codec_has_a_round_of_its_own() -> None:
    log = MemoryLog()
    async with running(log) as hub:
        clients = [await Client(hub, Sink(), codec).follow() for codec in (WEBSOCKET, SSE_CHUNKED)]
        for client in clients:
            await client.read_on()
        await publish(log)
        await blocked()
        assert clients[0].seen == [1]
        assert clients[1].sink.taken.endswith(b"\n\n\r\n")
        assert b"id: " in clients[1].sink.taken


async def test_a_channel_nobody_follows_costs_nothing() -> None:
    log = MemoryLog()
    async with running(log) as hub:
        (client,) = await live(hub)
        await publish(log, 3, channel="other")
        await blocked()
        assert client.sink.batches == []
        assert hub.statistics().windows == 1


async def test_a_short_write_leaves_the_rest_to_the_writer() -> None:
    log = MemoryLog()
    async with running(log) as hub:
        (slow,), (quick,) = await live(hub), await live(hub)
        slow.sink.room = 10
        await publish(log)
        await publish(log)
        await blocked()
        assert quick.seen == [1, 2]
        assert slow.follower.state is State.BEHIND
        assert slow.woken == 1
        assert len(slow.sink.taken) == 10
        slow.sink.drain()
        await slow.read_on()
        assert slow.live
        assert slow.seen == [1, 2]


async def test_a_full_kernel_takes_nothing_and_misses_nothing() -> None:
    log = MemoryLog()
    async with running(log) as hub:
        (slow,) = await live(hub)
        slow.sink.room = 0
        for _ in range(3):
            await publish(log)
            await blocked()
        slow.sink.drain()
        await slow.read_on()
        await publish(log)
        await blocked()
        assert slow.seen == [1, 2, 3, 4]


async def test_a_broken_outlet_is_told_so_and_left_behind() -> None:
    log = MemoryLog()
    async with running(log) as hub:
        (gone,), (here,) = await live(hub), await live(hub)
        gone.sink.gone = True
        await publish(log, 2)
        await blocked()
        assert gone.follower.state is State.BEHIND
        assert here.seen == [1, 2]


async def test_who_leaves_is_written_to_no_more() -> None:
    log = MemoryLog()
    async with running(log) as hub:
        clients = await live(hub, 4)
        hub.leave(clients[1].follower)
        hub.leave(clients[1].follower)
        await publish(log)
        await blocked()
        assert [client.seen for client in clients] == [[1], [], [1], [1]]
        assert hub.statistics().followers == 3


MANY = 2 * WRITES_BETWEEN_CHECKPOINTS + 10
FAR = MANY - 5
"""One that the round reaches after its checkpoint."""


async def in_the_middle_of_a_round(hub: Hub, log: MemoryLog, clients: list[Client], act: trio.Event) -> None:
    """Publish, and set ``act`` when the first of two or more parts of the round is written."""
    clients[0].sink.on_write = act.set
    await publish(log)


async def test_one_that_leaves_in_the_middle_of_a_round_moves_nobody_out_of_it() -> None:
    log = MemoryLog()
    async with running(log) as hub, trio.open_nursery() as nursery:
        clients = await live(hub, MANY)
        act = trio.Event()

        async def leave() -> None:
            await act.wait()
            assert clients[FAR].seen == []
            for at in (3, FAR):
                hub.leave(clients[at].follower)

        nursery.start_soon(leave)
        await in_the_middle_of_a_round(hub, log, clients, act)
        await blocked()
        assert [client.seen for client in clients] == [[1] if at != FAR else [] for at in range(MANY)]
        assert hub.statistics().delivered == MANY - 1


async def test_one_that_falls_behind_and_comes_back_in_the_middle_of_a_round_gets_each_event_once() -> None:
    log = MemoryLog()
    async with running(log) as hub, trio.open_nursery() as nursery:
        clients = await live(hub, MANY)
        act = trio.Event()

        async def away_and_back() -> None:
            await act.wait()
            for at in (3, FAR):
                clients[at].follower.fall_behind()
                await clients[at].read_on()
                assert clients[at].live

        nursery.start_soon(away_and_back)
        await in_the_middle_of_a_round(hub, log, clients, act)
        await blocked()
        await publish(log)
        await blocked()
        assert all(client.seen == [1, 2] for client in clients)


async def test_one_that_arrives_in_the_middle_of_a_round_gets_each_event_once() -> None:
    log = MemoryLog(epoch="e")
    async with running(log) as hub, trio.open_nursery() as nursery:
        clients = await live(hub, MANY)
        act = trio.Event()
        late: list[Client] = []

        async def arrive() -> None:
            await act.wait()
            for after in (Cursor("e", 0), None):
                late.append(await Client(hub, Sink()).follow(after))
                await late[-1].read_on()

        nursery.start_soon(arrive)
        await in_the_middle_of_a_round(hub, log, clients, act)
        await blocked()
        await publish(log)
        await blocked()
        assert all(client.seen == [1, 2] for client in clients)
        assert [client.seen for client in late] == [[1, 2], [2]]


async def test_one_that_read_past_the_round_being_written_waits_for_the_next() -> None:
    log = MemoryLog(epoch="e")
    async with running(log) as hub, trio.open_nursery() as nursery:
        clients = await live(hub, MANY)
        other = await Client(hub, Sink()).follow(channel="other")
        await other.read_on()
        act = trio.Event()

        async def read_ahead() -> None:
            await act.wait()  # the round of "orders" is being written; that of "other" comes after it
            other.follower.fall_behind()
            await other.read_on()
            assert (other.seen, other.live) == ([1], False)

        nursery.start_soon(read_ahead)
        clients[0].sink.on_write = act.set
        await log.append(CHANNEL, [Draft.of(1)])
        await log.append("other", [Draft.of(1)])
        await blocked()
        assert other.woken == 2
        await other.read_on()
        assert (other.seen, other.live) == ([1], True)


async def test_a_round_lets_others_run_at_least_every_256_writes() -> None:
    log = MemoryLog()
    async with running(log) as hub:
        clients = await live(hub, 4 * WRITES_BETWEEN_CHECKPOINTS)
        delivered = [0]

        class Steps(trio.abc.Instrument):
            def after_task_step(self, task: trio.lowlevel.Task) -> None:
                delivered.append(hub.statistics().delivered)

        trio.lowlevel.add_instrument(steps := Steps())
        await publish(log)
        await blocked()
        trio.lowlevel.remove_instrument(steps)
        assert max(after - before for before, after in pairwise(delivered)) == WRITES_BETWEEN_CHECKPOINTS
        assert delivered[-1] == len(clients)


async def test_a_hole_in_the_tail_sends_the_live_to_the_log() -> None:
    log = HandTailLog()
    async with running(log) as hub:
        (client,) = await live(hub)
        events = await publish(log, 5)
        await log.tell(events[0])
        await log.tell(*events[3:])
        assert client.seen == [1]
        assert client.follower.state is State.BEHIND
        assert await client.read_on() == []
        assert client.live
        assert client.seen == [1, 2, 3, 4, 5]


async def test_an_overrun_tail_sends_everybody_to_the_log_who_may_have_missed_something() -> None:
    log = HandTailLog()
    async with running(log) as hub:
        (quiet,) = await live(hub)
        busy = await Client(hub, Sink()).follow(channel="busy")
        await busy.read_on()
        await publish(log, 2)
        await log.tell()  # those two were lost, and nothing else comes in that channel
        assert quiet.follower.state is State.BEHIND
        assert busy.live
        await quiet.read_on()
        assert quiet.live
        assert quiet.seen == [1, 2]


async def test_an_overrun_with_a_log_that_fails_is_settled_when_it_is_back(autojump_clock: MockClock) -> None:
    class Failing(HandTailLog):
        fails = 0

        async def status(self, channel: str) -> Status:
            if self.fails:
                self.fails -= 1
                raise LogBusy("locked")
            return await super().status(channel)

    log = Failing()
    async with running(log) as hub:
        (client,) = await live(hub)
        await publish(log, 2)
        log.fails = 3
        await log.tell()
        assert client.live
        await trio.sleep(5)
        await client.read_on()
        assert client.seen == [1, 2]


async def test_a_quiet_channel_misses_nothing_while_another_floods_the_tail() -> None:
    log = MemoryLog()
    async with running(log) as hub, trio.open_nursery() as nursery:
        (quiet,) = await live(hub)
        crowd = [await Client(hub, Sink()).follow(channel="busy") for _ in range(2 * WRITES_BETWEEN_CHECKPOINTS)]
        for one in crowd:
            await one.read_on()
        flood = trio.Event()

        async def publish_meanwhile() -> None:
            await flood.wait()  # in the middle of the crowd's round
            await publish(log, 1)
            for _ in range(80):
                await publish(log, 250, channel="busy")

        crowd[0].sink.on_write = flood.set
        nursery.start_soon(publish_meanwhile)
        await blocked()
        await publish(log, 1, channel="busy")
        await blocked()
        await quiet.read_on()
        assert quiet.seen == [1]


async def test_what_the_tail_says_twice_is_written_once() -> None:
    log = HandTailLog()
    async with running(log) as hub:
        (client,) = await live(hub)
        events = await publish(log, 2)
        await log.tell(*events)
        batches = len(client.sink.batches)
        await log.tell(*events)
        assert client.seen == [1, 2]
        assert len(client.sink.batches) == batches


@pytest.mark.parametrize("codec", [WEBSOCKET, WEBSOCKET_TEXT, SSE_CHUNKED])
async def test_one_that_came_after_an_event_that_still_waits_in_the_tail_is_not_written_to(codec: object) -> None:
    log = HandTailLog()
    async with running(log) as hub:
        events = await publish(log, 2)
        client = await Client(hub, Sink(), codec).follow()  # type: ignore[arg-type]  # parametrized
        await client.read_on()
        await log.tell(*events)
        assert client.live
        assert client.sink.batches == []


async def test_another_epoch_sends_the_live_to_the_log_which_tells_the_gap() -> None:
    log = HandTailLog()
    async with running(log) as hub:
        (client,) = await live(hub)
        await log.tell(*await publish(log, 2))
        log._epoch = "f"  # begun again: what this process still had is another life's
        log._channels.clear()
        await log.tell(*await publish(log, 2))
        (gap,) = await client.read_on()
        assert (gap.after, gap.to, gap.missed, gap.reason) == (Cursor("e", 2), Cursor("f", 0), None, "epoch")
        assert client.live
        assert client.seen == [1, 2, 1, 2]


async def test_a_publish_is_in_the_log_and_counted_before_anybody_is_written_to() -> None:
    log, metrics = MemoryLog(), Metrics()
    hub = Hub(log, Limits(), Budget(1 << 30), metrics)
    async with log.open(), trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        (client,) = await live(hub)
        events = await hub.publish(CHANNEL, [Draft.of(1), Draft.of(2)])
        assert ([event.offset for event in events], metrics.published) == ([1, 2], 2)
        assert client.seen == []
        assert (await log.head(CHANNEL)).offset == 2
        await blocked()
        assert client.seen == [1, 2]
        nursery.cancel_scope.cancel()


async def test_a_publish_waits_for_a_follower_that_holds_it_up_and_no_longer(autojump_clock: MockClock) -> None:
    log = MemoryLog()
    async with running(log) as hub, trio.open_nursery() as nursery:
        client = await Client(hub, Sink(0), policy=policies.block(events=1, seconds=60)).follow()
        await client.read_on()
        for _ in range(3):  # the first waits in its outlet, two are to be read
            await hub.publish(CHANNEL, [Draft.of(None)])
            await blocked()
        published: list[float] = []

        async def fourth() -> None:
            await hub.publish(CHANNEL, [Draft.of(None)])
            published.append(trio.current_time())

        nursery.start_soon(fourth)
        await trio.sleep(7)
        assert (published, client.steps) == ([], [Step.BLOCK])
        client.sink.drain()
        client.follower.advance(Cursor(client.follower.window.epoch, 3))
        await blocked()
        assert published == [7]


async def test_a_commit_is_counted_and_heard_of_as_a_publish_is() -> None:
    log, metrics = MemoryLog(), Metrics()
    hub = Hub(log, Limits(), Budget(1 << 30), metrics)
    async with log.open(), trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        (client,) = await live(hub)
        writes = [(CHANNEL, [Draft.of(1)]), ("other", [Draft.of(2)]), (CHANNEL, [Draft.of(3)])]
        assert isinstance(await hub.commit(b"k", b"me", b"", 60, writes), Kept)
        assert metrics.published == 0
        await log.claim(b"k", b"p", b"me", 5)
        stored = await hub.commit(b"k", b"me", b"", 60, writes)
        assert isinstance(stored, list)
        assert [[event.offset for event in events] for events in stored] == [[1], [1], [2]]
        assert metrics.published == 3
        await blocked()
        assert client.seen == [1, 2]
        nursery.cancel_scope.cancel()


async def test_a_commit_waits_for_room_in_each_of_its_channels(autojump_clock: MockClock) -> None:
    log = MemoryLog()
    async with running(log) as hub, trio.open_nursery() as nursery:
        client = await Client(hub, Sink(0), policy=policies.block(events=1, seconds=60)).follow()
        await client.read_on()
        for _ in range(3):
            await hub.publish(CHANNEL, [Draft.of(None)])
            await blocked()
        await log.claim(b"k", b"p", b"me", 100)
        committed: list[float] = []

        async def commit() -> None:
            await hub.commit(b"k", b"me", b"", 60, [("other", [Draft.of(1)]), (CHANNEL, [Draft.of(2)])])
            committed.append(trio.current_time())

        nursery.start_soon(commit)
        await trio.sleep(7)
        assert (committed, (await log.head("other")).offset) == ([], 0)
        client.sink.drain()
        client.follower.advance(Cursor(client.follower.window.epoch, 3))
        await blocked()
        assert committed == [7]


@pytest.mark.parametrize("goes", [True, False])
async def test_a_publish_goes_on_when_the_follower_that_holds_it_up_is_gone_or_live(
    goes: bool, autojump_clock: MockClock
) -> None:
    async with running(MemoryLog(), Limits(policy_seconds=10)) as hub, trio.open_nursery() as nursery:
        client = await Client(hub, Sink(0), policy=policies.block(events=1, seconds=60)).follow()
        await client.read_on()
        for _ in range(3):
            await hub.publish(CHANNEL, [Draft.of(None)])
            await blocked()
        published: list[float] = []

        async def fourth() -> None:
            await hub.publish(CHANNEL, [Draft.of(None)])
            published.append(trio.current_time())

        nursery.start_soon(fourth)
        await trio.sleep(3)
        assert published == []
        client.sink.drain()
        client.follower.position = client.follower.window.cursor
        if goes:
            hub.leave(client.follower)
        else:
            assert client.follower.go_live()
        await blocked()
        assert published == [3], "at once, and not when policies are looked at next"


class SlowToTell(MemoryLog):
    """What it says of a head is older than what its listeners have heard by then."""

    async def status(self, channel: str) -> Status:
        status = await super().status(channel)
        await self.append(channel, [Draft.of(None)])
        await blocked()
        return status


async def test_an_event_that_comes_while_the_log_is_asked_for_the_head_is_not_forgotten(
    autojump_clock: MockClock,
) -> None:
    log = SlowToTell(epoch="E")
    async with running(log) as hub:
        client = await Client(hub, Sink()).follow(Cursor("E", 0))
        await client.read_on()
        await blocked()
        assert client.seen == [1]
