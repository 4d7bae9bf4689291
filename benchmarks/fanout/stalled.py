"""Clients that stop reading: what they cost in the process and in the kernel, and whether they are given up."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import msgspec

from benchmarks.deadline import deadline
from benchmarks.fanout.contestants import Contestant
from benchmarks.fanout.load import Load
from benchmarks.fanout.machine import memory
from benchmarks.fanout.measure import Plan

__all__ = ["EVENT_BYTES", "RATE", "SECONDS", "WAIT", "Stalled", "stalled"]

EVENT_BYTES = 16 << 10
RATE = 200.0
SECONDS = 4.0
"""For so long events are published to clients that read, and again to the same when they do not: 13 MB each."""

LIMIT_SECONDS = 60
"""A server that needs longer for it is given up."""

WAIT = 15.0
"""So long after the clients stalled it is looked whether they are still connected."""


class Stalled(msgspec.Struct, frozen=True):
    """Bytes for each stalled client at most, beyond what the same events cost while everybody read; whether the
    publisher went on; and how many were disconnected within WAIT."""

    name: str
    clients: int
    process_each: float
    kernel_each: float
    published: float
    closed: int


def stalled(
    servers: Sequence[Contestant], program: Path, plan: Plan, give_up: Callable[[str, Exception], None]
) -> list[Stalled]:
    """Measure one after the other; all stay until it can be seen whom they have given up. Who fails is given up."""
    with ExitStack() as stack:
        measured = []
        for server in servers:
            try:
                with deadline(f"{server.name}, stalled clients", LIMIT_SECONDS):
                    measured.append((server, *_stall(stack, server, program, plan.stalled)))
            except RuntimeError as error:
                server.__exit__()
                give_up(server.name, error)
        found = []
        for server, load, begun, each, kernel_each, published in measured:
            time.sleep(max(0.0, begun + WAIT - time.monotonic()))
            closed = load.counts().closed
            found.append(Stalled(server.name, plan.stalled, each, kernel_each, published, closed))
        return found


def _stall(
    stack: ExitStack, server: Contestant, program: Path, clients: int
) -> tuple[Load, float, float, float, float]:
    """Publish to clients that read, and to the same when they do not.

    Returns:
        The clients; when they stalled; bytes for each in the process and in the kernel; what part was published.
    """
    server.size, server.patience = EVENT_BYTES, 2
    load = stack.enter_context(Load(program, server, "ws", clients))
    time.sleep(0.5)
    resident = memory(server.pid)
    reading = _peak(server, RATE, SECONDS)[0] - resident
    load.wait_for(clients * server.stop(), 5)
    resident, begun = memory(server.pid), time.monotonic()
    load.stall()
    peak, kernel = _peak(server, RATE, SECONDS)
    each = max(0, peak - resident - max(0, reading)) / clients
    return load, begun, each, kernel / clients, _published(server, SECONDS)


def _peak(server: Contestant, rate: float, seconds: float) -> tuple[int, int]:
    """Publish, and return the most that the process and the kernel held meanwhile."""
    process = kernel = 0
    server.start(rate, 1)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.25)
        process, kernel = max(process, memory(server.pid)), max(kernel, _unsent(server.port))
    return process, kernel


def _published(server: Contestant, seconds: float) -> float:
    """Return what part of the events could be published."""
    before = server.published
    with suppress(RuntimeError):  # who waits for the stalled publishes no more, and does not stop either
        server.stop()
    return (server.published - before) / (RATE * seconds)


def _unsent(port: int) -> int:
    """Bytes that wait in the kernel to be sent from a port of loopback."""
    mine = f"0100007F:{port:04X}"
    total = 0
    for line in Path("/proc/net/tcp").read_text().splitlines():
        fields = line.split()
        if fields[1] == mine:
            total += int(fields[4].partition(":")[0], 16)
    return total
