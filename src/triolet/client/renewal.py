"""A connection whose credential is about to end, and how it is kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from .bounds import CLIENT_RENEW_LEAST_SECONDS
from .errors import Ended
from .heard import Heard
from .line import backoff

__all__ = ["Renewal"]


class Renewal:
    """Answers "expiring" on one connection with a new credential, until the server has it or the connection ends.

    It waits for a part of what is left, drawn for each client, so that many do not ask at one moment, and so that a
    token which is good for less than the server's warning is not renewed all the time.

    Args:
        renew: does it; raises Ended.
        trouble: hears what goes wrong beside a connection that stands.
        random: 0 up to 1.
    """

    __slots__ = ("_came", "_due", "_random", "_renew", "_trouble")

    def __init__(
        self,
        renew: Callable[[Heard], Awaitable[None]],
        trouble: Callable[[Ended], None],
        random: Callable[[], float],
    ) -> None:
        self._renew = renew
        self._trouble = trouble
        self._random = random
        self._due: Heard | None = None
        self._came = trio.Event()

    def hear(self, message: Heard) -> None:
        """Listen to every message of the connection."""
        if message.type == "expiring":
            if message.refused:
                self._trouble(Ended("the server does not take the new credential", "refused"))
            else:
                self._due = message
                self._came.set()

    async def run(self) -> None:
        """One after the other: the next warning may come before the answer to what the last one led to."""
        while True:
            await self._came.wait()
            self._came = trio.Event()
            message, self._due = self._due, None
            if message is not None:
                await self._answer(message)

    async def _answer(self, message: Heard) -> None:
        part = (message.milliseconds or 0) / 1000 * (1 + self._random()) / 4
        await trio.sleep(max(CLIENT_RENEW_LEAST_SECONDS, part))
        attempt = 0
        while True:
            try:
                return await self._renew(message)
            except Ended as error:
                self._trouble(error)
                if error.retry is None:
                    return
                retry = backoff(attempt, self._random, error.retry)
            attempt += 1
            await trio.sleep(retry)
