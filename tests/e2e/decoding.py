"""What a server's bytes say, taken in as they come: for raw clients that read a little at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator

from .clients import Message, sse_messages
from .raw import CLOSE, PING, TEXT

__all__ = ["EventStreamDecoder", "WebSocketDecoder"]


class WebSocketDecoder:
    """Frames of a server, as messages; a ping is ``{"type": "ping"}``, a close frame ``{"type": "close", "code"}``."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, received: bytes) -> Iterator[Message]:
        """Yield what is complete now."""
        data = self._bytes
        data += received
        start = 0
        while len(data) >= start + 2:
            size, at = data[start + 1] & 0x7F, start + 2
            if size > 125:
                width = 2 if size == 126 else 8
                size, at = int.from_bytes(data[at : at + width], "big"), at + width
            if len(data) < at + size:
                break
            opcode, payload = data[start] & 0x0F, data[at : at + size]
            start = at + size
            if opcode == TEXT:
                yield json.loads(payload)
            elif opcode == PING:
                yield {"type": "ping"}
            elif opcode == CLOSE:
                yield {"type": "close", "code": int.from_bytes(payload[:2], "big")}
        del data[:start]


class EventStreamDecoder:
    """Chunks of a response, and in them blocks of an event stream."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._body = bytearray()

    def feed(self, received: bytes) -> Iterator[Message]:
        """Yield what is complete now."""
        data, body = self._bytes, self._body
        data += received
        start = 0
        while (end := data.find(b"\r\n", start)) >= 0:
            size = int(data[start:end], 16)
            if len(data) < end + 4 + size:
                break
            body += data[end + 2 : end + 2 + size]
            start = end + 4 + size
        del data[:start]
        whole = body.rfind(b"\n\n") + 2
        if whole > 1:
            lines = body[:whole].decode().split("\n")
            del body[:whole]
            yield from sse_messages(lines)
