"""Ends the connections that may not go on, because the server drains or the app has ended: graceful shutdown."""

from __future__ import annotations

import trio

from ..closing import RESTARTING
from .connection import Connection
from .context import Context

__all__ = ["drain", "end_all"]

AT_ONCE = 32
"""Connections that are ended in one turn. What their goodbyes cost is some 10 ms, for which the others wait."""


async def drain(context: Context, seconds: float) -> None:
    """Wait for the server to drain, then end all connections in turns. Until its turn each is served as before.

    Those that begin later end by themselves.

    Args:
        context: whose connections.
        seconds: within which all are to be ended; sooner where ``limits.leaves_per_second`` allow.
    """
    await context.draining.wait()
    leaving: list[Connection] = list(context.registry.open.values())
    pace = max(context.limits.leaves_per_second, len(leaving) / seconds)
    begun = trio.current_time()
    for first in range(0, len(leaving), AT_ONCE):
        await trio.sleep_until(begun + first / pace)
        for conn in leaving[first : first + AT_ONCE]:
            conn.end(RESTARTING)


def end_all(context: Context) -> None:
    """End all connections; each is told when to come back."""
    for conn in list(context.registry.open.values()):
        conn.end(RESTARTING)
