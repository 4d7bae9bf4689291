"""The writer: from behind to live, channel by channel, and never past a round that is being written."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from quart import g, has_request_context
from trio.testing import MockClock

from tests.hub.doubles import CHANNEL, Client, Sink, offsets, publish, running
from tests.peer import Peer, peer
from tests.server.wire import Wire, get
from tests.shop import ORDER, make_shop
from triolet import Connection, Cursor, Limits, policies
from triolet.bounds import WRITES_BETWEEN_CHECKPOINTS
from triolet.budget import Budget
from triolet.closing import SLOW
from triolet.connection import Context
from triolet.connection.writer import write, write_head
from triolet.hub import Follower, Hub, State, Subscription
from triolet.log import MemoryLog
from triolet.sockets.direct_outlet import DirectOutlet
from triolet.testing.network import ClientEnd, link_pair
from triolet.testing.server import serve
from triolet.wire.codec import WEBSOCKET


def context(hub: Hub, limits: Limits | None = None) -> Context:
    return Context(hub, limits or Limits(), Budget(1 << 30), trio.Event(), random.Random(0), lambda: 0.0)


@asynccontextmanager
async def writing(hub: Hub, limits: Limits | None = None) -> AsyncIterator[tuple[Connection, ClientEnd]]:
    """A connection of which nothing but the writer runs."""
    client, link = link_pair()
    conn = Connection(context(hub, limits), DirectOutlet(link, Budget(1 << 30)), WEBSOCKET)
    async with trio.open_nursery() as nursery:
        conn.begin(nursery, partial(nursery.start_soon, write, conn))
        yield conn, client
        nursery.cancel_scope.cancel()
    conn.detach()


def state(conn: Connection, channel: str) -> State:
    return conn.followers[channel].state


async def test_one_that_read_past_the_round_being_written_becomes_live_with_the_next() -> None:
    log = MemoryLog()
    async with running(log) as hub, writing(hub) as (conn, _), trio.open_nursery() as nursery:
        crowd = [await Client(hub, Sink()).follow() for _ in range(2 * WRITES_BETWEEN_CHECKPOINTS + 1)]
        for one in crowd:
            await one.read_on()
        await conn.subscriptions.add(Subscription("other"))
        await trio.testing.wait_all_tasks_blocked()
        assert state(conn, "other") is State.LIVE
        act = trio.Event()

        async def fall_behind() -> None:
            await act.wait()  # the round of the crowd is being written; that of "other" comes after it
            conn.followers["other"].fall_behind()

        nursery.start_soon(fall_behind)
        crowd[0].sink.on_write = act.set
        await publish(log, channel=CHANNEL)
        await publish(log, channel="other")
        await trio.testing.wait_all_tasks_blocked()
        assert state(conn, "other") is State.LIVE
        assert hub.statistics().live == len(crowd) + 1


async def test_channels_that_are_behind_take_turns() -> None:
    log = MemoryLog(epoch="e")
    async with running(log, Limits(page_events=2)) as hub, writing(hub) as (conn, client):
        assert conn.outlet.write(b"x" * 100_000)  # nothing more is written before this is read
        for channel in ("one", "two"):
            await publish(log, 6, channel=channel)
            await conn.subscriptions.add(Subscription(channel, Cursor("e", 0)))
        peer = Peer(client)
        await peer._read(100_000)
        channels = [(await peer.until("event"))["channel"] for _ in range(12)]
        assert channels == ["one", "one", "two", "two"] * 3


async def test_two_channels_of_one_slow_client_never_write_into_each_other(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, peer(server, "/live", kernel_bytes=1_500) as client:
        for order in ("A1", "A2"):
            await client.say(type="follow", url=f"/orders/{order}/events")
            await client.until("live")
        for n in range(10):
            await live.publish("orders/A1", [n, "x" * 1_000])
            await live.publish("orders/A2", [n, "small"])
            await trio.sleep(0.1)
        heard = [await client.until("event") for _ in range(20)]
        for order in ("A1", "A2"):
            numbers = [message["data"][0] for message in heard if message["channel"] == f"orders/{order}"]
            assert numbers == list(range(10))


async def test_a_handler_and_its_channels_share_a_slow_client_whole_frame_by_whole_frame(
    autojump_clock: MockClock,
) -> None:
    app, live = make_shop()

    @live.socket("/busy")
    async def busy(conn: Connection) -> None:
        await conn.follow("news", after=0)
        async with trio.open_nursery() as nursery:
            for word in ("one", "two"):
                nursery.start_soon(repeat, conn, word)

    async def repeat(conn: Connection, word: str) -> None:
        for n in range(50):
            await conn.send([word, n, "x" * 200])

    async with serve(app) as server:
        await live.publish_many("news", ["x" * 300] * 30)
        async with peer(server, "/busy", kernel_bytes=1_000) as client:
            heard: list[Any] = []
            while len(heard) < 130:
                message = await client.message()
                if message["type"] in ("message", "event"):
                    heard.append(message)
        said = [message["data"] for message in heard if message["type"] == "message"]
        for word in ("one", "two"):
            assert [n for spoken, n, _ in said if spoken == word] == list(range(50))
        events = [int(message["id"].rpartition(".")[2]) for message in heard if message["type"] == "event"]
        assert events == list(range(1, 31))


async def test_a_head_waits_for_what_was_written_before_it(autojump_clock: MockClock) -> None:
    client, link = link_pair(kernel_bytes=10)
    async with running(MemoryLog()) as hub, trio.open_nursery() as nursery:
        conn = Connection(context(hub), DirectOutlet(link, Budget(1 << 30)), WEBSOCKET)
        await conn.subscriptions.add(Subscription(CHANNEL))
        assert conn.outlet.write(b"a ticket of TLS's")
        nursery.start_soon(write_head, conn, b"HEAD")
        await trio.sleep(5)
        heard = b""
        while len(heard) < 18:
            heard += await client.receive_some()
        assert heard.startswith(b"a ticket of TLS'sH")
        conn.detach()
        nursery.cancel_scope.cancel()


async def test_a_head_is_not_written_to_a_client_that_takes_nothing(autojump_clock: MockClock) -> None:
    _, link = link_pair(kernel_bytes=10)
    async with running(MemoryLog()) as hub:
        conn = Connection(context(hub), DirectOutlet(link, Budget(1 << 30)), WEBSOCKET)
        assert conn.outlet.write(b"a ticket of TLS's")
        await write_head(conn, b"HEAD")
        assert (conn.closing, trio.current_time()) == (SLOW, 10)
        conn.detach()


async def test_a_page_from_the_window_is_written_as_one_batch() -> None:
    log = MemoryLog(epoch="e")
    async with running(log) as hub, writing(hub) as (conn, client):
        await conn.subscriptions.add(Subscription(CHANNEL))
        await trio.testing.wait_all_tasks_blocked()
        await client.receive_some()
        await publish(log, 5)
        await trio.testing.wait_all_tasks_blocked()
        assert offsets(await client.receive_some()) == [1, 2, 3, 4, 5]


async def everything(client: ClientEnd) -> bytes:
    """What a client can read until nothing more comes."""
    found = b""
    with trio.move_on_after(1):
        while True:
            found += await client.receive_some(1 << 20)
    return found


async def test_each_time_that_publishers_wait_for_it_the_client_is_told(autojump_clock: MockClock) -> None:
    log = MemoryLog()
    limits = Limits(stall_seconds=100)
    async with running(log) as hub, writing(hub, limits) as (conn, client):
        await conn.subscriptions.add(Subscription(CHANNEL, policy=policies.block(events=2, seconds=50)))
        await everything(client)
        for _ in range(2):
            await publish(log, size=1 << 20)
            await trio.testing.wait_all_tasks_blocked()
            await publish(log, 3)
            await trio.sleep(2)
            assert state(conn, CHANNEL) is State.BEHIND
            told = await everything(client)
            assert told.count(b'"type":"lag"') == 1
            assert state(conn, CHANNEL) is State.LIVE


async def test_a_handler_that_sends_on_and_on_keeps_no_events_from_its_client(autojump_clock: MockClock) -> None:
    app, live = make_shop()

    @live.socket("/talkative")
    async def talkative(conn: Connection) -> None:
        await conn.follow("tasks")
        while True:
            await conn.send({"fill": "x" * 3_000})

    async with serve(app) as server, peer(server, "/talkative", kernel_bytes=4 << 10) as client:
        for _ in range(50):
            await client.until("message")
        await live.publish("tasks", {"n": 1})
        kinds = [(await client.message())["type"] for _ in range(100)]
        assert kinds.count("event") == 1
        assert kinds.count("message") > 85


async def test_a_policy_that_raises_ends_its_own_connection_and_no_publisher(autojump_clock: MockClock) -> None:
    def broken(lag: policies.Lag) -> policies.Step:
        if lag.events > 2:
            raise ZeroDivisionError
        return policies.Step.CATCH_UP

    broken.blocks = True  # type: ignore[attr-defined]  # as a policy of one's own says it
    app, live = make_shop(Limits(stall_seconds=100), policy=broken)
    async with serve(app) as server, peer(server, "/orders/1/events", kernel_bytes=4 << 10) as client:
        await client.until("live")
        for _ in range(10):
            await live.publish("orders/1", {"fill": "x" * 3_000})
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(2)
        assert server.followers == 0


async def test_a_client_that_takes_a_head_in_pieces_gets_all_of_it(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server, peer(server, "/live", kernel_bytes=64) as client:
        assert (await client.message())["type"] == "open"
        assert trio.current_time() < 1


async def test_a_writer_that_another_request_starts_does_not_run_in_its_context(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, live = make_shop()
    conns: list[Connection] = []
    within: list[bool] = []

    @live.socket("/listen")
    async def listen(conn: Connection) -> None:
        conns.append(conn)
        await conn.follow(ORDER, policy=policies.latest(events=1))
        await trio.sleep_forever()

    @app.get("/tell")
    async def tell() -> str:
        g.secret = "of this request"
        await conns.pop().send("x" * 30_000)
        return "told"

    judge = Follower.judge

    def noted(follower: Follower) -> Any:
        within.append(has_request_context())
        return judge(follower)

    async with serve(app) as server, peer(server, "/listen", kernel_bytes=1_000):
        await trio.sleep(1)
        monkeypatch.setattr(Follower, "judge", noted)
        assert (await Wire(server.connect()).ask(get("/tell"))).body == b"told"
        for n in range(9):
            await live.publish(ORDER, n)
            await trio.sleep(1)
    assert within
    assert not any(within)
