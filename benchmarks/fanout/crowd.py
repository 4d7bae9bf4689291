"""Thousands of clients of each server: their coming all at once, what they cost while idle, and saturation."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from benchmarks.fanout.contestants import Contestant
from benchmarks.fanout.load import Load
from benchmarks.fanout.machine import cpu_seconds, memory
from benchmarks.fanout.measure import SINGLE, Pair, Plan, Window, rounds

__all__ = ["Arrival", "Idle", "arrive", "idle", "saturate"]

WARM_UP = 50


class Arrival(msgspec.Struct, frozen=True):
    """Clients that came all at once: seconds until the last was connected, CPU and resident bytes of each, and what the
    clients took of their core meanwhile."""

    name: str
    clients: int
    seconds: float
    cpu: float
    bytes_each: float
    load: float


class Idle(msgspec.Struct, frozen=True):
    """Connections that get nothing but beats: the server's CPU over so many seconds."""

    name: str
    seconds: float
    cpu: float
    beats: int
    closed: int


def arrive(stack: ExitStack, server: Contestant, program: Path, clients: int) -> tuple[Load, Arrival]:
    """Connect all clients at once; they stay until the stack is closed.

    Raises:
        RuntimeError: some could not connect.
    """
    with Load(program, server, "ws", WARM_UP):
        time.sleep(0.5)  # what the first connections load and allocate once is not counted
    time.sleep(1)
    resident, cpu, start = memory(server.pid), cpu_seconds(server.pid), time.monotonic()
    load = stack.enter_context(Load(program, server, "ws", clients, in_flight=clients))
    seconds, share = time.monotonic() - start, load.counts().cpu_ns / 1e9
    time.sleep(1.5)
    used, held = cpu_seconds(server.pid) - cpu, memory(server.pid) - resident
    return load, Arrival(server.name, clients, seconds, used / clients, held / clients, share / seconds)


def idle(pairs: Sequence[Pair], seconds: float) -> list[Idle]:
    """Measure all servers over the same time in which nothing is published."""
    start = time.monotonic()
    before = [(cpu_seconds(server.pid), load.counts()) for server, load in pairs]
    time.sleep(seconds)
    found = []
    for (server, load), (cpu, counts) in zip(pairs, before, strict=True):
        used, took, now = cpu_seconds(server.pid) - cpu, time.monotonic() - start, load.counts()
        found.append(Idle(server.name, took, used, now.beats - counts.beats, now.closed))
    return found


def saturate(pairs: Sequence[Pair], plan: Plan, give_up: Callable[[str, Exception], None]) -> list[Window]:
    """Measure everybody saturated, in turn."""
    return rounds(pairs, msgspec.structs.replace(plan, rounds=max(1, plan.rounds - 1)), give_up, [SINGLE])
