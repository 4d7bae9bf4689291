"""What is to be reached, in one place: a report says target and measured, reached or not."""

from __future__ import annotations

from typing import Final, NamedTuple

from benchmarks.results import verdict

__all__ = ["TARGETS", "Target", "judge"]


class Target(NamedTuple):
    """What is measured, and its bound: at most that, or at least."""

    what: str
    bound: float
    unit: str = " times"
    at_least: bool = False


TARGETS: Final = {
    # Messages up, and answers.
    "echo": Target("CPU of an echo, raw, one in flight, to bare Trio's with one task a connection", 1.25),
    "echo-16": Target("CPU of an echo, raw, 16 in flight", 6.0, " µs"),  # or Node ws's, where that is less
    "json-16": Target("CPU of an echo of JSON, 16 in flight, to Starlette's", 1.0),
    "chat": Target("CPU a delivery of a chat, to the C loop's", 1.5),
    # Polls.
    "poll": Target("CPU of a short poll with a view that reads the session", 110.0, " µs"),
    "poll-hypercorn": Target("CPU of a short poll, to Quart-Trio's on Hypercorn", 0.35),
    "waiting-cpu": Target("share of a core of 20,000 waiting long polls", 20.0, " %"),
    "waiting-memory": Target("memory of a waiting long poll", 20.0, " kB"),
    # Connections.
    "accept": Target("CPU to accept a raw WebSocket, to bare Trio's with one task a connection", 1.6),
    "accept-channel": Target("CPU to accept a WebSocket that follows a channel, to the same", 1.6),
    "accept-sse": Target("CPU to accept an event stream, to the same", 4.0),
    "storm": Target("connections a second of a storm, to websockets'", 1.0, at_least=True),
    "idle": Target("CPU of an idle WebSocket with beats, for a minute", 200.0, " µs"),
    "memory": Target("memory of an idle WebSocket", 17.0, " kB"),
    # Events down.
    "fan-out": Target("CPU a delivery at 20 events a second, to the C loop's", 1.3),
    "saturated-nchan": Target("deliveries a second, to nchan's", 2.0, at_least=True),
    "saturated-starlette": Target("deliveries a second, to Starlette's", 8.0, at_least=True),
    "latency": Target("p99 at half of nchan's saturation, to nchan's", 1.0),
    "herd": Target("p99 of the live while the herd catches up, to before", 2.0),
    # Answers that stream, beside the usual recipe on the same Redis.
    "runs": Target("CPU of a delivered token, Triolet's on Redis to the recipe's", 0.5),
    "runs-return": Target("CPU of a return to 5,000 tokens over SSE, Triolet's folded on Redis to the recipe's", 0.1),
    # Commands, beside a peer that does less.
    "command-ws": Target("CPU of a command over WebSocket, Triolet's in memory to Starlette's", 1.2),
    "command-post": Target("CPU of a command over POST, Triolet's in memory to Starlette's", 2.0),
}


def judge(key: str, value: float, bound: float | None = None) -> str:
    """Say what was measured of a target, and whether it was reached; ``bound`` where that is another one's figure."""
    target = TARGETS[key]
    bound = target.bound if bound is None else bound
    return verdict(target.what, value, bound, at_least=target.at_least, unit=target.unit)
