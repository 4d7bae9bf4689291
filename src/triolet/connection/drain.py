"""Graceful shutdown of connections: ends those that may not go on, because the server drains or the app has ended."""

from __future__ import annotations

import trio

from ..bounds import ENDED_AT_ONCE
from ..closing import RESTARTING
from .connection import Connection
from .context import Context

__all__ = ["drain", "end_all"]


async def drain(context: Context, seconds: float) -> None:
    """Wait for the server to drain, then end all connections in turns. Until its turn each is served as before.

    Those that begin later end by themselves.

    Args:
        context: names the connections, and the limits.
        seconds: the time within which all are to be ended; it is less where ``limits.leaves_per_second`` allows it.

    Cancellation: the connections whose turn has not come go on.
    """
    # In turns, because the clients come back soon, and other processes must let them in.
    await context.draining.wait()
    leaving: list[Connection] = list(context.registry.open.values())
    pace = max(context.limits.leaves_per_second, len(leaving) / seconds)
    begun = trio.current_time()
    for first in range(0, len(leaving), ENDED_AT_ONCE):
        await trio.sleep_until(begun + first / pace)  # by the clock, not by a pause: a late turn does not delay others
        for conn in leaving[first : first + ENDED_AT_ONCE]:
            conn.end(RESTARTING)


def end_all(context: Context) -> None:
    """End all connections at once. Each client is told when to come back."""
    for conn in list(context.registry.open.values()):
        conn.end(RESTARTING)
