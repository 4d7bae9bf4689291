"""WebSocket (RFC 6455): straight on a stream of ours, or behind another server's ASGI."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias

import trio

from ..bounds import READ_BYTES
from ..closing import GONE, NORMAL, SILENT, TOO_BIG, Closing
from ..connection import Connection
from ..connection.reader import AskCommand, MessageHandler, read
from ..connection.writer import write_head
from ..errors import RemoteError
from ..wire.rate_limit import message_rate
from ..wire.session import Session, State
from .contract import Child, Transport, bye, serve
from .outlets import Receive, Send

__all__ = ["SUBPROTOCOL", "Handler", "serve_asgi", "serve_stream"]

SUBPROTOCOL = "triolet.1"

Handler: TypeAlias = Callable[[Connection], Awaitable[None]]
"""The app's own, of a ``live.socket``."""


async def serve_stream(
    conn: Connection,
    stream: trio.abc.Stream,
    head: bytes,
    session: Session,
    first: bytes,
    handler: Handler | None,
    ask: AskCommand | None = None,
) -> None:
    """Serve an accepted WebSocket on a stream, until it ends.

    Args:
        conn: the connection, whose outlet writes to that stream.
        stream: the client's.
        head: the answer to the upgrade.
        session: reads what comes from it.
        first: what came behind the request already.
        handler: the app's, of a ``live.socket``.
        ask: has the client's commands done; None where it may ask for none.

    Cancellation: the connection is reset.
    """
    await serve(conn, StreamedWebSocket(handler, ask, stream, head, session, first))


async def serve_asgi(
    conn: Connection,
    receive: Receive,
    send: Send,
    accept: Any,
    handler: Handler | None,
    ask: AskCommand | None = None,
) -> None:
    """Serve a WebSocket through another server, which makes the frames and answers pings.

    Args:
        conn: the connection, on the outlet of :func:`~.outlets.websocket_outlet`.
        receive: ASGI's.
        send: ASGI's.
        accept: the message that accepts the WebSocket, of type ``websocket.accept``.
        handler: the app's, of a ``live.socket``.
        ask: has the client's commands done; None where it may ask for none.

    Cancellation: the other server closes the connection in its own way.
    """
    await serve(conn, AsgiWebSocket(handler, ask, receive, send, accept))


class WebSocket(Transport):
    """What both ways have in common: the app's handler and commands, and the last words."""

    __slots__ = ("_ask", "_handler")

    def __init__(self, handler: Handler | None, ask: AskCommand | None) -> None:
        self._handler = handler
        self._ask = ask

    def children(self) -> tuple[Child, ...]:
        children = super().children()
        return children if self._handler is None else (*children, partial(_handle, self._handler))

    async def last_words(self, conn: Connection, closing: Closing) -> None:
        """Say what the app has sent already, and the bye."""
        await conn.outlet.drained()
        while (batch := conn.outgoing.take()) is not None:
            conn.outlet.write(batch)
            await conn.outlet.drained()
        if conn.raw is None and not conn.peer_closed:
            await bye(conn, closing)


class StreamedWebSocket(WebSocket):
    """Frames of our own, straight on the client's stream."""

    __slots__ = ("_first", "_head", "_session", "_stream")

    pings = True
    owns_socket = True

    def __init__(
        self,
        handler: Handler | None,
        ask: AskCommand | None,
        stream: trio.abc.Stream,
        head: bytes,
        session: Session,
        first: bytes,
    ) -> None:
        super().__init__(handler, ask)
        self._stream = stream
        self._head = head
        self._session = session
        self._first = first

    async def open(self, conn: Connection) -> None:
        head, self._head = self._head, b""  # a WebSocket may last for days
        await write_head(conn, head)

    async def read(self, conn: Connection) -> None:
        first, self._first = self._first, b""
        await read(conn, self._stream, self._session, first, self._ask)

    async def goodbye(self, conn: Connection, closing: Closing) -> None:
        """Bye and close frame; then the peer's, unless it came first, so that no reset overtakes ours (RFC 6455
        section 7.1.1)."""
        await self.last_words(conn, closing)
        conn.outlet.write(self._session.close(closing.code, closing.reason))
        await conn.outlet.drained()
        if isinstance(self._stream, trio.abc.HalfCloseableStream):
            await self._stream.send_eof()
        await _peer_closes(self._stream, self._session)
        await self._stream.aclose()


class AsgiWebSocket(WebSocket):
    """Messages through ASGI; the server below makes and reads the frames."""

    __slots__ = ("_accept", "_receive", "_send")

    def __init__(
        self, handler: Handler | None, ask: AskCommand | None, receive: Receive, send: Send, accept: Any
    ) -> None:
        super().__init__(handler, ask)
        self._receive = receive
        self._send = send
        self._accept = accept

    async def open(self, conn: Connection) -> None:
        accept, self._accept = self._accept, None
        await self._send(accept)

    async def read(self, conn: Connection) -> None:
        incoming, rate = MessageHandler(conn, self._ask), message_rate(conn.limits)
        try:
            while True:
                message = await self._receive()
                if message["type"] == "websocket.disconnect":
                    conn.peer_closed = True
                    # The server below pings, where it is ours, and says so when nothing was answered.
                    raise RemoteError(SILENT if message.get("code") == SILENT.code else GONE)
                conn.heard_at = trio.current_time()
                data = message.get("text")
                data = message.get("bytes") or b"" if data is None else data
                if len(data) > conn.limits.message_bytes:
                    raise RemoteError(TOO_BIG)
                if early := rate.take(conn.heard_at):
                    await trio.sleep(early)
                late = incoming.message(data, len(data))
                incoming.settle()
                if late is not None:
                    await late
        except RemoteError as error:
            conn.end(error.closing)
        finally:
            incoming.leave()

    async def goodbye(self, conn: Connection, closing: Closing) -> None:
        if conn.peer_closed:
            return
        await self.last_words(conn, closing)
        await self._send({"type": "websocket.close", "code": closing.code, "reason": closing.reason})
        # Hypercorn keeps socket and tasks where what came in is left unread.
        while (await self._receive())["type"] != "websocket.disconnect":
            pass


async def _handle(handler: Handler, conn: Connection) -> None:
    await handler(conn)
    conn.end(NORMAL)


async def _peer_closes(stream: trio.abc.Stream, session: Session) -> None:
    """Read until the peer's close frame, or its end. Once it has broken a rule, what it sends is thrown away unread."""
    try:
        while session.state is not State.CLOSED and (data := await stream.receive_some(READ_BYTES)):
            with suppress(RemoteError):
                deque(session.receive(bytes(data), trio.current_time()), maxlen=0)
                while session.behind:
                    await trio.lowlevel.checkpoint()
                    deque(session.receive(b"", trio.current_time()), maxlen=0)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # gone: so it has read what it wanted
