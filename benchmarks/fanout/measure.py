"""Windows: what one server sent to its clients in a few seconds, and what that cost."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from benchmarks.fanout.contestants import Contestant
from benchmarks.fanout.load import Load
from benchmarks.fanout.machine import busy_seconds, cpu_seconds, memory

__all__ = ["BURSTS", "MODES", "PACED", "SINGLE", "Idle", "Mode", "Plan", "Window", "idle", "rounds", "window"]


class Mode(msgspec.Struct, frozen=True):
    """How events are published: at a rate (0: saturated), how many at once, and for how long that is measured."""

    title: str
    rate: float
    burst: int
    seconds: float


PACED = Mode("20 events a second, one a round", 20, 1, 4)
SINGLE = Mode("saturated, one event published at each turn of the event loop", 0, 1, 2)
BURSTS = Mode("saturated, 16 events published at each turn", 0, 16, 2)
MODES = (PACED, SINGLE, BURSTS)


class Plan(msgspec.Struct, frozen=True):
    """How long and how often. ``part`` is what is measured of each mode's seconds."""

    clients: int = 1_000
    rounds: int = 5
    settle: float = 0.5
    part: float = 1
    idle_clients: int = 2_000
    idle_seconds: float = 60


class Window(msgspec.Struct, frozen=True):
    """One measured window. ``foreign`` is the share of a core that other processes took meanwhile."""

    name: str
    mode: Mode
    seconds: float
    deliveries: int
    bytes: int
    reads: int
    server_cpu: float
    load_cpu: float
    foreign: float
    p50_ms: float
    p99_ms: float
    lost: int
    closed: int

    @property
    def micros(self) -> float:
        """The server's CPU for one delivery, in microseconds."""
        return self.server_cpu / max(1, self.deliveries) * 1e6

    @property
    def rate(self) -> float:
        """Deliveries a second."""
        return self.deliveries / self.seconds


class Idle(msgspec.Struct, frozen=True):
    """Connections that get nothing but beats."""

    name: str
    clients: int
    seconds: float
    bytes_each: float
    server_cpu: float
    beats: int
    closed: int


def window(server: Contestant, load: Load, plan: Plan, mode: Mode) -> Window:
    """Let a server publish, and measure in the middle of it; then stop and see whether everything arrived."""
    events_before, published_before = load.counts().events, server.published
    server.start(mode.rate, mode.burst)
    time.sleep(plan.settle)
    before, cpu_before, busy_before = load.counts(), cpu_seconds(server.pid), busy_seconds()
    time.sleep(mode.seconds * plan.part)
    after, cpu_after, busy_after = load.counts(), cpu_seconds(server.pid), busy_seconds()
    expected = events_before + load.clients * (server.stop() - published_before)
    end = load.wait_for(expected, 10)
    seconds = (after.now_ns - before.now_ns) / 1e9
    server_cpu, load_cpu = cpu_after - cpu_before, (after.cpu_ns - before.cpu_ns) / 1e9
    return Window(
        name=server.name,
        mode=mode,
        seconds=seconds,
        deliveries=after.events - before.events,
        bytes=after.bytes - before.bytes,
        reads=after.reads - before.reads,
        server_cpu=server_cpu,
        load_cpu=load_cpu,
        foreign=max(0.0, busy_after - busy_before - server_cpu - load_cpu) / seconds,
        p50_ms=after.p50_us / 1000,
        p99_ms=after.p99_us / 1000,
        lost=expected - end.events,
        closed=end.closed,
    )


def rounds(pairs: list[tuple[Contestant, Load]], plan: Plan) -> Iterator[Window]:
    """Measure everybody in turn, in each mode, round after round, in an order that turns too."""
    for number in range(plan.rounds):
        turn = number % len(pairs)
        for mode in MODES:
            for server, load in pairs[turn:] + pairs[:turn]:
                yield window(server, load, plan, mode)


def idle(servers: Sequence[Contestant], program: Path, plan: Plan) -> list[Idle]:
    """Measure what connections cost that get nothing but beats, all servers over the same time."""
    with contextlib.ExitStack() as stack:
        before, loads = [], []
        for server in servers:
            with Load(program, server, "ws", 50):
                time.sleep(1)  # what the first connections load and allocate once is not counted
            time.sleep(1)
            before.append(memory(server.pid))
            loads.append(stack.enter_context(Load(program, server, "ws", plan.idle_clients)))
        time.sleep(2)
        start = time.monotonic()
        cpus = [cpu_seconds(server.pid) for server in servers]
        counts = [load.counts() for load in loads]
        time.sleep(plan.idle_seconds)
        seconds = time.monotonic() - start
        return [
            Idle(
                name=server.name,
                clients=plan.idle_clients,
                seconds=seconds,
                bytes_each=(memory(server.pid) - resident) / plan.idle_clients,
                server_cpu=cpu_seconds(server.pid) - cpu,
                beats=load.counts().beats - count.beats,
                closed=load.counts().closed,
            )
            for server, load, resident, cpu, count in zip(servers, loads, before, cpus, counts, strict=True)
        ]
