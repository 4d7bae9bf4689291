"""Rechecks: a route's view is asked again, every so often, whether a client may still follow."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from ..bounds import RECHECK_PART
from ..errors import LogError, NotServingError, where
from .context import Context

__all__ = ["Check", "UndecidedError"]

logger = logging.getLogger("triolet.connection")


class UndecidedError(Exception):
    """A view that was asked again failed: that is neither a yes nor a no."""


class Check:
    """One subscription's rechecks, for as long as it lasts.

    The first comes at any moment of its time, the others a little before theirs is over: clients that came together are
    not all asked about together. Of all in a process, ``RECHECKS_AT_ONCE`` are asked about at the same moment; the
    others wait in line. A view that fails says neither yes nor no: what is followed stays, and it is asked again in
    its turn.

    Args:
        context: what all connections share.
        seconds: the time in which the view is asked once.
        ask: asks it: whether the client may still follow. Raises UndecidedError, LogError or NotServingError.
        refuse: ends the subscription, and this with it.
    """

    __slots__ = ("_ask", "_context", "_refuse", "_scope", "_seconds")

    def __init__(
        self, context: Context, seconds: float, ask: Callable[[], Awaitable[bool]], refuse: Callable[[], None]
    ) -> None:
        self._context = context
        self._seconds = seconds * RECHECK_PART
        self._ask = ask
        self._refuse = refuse
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        """Ask again and again, until :meth:`stop`, or a no.

        Cancellation: nothing is lost.
        """
        due = trio.current_time() + self._context.random.uniform(0, self._seconds)
        with self._scope:
            while True:
                await self._context.timer.until(due)
                async with self._context.rechecking:
                    due = trio.current_time() + self._seconds
                    if not await self._may_stay():
                        self._refuse()
                        return

    def stop(self) -> None:
        """Ask no more: the subscription has ended."""
        self._scope.cancel()

    async def _may_stay(self) -> bool:
        counted = self._context.metrics.rechecks
        try:
            with trio.fail_after(self._context.limits.write_seconds):
                answer = await self._ask()
        except (UndecidedError, LogError, NotServingError, trio.TooSlowError) as error:
            counted["failed"] += 1
            logger.error("a view could not be asked again whether its client may still follow: %s", where(error))
            return True
        counted["yes" if answer else "no"] += 1
        return answer
