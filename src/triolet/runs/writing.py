"""The way out: what a run's source gives is stored, batch by batch, and behind it the run's end."""

from __future__ import annotations

import logging
from typing import Final

import trio

from ..bounds import LOG_RETRY_SECONDS
from ..counters import Metrics
from ..errors import ChannelEnded, ForeignError, LogAway, LogBusy, LogError, LogUncertain, where
from ..event import Draft, Event
from ..hub import Hub
from ..log import EventLog
from ..log.checked import status_checked
from .run import Run, outcome_of

__all__ = ["Writing"]

logger = logging.getLogger("triolet.runs")

PASSING: Final = (LogAway, LogBusy, LogUncertain)
"""Errors of a log that will be back: what could not be stored is stored then. Each event has a name of its own
(``dedupe``), so what was stored in spite of an error is not stored twice."""


class Writing:
    """Stores what runs give, each in its own task.

    Args:
        log, hub: where it is stored.
        metrics: where it is counted.
    """

    def __init__(self, log: EventLog, hub: Hub, metrics: Metrics) -> None:
        self._log = log
        self._hub = hub
        self._metrics = metrics

    async def write(self, run: Run) -> str:
        """Store what a run's source gives, and its end. Return its outcome."""
        outcome = "lost"
        with run.writing:
            try:
                data = await self._store(run)
                outcome = outcome_of(await self._append_end(run, data))
            except ChannelEnded:
                run.intake.drop()
                outcome = await self._outcome_there(run)
        if run.outcome is not None:  # it was broken off
            outcome = run.outcome
        return outcome

    async def _store(self, run: Run) -> dict[str, str]:
        """Store all that a run's source gives. Return the data of the end that it comes to.

        Raises:
            ChannelEnded: somebody has ended the channel.
        """
        while batch := await run.intake.take():
            try:
                await self._append(run, batch, PASSING)
            except ChannelEnded:
                raise
            except Exception as error:  # of a log of the app's own it may be any
                logger.error("the run on %r failed, what it gave cannot be stored: %s", run.channel, where(error))
                run.intake.drop()
                return {"outcome": "failed"}
            self._metrics.run_events += len(batch)
            self._metrics.run_batches += 1
        failure, run.intake.error = run.intake.error, None  # with all that is in its frames
        if failure is not None:
            raised = failure.__cause__ if isinstance(failure, ForeignError) else None
            logger.error("the run on %r failed: %s", run.channel, where(raised or failure))
            logger.debug("its error", exc_info=failure)
        if run.reason is not None:
            return {"outcome": "stopped", "reason": run.reason}
        return {"outcome": "done" if failure is None else "failed"}

    async def _append_end(self, run: Run, data: dict[str, str]) -> Event:
        (end,) = await self._append(run, [Draft.ending(data)], (Exception,))
        return end

    async def _append(self, run: Run, drafts: list[Draft], passing: tuple[type[Exception], ...]) -> list[Event]:
        """Store drafts, as soon as the log can be written. A run that waits for longer than its lease is lost, which
        cancels this."""
        said = False
        while True:
            try:
                return await self._hub.publish(run.channel, drafts)
            except ChannelEnded:
                raise
            except passing as error:
                if not said:
                    logger.warning("what the run on %r gives is not stored yet: %s", run.channel, where(error))
                    said = True
                await trio.sleep(LOG_RETRY_SECONDS)

    async def _outcome_there(self, run: Run) -> str:
        """The outcome that somebody else's end of a run's channel tells of."""
        try:
            end = (await status_checked(self._log, run.channel)).end
        except LogError:
            end = None
        return "stopped" if end is None else outcome_of(end)
