"""The clients: so many connections, one command in flight on each, over plain sockets and one epoll loop.

    python -m benchmarks.commands.load PORT WAY CONNECTIONS SECONDS

It prints one line of JSON: how many were answered, in how many seconds, and the CPU that this process used.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import time
import uuid

import msgspec

__all__ = ["main"]

BODY = b'{"table":4}'
CHANNELS = 64
MASK = b"\x00\x00\x00\x00"  # a mask that changes nothing: what is measured is the server


def request(way: str, number: int) -> bytes:
    """One command, with an id of its own."""
    url = b"/orders/A%d/pick" % (number % CHANNELS)
    name = uuid.UUID(int=number).bytes.hex().encode()
    if way == "post":
        head = b"POST %b HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n" % url
        return head + b'Idempotency-Key: "%b"\r\nContent-Length: %d\r\n\r\n%b' % (name, len(BODY), BODY)
    text = b'{"type":"command","id":"%b","url":"%b","data":%b}' % (name, url, BODY)
    size = bytes((0x80 | len(text),)) if len(text) < 126 else b"\xfe" + struct.pack("!H", len(text))
    return b"\x81" + size + MASK + text


def answered(way: str, data: bytes) -> bool:
    """Whether an answer is whole, and good."""
    if way == "ws":  # a beat or a ping may come behind it
        _, found, reply = data.partition(b'"status":')
        if found and b"}}" in reply and not reply.startswith(b"2"):
            raise SystemExit(f"not answered: {data[-200:]!r}")
        return b"}}" in reply
    head, found, body = data.partition(b"\r\n\r\n")
    if not found:
        return False
    if not head.startswith(b"HTTP/1.1 2"):
        raise SystemExit(f"not answered: {data[:300]!r}")
    length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
    return len(body) >= int(length)


def connect(port: int, way: str) -> socket.socket:
    """A connection on which commands can be asked."""
    connected = socket.create_connection(("127.0.0.1", port), 10)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if way == "ws":
        key = b"dGhlIHNhbXBsZSBub25jZQ=="
        head = b"GET /live HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        connected.sendall(head + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n" % key)
        data = b""
        while b"\r\n\r\n" not in data:
            data += connected.recv(4096)
        if not data.startswith(b"HTTP/1.1 101"):
            raise SystemExit(f"no WebSocket: {data[:200]!r}")
    return connected


def main() -> None:
    """Ask for so long, one after the other on each connection."""
    port, way, connections, seconds = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    clients = {}
    poll = select.epoll()
    for _ in range(connections):
        client = connect(port, way)
        clients[client.fileno()] = (client, [b""])
        poll.register(client.fileno(), select.EPOLLIN)
    number = time.time_ns()
    done = 0
    began, cpu = time.monotonic(), time.process_time()
    for client, _ in clients.values():
        client.sendall(request(way, number := number + 1))
    until, waiting = began + seconds, len(clients)
    while waiting:
        for descriptor, _ in poll.poll(10):
            client, held = clients[descriptor]
            data = client.recv(65_536)
            if not data:
                raise SystemExit(f"the server closed a connection: {held[0][-200:]!r}")
            held[0] += data
            if not answered(way, held[0]):
                continue
            held[0] = b""
            done += 1
            if time.monotonic() < until:
                client.sendall(request(way, number := number + 1))
            else:
                waiting -= 1
    took = time.monotonic() - began
    print(msgspec.json.encode({"done": done, "seconds": took, "cpu": time.process_time() - cpu}).decode(), flush=True)


if __name__ == "__main__":
    main()
