"""The yardstick: bare Trio, one task a connection, and frames made by hand; text is sent back as it came.

    python -m benchmarks.upward.trio_server PORT each|together

``each``: every reply leaves in a ``send_all`` of its own; ``together``: those of one read in one. It knows short frames
only, no fragments, no pings and no closing: what a server does for those comes on top.
"""

from __future__ import annotations

import base64
import sys
from functools import partial
from hashlib import sha1

import trio

from benchmarks.bare_trio import ANSWER, GUID

__all__ = ["talk"]


async def talk(stream: trio.SocketStream, together: bool) -> None:
    """Serve one connection."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        came = await stream.receive_some()
        if not came:  # who only looked whether somebody listens
            return
        data += came
    lines = dict(line.split(b": ", 1) for line in data.split(b"\r\n") if b": " in line)
    await stream.send_all(ANSWER % base64.b64encode(sha1(lines[b"sec-websocket-key"] + GUID).digest()))
    data = b""
    try:
        while came := await stream.receive_some(65_536):
            data += came
            replies, at = [], 0
            while len(data) >= at + 6 and len(data) >= at + 6 + (size := data[at + 1] & 127):
                replies.append(b"\x81" + bytes((size,)) + unmasked(data[at + 2 : at + 6], data[at + 6 : at + 6 + size]))
                at += 6 + size
            data = data[at:]
            if together:
                await stream.send_all(b"".join(replies))
            else:
                for reply in replies:
                    await stream.send_all(reply)
    except trio.BrokenResourceError:
        pass


def unmasked(mask: bytes, payload: bytes) -> bytes:
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


async def main(port: int, how: str) -> None:
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1", backlog=2_048)
    await trio.serve_listeners(partial(talk, together=how == "together"), listeners)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), sys.argv[2])
