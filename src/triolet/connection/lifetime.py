"""Lifetime: ends connections that may not go on, because the server drains or the app has ended."""

from __future__ import annotations

from ..closing import RESTARTING
from .connection import Surroundings

__all__ = ["drain", "end_all"]


async def drain(surroundings: Surroundings) -> None:
    """Wait for the server to drain, and end all connections then. Those that begin later end by themselves."""
    await surroundings.draining.wait()
    end_all(surroundings)


def end_all(surroundings: Surroundings) -> None:
    """End all connections; each is told when to come back."""
    for conn in list(surroundings.connections.values()):
        conn.end(RESTARTING)
