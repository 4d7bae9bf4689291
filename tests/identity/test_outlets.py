"""What waits in an outlet when its client's time is over: not a byte of it goes out, whoever would send it."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes
from trio.testing import MockClock, wait_all_tasks_blocked

from triolet import Limits
from triolet.budget import Budget
from triolet.closing import NORMAL
from triolet.http.http2_outlet import StreamOutlet
from triolet.identity import Grant
from triolet.sockets.buffered_outlet import BufferedOutlet
from triolet.sockets.direct_outlet import DirectOutlet
from triolet.testing.http import ask, read_answer
from triolet.testing.network import ClientEnd, link_pair

from .shop import ORDER, ORDERS, bearer, make_shop, served

KERNEL = 100
BIG = b"x" * 1_000


class Pipe:
    """Another server: takes a batch when it is let to."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.aborted = 0
        self.free = trio.Event()

    async def take(self, batch: bytes) -> None:
        await self.free.wait()
        self.taken.append(batch)

    def abort(self) -> None:
        self.aborted += 1


async def test_a_batch_that_waits_in_a_buffer_is_not_taken_late(autojump_clock: MockClock) -> None:
    pipe = Pipe()
    outlet = BufferedOutlet(Budget(1 << 30), pipe.take, pipe.abort)
    outlet.until = trio.current_time() + 10
    async with trio.open_nursery() as nursery:
        outlet.write(BIG)
        autojump_clock.jump(10)
        pipe.free.set()
        nursery.start_soon(outlet.run)
    assert (pipe.taken, pipe.aborted, outlet.closed, outlet.pending) == ([], 1, True, 0)


async def test_a_batch_that_is_being_taken_is_called_back_where_that_can_be(autojump_clock: MockClock) -> None:
    pipe = Pipe()
    outlet = BufferedOutlet(Budget(1 << 30), pipe.take, pipe.abort)
    outlet.until = trio.current_time() + 10
    outlet.write(BIG)
    await outlet.run()
    assert (trio.current_time(), pipe.taken, pipe.aborted, outlet.closed) == (10, [], 1, True)


class Streams:
    """A connection of HTTP/2 with a stream, and a client that takes nothing unless it is let to."""

    def __init__(self, window: int = 65_535, kernel_bytes: int = KERNEL) -> None:
        self._client_h2 = H2Connection()
        self._client_h2.initiate_connection()
        self._client_h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
        asked = (":method", "GET"), (":path", "/"), (":scheme", "https"), (":authority", "a")
        self._client_h2.send_headers(1, asked)
        self._h2 = H2Connection(H2Configuration(client_side=False))
        self._h2.initiate_connection()
        self._h2.receive_data(self._client_h2.data_to_send())
        self._h2.send_headers(1, [(":status", "200")])
        self._h2.data_to_send()
        self.client, self.link = link_pair(kernel_bytes=kernel_bytes)
        self.below = DirectOutlet(self.link, Budget(1 << 30))
        self.resets = 0
        self.outlet = StreamOutlet(Budget(1 << 30), self._h2, 1, self.below, trio.Lock(), self._reset)

    def open_window(self) -> None:
        self._client_h2.increment_flow_control_window(65_535, 1)
        self._h2.receive_data(self._client_h2.data_to_send())
        self._h2.data_to_send()
        self.outlet.window_opened()

    def _reset(self) -> None:
        self.resets += 1


async def drain(client: ClientEnd) -> bytes:
    found = b""
    try:
        with trio.move_on_after(1):
            while data := await client.receive_some():
                found += data
    except trio.BrokenResourceError:
        pass
    return found


async def test_a_frame_that_waits_below_a_stream_does_not_go_out_late(autojump_clock: MockClock) -> None:
    streams = Streams()
    outlet, outlet_until = streams.outlet, trio.current_time() + 10
    outlet.until = outlet_until
    assert outlet.write(BIG)
    assert (outlet.pending, outlet.empty, streams.below.empty) == (0, False, False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outlet.drained)
        await wait_all_tasks_blocked()
        autojump_clock.jump(10)
        assert len(await drain(streams.client)) == KERNEL  # what had gone out before
        nursery.cancel_scope.cancel()
    assert streams.link.closed


async def test_cutting_a_stream_whose_frame_waits_below_ends_the_connection(autojump_clock: MockClock) -> None:
    streams = Streams()
    streams.outlet.write(BIG)
    streams.outlet.cut()
    assert (streams.link.closed, streams.resets, streams.outlet.closed) == (True, 0, True)


async def test_cutting_a_stream_that_waits_for_its_window_resets_it_alone(autojump_clock: MockClock) -> None:
    streams = Streams(kernel_bytes=1 << 20)
    streams.outlet.keep(BIG, 0)
    streams.outlet.cut()
    assert (streams.link.closed, streams.resets, streams.outlet.closed) == (False, 1, True)


async def test_what_waits_for_a_window_is_not_sent_when_that_opens_late(autojump_clock: MockClock) -> None:
    streams = Streams(window=0, kernel_bytes=1 << 20)
    outlet = streams.outlet
    outlet.until = trio.current_time() + 10
    outlet.keep(BIG, 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outlet.drained)
        await wait_all_tasks_blocked()
        autojump_clock.jump(10)
        streams.open_window()
    assert (await drain(streams.client), streams.resets) == (b"", 1)


@pytest.mark.parametrize("path", ["middleware"])
async def test_a_connection_that_goes_on_after_a_stream_has_no_deadline_of_its(
    path: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop(Limits(stall_seconds=1_000))
    async with served(app, path) as server:
        await live.publish_many(ORDER, [{"fill": "x" * 3_000}] * 20)
        end = server.connect(kernel_bytes=8 << 10)

        async def request(url: str, headers: dict[str, str]) -> Any:
            connection, response = await ask(end, "GET", url, headers)
            return await read_answer(end, connection, response)

        assert (await request("/nowhere", {})).status == 404
        async with trio.open_nursery() as nursery:
            nursery.start_soon(request, ORDERS, {**bearer("ann", 40), "accept": "text/event-stream"})
            await trio.sleep(1)
            (conn,) = app.extensions["triolet"].context.registry.open.values()
            conn.end(NORMAL)
            del conn
        await trio.sleep(60)
        answer = await request(f"{ORDERS}?after=0", {})
        assert (answer.status, len(answer.json["events"])) == (200, 20)
        end.reset()


@pytest.mark.parametrize("path", ["middleware", "hypercorn"])
async def test_what_a_client_was_let_in_with_is_freed_without_the_garbage_collector(
    path: str, autojump_clock: MockClock
) -> None:
    app, _ = make_shop()
    async with served(app, path) as server:
        gc.collect()
        gc.disable()
        try:
            async with server.websocket(ORDERS, headers=bearer("ann", 40)) as client:
                await client.until("live")
            await trio.sleep(10)
            assert not [thing for thing in gc.get_objects() if type(thing) is Grant]
        finally:
            gc.enable()
