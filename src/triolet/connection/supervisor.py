"""Supervisor: one nursery per connection. When one of its tasks ends it, all end."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from ..closing import CRASHED, GONE, Closing
from ..errors import ConnectionEnded, RemoteError, where
from .connection import Connection

__all__ = ["supervise"]

logger = logging.getLogger("triolet.connection")


async def supervise(
    conn: Connection, read: Callable[[], Awaitable[None]], *children: Callable[[Connection], Awaitable[None]]
) -> Closing:
    """Run a connection's reader, in the nursery's own body, and its children, until one of them ends it. Returns why.

    The goodbye is the transport's: the followers are gone from the hub when this returns or raises, so the
    transport is the only one left that writes.

    Cancellation: the connection ends as if its client were gone.
    """
    try:
        async with trio.open_nursery() as nursery:
            conn.begin(nursery)
            for child in children:
                nursery.start_soon(child, conn)
            await read()
    except* ConnectionEnded:
        pass  # the app's handler noticed
    except* RemoteError as errors:
        conn.end(_first(errors).closing)
    except* Exception as crash:
        logger.error("a connection crashed: %s", where(crash))
        logger.debug("the connection's error", exc_info=crash)
        conn.surroundings.metrics.crashes += 1
        conn.end(CRASHED)
    finally:
        conn.detach()
    return conn.closing or GONE


def _first(errors: BaseExceptionGroup[RemoteError]) -> RemoteError:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, RemoteError)
    return error
