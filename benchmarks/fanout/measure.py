"""Windows: what one server sent to its clients in a few seconds, and what that cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec

from benchmarks.deadline import deadline
from benchmarks.fanout.contestants import Contestant
from benchmarks.fanout.load import Load
from benchmarks.fanout.machine import busy_seconds, cpu_seconds

__all__ = ["BURSTS", "MODES", "PACED", "SINGLE", "Mode", "Pair", "Plan", "Window", "end", "rounds", "window"]


class Mode(msgspec.Struct, frozen=True):
    """How events are published: at a rate (0: saturated), how many at once, and for how long that is measured."""

    name: str
    title: str
    rate: float
    burst: int
    seconds: float


PACED = Mode("paced", "20 events a second, one a round", 20, 1, 3)
SINGLE = Mode("single", "saturated, one event published at each turn of the event loop", 0, 1, 1.5)
BURSTS = Mode("bursts", "saturated, 16 events published at each turn", 0, 16, 1)
MODES = (PACED, SINGLE, BURSTS)


class Plan(msgspec.Struct, frozen=True):
    """How many, how long and how often. ``part`` is what is measured of each mode's seconds."""

    clients: int = 1_000
    rounds: int = 3
    settle: float = 0.5
    part: float = 1
    many: int = 5_000
    stalled: int = 32
    replaying: int = 50


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
    published: float
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


Pair = tuple[Contestant, Load]


def window(server: Contestant, load: Load, plan: Plan, mode: Mode, fan_out: int | None = None) -> Window:
    """Let a server publish, and measure in the middle of it; then stop and see whether everything arrived.

    Args:
        fan_out: how many clients are to get an event, if not all.

    Raises:
        RuntimeError: it took much too long, or the clients gave up.
    """
    with deadline(f"{server.name}, {mode.title}", plan.settle + mode.seconds * plan.part + server.patience + 40):
        return _window(server, load, plan, mode, load.clients if fan_out is None else fan_out)


def _window(server: Contestant, load: Load, plan: Plan, mode: Mode, fan_out: int) -> Window:
    events_before, published_before = load.counts().events, server.published
    server.start(mode.rate, mode.burst)
    time.sleep(plan.settle)
    before, cpu_before, busy_before = load.counts(), cpu_seconds(server.pid), busy_seconds()
    time.sleep(mode.seconds * plan.part)
    after, cpu_after, busy_after = load.counts(), cpu_seconds(server.pid), busy_seconds()
    expected = events_before + fan_out * (server.stop() - published_before)
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
        published=(after.events - before.events) / fan_out / seconds,
        lost=expected - end.events,
        closed=end.closed,
    )


def rounds(
    pairs: Sequence[Pair], plan: Plan, give_up: Callable[[str, Exception], None], modes: Sequence[Mode] = MODES
) -> list[Window]:
    """Measure everybody in turn, in each mode, round after round, in an order that turns too.

    Before it counts everybody has a moment to warm up: the first window after connecting is dearer. Who fails is given
    up, and has no windows.
    """
    warm_up = msgspec.structs.replace(plan, part=0.2)
    failed: set[str] = set()
    found = []
    for number in range(-1, plan.rounds):
        turn = number % len(pairs)
        for mode in modes[:1] if number < 0 else modes:
            for server, load in [*pairs[turn:], *pairs[:turn]]:
                if server.name in failed:
                    continue
                try:
                    measured = window(server, load, warm_up if number < 0 else plan, mode)
                except RuntimeError as error:
                    failed.add(server.name)
                    end(server, load)
                    give_up(server.name, error)
                else:
                    found += [measured] if number >= 0 else []
    return [window for window in found if window.name not in failed]


def end(server: Contestant, load: Load) -> None:
    """End a server and its clients, who would go on at the others' expense."""
    load.__exit__()
    server.__exit__()
