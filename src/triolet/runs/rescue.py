"""Runs whose process has died: they are ended by whichever process finds out first.

A process holds the keys of its runs, all for the same lease. So as long as one key of a process is held it lives, and
one is asked for at each look, another one each time. Where it is free the process is dead, or the run is over and that
was not said any more: then all of its runs are looked at.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable

import trio

from ..bounds import HEADS_ASKED_AT_ONCE
from ..counters import Metrics
from ..errors import ChannelEnded, LogError, where
from ..event import Draft
from ..hub import Hub
from ..limits import Limits
from ..log import EventLog
from ..log.checked import claim_checked, release_checked, status_checked
from .registry import Open, Registry
from .run import key_of, outcome_of

__all__ = ["Rescue"]

logger = logging.getLogger("triolet.runs")


class Rescue:
    """Ends the runs of the dead, as one process: several may do so at once, and each run ends once.

    Args:
        log, hub: of the runs.
        limits: the lease.
        registry: knows which runs are open.
        is_mine: whether a run goes on in this process.
        metrics: where those that were lost are counted.
    """

    def __init__(
        self,
        log: EventLog,
        hub: Hub,
        limits: Limits,
        registry: Registry,
        is_mine: Callable[[Open], bool],
        metrics: Metrics,
    ) -> None:
        self._log = log
        self._hub = hub
        self._limits = limits
        self._registry = registry
        self._is_mine = is_mine
        self._metrics = metrics
        self._holder = secrets.token_bytes(16)

    async def look(self) -> None:
        """Look once for processes that have died.

        Cancellation: what was not ended is found by the next look.
        """
        suspects: dict[str, list[Open]] = {}
        for entry in self._registry.open.values():
            if not self._is_mine(entry):
                suspects.setdefault(entry.process, []).append(entry)
        for entries in suspects.values():
            entries.sort(key=lambda entry: entry.asked)
            first, *others = entries
            if await self._ended(first):
                for start in range(0, len(others), HEADS_ASKED_AT_ONCE):
                    async with trio.open_nursery() as nursery:
                        for entry in others[start : start + HEADS_ASKED_AT_ONCE]:
                            nursery.start_soon(self._ended, entry)

    async def _ended(self, entry: Open) -> bool:
        """End a run if nobody holds it. Return whether nobody did."""
        entry.asked = trio.current_time()
        try:
            key = key_of(entry.channel)
            if await claim_checked(self._log, key, key, self._holder, self._limits.run_lease_seconds) is not None:
                return False
            try:
                if self._registry.open.get(entry.channel) is entry:
                    await self._end(entry)
            finally:
                await release_checked(self._log, key, self._holder)
        except LogError as error:
            logger.debug("a run cannot be looked at: %s", where(error))
            return False
        return True

    async def _end(self, entry: Open) -> None:
        if (await status_checked(self._log, entry.channel)).end is None:
            try:
                (end,) = await self._hub.publish(entry.channel, [Draft.ending({"outcome": "lost"})])
            except ChannelEnded:  # by the app, at this moment
                pass
            else:
                if outcome_of(end) == "lost":
                    self._metrics.runs["lost"] += 1
                    logger.error("the run on %r is lost: its process was not heard any more", entry.channel)
        await self._registry.over(entry.channel, entry.run)
