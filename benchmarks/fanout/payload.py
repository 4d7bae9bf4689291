"""The event that everybody sends: the same shape and, to a byte or two, the same 220 bytes on the wire.

Its data carries the clock's nanoseconds at publishing (for latencies) and a pad that fills it up.
"""

from __future__ import annotations

import json
import time
from typing import Final

__all__ = ["CHANNEL", "SIZE", "data", "frame", "sse_block", "sse_data", "websocket_text"]

SIZE: Final = 220
"""Bytes of one event on the wire: a WebSocket frame, or an SSE block and the chunk around it."""

CHANNEL: Final = "bench"

_CURSOR = "0123abcd.000001"
_WEBSOCKET_HEAD = 4
_CHUNK = len(b"d4\r\n\r\n")
_NCHAN_ID = len("id: 1700000000:0\n")


def data(transport: str, size: int = SIZE) -> dict[str, object]:
    """Return what an app publishes so that an event fills so many bytes on this transport."""
    now = time.monotonic_ns()
    bare = len(_text(now, "") if transport == "ws" else _block(now, ""))
    room = size - (_WEBSOCKET_HEAD if transport == "ws" else _CHUNK)
    return {"t": now, "pad": "x" * (room - bare)}


def websocket_text(size: int = SIZE) -> str:
    """Return the text of one WebSocket frame, as Triolet would write it."""
    value = data("ws", size)
    return _text(value["t"], value["pad"])


def sse_block(size: int = SIZE) -> bytes:
    """Return one event of an event stream, as Triolet would write it."""
    value = data("sse", size)
    return _block(value["t"], value["pad"]).encode()


def sse_data(size: int = SIZE) -> str:
    """Return what stands behind ``data:`` in a block of nchan's, which writes an id of its own, and no chunks."""
    now = time.monotonic_ns()
    bare = _NCHAN_ID + len(f"data: {_data(now, '')}\n\n")
    return _data(now, "x" * (size - bare))


def frame(transport: str) -> bytes:
    """Return the bytes on the wire, framing and all, for the C loop, with 19 characters for the time."""
    stamp = " " * 19
    if transport == "ws":
        text = _text(stamp, "x" * (SIZE - _WEBSOCKET_HEAD - len(_text(stamp, "")))).encode()
        return b"\x81\x7e" + len(text).to_bytes(2, "big") + text
    block = _block(stamp, "x" * (SIZE - _CHUNK - len(_block(stamp, "")))).encode()
    return b"%x\r\n%b\r\n" % (len(block), block)


def _data(stamp: object, pad: object) -> str:
    return f'{{"t":{stamp},"pad":{json.dumps(pad)}}}'


def _text(stamp: object, pad: object) -> str:
    return (
        f'{{"type":"event","channel":"{CHANNEL}","id":"{_CURSOR}","event":"message",'
        f'"data":{_data(stamp, pad)},"time":{time.time_ns() // 1_000_000}}}'
    )


def _block(stamp: object, pad: object) -> str:
    millis = time.time_ns() // 1_000_000
    return f"id: {_CURSOR}\nevent: message\ndata: {_data(stamp, pad)}\ntime: {millis}\n\n"
