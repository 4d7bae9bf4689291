"""What was measured, and where it stands: the one place with the numbers that a plan goes by.

Each is a cell of a table of the page "Benchmarks" (``docs/explanation/benchmarks/<table>.inc``), and a test
holds them to it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["FIGURES", "Figure"]


class Figure(NamedTuple):
    """A number that was measured.

    Attributes:
        value: it.
        unit: of it.
        what: it is of.
        table, row, column: where it stands; of what is made of two cells, the first.
        over: the row, or the number, by which the cell was divided.
    """

    value: float
    unit: str
    what: str
    table: str
    row: str
    column: str
    over: float = 1


FIGURES: Final = {
    "stream memory": Figure(
        15.9, "kB", "memory of an open stream", "held", "workers and supervisor, with them", "kB a connection"
    ),
    "kernel memory": Figure(
        10.3, "kB", "the kernel's memory of an open connection", "held", "the kernel, both ends", "kB a connection"
    ),
    "process memory": Figure(
        65.4, "MB", "memory of a process without clients", "held", "workers and supervisor, before", "MB", 5
    ),
    "held poll memory": Figure(15.4, "kB", "memory of a long poll that waits", "polls-waiting", "19,500", "kB each"),
    "websocket delivery": Figure(
        7.91, "µs", "CPU of an event to one client", "ws-paced", "Triolet", "µs of CPU a delivery"
    ),
    "sse delivery": Figure(6.17, "µs", "CPU of an event to one client", "sse-paced", "Triolet", "µs of CPU a delivery"),
    "idle stream": Figure(
        231, "µs", "CPU of an idle stream, a minute", "idle", "Triolet", "µs of CPU for a connection and minute"
    ),
    "long poll": Figure(430, "µs", "CPU of a long poll", "polls-waiting", "19,500", "µs of CPU a poll"),
    "poll": Figure(242.6, "µs", "CPU of a short poll", "polls-short", "Triolet", "µs of CPU a poll"),
    "return": Figure(
        510,
        "µs",
        "CPU of a client that comes back and catches up",
        "held-killed",
        "a worker was killed, an event published, all are back",
        "workers' CPU, s",
        14_890 / 1e6,
    ),
}
"""By name."""
