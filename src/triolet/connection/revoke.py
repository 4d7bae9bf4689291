"""Revocation, in this process: ends what is open. What is only being opened looks by itself (identity/revocations.py).

In one step, which nothing can come into, all are found that it speaks of. What is decided after that step is decided
by an app that knows of it, and stays. They are then ended one by one, a few in each turn of the event loop, since what
they are told takes its time: a channel may have thousands of followers.
"""

from __future__ import annotations

import trio

from ..hub import Follower
from ..identity import Revocation
from ..limits import REVOKED_AT_ONCE
from .connection import Connection
from .context import Context

__all__ = ["revoke"]


async def revoke(context: Context, revocation: Revocation) -> None:
    """End all that a revocation speaks of. When this returns, no byte of an event goes out any more to any of them.

    Cost: a look at each connection, some 20 ms for 50,000 of them, and 20 µs for each that ends.

    Cancellation: it is done all the same; a view that a client has left must not revoke a half of it.
    """
    context.revocations.add(revocation)
    polls = sum(1 for poll in list(context.revocations.polls) if poll.revoke(revocation))
    found = [
        (conn, followers)
        for connections in (context.registry.arriving, context.registry.open)
        for conn in connections.values()
        if (followers := _named(conn, revocation)) is None or followers
    ]
    if not revocation.lost:
        context.metrics.revoked["polls"] += polls
    # It cannot hang: it waits for nothing but the turns of other tasks.
    with trio.CancelScope(shield=True):
        for at in range(0, len(found), REVOKED_AT_ONCE):
            for conn, followers in found[at : at + REVOKED_AT_ONCE]:
                _end(conn, followers, revocation)
            await trio.lowlevel.checkpoint()
    await trio.lowlevel.checkpoint()


def _named(conn: Connection, revocation: Revocation) -> list[Follower] | None:
    """The followers of a connection that a revocation speaks of; None is the connection as a whole."""
    access = conn.subscriptions.access
    if revocation.ends(access.identity, None, access.paths(None)):
        return None
    return conn.subscriptions.named_by(revocation)


def _end(conn: Connection, followers: list[Follower] | None, revocation: Revocation) -> None:
    if followers is None:
        if conn.closing is None and not revocation.lost:
            conn.context.metrics.revoked["connections"] += 1
        conn.subscriptions.cut(revocation.closing)
        return
    for follower in followers:
        conn.subscriptions.refuse(follower, revocation.closing)
