"""What every guarded connection shares: the inbox, and the version that all of it was written against."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import hypercorn.protocol.h2
import hypercorn.protocol.h11
import hypercorn.protocol.ws_stream
import hypercorn.trio.tcp_server
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from triolet.budget import Budget
from triolet.http.app_task import Inbox
from triolet.limits import Limits
from triolet.sockets.server_state import stream_of
from triolet.sockets.stream import ClientStream

from .guarding import demo_app, hosted
from .test_websocket import frame, request


def test_hypercorn_is_the_version_that_the_guard_was_written_against() -> None:
    """At the next version look at what the subclasses stand on, and run FINDINGS' shapes against the stock one:

    - ``TCPServer``: ``__init__``, ``send_lock``; run, reading, closing and writing are all ours.
    - ``H11Protocol``: ``stream_send``, ``_send_h11_event``, ``_maybe_recycle``, ``_close_stream``, and the keep-alive
      count; what reads is ours. ``H11WSConnection``: its ``our_state`` of None is what ends a WebSocket's connection.
    - ``HTTPStream``, ``WSStream``: ``handle`` of a Request (the scope), ``app_send``, ``_send_error_response``.
    - ``H2Protocol``: ``stream_send``, ``send_task``, ``_close_stream``, ``_window_updated``, and which h2 events
      ``_handle_events`` knows; ``_create_stream`` is ours and must make what theirs makes.
    - ``TaskGroup._handle``: the contract that AppGroup keeps: ``send(None)`` when the app has returned.
    """
    assert importlib.metadata.version("hypercorn").startswith("0.18.")


def test_nothing_is_rebound_inside_hypercorn() -> None:
    for module, name in [
        (hypercorn.trio.tcp_server, "ProtocolWrapper"),
        (hypercorn.protocol.h11, "WSStream"),
        (hypercorn.protocol.h11, "HTTPStream"),
        (hypercorn.protocol.h2, "WSStream"),
        (hypercorn.protocol.ws_stream, "Handshake"),
    ]:
        assert getattr(module, name).__module__.startswith("hypercorn.")


class TestInbox:
    def inbox(self, **limits: Any) -> tuple[Inbox, list[str]]:
        woken: list[str] = []
        return Inbox(Limits(**limits), lambda: woken.append("room"), Budget(1 << 30)), woken

    async def test_it_is_full_in_bytes_and_in_messages(self) -> None:
        inbox, woken = self.inbox(inbox_bytes=10, inbox_messages=2)
        await inbox(text("12345"))
        assert not inbox.full
        await inbox(text("6"))
        assert inbox.full
        await inbox.receive()
        assert (inbox.full, woken) == (False, ["room"])
        await inbox(text("1" * 9))
        assert inbox.full

    async def test_tracked_messages_count_until_they_are_used_up(self) -> None:
        inbox, woken = self.inbox(inbox_messages=1)
        inbox.tracked = True
        await inbox(text("a"))
        await inbox.receive()
        assert (inbox.full, woken) == (True, [])
        inbox.used_up()
        assert (inbox.full, woken) == (False, ["room"])

    async def test_the_disconnect_comes_last_and_again(self) -> None:
        inbox, _ = self.inbox(inbox_messages=1)
        gone = {"type": "websocket.disconnect", "code": 1006}
        await inbox(text("a"))
        await inbox(gone)
        assert [await inbox.receive() for _ in range(3)] == [text("a"), gone, gone]

    async def test_after_the_app_nothing_is_kept(self) -> None:
        inbox, woken = self.inbox(inbox_messages=1)
        await inbox(text("a"))
        inbox.close()
        await inbox(text("b"))
        assert (inbox.full, woken) == (False, ["room"])


def text(data: str) -> dict[str, Any]:
    return {"type": "websocket.receive", "text": data, "bytes": None}


class TestServer:
    async def test_each_scope_has_its_stream(self, autojump_clock: MockClock) -> None:
        found = []

        async def app(scope: dict[str, Any], receive: object, send: Any) -> None:
            found.append(stream_of(scope))
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        async with hosted(app) as host:
            await host.ask(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert isinstance(found[0], ClientStream)

    async def test_a_cancelled_connection_is_reset_at_once(self, autojump_clock: MockClock) -> None:
        for alpn, ask in (("", b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"), ("h2", b""), ("", request(b"/deaf"))):
            async with hosted() as host:
                client = host.connect(alpn, kernel_bytes=10)
                with trio.move_on_after(1):
                    await client.send_all(ask)
                    await trio.sleep_forever()
            assert trio.current_time() < 4
            assert host.links[0].closed

    async def test_a_client_that_is_gone_before_it_is_served_is_no_crash(self, autojump_clock: MockClock) -> None:
        async with hosted() as host:
            host.connect().reset()
            host.connect("h2").reset()
            await host.check()


class TestAnyBytes:
    """Whatever comes, the connection ends by itself and takes nothing with it."""

    @settings(max_examples=60)
    @given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(list(b"\r\n\r\n :,"))), max_size=10))
    def test_over_http(self, pieces: list[Any]) -> None:
        head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
        rest = b"".join(piece if isinstance(piece, bytes) else bytes((piece,)) for piece in pieces)
        send_any(head + rest, "")

    @settings(max_examples=60)
    @given(st.binary(max_size=60), st.booleans())
    def test_over_websocket(self, data: bytes, begun: bool) -> None:
        send_any(request() + frame(0x01, b"begun") * begun + data, "")

    @settings(max_examples=60)
    @given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 255), st.integers(0, 5), st.binary(max_size=12))))
    def test_over_http_2(self, frames: list[tuple[int, int, int, bytes]]) -> None:
        data = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
        for kind, flags, stream_id, payload in frames:
            data += len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream_id.to_bytes(4, "big") + payload
        send_any(data, "h2")


def send_any(data: bytes, alpn: str) -> None:
    """Send it, listen for a while, go; and nothing is left."""

    async def main() -> None:
        async with hosted(demo_app()) as host:
            client = host.connect(alpn)
            with trio.move_on_after(1):
                await client.send_all(data)
                while await client.receive_some():
                    pass
            await client.aclose()
            await trio.sleep(3)
            await host.check()

    trio.run(main, clock=MockClock(autojump_threshold=0))
