"""The memory budget: every byte that is held is counted and given back; past the ceiling somebody has to go."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from tests.connection.test_policy import SMALL, TRANSPORTS, stopped
from tests.hub.doubles import running
from tests.peer import TEXT, peer
from tests.server.wire import get
from tests.shop import ORDER, ORDERS, make_shop
from triolet import Command, Connection, Limits
from triolet.budget import Budget
from triolet.connection import Context
from triolet.connection.memory_pressure import relieve
from triolet.log import MemoryLog
from triolet.sockets.buffered_outlet import BufferedOutlet
from triolet.testing.network import ClientEnd
from triolet.testing.server import MemoryServer, serve
from triolet.wire.codec import WEBSOCKET_TEXT

BIG = {"fill": "x" * 3_000}
ROOMY = Limits(stall_seconds=1_000, silence_seconds=2_000)


def held(server: MemoryServer) -> int:
    """What is held for clients, without the windows."""
    assert server.hub is not None
    return server.worker.budget.held - server.hub.statistics().window_bytes


@TRANSPORTS
async def test_what_a_client_has_not_taken_is_counted_and_given_back(transport: str, autojump_clock: MockClock) -> None:
    app, live = make_shop(ROOMY)
    async with serve(app) as server:
        assert held(server) == 0
        async with stopped(server, transport, ORDERS) as client:
            await live.publish_many(ORDER, [BIG] * 5)
            await trio.sleep(1)
            assert 5 * 3_000 - SMALL < held(server) < 5 * 3_500
            await client.until("event")
            while held(server):
                await client.next()
            await live.publish_many(ORDER, [BIG] * 5)
            await trio.sleep(1)
            assert held(server) > 5_000
        await trio.sleep(1)
        assert held(server) == 0


async def test_the_messages_that_wait_for_a_handler_are_counted_and_given_back(autojump_clock: MockClock) -> None:
    app, live = make_shop(ROOMY)
    go = trio.Event()

    @live.socket("/slow")
    async def slow(conn: Connection) -> None:
        await go.wait()
        async for _ in conn:
            pass

    async with serve(app) as server, peer(server, "/slow") as client:
        for _ in range(4):
            await client.say(type="message", data="x" * 1_000)
        await trio.sleep(1)
        assert 4_000 < held(server) < 4_500
        go.set()
        await trio.sleep(1)
        assert held(server) == 0
        await client.send(TEXT, "y" * 2_000, fin=False)  # a message that is not finished
        await trio.sleep(1)
        assert held(server) == 2_000
    await trio.sleep(1)
    assert held(server) == 0


async def test_the_handlers_own_messages_are_counted_and_given_back(autojump_clock: MockClock) -> None:
    app, live = make_shop(ROOMY)

    @live.socket("/talkative")
    async def talkative(conn: Connection) -> None:
        for _ in range(10):
            await conn.send(BIG)
        await trio.sleep_forever()

    async with serve(app) as server, peer(server, "/talkative", kernel_bytes=SMALL) as client:
        await trio.sleep(1)
        # What came with the answer to the upgrade, the client has taken from its kernel with that.
        assert 10 * 3_000 - 2 * SMALL < held(server) < 10 * 3_100
        for _ in range(10):
            await client.until("message")
        await trio.sleep(1)
        assert held(server) == 0


async def test_a_handlers_message_that_was_cancelled_while_it_waited_is_given_back(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(stall_seconds=1_000, silence_seconds=2_000, outbox_messages=1))
    sent = trio.Event()

    @live.socket("/talkative")
    async def talkative(conn: Connection) -> None:
        with trio.move_on_after(5):
            while True:
                await conn.send(BIG)
        sent.set()
        await trio.sleep_forever()

    async with serve(app) as server, peer(server, "/talkative", kernel_bytes=SMALL) as client:
        await sent.wait()
        await trio.sleep(1)
        with trio.move_on_after(1):
            while True:
                await client.message()
        assert held(server) == 0


async def test_near_the_ceiling_nobody_new_is_let_in_and_who_is_in_stays(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(stall_seconds=1_000, silence_seconds=2_000, memory_bytes=40_000))
    async with serve(app) as server, stopped(server, "websocket", ORDERS) as client:
        await live.publish_many(ORDER, [BIG] * 4)
        await trio.sleep(1)
        assert (await server.get("/page")).status == 200
        more = 36_000 - server.worker.budget.held
        server.worker.budget.hold(more)
        answer = bytes(await server.connect().receive_some())
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert 2 <= int(answer.split(b"Retry-After: ")[1].split(b"\r\n")[0]) <= 20
        assert server.followers == 1
        server.worker.budget.hold(-more)
        assert (await server.get("/page")).status == 200
        await client.until("event")


@TRANSPORTS
async def test_past_the_ceiling_the_furthest_behind_are_given_up_and_the_others_stay(
    transport: str, autojump_clock: MockClock
) -> None:
    limits = Limits(stall_seconds=1_000, silence_seconds=2_000, memory_bytes=100_000, windows_bytes=10_000)
    app, live = make_shop(limits)
    async with (
        serve(app) as server,
        stopped(server, transport, "/orders/near/events"),
        stopped(server, transport, "/orders/far/events"),
        stopped(server, transport, "/orders/third/events"),
        stopped(server, transport, ORDERS) as healthy,
    ):
        batch = [{"fill": "x" * 10_000}] * 4
        await live.publish_many("orders/far", batch)
        await live.publish_many("orders/near", batch)
        await trio.sleep(1)
        for n in range(30):
            await live.publish("orders/far", {"n": n})
        await trio.sleep(1)
        assert server.connections == 4
        await live.publish_many("orders/third", batch)
        await trio.sleep(1)
        assert server.connections == 3
        left = {c for conn in app.extensions["triolet"].context.registry.open.values() for c in conn.followers}
        assert left == {"orders/near", "orders/third", ORDER}
        assert not server.worker.budget.near
        await live.publish(ORDER, {"n": 7})
        assert (await healthy.until("event"))[-1]["data"]["n"] == 7


@pytest.mark.parametrize("transport", ["websocket"])
async def test_who_holds_an_inbox_is_told_when_it_is_given_up(transport: str, autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(memory_bytes=50_000, inbox_bytes=60_000))

    @live.socket("/slow")
    async def slow(conn: Connection) -> None:
        await trio.sleep_forever()

    async with serve(app) as server, peer(server, "/slow") as client:
        for _ in range(6):
            await client.say(type="message", data="x" * 10_000)
        assert (await client.until("bye"))["code"] == 1013


async def test_what_nobody_can_give_back_is_looked_at_once(autojump_clock: MockClock) -> None:
    app, _ = make_shop(Limits(memory_bytes=100_000))
    async with serve(app) as server, stopped(server, "websocket", ORDERS):
        budget, looks = server.worker.budget, 0
        watch = budget.on_over

        def look() -> None:
            nonlocal looks
            looks += 1
            if looks < 10:
                watch()

        budget.on_over = look
        budget.hold(200_000)  # an answer of the app's own, say
        await trio.sleep(1)
        assert looks == 1
        assert server.connections == 1
        budget.hold(-200_000)


async def test_what_waits_in_a_buffer_is_had_back_at_once_too(autojump_clock: MockClock) -> None:
    budget, aborted = Budget(10_000), list[str]()

    async def take(batch: object) -> None:
        await trio.sleep_forever()

    async with running(MemoryLog()) as hub, trio.open_nursery() as nursery:
        context = Context(hub, Limits(), budget, trio.Event(), random.Random(0), lambda: 0.0)
        for name in ("less", "more"):
            outlet = BufferedOutlet(budget, take, partial(aborted.append, name))
            conn = Connection(context, outlet, WEBSOCKET_TEXT)
            context.registry.open[conn.id] = conn
            outlet.write(("x" * (4_000 if name == "less" else 5_000),))
            assert outlet.empty  # more would be taken
        nursery.start_soon(relieve, context)
        await trio.testing.wait_all_tasks_blocked()
        budget.hold(2_000)
        await trio.sleep(1)
        assert aborted == ["more"]
        assert budget.held == 6_000
        nursery.cancel_scope.cancel()


def unread(budget: Budget, nursery: trio.Nursery, given_up: list[str], **sizes: int) -> None:
    """Connections with answers that are not read, which take a second to end."""

    async def serve_one(name: str, size: int) -> None:
        ending = trio.Event()

        def give_up() -> None:
            given_up.append(name)
            ending.set()

        with budget.account(give_up) as account:
            account.hold(size)
            await ending.wait()
            await trio.sleep(1)

    for name, size in sizes.items():
        nursery.start_soon(serve_one, name, size)


async def test_of_unread_answers_the_largest_go_first_and_no_more_than_needed(autojump_clock: MockClock) -> None:
    budget, given_up = Budget(10_000), list[str]()
    async with running(MemoryLog()) as hub, trio.open_nursery() as nursery:
        context = Context(hub, Limits(), budget, trio.Event(), random.Random(0), lambda: 0.0)
        nursery.start_soon(relieve, context)
        unread(budget, nursery, given_up, small=2_000, large=3_500, middle=3_000)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(3):
            budget.hold(700)  # while those that were given up are still ending
            await trio.testing.wait_all_tasks_blocked()
        assert given_up == ["large"]
        await trio.sleep(2)
        assert budget.held == 2_000 + 3_000 + 3 * 700
        nursery.cancel_scope.cancel()


async def test_who_holds_most_goes_first_whether_it_follows_or_does_not_read(autojump_clock: MockClock) -> None:
    async def take(batch: object) -> None:
        await trio.sleep_forever()

    for follower, expected in ((6_000, ["follower"]), (2_500, ["answer"])):
        budget, given_up = Budget(10_000), list[str]()
        async with running(MemoryLog()) as hub, trio.open_nursery() as nursery:
            context = Context(hub, Limits(), budget, trio.Event(), random.Random(0), lambda: 0.0)
            outlet = BufferedOutlet(budget, take, partial(given_up.append, "follower"))
            conn = Connection(context, outlet, WEBSOCKET_TEXT)
            context.registry.open[conn.id] = conn
            outlet.write(("x" * follower,))
            unread(budget, nursery, given_up, answer=3_000)
            nursery.start_soon(relieve, context)
            await trio.testing.wait_all_tasks_blocked()
            budget.hold(10_001 - budget.held)
            await trio.sleep(0.5)
            assert given_up == expected
            nursery.cancel_scope.cancel()


async def test_below_the_ceiling_a_newcomer_has_unread_answers_go_and_no_follower(autojump_clock: MockClock) -> None:
    budget, given_up = Budget(10_000), list[str]()

    async def take(batch: object) -> None:
        await trio.sleep_forever()

    async with running(MemoryLog()) as hub, trio.open_nursery() as nursery:
        context = Context(hub, Limits(), budget, trio.Event(), random.Random(0), lambda: 0.0)
        outlet = BufferedOutlet(budget, take, partial(given_up.append, "follower"))
        conn = Connection(context, outlet, WEBSOCKET_TEXT)
        context.registry.open[conn.id] = conn
        outlet.write(("x" * 7_000,))
        nursery.start_soon(relieve, context)
        unread(budget, nursery, given_up, answer=2_500)
        await trio.testing.wait_all_tasks_blocked()
        assert not budget.admits()
        await trio.sleep(2)
        assert given_up == ["answer"]
        assert budget.admits()
        nursery.cancel_scope.cancel()


async def test_a_herd_of_polls_holds_no_more_answers_than_there_is_room_for(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(memory_bytes=1_000_000, write_seconds=1_000))
    async with serve(app) as server:
        clients = [server.connect(kernel_bytes=SMALL) for _ in range(60)]
        for client in clients:
            await client.send_all(b"GET %b?after=0&wait=20 HTTP/1.1\r\nHost: a\r\n\r\n" % ORDERS.encode())
        await trio.testing.wait_all_tasks_blocked()
        await live.publish(ORDER, {"fill": "x" * 100_000})
        await trio.testing.wait_all_tasks_blocked()
        assert server.worker.budget.peak < 1_600_000  # what the kernels left is counted on top
        for client in clients:
            await client.aclose()
        await trio.sleep(5)
        assert held(server) == 0


async def _asks_ahead(end: ClientEnd) -> None:
    await end.send_all(get(f"{ORDERS}?wait=50") + 500 * get(ORDERS, f"X-Fill: {'x' * 200}"))


async def _sends_a_body_slowly(end: ClientEnd) -> None:
    head = "POST /orders/A123/pick HTTP/1.1\r\nHost: test\r\nIdempotency-Key: 1\r\nContent-Length: 60000\r\n\r\n"
    await end.send_all(head.encode() + b"[" + b"1," * 29_000)


async def _does_not_read(end: ClientEnd) -> None:
    await end.send_all(get(f"{ORDERS}?after=0"))


async def _says_half_a_head(end: ClientEnd) -> None:
    await end.send_all(get(ORDERS, f"X-Fill: {'x' * 50_000}")[:-4])


async def _is_idle_and_says_half_a_head(end: ClientEnd) -> None:
    await end.send_all(get(ORDERS))
    await end.receive_some()
    await _says_half_a_head(end)


@pytest.mark.parametrize(
    "hold", [_says_half_a_head, _is_idle_and_says_half_a_head, _asks_ahead, _sends_a_body_slowly, _does_not_read]
)
async def test_clients_whose_requests_and_answers_fill_the_memory_are_given_up(
    hold: Callable[[ClientEnd], Awaitable[None]], autojump_clock: MockClock
) -> None:
    limits = Limits(memory_bytes=2 << 20, write_seconds=60, header_bytes=60_000, header_seconds=60)
    app, live = make_shop(limits)

    @live.command("/orders/<order_id>/pick")
    async def pick(order_id: str, command: Command) -> str:
        return "picked"

    async with serve(app) as server:
        budget = server.worker.budget
        await live.publish_many(ORDER, ["x" * 10_000] * 5)
        async with trio.open_nursery() as nursery:
            ends = [server.connect(kernel_bytes=4_000) for _ in range(60)]
            for end in ends:
                nursery.start_soon(_until_it_is_reset, hold, end)
            await trio.sleep(5)
            assert budget.peak > budget.near_bytes, "or nothing was tried"
            assert budget.held < budget.ceiling
            assert 10 <= server.connections < 60
            answers = []
            for _ in range(5):  # a window that comes back may cost another client
                answers.append((await server.get(ORDERS)).status)
                await trio.sleep(1)
            assert answers[-1] == 200
            for end in ends:
                end.reset()
            await trio.sleep(60)  # of a client that has asked too much ahead the end is seen when its poll is over


async def _until_it_is_reset(hold: Callable[[ClientEnd], Awaitable[None]], end: ClientEnd) -> None:
    with suppress(trio.BrokenResourceError):
        await hold(end)
