"""Load shedding: past the memory ceiling clients are given up, until well below it again.

There are two kinds. Connections that follow are known here, and the furthest behind goes first. Connections with
answers that are not read, or requests that are not complete, have an account in the budget, and the largest goes first.
Of the first of both kinds it is the one that holds more.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import trio

from ..budget import Account
from ..closing import OVERLOADED
from .connection import Connection
from .context import Context

__all__ = ["furthest_behind", "relieve"]

logger = logging.getLogger("triolet.connection")


async def relieve(context: Context) -> None:
    """Shed load while the app is served, whenever the memory budget is exceeded. A client that is given up comes back
    from its cursor.

    Cancellation: nothing is lost; the budget is not watched any more.
    """
    # A task of its own, and not done in `Budget.hold`, which is called in the midst of other work (of a round, say).
    budget = context.budget
    over = trio.Event()

    def wake() -> None:
        over.set()

    budget.on_over = wake
    while True:
        await over.wait()
        over = trio.Event()
        was_over = budget.over
        given_up = shed(context)
        if given_up or (was_over and budget.near):
            logger.warning(
                "%s limits.memory_bytes was held (%d MiB): %d connections were given up",
                "more than" if was_over else "nearly all of",
                budget.ceiling >> 20,
                given_up,
            )
        await trio.sleep(context.limits.policy_seconds if budget.near else 0)


def shed(context: Context) -> int:
    """Empty the windows, then give up connections, until less is held than keeps new clients out. Returns how many.

    Followers have to go only past the ceiling. Below it, where new clients stand before closed doors, it is for those
    that hold answers to make room: who does not read is not served by keeping others out.
    """
    budget = context.budget
    over = budget.over
    context.hub.shrink()
    going = sum(account.bytes for account in budget.accounts if account.given_up)
    unread = sorted((account for account in budget.accounts if account.bytes > 0 and not account.given_up), key=_bytes)
    wanted = budget.held - going - budget.near_bytes
    behind = furthest_behind(context.registry.open.values(), wanted - sum(map(_bytes, unread)))[::-1] if over else []
    if not behind and wanted > sum(map(_bytes, unread)):
        return 0  # it would not help
    given_up = 0
    while budget.held - going >= budget.near_bytes and (unread or behind):
        if not behind or (unread and unread[-1].bytes >= held(behind[-1])):
            account = unread.pop()
            account.give_up()
            going += account.bytes  # without what its outlet has let go of
        else:
            give_up(behind.pop())
        given_up += 1
    return given_up


def _bytes(account: Account) -> int:
    return account.bytes


def furthest_behind(connections: Iterable[Connection], wanted: int) -> list[Connection]:
    """Sort the connections that hold anything: the furthest behind first, and of equals the one that holds most.

    Empty if closing all of them would not free enough: then it is something else that holds so much, and giving them
    up would not help.
    """
    holding = [conn for conn in connections if held(conn)]
    return sorted(holding, key=_rank, reverse=True) if sum(map(held, holding)) >= wanted else []


def held(conn: Connection) -> int:
    """Return all bytes that are held for one client."""
    return conn.holding.bytes + conn.outlet.pending


def give_up(conn: Connection) -> None:
    """End a connection, and have its bytes back at once. A client that takes nothing can be told nothing."""
    conn.end(OVERLOADED)
    conn.holding.give_back()
    if conn.outlet.pending:  # else there is room for a goodbye, which tells the client when to come back
        conn.outlet.abort()


def _rank(conn: Connection) -> tuple[int, int]:
    events = max((follower.events_behind for follower in conn.followers.values()), default=0)
    return events, held(conn)
