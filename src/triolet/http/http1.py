"""Hypercorn's HTTP/1.1, guarded: strict framing, no upgrade but to WebSocket, and nothing that waits for the app.

h11 is given exactly one request at a time: its head when that is whole and checked, then its body as far as there
is room. What comes behind it waits here, so the socket is read on and the client's end is seen at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, cast

import h11
import trio
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Body, EndBody, EndData, Request, Response, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream

from ..bounds import CRUMB_BYTES, READ_AHEAD_BYTES, WRITE_BYTES
from ..limits import Limits
from ..sockets.server_state import CONTENT_FOLLOWS, note_refusal
from ..wire import http_head as framing
from ..wire.handshake import upgrade
from ..wire.http_answer import reason
from ..wire.http_head import BadRequest, read_head, split_head
from .app_task import Inbox, send_to_nobody
from .bounds import BODY_PIECE_BYTES, CHUNKS_A_MESSAGE
from .pause import Pace
from .websocket import GuardedWebSocket

__all__ = ["GuardedH11", "GuardedHTTP", "pieces", "stream_surroundings"]


_NO_CONTENT: Final = {b"GET", b"HEAD", b"OPTIONS", b"DELETE", b"TRACE"}


def stream_surroundings(protocol: Any, stream_id: int) -> tuple[Any, ...]:
    """What Hypercorn's classes of one stream are made with, by either of its protocols."""
    return (
        protocol.app,
        protocol.config,
        protocol.context,
        protocol.task_group,
        protocol.ssl,
        protocol.client,
        protocol.server,
        protocol.stream_send,
        stream_id,
    )


def pieces(event: Body) -> Iterator[Body]:
    """A part of an answer, in parts of ``WRITE_BYTES`` that are views of it."""
    whole = memoryview(event.data)
    for start in range(0, len(whole), WRITE_BYTES):
        yield Body(event.stream_id, cast(bytes, whole[start : start + WRITE_BYTES]))


class GuardedHTTP(HTTPStream):
    """One request and its response.

    Bounds: of its body what the inbox holds, and one window of HTTP/2 beyond, as bytes: each message of an inbox takes
    300 of its own, and a window holds as many frames as bytes.
    """

    messages = 0
    """Of a WebSocket, which it is not."""

    app_put: Any
    """An Inbox, as soon as the app runs."""
    task_group: Any
    """An AppGroup."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._ahead = bytearray()  # what came over HTTP/2 while there was no room
        self._ended = False

    @property
    def content_follows(self) -> bool:
        """Whether the app has said that content follows the head of its answer at once."""
        return self.state is ASGIHTTPState.REQUEST and CONTENT_FOLLOWS in getattr(self, "response", ())

    @property
    def full(self) -> bool:
        """Whether the app has to take something of the body before more is read."""
        return bool(self._ahead) or self._inbox_full

    @property
    def _inbox_full(self) -> bool:
        return isinstance(self.app_put, Inbox) and self.app_put.full

    async def handle(self, event: StreamEvent) -> None:
        """Take in an event of the client's."""
        if isinstance(event, Body) and self.full and not self.closed:
            self._ahead += event.data
            self.task_group.hold(len(event.data))
            return
        if isinstance(event, EndBody) and self._ahead:
            self._ended = True
            return
        if isinstance(event, StreamClosed):
            self.task_group.hold(-len(self._ahead))
            self._ahead.clear()
            if self.app_put is not None and self.state is not ASGIHTTPState.CLOSED:
                self.app_put.give_up()
        await super().handle(event)

    async def read_on(self) -> None:
        """There is room again for what came in events."""
        if self._ahead and not self._inbox_full:
            content = bytes(self._ahead)
            self._ahead.clear()
            self.task_group.hold(-len(content))
            await self.take(content, self._ended)

    async def take(self, content: bytes, ended: bool) -> None:
        """Take in a part of the body; the last one says so by itself, so that the app is woken once."""
        if not self.closed:
            await self.app_put({"type": "http.request", "body": content, "more_body": not ended})

    async def app_send(self, message: Any) -> None:
        """Send what the app sends: ASGI's ``send``. To a client that is gone it does nothing, slowly."""
        if self.closed:
            await send_to_nobody(message)
            return
        try:
            await super().app_send(message)
        except h11.LocalProtocolError:
            if message is not None:
                raise
            # The app has ended without an answer, and the client with half a request: none can be given any more.
            await self.send(StreamClosed(self.stream_id))


