"""The keys of the log's under which the runs of a process are held, for a lease that is renewed while it lives."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import NoReturn

import trio

from ..bounds import LEASE_RENEWALS
from ..errors import LogError, where
from ..limits import Limits
from ..log import EventLog
from ..log.checked import claim_checked, release_checked
from .registry import Registry
from .run import Run

__all__ = ["Leases"]

logger = logging.getLogger("triolet.runs")


class Leases:
    """Holds the runs of one process.

    Args:
        log: where they are held.
        limits: for how long.
        registry: where it is told that they go on.
    """

    def __init__(self, log: EventLog, limits: Limits, registry: Registry) -> None:
        self._log = log
        self._seconds = limits.run_lease_seconds
        self._registry = registry

    async def take(self, run: Run) -> bool:
        """Hold a run, or hold it for longer. Return False where somebody else does.

        Raises:
            LogError: it is not known to be held.
        """
        since = trio.current_time()
        if await claim_checked(self._log, run.key, run.key, run.name.encode(), self._seconds) is not None:
            return False
        run.held_until = since + self._seconds
        return True

    async def leave(self, run: Run) -> None:
        """Tell the others that a run is over. If the log cannot be told they find out."""
        try:
            await self._registry.over(run.channel, run.name)
        except LogError as error:
            logger.debug("a run is over, and others find out: %s", where(error))
        await self.give_back(run)

    async def give_back(self, run: Run) -> None:
        """Let the next one hold it. If the log is away that lapses by itself."""
        run.leaves = True
        try:
            await release_checked(self._log, run.key, run.name.encode())
        except LogError as error:
            logger.debug("a run's claim lapses by itself: %s", where(error))

    async def renew(self, mine: Callable[[], Collection[Run]]) -> NoReturn:
        """Hold all that goes on. What could not be held for a whole lease is lost.

        Args:
            mine: returns the runs that go on in this process.
        """
        seconds = self._seconds / LEASE_RENEWALS
        due = trio.current_time()
        while True:
            due = max(due + seconds, trio.current_time())
            await trio.sleep_until(due)
            with trio.move_on_after(seconds):
                async with trio.open_nursery() as nursery:
                    for run in mine():
                        if run.since is not None:
                            nursery.start_soon(self._hold, run)
            for run in mine():
                if run.since is not None and run.held_until <= trio.current_time():
                    _lose(run)

    async def _hold(self, run: Run) -> None:
        try:
            if not await self.take(run):
                _lose(run)
            elif run.leaves:  # given back meanwhile: it was claimed again behind that
                await self.give_back(run)
            elif self._registry.forgets(run):
                await self._registry.begun(run)
        except LogError as error:
            logger.debug("a run's claim is not renewed: %s", where(error))


def _lose(run: Run) -> None:
    if run.outcome is None and not run.leaves:
        logger.error("the run on %r is lost: the log has not heard of this process for its lease", run.channel)
        run.break_off("lost")
