"""Measure what a connection costs: the CPU of accepting it, and the memory that it holds while nothing happens.

    python -m benchmarks.connections

A bare Trio server, Triolet (WebSocket and SSE) and Starlette on uvicorn take turns. Each is started anew for its turn
and pinned to one core; the client on the other opens one connection after the other, and keeps them. Needs the extra
`bench`. Takes some three minutes, with --quick half a minute.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import struct
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Self

import msgspec

from benchmarks.fanout.contestants import Contestant, StarletteServer, TrioletServer
from benchmarks.fanout.machine import cores, cpu_seconds, describe, memory, raise_files, spawn

__all__ = ["ACCEPTED", "Accepted", "BareTrio", "Cost", "Kind", "connections", "cost", "opening", "table"]

WARM_UP = 200
"""Connections that come and go before the measured ones: what is loaded and allocated once is not counted."""

_RESET = struct.pack("ii", 1, 0)


class BareTrio(Contestant):
    """:mod:`benchmarks.bare_trio`: what Trio's own tasks, sockets and timers cost."""

    name = "bare Trio"

    def __init__(self, transport: str) -> None:
        self.process = spawn([sys.executable, "-m", "benchmarks.bare_trio"], cores()[0])
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def path(self, transport: str) -> str:
        return "/"

    def start(self, rate: float, burst: int) -> None:
        raise NotImplementedError

    def stop(self) -> int:
        raise NotImplementedError


class Kind(msgspec.Struct, frozen=True):
    """A server, a transport, and the bytes with which a connection of it is ready."""

    title: str
    server: Callable[[str], Contestant]
    transport: str
    ready: bytes


class Cost(msgspec.Struct, frozen=True):
    """What one connection cost: seconds of CPU and bytes of resident memory."""

    title: str
    cpu: float
    memory: float


ACCEPTED = (
    Kind("bare Trio, three tasks", BareTrio, "ws", b"\r\n\r\n"),
    Kind("Triolet, WebSocket", TrioletServer, "ws", b'"type":"live"'),
    Kind("Triolet, SSE", TrioletServer, "sse", b"event: triolet.live"),
    Kind("Starlette, WebSocket", StarletteServer, "ws", b"\r\n\r\n"),
    Kind("Starlette, SSE", StarletteServer, "sse", b"retry: "),
)


class Accepted:
    """Clients that were accepted one after the other, until the ``with`` block ends."""

    def __init__(self, kind: Kind, server: Contestant, clients: int) -> None:
        self._sockets: list[socket.socket] = []
        request = opening(server.path(kind.transport), server.port, kind.transport)
        mine = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {cores()[1]})
        try:
            for _ in range(clients):
                self._sockets.append(_open(server.port, request, kind.ready))
        finally:
            os.sched_setaffinity(0, mine)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connected in self._sockets:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)  # no port is left waiting
            connected.close()


def cost(kind: Kind, clients: int) -> Cost:
    """Start a server, and measure what its connections cost it."""
    with ExitStack() as stack:
        server = stack.enter_context(kind.server(kind.transport))
        with Accepted(kind, server, WARM_UP):
            time.sleep(0.5)
        time.sleep(1)
        resident, cpu = memory(server.pid), cpu_seconds(server.pid)
        stack.enter_context(Accepted(kind, server, clients))
        time.sleep(0.5)
        return Cost(
            title=kind.title,
            cpu=(cpu_seconds(server.pid) - cpu) / clients,
            memory=(memory(server.pid) - resident) / clients,
        )


def connections(kinds: Sequence[Kind], rounds: int, clients: int) -> list[Cost]:
    """Measure all of them in turn, round after round, and return each one's medians."""
    costs = [[cost(kind, clients) for kind in kinds] for _ in range(rounds)]
    return [
        Cost(of[0].title, statistics.median(c.cpu for c in of), statistics.median(c.memory for c in of))
        for of in zip(*costs, strict=True)
    ]


def table(costs: Sequence[Cost]) -> str:
    """Return the medians as a table, with the ratio to the first of them."""
    lines = ["| | CPU to accept, ms | times the first | kB while idle |", "|---|---|---|---|"]
    lines += [f"| {c.title} | {c.cpu * 1e3:.2f} | {c.cpu / costs[0].cpu:.2f} | {c.memory / 1e3:.1f} |" for c in costs]
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.connections", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=2_000)
    parser.add_argument("--without-starlette", action="store_true")
    arguments = parser.parse_args()
    kinds = [kind for kind in ACCEPTED if not (arguments.without_starlette and kind.server is StarletteServer)]
    raise_files()
    rounds = 1 if arguments.quick else arguments.rounds
    machine = ", ".join(f"{key} {value}" for key, value in describe().items())
    sys.stdout.write(f"{machine}\n{arguments.clients} connections, medians of {rounds} rounds\n\n")
    sys.stdout.write(table(connections(kinds, rounds, arguments.clients)) + "\n")


def opening(path: str, port: int, transport: str) -> bytes:
    """The request that opens a WebSocket or an event stream."""
    more = (
        "accept: text/event-stream\r\n"
        if transport == "sse"
        else "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    return f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{more}\r\n".encode()


def _open(port: int, request: bytes, ready: bytes) -> socket.socket:
    """Connect, ask, and wait until the answer holds what makes the connection ready."""
    connected = socket.create_connection(("127.0.0.1", port), timeout=20)
    connected.sendall(request)
    heard = b""
    while ready not in heard:
        data = connected.recv(1 << 16)
        if not data:
            raise RuntimeError(f"refused: {heard!r}")
        heard += data
    return connected


if __name__ == "__main__":
    main()
