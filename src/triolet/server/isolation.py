"""A crash of one connection is its own: no other client and no other task of the server notices it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from ..errors import PASSING, where

__all__ = ["isolated"]

logger = logging.getLogger("triolet.server")


async def isolated(serve: Callable[[], Awaitable[object]], crashed: Callable[[], None]) -> None:
    """Serve one connection so that its crash is its own: counted, and logged in one line without payload.

    The caller closes the connection, whatever happens here. KeyboardInterrupt, SystemExit and a cancellation pass
    through, and nothing else.
    """
    try:
        await serve()
    except PASSING:
        raise
    except BaseException as error:
        if (passing := _passing(error, crashed)) is not None:
            try:
                raise passing from None
            finally:
                del passing  # its frames would hold themselves, and the connection


def _passing(error: BaseException, crashed: Callable[[], None]) -> BaseException | None:
    """Return what passes of an error; the rest is a crash."""
    passing, rest = error.split(PASSING) if isinstance(error, BaseExceptionGroup) else (None, error)
    if rest is not None:
        crashed()
        logger.error("a connection crashed: %s", where(rest, with_message=False))
        logger.debug("the connection's error", exc_info=rest)
    return passing
