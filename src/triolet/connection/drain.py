"""Lifetime: ends connections that may not go on, because the server drains or the app has ended."""

from __future__ import annotations

import trio

from ..closing import RESTARTING
from .connection import Surroundings

__all__ = ["drain", "end_all"]

AT_ONCE = 32
"""Connections that are ended in one turn. What their goodbyes cost is some 10 ms, for which the others wait."""


async def drain(surroundings: Surroundings, seconds: float) -> None:
    """Wait for the server to drain, and end all connections then, in turns: who has not had its turn is served on.

    Those that begin later end by themselves.

    Args:
        seconds: within which all are to be ended; sooner where ``limits.leaves_per_second`` allow.
    """
    await surroundings.draining.wait()
    leaving = list(surroundings.connections.values())
    pace = max(surroundings.limits.leaves_per_second, len(leaving) / seconds)
    begun = trio.current_time()
    for first in range(0, len(leaving), AT_ONCE):
        await trio.sleep_until(begun + first / pace)
        for conn in leaving[first : first + AT_ONCE]:
            conn.end(RESTARTING)


def end_all(surroundings: Surroundings) -> None:
    """End all connections; each is told when to come back."""
    for conn in list(surroundings.connections.values()):
        conn.end(RESTARTING)
