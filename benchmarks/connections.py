"""Measure what a connection costs: the CPU of accepting it, and the memory that it holds while nothing happens.

    python -m benchmarks.connections

Bare Trio servers, Triolet (WebSocket and SSE) and Starlette on uvicorn take turns. Each is started anew for its turn
and pinned to one core; the client on the other opens one connection after the other, and keeps them. Needs the extra
`bench`. Takes some four minutes, with --quick half a minute.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from statistics import median
from typing import Self

import msgspec

from benchmarks.deadline import deadline
from benchmarks.fanout.contestants import Contestant, StarletteServer, TrioletServer
from benchmarks.fanout.machine import cores, cpu_seconds, memory, raise_files, spawn
from benchmarks.results import Part, Table, options, publish, say, spread
from benchmarks.targets import judge
from benchmarks.upward.servers import BareTrio as BareTrioOneTask
from benchmarks.upward.servers import Server, TrioletAsked

__all__ = [
    "ACCEPTED",
    "Accepted",
    "BareTrio",
    "BareTrioOneTask",
    "Cost",
    "Kind",
    "accept_table",
    "connections",
    "cost",
    "opening",
]

WARM_UP = 200
"""Connections that come and go before the measured ones: what is loaded and allocated once is not counted."""

SECONDS = 120
"""One that needs longer for its connections is given up."""

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

    cpu: float
    memory: float


def _asked(kind: type[Server]) -> Callable[[str], Contestant]:
    return lambda _transport: kind()


FIRST = "bare Trio, one task"
"""The one to which all are compared."""

ACCEPT_TARGETS = {
    "Triolet, raw WebSocket": "accept",
    "Triolet, WebSocket": "accept-channel",
    "Triolet, SSE": "accept-sse",
}

ACCEPTED = (
    Kind(FIRST, _asked(BareTrioOneTask), "ws", b"\r\n\r\n"),
    Kind("bare Trio, three tasks", BareTrio, "ws", b"\r\n\r\n"),
    Kind("Triolet, raw WebSocket", _asked(TrioletAsked), "ws", b"\r\n\r\n"),
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
            cpu=(cpu_seconds(server.pid) - cpu) / clients,
            memory=(memory(server.pid) - resident) / clients,
        )


def connections(
    kinds: Sequence[Kind], rounds: int, clients: int, give_up: Callable[[str, Exception], None]
) -> dict[str, list[Cost]]:
    """Measure all of them in turn, round after round, and return each one's costs; who fails is given up."""
    costs: dict[str, list[Cost]] = {kind.title: [] for kind in kinds}
    for _ in range(rounds):
        for kind in kinds:
            if kind.title not in costs:
                continue
            try:
                with deadline(kind.title, SECONDS):
                    costs[kind.title].append(cost(kind, clients))
            except (OSError, RuntimeError) as error:
                del costs[kind.title]
                give_up(kind.title, error)
    return costs


def accept_table(costs: dict[str, list[Cost]], clients: int) -> Table:
    """Write what accepting one connection after the other costs, and what each holds then."""
    first = costs.get(FIRST, [])
    middle = {title: median(c.cpu for c in own) for title, own in costs.items()}
    rows, verdicts = [], []
    for title, own in costs.items():
        ratios = [a.cpu / b.cpu for a, b in zip(own, first, strict=False)]
        held = median(c.memory for c in own) / 1e3
        rows.append([title, f"{middle[title] * 1e3:.2f}", spread(ratios), f"{held:.1f}"])
        if ratios and title in ACCEPT_TARGETS:
            verdicts.append(judge(ACCEPT_TARGETS[title], median(ratios)))
    return Table(
        "accept",
        f"{clients:,} connections, one after the other",
        ["", "ms of CPU to accept", f"× {FIRST}", "kB while idle"],
        rows,
        "The client waits for the first thing that a server says before it opens the next connection. Bare Trio reads "
        "the request and answers 101. With one task it then reads; with three it also watches and beats. A raw "
        "WebSocket of Triolet's follows nothing, the others follow a channel whose view is asked.",
        verdicts,
    )


def main() -> None:
    """Parse the command line, measure, and print a table."""
    parser = options("connections", __doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=2_000)
    parser.add_argument("--without-starlette", action="store_true")
    arguments = parser.parse_args()
    kinds = [kind for kind in ACCEPTED if not (arguments.without_starlette and kind.server is StarletteServer)]
    raise_files()
    rounds = 1 if arguments.quick else arguments.rounds
    part = Part("connections", "Connections", f"Medians of {rounds} rounds.", quick=arguments.quick)
    found = connections(kinds, rounds, arguments.clients, lambda name, error: say(f"{name}: {error}"))
    part.tables.append(accept_table(found, arguments.clients))
    publish(part, keep=False)


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
