"""Readers that come all at once, and how long it takes until each has what it came for: plain sockets and one loop.

    python -m benchmarks.runs.comers PORT ws|sse PATH READERS MARK SECONDS

Each has it when the text MARK has come. Prints one line of JSON: for each reader the milliseconds since all began to
connect, the bytes that came by then, and the tokens that were in what came to the first one, which are looked at one by
one. Who has not got it after so many seconds is said, and this fails.
"""

from __future__ import annotations

import re
import select
import socket
import sys
import time

import msgspec

__all__ = ["Came", "main"]

READ = 1 << 18
ASK = {
    "ws": "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    "sse": "Accept: text/event-stream\r\n",
}
CHUNK = re.compile(rb"([0-9a-fA-F]+)\r\n")


class Came(msgspec.Struct, frozen=True):
    """What all readers have got: ``tokens`` is whether the first one's were whole and in order, and how many."""

    milliseconds: list[float]
    bytes: int
    tokens: int
    in_order: bool
    cpu: float


class Reader:
    """One reader; the first one keeps all that it is sent."""

    def __init__(self, port: int, head: bytes, mark: bytes, *, keeps: bool) -> None:
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.connect_ex(("127.0.0.1", port))
        self.kept = bytearray()
        self.bytes = 0
        self.head = head
        self._mark = mark
        self._keeps = keeps
        self._tail = b""

    def has_it(self) -> bool:
        """Read what there is."""
        data = self.socket.recv(READ)
        if not data:
            raise SystemExit(f"the server closed a connection after {self.bytes:,} bytes: {self._tail[-200:]!r}")
        if not self.bytes and not data.startswith((b"HTTP/1.1 200", b"HTTP/1.1 101")):
            raise SystemExit(f"refused: {data[:300]!r}")
        self.bytes += len(data)
        if self._keeps:
            self.kept += data
        found = self._mark in self._tail + data
        self._tail = data[-64:]
        return found


def body(data: bytes) -> bytes:
    """What came behind the head, without the framing of chunks. Frames of WebSockets stay: no token spans two."""
    head, _, rest = data.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head.lower():
        return rest
    parts = []
    while (size := CHUNK.match(rest)) is not None:
        start, length = size.end(), int(size[1], 16)
        parts.append(rest[start : start + length])
        rest = rest[start + length + 2 :]
    return b"".join(parts)


def main() -> None:
    """Come, and wait until all have it."""
    port, way, path, count, mark, seconds = sys.argv[1:]
    head = f"GET {path} HTTP/1.1\r\nHost: bench\r\n{ASK[way]}\r\n"
    poll = select.epoll()
    began = time.monotonic()
    waiting = {}
    for number in range(int(count)):
        reader = Reader(int(port), head.encode(), mark.encode(), keeps=number == 0)
        waiting[reader.socket.fileno()] = reader
        poll.register(reader.socket.fileno(), select.EPOLLOUT)
    all_of_them = list(waiting.values())
    milliseconds = []
    while waiting and time.monotonic() < began + float(seconds):
        for descriptor, _ in poll.poll(0.1):
            reader = waiting[descriptor]
            if reader.head:
                reader.socket.sendall(reader.head)
                reader.head = b""
                poll.modify(descriptor, select.EPOLLIN)
            elif reader.has_it():
                milliseconds.append((time.monotonic() - began) * 1e3)
                poll.unregister(descriptor)
                del waiting[descriptor]
    if waiting:
        raise SystemExit(f"{len(waiting)} of {count} readers did not get it all in {seconds} s")
    numbers = [int(number) for number in re.findall(rb"#(\d+) ", body(bytes(all_of_them[0].kept)))]
    told = Came(
        milliseconds,
        sum(reader.bytes for reader in all_of_them),
        len(numbers),
        numbers == list(range(1, len(numbers) + 1)),
        time.process_time(),
    )
    print(msgspec.json.encode(told).decode(), flush=True)


if __name__ == "__main__":
    main()
