"""A crash of one connection is its own: no other client and no other task of the server notices it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from ..errors import where

__all__ = ["isolated"]

logger = logging.getLogger("triolet.server")


async def isolated(serve: Callable[[], Awaitable[object]], crashed: Callable[[], None]) -> None:
    """Serve one connection so that its crash is its own: counted, and logged in one line without payload.

    The caller closes the connection, whatever happens here. What is no ``Exception`` (KeyboardInterrupt,
    SystemExit, a cancellation) passes through.
    """
    try:
        await serve()
    except* Exception as errors:
        crashed()
        logger.error("a connection crashed: %s", where(errors, with_message=False))
        logger.debug("the connection's error", exc_info=errors)
