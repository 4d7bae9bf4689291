"""Supervisor: one nursery per connection. When one of its tasks ends it, all end.

Why the reader runs in the nursery's own body and the others are started in it: the body is a task already, and a task
costs memory for every idle client, and CPU for every client that comes or goes. Which of the tasks it is makes no
difference, for each of them ends all. For the same reason writer and heartbeat are started when they have something to
do for the first time, and not before: a herd of clients that come back is let in without them.

How a connection ends, and in which order
-----------------------------------------

1. Whatever ends it says why (``conn.end``) and cancels the nursery. All tasks of the connection are over when the
   ``async with`` below is left, so nothing else writes to this client any more.
2. The bookkeeping comes first, and it is synchronous (``conn.detach``): out of the hub's flat lists, out of the
   registry, out of presence, out of the memory budget. No cancellation can come in between, so there is no way to
   end half: not by a crash, not by a second reason, not by a server that stops in this moment. Were it the other way
   round, the pump could write an event behind the goodbye, and a connection whose goodbye was cancelled would stay in
   the lists for ever.
3. Then the goodbye, which is the transport's (``transports/contract.py``): it waits for its client, so it has a
   deadline, ``limits.goodbye_seconds``. A client that is gone or takes nothing is told nothing.
4. Last, in a ``finally``, the forceful close: a client that has not taken its goodbye is reset. Nothing is shielded:
   what has to happen whatever comes is synchronous, and what waits may be cancelled.

An exception ends this one connection and is logged. It goes no further: a bug that one client's message finds must not
end the others.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from ..closing import CRASHED, GONE, Closing
from ..errors import ConnectionEnded, RemoteError, where
from ..sync.apart import start_apart
from .connection import Connection
from .writer import write

__all__ = ["crashed", "supervise"]

logger = logging.getLogger("triolet.connection")


async def supervise(
    conn: Connection, read: Callable[[], Awaitable[None]], *children: Callable[[Connection], Awaitable[None]]
) -> Closing:
    """Run a connection's reader, in the nursery's own body, and its children, until one of them ends it.

    The goodbye is the transport's business: the followers are gone from the hub when this returns or raises, so
    nothing but the transport writes to this client any more.

    Args:
        conn: the connection, which has not begun.
        read: the reader.
        children: the other tasks, each of which is given the connection.

    Returns:
        Why it has ended.

    Cancellation: the connection ends as if its client were gone.
    """
    try:
        async with trio.open_nursery() as nursery:
            # What needs the writer first may be a request of another client, which tells this one something.
            conn.begin(nursery, partial(start_apart, nursery, write, conn))
            for child in children:
                nursery.start_soon(child, conn)
            await read()
            conn.end(GONE)  # it has ended it, and said why
    except* ConnectionEnded:
        pass  # the app's handler noticed
    except* RemoteError as errors:
        conn.end(_first(errors).closing)
    except* Exception as crash:
        crashed(conn, crash)
    finally:
        conn.detach()
    return conn.closing or GONE


def crashed(conn: Connection, error: Exception) -> None:
    """End a connection because of a bug. Where it is, and not what, is logged: the message of an error may quote what a
    user has sent. It is there at level DEBUG."""
    logger.error("a connection crashed: %s", where(error))
    logger.debug("the connection's error", exc_info=error)
    conn.context.metrics.crashes += 1
    conn.end(CRASHED)


def _first(errors: BaseExceptionGroup[RemoteError]) -> RemoteError:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, RemoteError)
    return error
