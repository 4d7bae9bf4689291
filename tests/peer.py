"""A WebSocket client that sends what it is told, legal or not, and reads only when it is told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import trio

from triolet.testing.network import KERNEL_BYTES, ClientEnd
from triolet.testing.server import MemoryServer

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
MASK = b"\x00\x00\x00\x00"
UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Frame(NamedTuple):
    """A frame of the server's."""

    opcode: int
    payload: bytes


class Peer:
    """One client. ``stream`` is its end of the connection."""

    def __init__(self, stream: ClientEnd) -> None:
        self.stream = stream
        self._buffer = b""

    async def send(self, opcode: int, payload: bytes | str = b"", *, fin: bool = True, mask: bool = True) -> None:
        """Send a frame."""
        await self.stream.send_all(encode(opcode, payload, fin=fin, mask=mask))

    async def say(self, **message: Any) -> None:
        """Send a JSON message."""
        await self.send(TEXT, json.dumps(message))

    async def frame(self) -> Frame | None:
        """The next frame, or None at the end of the connection."""
        head = await self._read(2)
        if head is None:
            return None
        size = head[1]
        assert size < 128, "a server masks nothing"
        if size > 125:
            size = int.from_bytes(await self._read(2 if size == 126 else 8) or b"", "big")
        payload = await self._read(size)
        assert payload is not None, "the connection ended within a frame"
        return Frame(head[0] & 0x0F, payload)

    async def message(self) -> dict[str, Any]:
        """The next JSON message; what is no text is passed over."""
        while (frame := await self.frame()) is not None:
            if frame.opcode == TEXT:
                message: dict[str, Any] = json.loads(frame.payload)
                return message
        raise EOFError("the connection has ended")

    async def until(self, kind: str) -> dict[str, Any]:
        """The next message of a type."""
        while (message := await self.message())["type"] != kind:
            pass
        return message

    async def ended(self) -> int | None:
        """Read to the end of the connection; the code of its close frame. None where there was none."""
        code: int | None = None
        try:
            while (frame := await self.frame()) is not None:
                if frame.opcode == CLOSE:
                    code = int.from_bytes(frame.payload[:2], "big")
        except trio.BrokenResourceError:
            pass
        return code

    async def _read(self, size: int) -> bytes | None:
        while len(self._buffer) < size:
            data = await self.stream.receive_some()
            if not data:
                return None
            self._buffer += data
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken


def encode(opcode: int, payload: bytes | str = b"", *, fin: bool = True, mask: bool = True) -> bytes:
    """A client's frame."""
    data = payload.encode() if isinstance(payload, str) else payload
    first = (0x80 if fin else 0) | opcode
    flag = 0x80 if mask else 0
    if len(data) < 126:
        head = bytes((first, flag | len(data)))
    elif len(data) < 65_536:
        head = bytes((first, flag | 126)) + len(data).to_bytes(2, "big")
    else:
        head = bytes((first, flag | 127)) + len(data).to_bytes(8, "big")
    return head + (MASK if mask else b"") + data


@asynccontextmanager
async def peer(server: MemoryServer, path: str, *, kernel_bytes: int = KERNEL_BYTES) -> AsyncIterator[Peer]:
    """Open a WebSocket; at the end of the block the client is gone."""
    stream = server.connect(kernel_bytes=kernel_bytes)
    try:
        await stream.send_all(UPGRADE.format(path=path).encode())
        opened = Peer(stream)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = await opened._read(1)
            if byte is None:
                raise trio.BrokenResourceError(f"ended after {head!r}")
            head += byte
        assert head.startswith(b"HTTP/1.1 101"), head
        yield opened
    finally:
        stream.reset()
