"""Load shedding: past the memory ceiling the clients furthest behind are given up, until well below it again."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import trio

from ..closing import OVERLOADED
from .connection import Connection
from .context import Context

__all__ = ["furthest_behind", "relieve"]

logger = logging.getLogger("triolet.connection")


async def relieve(context: Context) -> None:
    """Watch the memory budget while the app is served. A client that is given up comes back from its cursor."""
    budget = context.budget
    over = trio.Event()

    def wake() -> None:
        over.set()

    budget.on_over = wake
    while True:
        await over.wait()
        over = trio.Event()
        given_up = shed(context)
        if given_up or budget.near:
            logger.warning(
                "more than limits.memory_bytes was held (%d MiB): %d connections were given up",
                budget.ceiling >> 20,
                given_up,
            )
        await trio.sleep(context.limits.policy_seconds if budget.near else 0)


def shed(context: Context) -> int:
    """Empty the windows, then give up connections, until less is held than keeps new clients out. Returns how many."""
    budget = context.budget
    context.hub.shrink()
    given_up = 0
    for conn in furthest_behind(context.registry.open.values(), budget.held - budget.near_bytes):
        if not budget.near:
            break
        give_up(conn)
        given_up += 1
    return given_up


def furthest_behind(connections: Iterable[Connection], wanted: int) -> list[Connection]:
    """Sort the connections that hold anything: the furthest behind first, and of equals the one that holds most.

    Empty if closing all of them would not free enough: then it is something else that holds so much, and giving them
    up would not help.
    """
    holding = [conn for conn in connections if held(conn)]
    return sorted(holding, key=_rank, reverse=True) if sum(map(held, holding)) >= wanted else []


def held(conn: Connection) -> int:
    """All bytes that are held for one client."""
    return conn.holding.bytes + conn.outlet.pending


def give_up(conn: Connection) -> None:
    """End a connection and have its bytes back at once. A client that takes nothing can be told nothing."""
    conn.end(OVERLOADED)
    conn.holding.give_back()
    if conn.outlet.pending:
        conn.outlet.abort()


def _rank(conn: Connection) -> tuple[int, int]:
    events = max((follower.events_behind for follower in conn.followers.values()), default=0)
    return events, held(conn)
