"""A client's connection that speaks HTTP/2, for clients that speak HTTP/1.1: each of them has one stream.

So every client of the kit, and all that is expected of it, holds over HTTP/2 as it stands: a request becomes HEADERS
and DATA, an upgrade an extended CONNECT (RFC 8441), and what comes back is written as HTTP/1.1 again. Nothing is read
from the connection unless the client reads, so one that has frozen acknowledges nothing.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any, Final

import h2.events
import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

__all__ = ["Http2End"]

STREAM: Final = 1
NO_BODY: Final = {b"204", b"304"}
OF_ONE_HOP: Final = {b"connection", b"upgrade", b"host", b"transfer-encoding", b"sec-websocket-key", b"keep-alive"}
GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Http2End:
    """The client's end of a connection, over another one's bytes.

    Args:
        below: a stream on which HTTP/2 was agreed: ``send_all``, ``receive_some``, ``reset``, ``aclose``.
    """

    def __init__(self, below: Any) -> None:
        self.below = below
        self.reset = below.reset
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._asked = b""  # of the request's head, until it is whole
        self._key: bytes | None = None  # of an upgrade
        self._begun = False
        self._left: int | None = 0  # bytes of the request's body that are to come; None: a WebSocket, without end
        self._answer = bytearray()
        self._chunked = False
        self._settled = False
        self._over = False
        self._reading = trio.Lock()
        self._sending = trio.Lock()
        self._flushing = trio.Lock()

    async def send_all(self, data: Any) -> None:
        """Send bytes of HTTP/1.1."""
        if not self._begun:
            self._asked += bytes(data)
            head, end, data = self._asked.partition(b"\r\n\r\n")
            if not end:
                return
            await self._begin(head)
        await self._send_body(bytes(data))

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What has come, as HTTP/1.1; ``b""`` at the end."""
        while not self._answer:
            if self._over:
                return b""
            await self._pump(lambda: bool(self._answer) or self._over)
        taken = bytes(self._answer[: max_bytes or 1 << 16])
        del self._answer[: len(taken)]
        return taken

    async def aclose(self) -> None:
        """Close the connection."""
        await self.below.aclose()

    # --- the request

    async def _begin(self, head: bytes) -> None:
        first, *lines = head.split(b"\r\n")
        method, target, _ = first.split(b" ")
        fields = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
        named = dict(fields)
        self._h2.initiate_connection()
        await self._flush()
        pseudo = [(b":scheme", b"https"), (b":path", target), (b":authority", named.get(b"host", b"test"))]
        self._key = named.get(b"sec-websocket-key")
        if self._key is not None:
            await self._wait_for_settings()
            pseudo = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *pseudo]
            self._left = None
        else:
            pseudo = [(b":method", method), *pseudo]
            self._left = int(named.get(b"content-length", b"0"))
        self._begun = True
        others = [(name, value) for name, value in fields if name not in OF_ONE_HOP]
        self._h2.send_headers(STREAM, [*pseudo, *others], end_stream=self._left == 0)
        await self._flush()

    async def _wait_for_settings(self) -> None:
        while not self._settled:
            await self._pump(lambda: self._settled or self._over)
            if self._over:
                raise trio.BrokenResourceError("the connection ended before it was known what the server can do")

    async def _send_body(self, data: bytes) -> None:
        async with self._sending:
            while data:
                if self._over and self._answer:
                    return  # it was answered before it was asked to its end (RFC 9113 section 8.1)
                if self._over:
                    raise trio.BrokenResourceError("the stream has ended")
                window = self._window()
                if window <= 0:
                    await self._pump(lambda: self._over or self._window() > 0)
                    continue
                piece, data = data[:window], data[window:]
                if self._left is not None:
                    self._left -= len(piece)
                try:
                    self._h2.send_data(STREAM, piece, end_stream=self._left == 0)
                except ProtocolError:
                    raise trio.BrokenResourceError("the stream has ended") from None
                await self._flush()

    def _window(self) -> int:
        try:
            return min(self._h2.local_flow_control_window(STREAM), self._h2.max_outbound_frame_size)
        except ProtocolError:
            return 1  # it has ended, and sending will show that

    # --- the answer

    async def _pump(self, done: Any) -> None:
        """Read once, unless another task does, and what it reads is what was waited for."""
        async with self._reading:
            if done():
                return
            data = await self.below.receive_some()
            if not data:
                self._over = True
                return
            try:
                events = self._h2.receive_data(bytes(data))
            except ProtocolError as error:
                raise trio.BrokenResourceError(f"no HTTP/2: {error}") from None
            for event in events:
                self._take(event)
            await self._flush()

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RemoteSettingsChanged):
            self._settled = True
        elif isinstance(event, h2.events.ResponseReceived):
            self._answer += self._head(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            chunk = b"%x\r\n%b\r\n" % (len(event.data), event.data)
            self._answer += chunk if self._chunked and event.data else event.data
            self._h2.acknowledge_received_data(event.flow_controlled_length, STREAM)
        elif isinstance(event, h2.events.StreamEnded):
            self._answer += b"0\r\n\r\n" if self._chunked else b""
            self._over = True
        elif isinstance(event, h2.events.StreamReset):
            self._over = True
            if event.error_code != ErrorCodes.NO_ERROR and not self._answer:
                raise trio.BrokenResourceError(f"the stream was reset: {event.error_code!r}")
        elif isinstance(event, h2.events.ConnectionTerminated):
            self._over = True

    def _head(self, headers: Any) -> bytes:
        fields = [(bytes(name), bytes(value)) for name, value in headers]
        status = dict(fields)[b":status"]
        kept = [(name, value) for name, value in fields if not name.startswith(b":")]
        if self._key is not None and status == b"200":
            token = base64.b64encode(hashlib.sha1(self._key + GUID).digest())
            kept += [(b"connection", b"Upgrade"), (b"upgrade", b"websocket"), (b"sec-websocket-accept", token)]
            return _lines(b"101", kept)
        if status not in NO_BODY and b"content-length" not in dict(kept):
            self._chunked = True
            kept.append((b"transfer-encoding", b"chunked"))
        return _lines(status, kept)

    async def _flush(self) -> None:
        async with self._flushing:
            data = self._h2.data_to_send()
            if data:
                await self.below.send_all(data)


def _lines(status: bytes, fields: list[tuple[bytes, bytes]]) -> bytes:
    lines = [b"HTTP/1.1 %b -" % status, *(b"%b: %b" % pair for pair in fields)]
    return b"\r\n".join(lines) + b"\r\n\r\n"
