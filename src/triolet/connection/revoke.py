"""Revocation, in this process: ends what is open. What is only being opened looks by itself (identity/revocations.py).

In one step, which nothing can come into, all are found that it speaks of. What is decided after that step is decided
by an app that knows of it, and stays. They are then ended, a few in each turn of the event loop, since a channel may
have thousands of followers, and each of them takes its time.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from contextvars import copy_context
from typing import Any, Final

import trio

from ..bounds import REVOKED_AT_ONCE
from ..identity import Control, Revocation
from ..identity.revocations import LOST
from .connection import Connection
from .context import Context
from .followings import Following

__all__ = ["Revoker"]

logger = logging.getLogger("triolet.connection")

REVOKE: Final = "revoke"
"""The type of the message to other processes."""

PARTS: Final = ("subject", "session", "channel", "url", "channels")
"""And what it has besides: what is named."""


class Revoker:
    """Ends what is revoked: at once in this process, and, through the control channel, in all others of its log.

    Args:
        context: what the connections of this process share.
        control: tells the others, and what they say.
        nursery: where those are ended that are too many for one turn.

    Bounds: one entry for each connection that is being ended.
    """

    def __init__(self, context: Context, control: Control, nursery: trio.Nursery) -> None:
        self._context = context
        self._control = control
        self._nursery = nursery
        self._own = copy_context()
        self._left: deque[tuple[Connection, list[Following] | None, Revocation]] = deque()
        control.on(REVOKE, self._heard)
        control.lost = self._lost

    async def revoke(self, revocation: Revocation) -> bool:
        """Revoke something, in all processes.

        When this returns, no byte of an event goes out any more in this process to what it speaks of.

        Returns:
            Whether all processes have been told; if not, they are when the log is back.

        Cost: a look at each connection, some 10 ms for 50,000 of them (30 for a channel alone, 90 for a URL
        alone), and 5 µs for each that ends. Patterns of channels are asked about each that is followed, half a
        microsecond each time, however many they are.

        Cancellation: it is in force all the same, and told.
        """
        told = await self._control.tell({"type": REVOKE, **revocation.named})
        while self._left:
            self._end_some()
            await trio.lowlevel.checkpoint()
        return told

    def _heard(self, message: Mapping[str, Any]) -> None:
        # Held to the same as what is revoked here: one that names nothing would end everybody.
        self.apply(Revocation.of(**{part: message.get(part) for part in PARTS}))

    def _lost(self) -> None:
        logger.error(
            "what other processes have revoked may be lost to this one: all clients with an identity are sent away, to "
            "come back and be asked anew"
        )
        self.apply(LOST)

    def apply(self, revocation: Revocation) -> None:
        """Revoke something in this process. Those that it speaks of and that are too many for one turn of the event
        loop end a moment later."""
        context = self._context
        context.revocations.add(revocation)
        polls = sum(1 for poll in list(context.revocations.polls) if poll.revoke(revocation))
        if not revocation.lost:
            context.metrics.revoked["polls"] += polls
        for connections in (context.registry.arriving, context.registry.open):
            for conn in connections.values():
                grant = conn.grant
                if revocation.names(None if grant is None else grant.identity):  # mostly it does not: the rest may cost
                    followings = _named(conn, revocation)
                    if followings is None or followings:
                        self._left.append((conn, followings, revocation))
        self._end_some()
        if self._left:
            # In the context of the service, and not of the request that revokes: that would live as long.
            self._own.run(self._nursery.start_soon, self._end_rest)

    async def _end_rest(self) -> None:
        while self._left:
            await trio.lowlevel.checkpoint()
            self._end_some()

    def _end_some(self) -> None:
        for _ in range(min(len(self._left), REVOKED_AT_ONCE)):
            _end(*self._left.popleft())


def _named(conn: Connection, revocation: Revocation) -> list[Following] | None:
    """What a connection follows that a revocation speaks of; None is the connection as a whole."""
    access = conn.subscriptions.access
    if not revocation.of_channels and revocation.ends(access.identity, None, access.paths(None)):
        return None
    return conn.subscriptions.named_by(revocation)


def _end(conn: Connection, followings: list[Following] | None, revocation: Revocation) -> None:
    if followings is None:
        if conn.closing is None and not revocation.lost:
            conn.context.metrics.revoked["connections"] += 1
        conn.subscriptions.cut(revocation.closing)
        return
    for following in followings:
        conn.subscriptions.refuse(following, revocation.closing)
