"""The shortest way to a client: whose outlet it is, and in which codec, for each thing that may be below."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from triolet.budget import Budget
from triolet.http.http2_outlet import Http2Stream
from triolet.sockets.buffered_outlet import BufferedOutlet
from triolet.sockets.server_state import with_client
from triolet.sockets.stream import ClientStream
from triolet.testing.network import link_pair
from triolet.transports.outlets import (
    aborter,
    event_stream_outlet,
    raw_frame,
    raw_text,
    websocket_outlet,
    with_outlet,
)
from triolet.wire.codec import SSE, SSE_CHUNKED, WEBSOCKET, WEBSOCKET_TEXT

BUDGET = Budget(1 << 30)


class Below:
    """An HTTP/1.1 or HTTP/2 stream of ours, which notes that it was reset."""

    def __init__(self) -> None:
        self.resets = 0

    def client_stream(self) -> ClientStream:
        return ClientStream(link_pair()[1], BUDGET)

    def http2_stream(self) -> tuple[Http2Stream, Any]:
        outlet: Any = object()
        return Http2Stream(lambda: outlet, self.reset, self.reset), outlet

    def reset(self) -> None:
        self.resets += 1


async def drop(_: Any) -> None:
    """ASGI's ``send`` of a server that takes everything."""


def scope(stream: Any = None, version: str = "1.1") -> dict[str, Any]:
    state = {} if stream is None else with_client({}, stream)
    return {"http_version": version, "state": state}


def test_events_go_straight_to_a_stream_of_ours_as_chunks() -> None:
    stream = Below().client_stream()
    outlet, codec = event_stream_outlet(scope(stream), drop, BUDGET, through_asgi=False)
    assert outlet is stream.outlet
    assert codec is SSE_CHUNKED


def test_events_go_straight_to_an_http2_stream_without_chunks() -> None:
    stream, expected = Below().http2_stream()
    outlet, codec = event_stream_outlet(scope(stream, "2"), drop, BUDGET, through_asgi=False)
    assert outlet is expected
    assert codec is SSE


@pytest.mark.parametrize("between", [True, False])
def test_where_something_stands_between_events_go_through_asgi(between: bool) -> None:
    below = scope(Below().client_stream()) if between else scope()
    outlet, codec = event_stream_outlet(below, drop, BUDGET, through_asgi=between)
    assert isinstance(outlet, BufferedOutlet)
    assert codec is SSE


def test_frames_are_ours_on_an_http2_stream_alone() -> None:
    stream, expected = Below().http2_stream()
    outlet, codec, raw = websocket_outlet(scope(stream, "2"), drop, BUDGET, through_asgi=False)
    assert outlet is expected
    assert (codec, raw) == (WEBSOCKET, raw_frame)
    for below, between in ((scope(stream, "2"), True), (scope(Below().client_stream()), False), (scope(), False)):
        outlet, codec, raw = websocket_outlet(below, drop, BUDGET, through_asgi=between)
        assert isinstance(outlet, BufferedOutlet)
        assert (codec, raw) == (WEBSOCKET_TEXT, raw_text)


async def test_what_goes_through_asgi_is_sent_message_by_message() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    outlet, _, raw = websocket_outlet(scope(), send, BUDGET, through_asgi=False)

    async def serve() -> None:
        outlet.write(("one", "two"))
        outlet.write(raw(b"three"))
        await outlet.drained()

    await with_outlet(outlet, serve)
    assert sent == [
        {"type": "websocket.send", "text": "one"},
        {"type": "websocket.send", "text": "two"},
        {"type": "websocket.send", "bytes": b"three"},
    ]


async def test_the_outlets_task_ends_with_what_is_served() -> None:
    outlet, _ = event_stream_outlet(scope(), drop, BUDGET, through_asgi=False)
    with trio.fail_after(60):
        await with_outlet(outlet, wait_all_tasks_blocked)
    with pytest.raises(BrokenPipeError):
        outlet.send(b"x")


def test_only_a_stream_of_ours_can_be_reset() -> None:
    below = Below()
    stream, _ = below.http2_stream()
    aborter(scope(stream))()
    assert below.resets == 1
    aborter(scope())()
    aborter({})()
    assert below.resets == 1


async def test_each_message_that_another_server_takes_of_a_batch_is_progress(autojump_clock: MockClock) -> None:
    """A client that reads slowly is none that has stalled, however many messages go as one batch."""

    async def send(message: object) -> None:
        await trio.sleep(2)

    outlet, _, _ = websocket_outlet(scope(), send, BUDGET, through_asgi=False)
    assert isinstance(outlet, BufferedOutlet)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outlet.run)
        outlet.send(("a", "b", "c"))
        await trio.sleep(5)
        assert (outlet.pending > 0, outlet.progress_at - began) == (True, 4)
        await outlet.drained()
        assert outlet.progress_at - began == 6
        nursery.cancel_scope.cancel()
