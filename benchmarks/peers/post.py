"""nchan's publisher: HTTP POST over keep-alive connections, for nginx runs no app's code.

    python -m benchmarks.peers.post PORT

Obeys lines as ``sender.c`` does: ``start RATE BURST TRANSPORT SIZE``, ``stop``, ``report``, ``quit``. With a rate, a
burst goes out in one write; saturated, the next follows when the answers are there, on two connections in turn, so
that nginx always has one to work on.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time

from benchmarks.fanout.payload import sse_data, websocket_text

HEAD = "POST /publish HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n"


class Lines:
    """The lines of standard input, of which one may be asked whether it has come.

    Python's own reader takes as much as there is: what is in its buffer, ``select`` on the descriptor does not see.
    """

    def __init__(self) -> None:
        self._rest = b""

    def come(self, seconds: float) -> bool:
        """Wait so long, at most, for a line or the end."""
        return b"\n" in self._rest or bool(select.select([0], [], [], seconds)[0])

    def next(self) -> list[str]:
        """The words of the next line; none at the end."""
        while b"\n" not in self._rest:
            data = os.read(0, 1 << 12)
            if not data:
                return []
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode().split()


class Poster:
    """One connection, and the answers that it still owes."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""
        self.owed = 0

    def post(self, transport: str, size: int, burst: int) -> None:
        requests = b""
        for _ in range(burst):
            body = websocket_text(size) if transport == "ws" else sse_data(size)
            requests += (HEAD.format(len(body)) + body).encode()
        self._socket.sendall(requests)
        self.owed += burst

    def settle(self) -> None:
        """Wait for all answers."""
        while self.owed:
            self._rest += self._socket.recv(1 << 16)
            while (end := self._rest.find(b"\r\n\r\n")) >= 0:
                head = self._rest[:end].lower()
                if not head.startswith(b"http/1.1 20"):
                    sys.exit(f"nchan refused: {head.decode()}")
                length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
                if len(self._rest) < end + 4 + length:
                    break
                self._rest = self._rest[end + 4 + length :]
                self.owed -= 1


def publish(lines: Lines, posters: list[Poster], rate: float, burst: int, transport: str, size: int) -> int:
    """Publish until a line comes in; return how many events."""
    published, due = 0, time.monotonic()
    for turn in range(1 << 62):
        poster = posters[turn % 2]
        poster.settle()
        poster.post(transport, size, burst)
        published += burst
        due += 1 / rate if rate else 0
        wait = max(0.0, due - time.monotonic()) if rate else 0.0
        if lines.come(wait):
            break
    for poster in posters:
        poster.settle()
    return published


def main() -> None:
    posters = [Poster(int(sys.argv[1])) for _ in range(2)]
    lines, published = Lines(), 0
    print("ready", flush=True)
    while (line := lines.next()) and line[0] != "quit":
        if line[0] == "start":
            published += publish(lines, posters, float(line[1]), int(line[2]), line[3], int(line[4]))
        elif line[0] == "report":
            print(json.dumps({"published": published}), flush=True)


if __name__ == "__main__":
    main()
