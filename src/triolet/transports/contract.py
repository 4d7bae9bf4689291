"""What a transport is, and the one way in which each of them is served.

A transport is a codec (how events look on the wire, ``wire/codec.py``) and what this contract names: how it opens, what
it hears from its client, which tasks it adds, how it beats, and how it says goodbye. What is the same for all of them
stands once, in :func:`serve`. WebSocket and SSE keep this contract, each twice: straight on the client's socket, and
through ASGI. Polls are answered and gone; they have no connection, and so none of this (``polling.py``).

:func:`triolet.testing.check_transport` looks at a transport from the other side: it knows nothing of these classes, but
runs a client of it against the whole server, and checks what the client hears. A new transport is written against this
contract and is right when that suite says so.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

import trio

from ..closing import GONE, SLOW, Closing
from ..connection import Connection
from ..connection.heartbeat import begin as begin_heartbeat
from ..connection.supervisor import supervise
from ..wire.messages import say_bye
from .outlets import with_outlet

__all__ = ["Child", "Transport", "bye", "serve"]

Child: TypeAlias = Callable[[Connection], Awaitable[None]]
"""A task of a connection: when it returns, the others go on; it ends them by ``conn.end``."""


class Transport(ABC):
    """How one client is opened, listened to, and told goodbye. One object serves one connection.

    Attributes:
        pings: whether the heartbeat sends WebSocket pings, so that a client that answers nothing is found silent.
        owns_socket: whether nothing else uses the socket after it, so that it is reset at the end, whatever is left.
    """

    __slots__ = ()

    pings = False
    owns_socket = False

    @abstractmethod
    async def open(self, conn: Connection) -> None:
        """Say the head of the answer. What goes wrong here ends the connection with no goodbye."""

    @abstractmethod
    async def read(self, conn: Connection) -> None:
        """Hear the client until it ends, or until what it says ends the connection. It ends by ``conn.end``."""

    @abstractmethod
    async def goodbye(self, conn: Connection, closing: Closing) -> None:
        """Say why it ends, and close. It may wait for the client, and is cancelled after ``limits.goodbye_seconds``."""

    def children(self) -> tuple[Child, ...]:
        """The tasks that a transport adds to reader, writer and heartbeat."""
        return ()


async def serve(conn: Connection, transport: Transport) -> None:
    """Serve a client over its transport, from the head of the answer until the connection has ended.

    Args:
        conn: the connection, not begun yet. It is detached when this returns or raises, in any case.
        transport: the client's.

    Cancellation: the connection ends without goodbye.
    """
    try:
        await transport.open(conn)
        await with_outlet(conn.outlet, partial(_serve_to_end, conn, transport))
    finally:
        conn.detach()
        conn.outlet.until = math.inf  # other answers may go out on the same stream
        if transport.owns_socket:
            conn.outlet.abort()


async def bye(conn: Connection, closing: Closing) -> None:
    """Write what is left, then the message that says why it ends and when to come back, and wait until it is taken."""
    await conn.outlet.drained()
    conn.outlet.write(conn.codec.say(say_bye(closing, conn.context.retry(closing))))
    await conn.outlet.drained()


async def _serve_to_end(conn: Connection, transport: Transport) -> None:
    call_off = begin_heartbeat(conn, pings=transport.pings)
    try:
        closing = await supervise(conn, partial(transport.read, conn), *transport.children())
    finally:
        call_off()
    if closing in (GONE, SLOW) or conn.outlet.closed:  # nobody hears a goodbye
        if not conn.peer_closed:
            conn.outlet.abort()
        return
    with trio.move_on_after(conn.limits.goodbye_seconds) as patience:
        await transport.goodbye(conn, closing)
    if patience.cancelled_caught and conn.outlet.pending:  # it was not taken
        conn.outlet.abort()
