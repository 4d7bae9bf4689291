"""Windows: what a server took from its clients in a few seconds, and what that cost; everybody in turn, in rounds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Protocol

import msgspec

from benchmarks.deadline import deadline
from benchmarks.fanout.contestants import Contestant
from benchmarks.fanout.machine import busy_seconds, cpu_seconds
from benchmarks.results import say
from benchmarks.upward.asking import Asking

__all__ = ["COLUMNS", "QUICK", "Asked", "Entry", "Plan", "Window", "middle", "ratios", "rounds", "row"]

BUSY = 0.9
"""A load generator that takes more than so much of its core may be what is measured."""


class Plan(msgspec.Struct, frozen=True):
    """How often, and for how long each time: seconds before it is measured, and measured."""

    rounds: int = 5
    settle: float = 0.4
    seconds: float = 2.0


QUICK = Plan(rounds=1, settle=0.2, seconds=0.6)


class Entry(Protocol):
    """One that is measured: its name, in which mode, and how."""

    @property
    def mode(self) -> str: ...

    @property
    def name(self) -> str: ...

    def measure(self, plan: Plan) -> Window:
        """Measure once."""

    def end(self) -> None:
        """End its processes: it goes on no more, at the others' expense."""


class Window(msgspec.Struct, frozen=True):
    """One measured window. ``done`` are the replies, or where none come, the messages."""

    mode: str
    name: str
    seconds: float
    done: int
    server_cpu: float
    load_cpu: float
    foreign: float
    lost: int
    p50_ms: float
    p99_ms: float

    @property
    def micros(self) -> float:
        """The server's CPU for one of what was done, in microseconds."""
        return self.server_cpu / max(1, self.done) * 1e6


COLUMNS = ("a second", "server's core", "clients' core", "others' share", "lost")


class Asked(msgspec.Struct, frozen=True):
    """A server, its clients, and how they ask.

    ``flight`` messages of each client, or ``rate`` a second of all; ``each`` replies come for a message.
    """

    mode: str
    name: str
    server: Contestant
    asking: Asking
    flight: int = 0
    rate: float = 0
    each: int = 1

    def measure(self, plan: Plan) -> Window:
        """Let clients ask, and measure in the middle of it; then stop, and see whether everything was answered.

        Raises:
            RuntimeError: nothing was answered, connections were closed, or the clients gave up.
        """
        server, asking = self.server, self.asking
        begun = asking.counts()
        if self.flight:
            asking.start(self.flight)
        else:
            asking.pace(self.rate)
        time.sleep(plan.settle)
        before, cpu_before, busy_before = asking.counts(), cpu_seconds(server.pid), busy_seconds()
        time.sleep(plan.seconds)
        after, cpu_after, busy_after = asking.counts(), cpu_seconds(server.pid), busy_seconds()
        asking.stop()
        sent = asking.counts().sent - begun.sent
        end = asking.wait_for(begun.replies + sent * self.each, 10)
        if end.closed:
            raise RuntimeError(f"{end.closed} of {asking.clients} connections were closed")
        if self.each and end.replies == begun.replies:
            raise RuntimeError("nothing was answered")
        seconds = (after.now_ns - before.now_ns) / 1e9
        server_cpu, load_cpu = cpu_after - cpu_before, (after.cpu_ns - before.cpu_ns) / 1e9
        return Window(
            mode=self.mode,
            name=self.name,
            seconds=seconds,
            done=after.replies - before.replies if self.each else after.sent - before.sent,
            server_cpu=server_cpu,
            load_cpu=load_cpu,
            foreign=max(0.0, busy_after - busy_before - server_cpu - load_cpu) / seconds,
            lost=begun.replies + sent * self.each - end.replies,
            p50_ms=after.p50_us / 1e3,
            p99_ms=after.p99_us / 1e3,
        )

    def end(self) -> None:
        self.asking.__exit__()
        self.server.__exit__()


def rounds(entries: Sequence[Entry], plan: Plan, give_up: Callable[[str, Exception], None]) -> Iterator[Window]:
    """Measure everybody in turn, round after round, in an order that turns too; who fails is given up.

    Before it counts everybody has a moment to warm up.
    """
    limit = plan.settle + plan.seconds + 30
    warm_up = msgspec.structs.replace(plan, seconds=0.2)
    failed: set[str] = set()
    for number in range(-1, plan.rounds):
        turn = number % len(entries)
        for entry in [*entries[turn:], *entries[:turn]]:
            if entry.name in failed:
                continue
            try:
                with deadline(f"{entry.name}, {entry.mode}", limit):
                    found = entry.measure(warm_up if number < 0 else plan)
            except RuntimeError as error:
                failed.add(entry.name)
                entry.end()
                give_up(entry.name, error)
            else:
                if number >= 0:
                    say(f"  {entry.mode}, {entry.name}: {found.micros:.2f} µs")
                    yield found


def middle(windows: Sequence[Window]) -> float:
    """The median of the server's CPU for one, in microseconds."""
    return median(window.micros for window in windows)


def ratios(mine: Sequence[Window], others: Sequence[Window]) -> list[float]:
    """Each round's own ratio: both were measured shortly one after the other."""
    return [a.micros / b.micros for a, b in zip(mine, others, strict=False)]


def row(windows: Sequence[Window]) -> list[str]:
    """What stands under :data:`COLUMNS`."""
    load = median(window.load_cpu / window.seconds for window in windows)
    return [
        f"{median(window.done / window.seconds for window in windows):,.0f}",
        f"{median(window.server_cpu / window.seconds for window in windows):.0%}",
        f"{load:.0%}" + (", which may be the limit" if load > BUSY else ""),
        f"{median(window.foreign for window in windows):.0%}",
        f"{sum(window.lost for window in windows):,}",
    ]