class GuardedH11(H11Protocol):
    """HTTP/1.1 on one connection, and the WebSocket that it may become.

    Args:
        takes: asked before each request is taken in, with its head, all that came from there on, and whether there was
            one before it. Returns False where it is not to be served here: then nothing more is. It may raise
            BadRequest.
        write_now: writes without waiting, or returns False where something waits already.

    Bounds: a head of ``limits.header_bytes``; of a body ``limits.body_bytes`` (``limits.message_bytes`` where the
    method gives it no meaning), and what the app has not taken is held to the inbox's bounds; ``READ_AHEAD_BYTES``
    beyond.
    """

    stream: GuardedHTTP | GuardedWebSocket | None
    task_group: Any
    """An AppGroup."""

    def __init__(
        self,
        *args: Any,
        limits: Limits,
        takes: Callable[[framing.Head, bytes, bool], bool],
        write_now: Callable[[bytes], bool],
    ) -> None:
        super().__init__(*args)
        self._limits = limits
        self._takes = takes
        self._write_now = write_now
        self._ahead = bytearray()
        self._ahead_held = 0
        self._head = b""  # of an answer whose content follows at once
        self._body: framing.Body | None = None  # of the request that is read; None: a head is next
        self._weight = 0
        self._pace: Pace | None = None  # from the first chunk on, until the client has gone: the two hold each other
        self._pumping = False
        self._shrunk = trio.Event()

    @property
    def survives_cancelled_writes(self) -> bool:
        """Whether each write stands alone, so that one may be left out whole: WebSocket messages."""
        return isinstance(self.stream, GuardedWebSocket)

    @property
    def in_head(self) -> bool:
        """Whether a request has begun and its head is not there yet."""
        return bool(self._ahead) and self._body is None and self.stream is None

    @property
    def unread(self) -> bool:
        """Whether a request was answered before all of it had come."""
        return self._body is not None and not self._body.finished

    async def handle(self, event: Event) -> None:
        """Take in what came from the socket. It waits for the socket alone, never for the app."""
        if isinstance(event, RawData):
            self._ahead += event.data
            self._hold_ahead()
            await self._pump()
        elif isinstance(event, Closed):
            if self._pace is not None:
                self._pace.give_up()
                self._pace = None
            await self._close_stream()

    async def room(self) -> None:
        """Wait until so little is held that more may be read."""
        while len(self._ahead) >= READ_AHEAD_BYTES:
            with trio.move_on_after(self._limits.stall_seconds) as patience:
                await self._shrunk.wait()
            if patience.cancelled_caught and isinstance(self.stream, GuardedWebSocket):
                await self.stream.probe()

    def wake(self) -> None:
        """There is room for what waits: the app took something, or its answer is complete."""
        if not self._pumping and (self._ahead or isinstance(self.stream, GuardedWebSocket)):
            self.task_group.spawn(self._pump)

    async def stream_send(self, event: StreamEvent) -> None:
        """Send what a stream sends."""
        if isinstance(event, Response):
            await self._send_head(event.status_code, [*event.headers, *self.config.response_headers("h11")])
        elif isinstance(event, Body) and len(event.data) > WRITE_BYTES:
            for piece in pieces(event):
                await super().stream_send(piece)
        else:
            await super().stream_send(event)
        if isinstance(event, EndData):  # our close frame is out: the client has not for ever to answer it
            await self.send(Updated(idle=True))

    async def _send_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send the head of an answer, which says whether the connection goes on. All heads are made here.

        It does not wait for its client, so an app's content is counted while that waits, from its first byte on.
        """
        kind = h11.Response if status >= 200 else h11.InformationalResponse
        if status >= 200 and self._ends_with_this_answer:
            headers.append((b"connection", b"close"))
        await self._send_h11_event(kind(status_code=status, headers=headers, reason=reason(status).encode()))

    @property
    def _ends_with_this_answer(self) -> bool:
        """Whether the connection cannot go on: a WebSocket was refused, the server drains, this was the last request
        that it takes, or there is more of this one, which nobody may want to read."""
        return (
            isinstance(self.stream, GuardedWebSocket)
            or self.context.terminated.is_set()
            or self.keep_alive_requests >= self.config.keep_alive_max_requests
            or self._body is None
            or not self._body.finished
        )

    async def _send_h11_event(self, event: Any) -> None:
        try:
            data = self.connection.send(event)
        except h11.LocalProtocolError:
            if self.connection.their_state != h11.ERROR:
                raise
            return
        head = isinstance(event, h11.Response | h11.InformationalResponse)
        if head and isinstance(self.stream, GuardedHTTP) and self.stream.content_follows:
            self._head = data
            return
        head = head or bool(self._head)
        data, self._head = self._head + data, b""
        if data and not (head and self._write_now(data)):
            await self.send(RawData(data))

    async def _pump(self) -> None:
        if self._pumping:
            return
        self._pumping = True
        try:
            while await self._step():
                pass
        except BadRequest as error:
            await self._refuse(error)
        except h11.LocalProtocolError:  # the client has ended, and h11 takes no answer to it any more
            await self.send(Closed())
        finally:
            self._pumping = False
            self._hold_ahead()
            self._shrunk.set()
            self._shrunk = trio.Event()

    def _hold_ahead(self) -> None:
        self.task_group.hold(len(self._ahead) - self._ahead_held)
        self._ahead_held = len(self._ahead)

    async def _step(self) -> bool:
        """Use some of the bytes that wait. Returns whether it may be possible again at once."""
        if isinstance(self.stream, GuardedWebSocket):
            await self.stream.read(self._ahead)
            return False
        if self._body is None:
            return self.stream is None and await self._read_head()
        return bool(self._ahead) and not self._body.finished and await self._read_body(self._body)

    async def _read_head(self) -> bool:
        # An empty line before a request is to be ignored (RFC 9112 section 2.2).
        del self._ahead[: len(self._ahead) - len(self._ahead.lstrip(b"\r\n"))]
        end = split_head(self._ahead, self._limits.header_bytes) if self._ahead else None
        if end is None:
            return False
        head = bytes(self._ahead[:end])
        asked = read_head(head)
        if not self._takes(asked, bytes(self._ahead), self.keep_alive_requests > 0):
            self._ahead.clear()
            return False
        del self._ahead[:end]
        most = self._limits.body_bytes
        if asked.method in _NO_CONTENT:
            most = min(most, self._limits.message_bytes)
        self._body, self._weight = framing.Body(asked.framing, most), 0
        _check_size(self._body, self._weight)
        self.connection.receive_data(head)
        await self._handle_events()
        return True

    async def _read_body(self, body: framing.Body) -> bool:
        if self.stream is None:  # it was answered before it ended: the connection closes, nobody wants the rest
            self._ahead.clear()
            return False
        if self.stream.full or self._pace:
            return False
        chunks, size = body.chunks, body.size
        taken = body.take(self._ahead)
        self._weight += max(taken, BODY_PIECE_BYTES)
        _check_size(body, self._weight)
        self.connection.receive_data(bytes(self._ahead[:taken]))
        del self._ahead[:taken]
        await self._handle_events()
        if body.chunks > chunks:
            # Those that bring little cost us much more than the client. It is slowed down: that is no fault.
            crumbs = (body.chunks - chunks) / CHUNKS_A_MESSAGE - (body.size - size) / CRUMB_BYTES
            if self._pace is None:
                self._pace = Pace(self._limits, self.task_group.spawn, self.wake)
            self._pace.pay(max(0, crumbs))
            await trio.lowlevel.checkpoint()
        return True

    async def _handle_events(self) -> None:
        content = bytearray()
        while True:
            if self.connection.they_are_waiting_for_100_continue:
                await self._send_head(100, [])
            try:
                event = self.connection.next_event()
            except h11.RemoteProtocolError as error:
                raise BadRequest(error.error_status_hint, "request") from None
            if isinstance(event, h11.Request):
                await self.send(Updated(idle=False))
                await self._create_stream(event)
            elif isinstance(event, h11.Data):
                content += event.data
            else:
                break
        ended = isinstance(event, h11.EndOfMessage)
        if content and isinstance(self.stream, GuardedHTTP):
            await self.stream.take(bytes(content), ended)
            return
        if self.stream is not None and content:
            await self.stream.handle(Body(STREAM_ID, bytes(content)))
        if self.stream is not None and ended:
            await self.stream.handle(EndBody(STREAM_ID))

    async def _create_stream(self, request: h11.Request) -> None:
        asked = upgrade(request.headers, method=request.method, http_version=request.http_version)
        surroundings = stream_surroundings(self, STREAM_ID)
        if asked is None:
            self.stream = GuardedHTTP(*surroundings)
        else:
            self.stream = GuardedWebSocket(*surroundings, limits=self._limits, on_ready=self.wake)
            self.connection = H11WSConnection(cast(h11.Connection, self.connection))
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode(),
                method=request.method.decode("ascii"),
                raw_path=request.target,
                state=self.connection_state,
            )
        )
        self.keep_alive_requests += 1
        await self.context.mark_request()

    async def _refuse(self, error: BadRequest) -> None:
        """Answer with the error's status if nothing was answered yet, and end the connection."""
        self._ahead.clear()
        if self.stream is None:  # or its app has had the request, and is asked what became of it
            note_refusal(self.connection_state, self.client, error.status)
        await self._close_stream()
        if self.connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            if not self.unread:
                self._body = None  # so that it is said that this answer is the last one
            headers = [(b"content-length", b"0"), *error.headers]
            with suppress(h11.LocalProtocolError):  # an answer of the app's got ahead of ours, in the middle of it
                await self._send_head(error.status, headers)
                await self._send_h11_event(h11.EndOfMessage())
        await self.send(Closed())

    async def _maybe_recycle(self) -> None:
        await super()._maybe_recycle()
        if self.connection.our_state is h11.IDLE:
            self._body = None
            if self._ahead:  # it came while the answer was being completed, and has begun the next request
                await self.send(Updated(idle=True))
            self.wake()


def _check_size(body: framing.Body, weight: int) -> None:
    if body.size > body.most or weight > 2 * body.most:
        raise BadRequest(413, "body too large")
