"""Overload: past the memory ceiling the furthest behind are given up, until what is held is well below it again."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import trio

from ..closing import OVERLOADED
from .connection import Connection, Surroundings

__all__ = ["furthest_behind", "relieve"]

logger = logging.getLogger("triolet.connection")


async def relieve(surroundings: Surroundings) -> None:
    """Watch the memory budget, as long as the app is served. Who is given up comes back from its cursor."""
    budget = surroundings.budget
    over = trio.Event()

    def wake() -> None:
        over.set()

    budget.on_over = wake
    while True:
        await over.wait()
        over = trio.Event()
        surroundings.hub.shrink()
        given_up = 0
        for conn in furthest_behind(surroundings.connections.values(), budget.held - budget.near_bytes):
            if not budget.near:
                break
            give_up(conn)
            given_up += 1
        if given_up or budget.near:
            logger.warning(
                "more than limits.memory_bytes was held (%d MiB): %d connections were given up",
                budget.ceiling >> 20,
                given_up,
            )
        await trio.sleep(surroundings.limits.policy_seconds if budget.near else 0)


def furthest_behind(connections: Iterable[Connection], wanted: int) -> list[Connection]:
    """Those who hold anything, the furthest behind first; of equals, who holds most. Nobody, where all of them together
    hold less than is wanted: it is something else that holds so much, and giving them up would not help."""

    def rank(conn: Connection) -> tuple[int, int]:
        events = max((follower.events_behind for follower in conn.followers.values()), default=0)
        return events, conn.held + conn.outlet.pending

    holding = [conn for conn in connections if conn.held or conn.outlet.pending]
    if sum(conn.held + conn.outlet.pending for conn in holding) < wanted:
        return []
    return sorted(holding, key=rank, reverse=True)


def give_up(conn: Connection) -> None:
    """End a connection and have its bytes back at once. One that takes nothing can be told nothing."""
    conn.end(OVERLOADED)
    conn.hold(-conn.held)
    if conn.outlet.pending:
        conn.outlet.abort()
