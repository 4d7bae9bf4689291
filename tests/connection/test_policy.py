"""Policies, from the publisher to the client's eyes: what a client that stays behind gets, and is told."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from quart_trio import QuartTrio
from trio.testing import MockClock

from tests.peer import peer
from tests.shop import make_shop
from triolet import Connection, Limits, Triolet, policies
from triolet.testing import slow_reader
from triolet.testing.server import MemoryServer, serve

SMALL = 4 << 10
FILL = "x" * 500
PRICES = "/prices"
TRANSPORTS = pytest.mark.parametrize("transport", ["websocket", "sse"])

Told = dict[str, Any]


def make_ticker(policy: policies.Policy, **limits: float) -> tuple[Any, Triolet]:
    app, live = make_shop(Limits(**limits))  # type: ignore[arg-type]  # counts are whole

    @live.channel(PRICES, policy=policy)
    async def prices() -> str:
        return "prices"

    return app, live


class Reader:
    """A client that reads when it is told to. ``next`` gives what it was told, in the words of the WebSocket."""

    def __init__(self, connection: Any, transport: str) -> None:
        self._connection = connection
        self._transport = transport
        self.stream = connection.stream

    async def next(self) -> Told:
        if self._transport == "websocket":
            message: Told = await self._connection.message()
            return message
        block = await self._connection.block()
        if block is None:
            raise EOFError
        kind = block.get("event", "")
        data = {} if "data" not in block else json.loads(block["data"])
        if kind.startswith("triolet."):
            return {"type": kind.removeprefix("triolet."), **data, "place": block.get("id")}
        return {"type": "event" if kind else "retry", "id": block.get("id"), "data": data}

    async def until(self, kind: str) -> list[Told]:
        """Everything up to the first message of a type, with it."""
        told = [await self.next()]
        while told[-1]["type"] != kind:
            told.append(await self.next())
        return told


@asynccontextmanager
async def opened(server: MemoryServer, transport: str, path: str) -> AsyncIterator[Reader]:
    """A client that has read nothing yet."""
    if transport == "sse":
        async with server.events(path, kernel_bytes=SMALL) as stream:
            yield Reader(stream, transport)
    else:
        async with peer(server, path, kernel_bytes=SMALL) as client:
            yield Reader(client, transport)


@asynccontextmanager
async def stopped(server: MemoryServer, transport: str, path: str = PRICES) -> AsyncIterator[Reader]:
    """A client that has become live, and reads no more until it is told to."""
    async with opened(server, transport, path) as client:
        await client.until("live")
        yield client


async def publish(live: Triolet, count: int, keys: int = 5) -> None:
    for n in range(1, count + 1):
        await live.publish("prices", {"n": n, "fill": FILL}, key=f"key {n % keys}")
        await trio.testing.wait_all_tasks_blocked()  # a round for each


def numbers(told: list[Told]) -> list[int]:
    return [one["data"]["n"] for one in told if one["type"] == "event"]


def kinds(told: list[Told]) -> list[str]:
    """The types, each run of events as one."""
    found: list[str] = []
    for one in told:
        if one["type"] != "beat" and (one["type"] != "event" or found[-1:] != ["event"]):
            found.append(one["type"])
    return found


@TRANSPORTS
async def test_latest_leaves_out_what_is_replaced_and_says_so_before(transport: str, autojump_clock: MockClock) -> None:
    app, live = make_ticker(policies.latest(events=20))
    async with serve(app) as server, stopped(server, transport) as client:
        await publish(live, 200)
        told = await client.until("live")
        assert kinds(told) == ["event", "gap", "event", "live"]
        (gap,) = [one for one in told if one["type"] == "gap"]
        seen = numbers(told)
        before, after = seen[:-5], seen[-5:]
        assert before == list(range(1, len(before) + 1))
        assert after == [196, 197, 198, 199, 200]
        assert (gap["reason"], gap["missed"]) == ("conflated", 200 - len(seen))
        assert gap["from"].endswith(f".{before[-1]}")
        assert gap["to"].endswith(".200")
        if transport == "sse":  # where a browser that is cut off right here would come back to
            assert gap["place"] == gap["from"]


@TRANSPORTS
async def test_skip_jumps_to_the_newest_and_names_what_it_left_out(transport: str, autojump_clock: MockClock) -> None:
    app, live = make_ticker(policies.skip(events=20))
    async with serve(app) as server, stopped(server, transport) as client:
        await publish(live, 200)
        told = await client.until("live")
        assert kinds(told) == ["event", "gap", "live"]
        last = numbers(told)[-1]
        gap = told[-2]
        assert (gap["reason"], gap["missed"]) == ("skipped", 200 - last)
        await publish(live, 1)
        assert (await client.next())["id"].endswith(".201")


@TRANSPORTS
async def test_disconnect_says_bye_to_who_is_too_many_events_behind(transport: str, autojump_clock: MockClock) -> None:
    app, live = make_ticker(policies.disconnect(events=50))
    async with serve(app) as server, stopped(server, transport) as client:
        await publish(live, 50)
        await trio.sleep(3)
        assert server.connections == 1
        await publish(live, 60)
        await trio.sleep(1.5)  # the policy is looked at each second
        bye = (await client.until("bye"))[-1]
        assert (bye["code"], bye["reason"]) == (4410, "too far behind")
        assert 1_000 <= bye["retry"] <= 5_000


@TRANSPORTS
async def test_disconnect_says_bye_to_who_is_behind_for_too_long(transport: str, autojump_clock: MockClock) -> None:
    app, live = make_ticker(policies.disconnect(seconds=4), stall_seconds=100, goodbye_seconds=1)
    async with serve(app) as server, stopped(server, transport):
        await publish(live, 50)
        await trio.sleep(3.9)
        assert server.followers == 1
        await trio.sleep(1.2)
        assert server.followers == 0
        await trio.sleep(1)
        assert server.connections == 0


@TRANSPORTS
async def test_who_was_away_is_not_disconnected_for_what_it_missed(transport: str, autojump_clock: MockClock) -> None:
    app, live = make_ticker(policies.disconnect(events=50))
    async with serve(app) as server:
        await publish(live, 400)
        async with opened(server, transport, f"{PRICES}?after=0") as client:
            await trio.sleep(5)
            told = await client.until("live")
            assert numbers(told) == list(range(1, 401))


@TRANSPORTS
async def test_block_holds_the_publisher_until_the_client_reads(transport: str, autojump_clock: MockClock) -> None:
    app, live = make_ticker(policies.block(events=20, seconds=30), stall_seconds=100)
    async with serve(app) as server, stopped(server, transport) as client, trio.open_nursery() as nursery:
        published = trio.Event()

        async def publisher() -> None:
            await publish(live, 200)
            published.set()

        nursery.start_soon(publisher)
        await trio.sleep(5)
        assert (await live.log.head("prices")).offset < 200
        start = trio.current_time()
        told: list[Told] = []
        while len(numbers(told)) < 200:
            told += await client.until("event")
        assert numbers(told) == list(range(1, 201))
        await published.wait()
        assert trio.current_time() == start  # it goes on with each page that the client has read
        lag = next(one for one in told if one["type"] == "lag")
        assert (lag["step"], lag["behind"] > 0) == ("block", True)


@TRANSPORTS
async def test_block_gives_the_client_up_when_the_publisher_has_waited_long_enough(
    transport: str, autojump_clock: MockClock
) -> None:
    app, live = make_ticker(policies.block(events=20, seconds=5), stall_seconds=100)
    async with serve(app) as server, stopped(server, transport):
        start = trio.current_time()
        await publish(live, 200)
        assert 5 <= trio.current_time() - start <= 6
        await trio.testing.wait_all_tasks_blocked()
        assert server.followers == 0
        await publish(live, 200)
        assert trio.current_time() - start <= 6


async def test_only_publishers_to_that_channel_wait(autojump_clock: MockClock) -> None:
    app, live = make_ticker(policies.block(events=20, seconds=5))
    async with serve(app) as server, stopped(server, "websocket"), trio.open_nursery() as nursery:
        nursery.start_soon(publish, live, 200)
        await trio.sleep(1)
        start = trio.current_time()
        await live.publish("orders/A123", 1)
        assert trio.current_time() == start
        nursery.cancel_scope.cancel()


async def test_a_publisher_that_waits_can_be_cancelled(autojump_clock: MockClock) -> None:
    app, live = make_ticker(policies.block(events=20, seconds=50), stall_seconds=100)
    async with serve(app) as server, stopped(server, "websocket"):
        with trio.move_on_after(2) as scope:
            await publish(live, 200)
        assert scope.cancelled_caught
        assert trio.current_time() < 3


@TRANSPORTS
@pytest.mark.parametrize(
    "policy",
    [
        policies.latest(events=5),
        policies.skip(events=5),
        policies.block(events=5, seconds=60),
        policies.disconnect(seconds=60),
        policies.ladder(policies.latest(events=5), policies.skip(events=50), policies.disconnect(seconds=60)),
    ],
    ids=repr,
)
async def test_who_takes_nothing_is_gone_at_stall_seconds_under_every_policy(
    policy: policies.Policy, transport: str, autojump_clock: MockClock
) -> None:
    app, live = make_ticker(policy, stall_seconds=7)
    async with serve(app) as server, stopped(server, transport), trio.open_nursery() as nursery:
        nursery.start_soon(publish, live, 100)
        await trio.sleep(6.9)
        assert server.connections == 1
        await trio.sleep(0.2)
        assert (server.connections, server.followers) == (0, 0)
        nursery.cancel_scope.cancel()


async def test_a_step_is_logged_once_for_a_follower(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    app, live = make_ticker(policies.skip(events=20))
    caplog.set_level(logging.INFO, "triolet.connection")
    async with serve(app) as server, stopped(server, "websocket") as client:
        for _ in range(3):
            await publish(live, 100)
            await client.until("live")
    found = [record.getMessage() for record in caplog.records if record.name == "triolet.connection"]
    assert len(found) == 1
    assert "skip" in found[0]
    assert "prices" not in found[0]


async def test_a_handler_chooses_a_policy_for_one_follower(autojump_clock: MockClock) -> None:
    app, live = make_shop()

    @live.socket("/board")
    async def board(conn: Connection) -> None:
        await conn.follow("prices", policy=policies.skip(events=20))
        await conn.follow("orders")
        await trio.sleep_forever()

    async with serve(app) as server, peer(server, "/board", kernel_bytes=SMALL) as client:
        for _ in range(2):
            await client.until("live")
        await publish(live, 100)
        for n in range(1, 101):
            await live.publish("orders", {"n": n, "fill": FILL})
        gaps: list[tuple[str, str]] = []
        orders: list[int] = []
        while orders[-1:] != [100]:
            message = await client.message()
            if message["type"] == "gap":
                gaps.append((message["channel"], message["reason"]))
            elif message["type"] == "event" and message["channel"] == "orders":
                orders.append(message["data"]["n"])
        assert orders == list(range(1, 101))
        assert gaps == [("prices", "skipped")]


async def test_a_follow_by_url_has_the_policy_of_its_route(autojump_clock: MockClock) -> None:
    app, live = make_ticker(policies.skip(events=20))
    async with serve(app) as server, peer(server, "/live", kernel_bytes=SMALL) as client:
        await client.say(type="follow", url=PRICES)
        await client.until("live")
        await publish(live, 200)
        assert (await client.until("gap"))["reason"] == "skipped"


async def test_the_apps_policy_holds_where_a_route_has_none(autojump_clock: MockClock) -> None:
    app, live = make_shop(policy=policies.skip(events=20))
    async with serve(app) as server, stopped(server, "websocket", "/orders/1/events") as client:
        for n in range(200):
            await live.publish("orders/1", {"n": n, "fill": FILL})
        assert (await client.until("live"))[-2]["reason"] == "skipped"


async def test_one_that_was_told_it_lags_is_told_when_it_is_live_though_nothing_was_for_it(
    autojump_clock: MockClock,
) -> None:
    app = QuartTrio("lag")
    live = Triolet(app)

    @live.channel("/c", policy=policies.block(events=5, seconds=1_000), allow=lambda event, _: event.data != "theirs")
    async def c() -> str:
        return "c"

    @live.channel("/d")
    async def d() -> str:
        return "d"

    live.socket("/live")
    async with (
        serve(app) as server,
        server.websocket("/live", kernel_bytes=500) as client,
        trio.open_nursery() as nursery,
    ):
        await client.follow("/c", after=0)
        await client.follow("/d", after=0)
        with slow_reader(client, bytes_per_second=700):
            for _ in range(4):
                await live.publish("d", "x" * 5_000)

            async def publish() -> None:
                for _ in range(30):
                    await live.publish("c", "theirs")

            nursery.start_soon(publish)
            await client.until("lag", within=100)
            await client.expect("live", channel="c", within=100)
