"""The yardstick: a Trio server that accepts, reads the request, answers 101 and starts three tasks, and nothing more.

``python -m benchmarks.bare_trio`` prints the port it listens on.
"""

from __future__ import annotations

import base64
import sys
from hashlib import sha1

import trio

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"
)
BEAT = b"\x81\x04beat"


async def serve(stream: trio.SocketStream) -> None:
    """Serve one connection."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await stream.receive_some()
    lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n") if b": " in line)
    token = base64.b64encode(sha1(lines[b"sec-websocket-key"] + GUID).digest())
    await stream.send_all(ANSWER % token)
    del head, lines, token
    woken = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, stream, nursery)
        nursery.start_soon(woken.wait)
        nursery.start_soon(beat, stream)


async def read(stream: trio.SocketStream, nursery: trio.Nursery) -> None:
    try:
        while await stream.receive_some():
            pass
    except trio.BrokenResourceError:
        pass
    nursery.cancel_scope.cancel()


async def beat(stream: trio.SocketStream) -> None:
    while True:
        await trio.sleep(20)
        await stream.send_all(BEAT)


async def main() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=2_048)
    sys.stdout.write(f"{listeners[0].socket.getsockname()[1]}\n")
    sys.stdout.flush()
    await trio.serve_listeners(serve, listeners)


if __name__ == "__main__":
    trio.run(main)
