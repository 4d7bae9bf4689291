"""One turn of the event loop: what is done and said in it, in which order it goes out, and who else gets to run."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.middleware import stand_before
from tests.peer import CLOSE, PING, PONG, TEXT, Peer, encode, peer
from tests.shop import ORDER, make_shop
from triolet import Connection, Limits
from triolet.bounds import READ_IN_A_ROW, TURN_ALL_BYTES, TURN_BYTES, TURN_STEPS
from triolet.closing import FLOOD
from triolet.errors import ConnectionEnded
from triolet.testing.server import serve


class Writes:
    """What goes to one client, write by write."""

    def __init__(self, conn: Connection) -> None:
        self._send = conn.outlet.send
        self.batches: list[bytes] = []
        conn.outlet.send = self._write

    def _write(self, batch: Any) -> int:
        self.batches.append(bytes(batch))
        return self._send(batch)


def frames(*messages: str) -> bytes:
    return b"".join(encode(TEXT, message) for message in messages)


def answer(text: str) -> bytes:
    return bytes((0x81, len(text))) + text.encode()


async def test_answers_to_messages_of_one_read_are_one_write(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    seen: list[Writes] = []

    @live.socket("/echo", raw=True)
    async def echo(conn: Connection) -> None:
        seen.append(Writes(conn))
        async for message in conn:
            await conn.send(message)

    async with serve(app) as server, peer(server, "/echo") as client:
        said = [f"message {n}" for n in range(16)]
        await client.stream.send_all(frames(*said))
        assert [(await client.frame()) for _ in said] == [(TEXT, message.encode()) for message in said]
        assert b"".join(seen[0].batches) == b"".join(map(answer, said))
        assert len(seen[0].batches) <= 2  # two where the turn was over in the midst of them


@pytest.mark.parametrize("wait", [trio.sleep_forever, partial(trio.sleep, 5)])
async def test_what_is_said_goes_out_in_the_same_moment_as_one_write_whatever_is_awaited_then(
    wait: Callable[[], Awaitable[None]], autojump_clock: MockClock
) -> None:
    app, live = make_shop()
    seen: list[Writes] = []

    @live.socket("/hello", raw=True)
    async def hello(conn: Connection) -> None:
        seen.append(Writes(conn))
        for word in ("a", "b", "c"):
            await conn.send(word)
        assert seen[0].batches == []
        await wait()

    async with serve(app) as server, peer(server, "/hello") as client:
        begun = trio.current_time()
        assert [(await client.frame()) for _ in range(3)] == [(TEXT, b"a"), (TEXT, b"b"), (TEXT, b"c")]
        assert trio.current_time() == begun
        assert len(seen[0].batches) == 1


@pytest.mark.parametrize("road", ["direct", "through middleware"])
async def test_what_was_said_before_an_event_was_published_comes_before_it(
    road: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop()

    @live.socket("/both")
    async def both(conn: Connection) -> None:
        await conn.follow(ORDER)
        async for n in conn:
            await conn.send(n)
            await live.publish(ORDER, n)

    if road == "through middleware":
        stand_before(app)
    async with serve(app) as server, peer(server, "/both") as client:
        await client.until("live")
        for n in range(50):
            # Others publish and are written to meanwhile, so the pump is at work when the handler is.
            await live.publish(ORDER, "another")
            await client.say(type="message", data=n)
            heard: list[tuple[str, Any]] = []
            while ("event", n) not in heard:
                message = await client.message()
                heard.append((message["type"], message["data"]))
            assert heard.index(("message", n)) < heard.index(("event", n))


async def test_what_was_said_before_something_was_told_comes_before_it(autojump_clock: MockClock) -> None:
    app, live = make_shop()

    @live.socket("/both")
    async def both(conn: Connection) -> None:
        await conn.follow(ORDER)
        async for _ in conn:
            for number in range(20):
                await conn.send(number)
                live.tell(ORDER, number)
                await trio.sleep(1)

    async with serve(app) as server, peer(server, "/both") as client:
        await client.until("live")
        await client.say(type="message", data="begin")
        heard: list[tuple[str, int]] = []
        while len(heard) < 40:
            message = await client.message()
            if message["type"] in ("message", "tell"):
                heard.append((message["type"], message["data"]))
        assert heard == [(kind, number) for number in range(20) for kind in ("message", "tell")]


async def test_what_was_said_before_an_event_was_published_comes_before_it_also_at_the_end(
    autojump_clock: MockClock,
) -> None:
    app, live = make_shop()
    conns: list[Connection] = []

    @live.socket("/listen")
    async def listen(conn: Connection) -> None:
        await conn.follow(ORDER)
        conns.append(conn)
        await trio.sleep_forever()

    async def tell(conn: Connection, now: trio.Event) -> None:
        await now.wait()
        with suppress(ConnectionEnded):
            await conn.send("said")
            await live.publish(ORDER, "published")

    async def end(conn: Connection, now: trio.Event) -> None:
        await now.wait()
        conn.end(FLOOD)

    both = 0
    async with serve(app) as server:
        for _ in range(40):  # which of the two tasks runs first is drawn
            async with peer(server, "/listen") as client, trio.open_nursery() as nursery:
                await client.until("live")
                now, conn = trio.Event(), conns.pop()
                nursery.start_soon(tell, conn, now)
                nursery.start_soon(end, conn, now)
                del conn
                await wait_all_tasks_blocked()
                now.set()
                heard = []
                while (message := await client.message())["type"] != "bye":
                    heard.append(message["data"])
                assert heard in ([], ["said"], ["said", "published"])
                both += len(heard) == 2
    assert both


async def test_what_was_said_is_sent_before_the_connection_is_closed(autojump_clock: MockClock) -> None:
    app, live = make_shop()

    @live.socket("/bye", raw=True)
    async def bye(conn: Connection) -> None:
        await conn.send("last words")
        await conn.close()

    @live.socket("/returns", raw=True)
    async def returns(conn: Connection) -> None:
        await conn.send("last words")

    async with serve(app) as server:
        for path in ("/bye", "/returns"):
            async with peer(server, path) as client:
                assert await client.frame() == (TEXT, b"last words")
                assert (await client.frame() or (0,))[0] == CLOSE
        assert live.service.context.turn.kept == 0


async def test_a_pong_comes_behind_what_was_said_before_the_ping_was_read(autojump_clock: MockClock) -> None:
    app, live = make_shop()

    @live.socket("/said", raw=True)
    async def said(conn: Connection) -> None:
        await conn.send("first")
        conn.outgoing.write(b"\x8a\x01p")  # as the reader does
        await trio.sleep_forever()

    async with serve(app) as server, peer(server, "/said") as client:
        assert [await client.frame(), await client.frame()] == [(TEXT, b"first"), (PONG, b"p")]


async def test_pings_among_messages_are_answered_at_once(autojump_clock: MockClock) -> None:
    app, live = make_shop()

    @live.socket("/echo", raw=True)
    async def echo(conn: Connection) -> None:
        async for message in conn:
            await conn.send(message)

    async with serve(app) as server, peer(server, "/echo") as client:
        await client.stream.send_all(encode(TEXT, "a") + encode(PING, b"p") + encode(TEXT, "b"))
        got = [await client.frame() for _ in range(3)]
        assert sorted(got) == [(TEXT, b"a"), (TEXT, b"b"), (PONG, b"p")]  # type: ignore[type-var]  # none is None


async def test_what_is_said_in_a_turn_is_bounded_for_each_client(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(outbox_messages=10))
    seen: dict[str, list[int]] = {}

    @live.socket("/<kind>", raw=True)
    async def much(conn: Connection, kind: str) -> None:
        writes = Writes(conn)
        for _ in range(30):
            await conn.send("x" if kind == "many" else "x" * TURN_BYTES)
        await trio.sleep(1)
        seen[kind] = [len(batch) for batch in writes.batches]
        await trio.sleep_forever()

    async with serve(app) as server, peer(server, "/many"), peer(server, "/large") as client:
        for _ in range(30):
            await client.frame()
        await trio.sleep(2)
        assert sum(seen["many"]) == 30 * 3
        assert max(seen["many"]) == 10 * 3
        assert max(seen["large"]) <= 2 * (TURN_BYTES + 14)


async def test_what_is_said_in_a_turn_is_bounded_for_all_clients_together(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    listeners: list[Connection] = []
    most = 0

    @live.socket("/listen", raw=True)
    async def listen(conn: Connection) -> None:
        listeners.append(conn)
        try:
            await trio.sleep_forever()
        finally:
            listeners.remove(conn)

    size = TURN_BYTES - 100
    async with serve(app) as server, trio.open_nursery() as nursery:
        for _ in range(2 * TURN_ALL_BYTES // size):
            nursery.start_soon(_read_all, server)
        await trio.sleep(1)
        turn = live.service.context.turn
        for conn in list(listeners):
            await conn.send("x" * size)
            most = max(most, turn.kept)
        del conn
        assert TURN_ALL_BYTES / 2 < most <= TURN_ALL_BYTES
        await trio.sleep(1)
        assert turn.kept == 0
        nursery.cancel_scope.cancel()


async def _read_all(server: Any) -> None:
    async with peer(server, "/listen", kernel_bytes=1 << 20) as client:
        while await client.frame():
            pass


async def test_what_was_said_stays_in_order_where_something_else_has_filled_the_outlet(
    autojump_clock: MockClock,
) -> None:
    app, live = make_shop()

    @live.socket("/filled", raw=True)
    async def filled(conn: Connection) -> None:
        await conn.send("1")
        conn.outlet.write(b"\x81\x7e\x40\x00" + b"x" * 0x4000)  # as the pump does: past all that is kept
        for word in "2345":
            await conn.send(word)
        await trio.sleep_forever()

    async with serve(app) as server, peer(server, "/filled", kernel_bytes=1_000) as client:
        await trio.sleep(1)
        (conn,) = live.service.context.registry.open.values()
        assert conn.holding.bytes == 15
        heard = [(await client.frame()) for _ in range(6)]
        assert [frame.payload[:1] for frame in heard if frame is not None] == [b"x", b"1", b"2", b"3", b"4", b"5"]
        assert live.service.context.turn.kept == conn.holding.bytes == 0
        del conn


# --- nobody keeps the process for itself

MOST = 2 * TURN_STEPS + 4
"""A task may be the last in one pass of the scheduler, and the first in the next. The first turn of all is short."""


class Others:
    """A task that does nothing but run, and counts how often it could; beside it the most steps between two of its."""

    def __init__(self) -> None:
        self.since = self.most = 0

    def step(self) -> None:
        self.since += 1
        self.most = max(self.most, self.since)

    async def run(self) -> None:
        while True:
            await trio.lowlevel.checkpoint()
            self.since = 0


async def test_a_handler_that_awaits_only_messages_lets_others_run_and_is_cancelled(
    autojump_clock: MockClock,
) -> None:
    app, live = make_shop(Limits(messages_per_second=1e6, inbox_messages=4_096))
    others, over = Others(), []

    @live.socket("/busy", raw=True)
    async def busy(conn: Connection) -> None:
        try:
            async for message in conn:
                others.step()
                await conn.send(message)
        finally:
            over.append(conn.closing)

    async with (
        serve(app) as server,
        peer(server, "/busy", kernel_bytes=1 << 20) as client,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(others.run)
        await client.stream.send_all(frames(*["x"] * 4_000))
        await client.stream.send_all(encode(CLOSE))
        while not over:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert TURN_STEPS / 4 <= others.most <= MOST


async def test_a_handler_that_only_sends_lets_others_run_and_is_cancelled(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    others, over = Others(), []

    @live.socket("/chatty", raw=True)
    async def chatty(conn: Connection) -> None:
        try:
            while True:
                others.step()
                await conn.send("x")
        finally:
            over.append(True)

    async with serve(app) as server, trio.open_nursery() as nursery:
        nursery.start_soon(others.run)
        async with peer(server, "/chatty", kernel_bytes=1 << 20) as client:
            for _ in range(1_000):
                await client.frame()
        while not over:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert others.most <= MOST


async def test_a_loop_that_sends_to_many_clients_lets_others_run(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    listeners: list[Connection] = []
    others = Others()

    @live.socket("/listen", raw=True)
    async def listen(conn: Connection) -> None:
        listeners.append(conn)
        try:
            await trio.sleep_forever()
        finally:
            listeners.remove(conn)

    async with serve(app) as server, trio.open_nursery() as nursery:
        for _ in range(200):
            nursery.start_soon(_read_all, server)
        await trio.sleep(1)
        nursery.start_soon(others.run)
        for _ in range(5):
            for conn in list(listeners):
                others.step()
                await conn.send("x")
        del conn
        nursery.cancel_scope.cancel()
    assert others.most <= MOST


async def test_a_client_that_floods_delays_no_others_message_for_long(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(messages_per_second=1e6))
    floods = 0
    delays: list[int] = []

    @live.socket("/<who>", raw=True)
    async def either(conn: Connection, who: str) -> None:
        nonlocal floods
        async for message in conn:
            if who == "flood":
                floods += 1
            else:
                delays.append(floods - int(message))

    async def pour(flood: Peer) -> None:
        while True:
            await flood.stream.send_all(frames(*["x"] * 5_000))

    async with (
        serve(app) as server,
        peer(server, "/flood") as flood,
        peer(server, "/quiet") as quiet,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(pour, flood)
        for _ in range(50):
            for _ in range(20):
                await trio.lowlevel.checkpoint()
            await quiet.stream.send_all(frames(str(floods)))
        nursery.cancel_scope.cancel()
    assert len(delays) >= 49
    assert floods > 1_000
    # Two turns of the flood: one in which the message is read, and one in which the handler is woken.
    assert max(delays) <= 4 * max(TURN_STEPS, READ_IN_A_ROW)


@pytest.mark.parametrize("what", ["send", "take"])
async def test_a_scope_that_is_cancelled_is_seen_at_every_step(what: str, autojump_clock: MockClock) -> None:
    app, live = make_shop()
    seen: list[bool] = []

    @live.socket("/scoped", raw=True)
    async def scoped(conn: Connection) -> None:
        await anext(conn)
        for deadline in (-math.inf, math.inf):
            with trio.CancelScope(deadline=deadline) as scope:
                if deadline == math.inf:
                    scope.cancel()
                await (conn.send("x") if what == "send" else anext(conn))
            seen.append(scope.cancelled_caught)
        seen.append(await anext(conn) == "1")

    async with serve(app) as server, peer(server, "/scoped") as client:
        await client.stream.send_all(frames("0", "1", "2"))
        await trio.sleep(1)
    assert seen == [True, True, True]


async def test_a_handler_that_goes_on_sending_when_its_client_is_gone_is_told(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    told: list[type[BaseException]] = []

    @live.socket("/deaf", raw=True)
    async def deaf(conn: Connection) -> None:
        with trio.CancelScope(shield=True):
            try:
                while True:
                    await conn.send("x" * 1_000)
            except ConnectionEnded as error:
                told.append(type(error))

    async with serve(app) as server:
        async with peer(server, "/deaf") as client:
            client.stream.reset()
        await trio.sleep(1)
    assert told == [ConnectionEnded]
