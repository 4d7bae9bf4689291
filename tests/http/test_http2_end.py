"""An HTTP/2 connection waits for a request however the last one has ended, and itself ends with none unanswered."""

from __future__ import annotations

from typing import Any

import h2.events
import pytest
import trio
from h2.errors import ErrorCodes
from hyperframe.frame import Frame, GoAwayFrame, RstStreamFrame
from trio.testing import MockClock

from .guarding import Receive, Send, hosted, read_all
from .test_http2 import GET, Client, client_of


@pytest.mark.parametrize("how", ["answered", "refused", "reset by its client", "reset after its answer"])
async def test_a_connection_is_idle_after_its_last_stream(how: str, autojump_clock: MockClock) -> None:
    async with hosted() as host:
        host.config.keep_alive_timeout = 20
        client = Client(host.connect("h2"))
        path = {"refused": "no-path", "reset by its client": "/slow"}.get(how, "/")
        await client.send(1, [(name, path if name == ":path" else value) for name, value in GET])
        await client.listen()
        if how.startswith("reset"):
            await client.flush(RstStreamFrame(1, int(ErrorCodes.CANCEL)).serialize())
        await client.listen(30)
        assert client.ended
        await client.stream.aclose()
        await host.check()


async def test_an_answer_that_its_app_breaks_off_is_reset(autojump_clock: MockClock) -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": scope["path"] == "/half"})

    async with hosted(app) as host:
        client = Client(host.connect("h2"))
        await client.send(1, [(name, "/half" if name == ":path" else value) for name, value in GET])
        await client.send(3, GET)
        await client.listen()
        assert (client.body(1), client.body(3)) == (b"half", b"half")
        (reset,) = [event for event in client.events if isinstance(event, h2.events.StreamReset)]
        assert (reset.stream_id, reset.error_code) == (1, ErrorCodes.INTERNAL_ERROR)
        await client.stream.aclose()
        await host.check_empty()


@pytest.mark.parametrize("path", ["/", "/slow"])
async def test_a_client_that_asks_much_loses_no_answer(path: str, autojump_clock: MockClock) -> None:
    async with hosted() as host, client_of(host) as client:
        host.config.keep_alive_max_requests = 3
        get = [(name, path if name == ":path" else value) for name, value in GET]
        for stream in (1, 3, 5):
            client.h2.send_headers(stream, get, end_stream=True)
        await client.flush()
        await client.listen(30)
        assert [client.status(stream) for stream in (1, 3, 5)] == [200, 200, 200]
        assert (client.goaway(), client.ended) == (ErrorCodes.NO_ERROR, True)


async def test_one_that_never_pauses_is_told_and_all_it_has_asked_is_answered(autojump_clock: MockClock) -> None:
    async with hosted() as host:
        host.config.keep_alive_max_requests = 3
        client = Client(host.connect("h2"))
        for stream in range(1, 17, 2):
            client.h2.send_headers(stream, GET, end_stream=True)
        await client.flush()
        frames = frames_of(await read_all(client.stream))
        ended = [frame.stream_id for frame in frames if "END_STREAM" in frame.flags]
        (told,) = [frame for frame in frames if isinstance(frame, GoAwayFrame)]
        assert (told.last_stream_id, told.error_code) == (11, ErrorCodes.NO_ERROR)
        assert sorted(ended) == [1, 3, 5, 7, 9, 11]
        refused = [(frame.stream_id, frame.error_code) for frame in frames if isinstance(frame, RstStreamFrame)]
        assert refused == [(13, ErrorCodes.REFUSED_STREAM), (15, ErrorCodes.REFUSED_STREAM)]
        await client.stream.aclose()
        await host.check()


async def test_a_request_to_a_server_that_drains_may_be_asked_elsewhere(autojump_clock: MockClock) -> None:
    async with hosted() as host:
        client = Client(host.connect("h2"))
        slow = [(name, "/slow" if name == ":path" else value) for name, value in GET]
        await client.send(1, slow)
        await client.listen()
        await host.context.terminated.set()
        await client.send(3, GET)
        frames = frames_of(await read_all(client.stream))
        assert [frame.last_stream_id for frame in frames if isinstance(frame, GoAwayFrame)] == [1]
        refused = [(frame.stream_id, frame.error_code) for frame in frames if isinstance(frame, RstStreamFrame)]
        assert refused == [(3, ErrorCodes.REFUSED_STREAM)]
        assert [frame.stream_id for frame in frames if "END_STREAM" in frame.flags] == [1]
        await client.stream.aclose()
        await host.check()


async def test_who_comes_out_of_the_queue_of_a_server_that_drains_is_answered(autojump_clock: MockClock) -> None:
    async with hosted() as host:
        await host.context.terminated.set()
        client = Client(host.connect("h2"))
        await trio.testing.wait_all_tasks_blocked()
        await client.send(1, GET)
        await client.listen()
        assert (client.status(1), client.goaway(), client.ended) == (200, ErrorCodes.NO_ERROR, True)
        await client.stream.aclose()
        await host.check()


def frames_of(data: bytes) -> list[Any]:
    """What a server has sent, frame by frame: h2's own client reads no stream any more after a GOAWAY."""
    frames = []
    while data:
        frame, size = Frame.parse_frame_header(memoryview(data[:9]))
        frame.parse_body(memoryview(data[9 : 9 + size]))
        frames.append(frame)
        data = data[9 + size :]
    return frames
