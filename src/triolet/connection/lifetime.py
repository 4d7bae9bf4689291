"""Lifetime: ends a connection that may not go on, because the server drains."""

from __future__ import annotations

from ..closing import RESTARTING
from .connection import Connection

__all__ = ["watch"]


async def watch(conn: Connection) -> None:
    """Wait for the server to drain, and end the connection then."""
    await conn.surroundings.draining.wait()
    conn.end(RESTARTING)
