"""Leases: each process says in one channel for all that it is alive."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Final

import msgspec
import trio

from ..bounds import LEASE_RENEWALS, LOG_RETRY_SECONDS
from ..counters import Metrics
from ..errors import LogError, where
from ..event import Cursor, Draft, Event
from ..limits import Limits
from ..log.checked import append_checked, head_checked, read_checked
from ..log.contract import EventLog, Page

__all__ = ["PROCESSES", "Leases", "read_lease"]

logger = logging.getLogger("triolet.presence")

PROCESSES: Final = "triolet.processes"
"""The channel in which processes renew their leases."""
ALIVE: Final = "alive"
GONE: Final = "gone"


class _Lease(msgspec.Struct, frozen=True):
    process: str


class Leases:
    """This process's lease, and what is heard of the leases of others.

    No clock is shared: silence is measured by the process that listens, from when it began to listen.

    Args:
        process: the name of this life of this process.
        log: where leases are renewed.
        limits: how long a lease is.
        metrics: where processes that are lost are counted.
        log_began_again: called when a renewal shows that the log was lost and begun again, and presence with it.

    Attributes:
        deaths: a number that changes when a process may have died.

    Bounds: one entry for each process that was heard within a lease.
    """

    def __init__(
        self, process: str, log: EventLog, limits: Limits, metrics: Metrics, log_began_again: Callable[[], None]
    ) -> None:
        self.process = process
        self.deaths = 0
        self._log = log
        self._limits = limits
        self._metrics = metrics
        self._log_began_again = log_began_again
        self._heard: dict[str, float] = {}
        self._listens_since = math.inf
        self._heard_itself = -math.inf
        self._epoch = ""
        self._cursor: Cursor | None = None

    # --- this process

    async def renew(self) -> bool:
        """Renew the lease, and return whether that was possible.

        Cancellation: the lease was renewed, or not.
        """
        try:
            renewed = await append_checked(self._log, PROCESSES, [self._says(ALIVE)])
        except LogError as error:
            logger.error("cannot renew this process's lease: %s", where(error))
            return False
        # Each renewal shows the log's present epoch: so no one else need be asked whether presence was lost with it.
        epoch = renewed[0].cursor.epoch
        if self._epoch not in ("", epoch):
            self._log_began_again()
        self._epoch = epoch
        return True

    async def renew_on(self) -> None:
        """Renew the lease for ever, ``LEASE_RENEWALS`` times in its length.

        Cancellation: the lease ends by itself, unless :meth:`end` is called.
        """
        seconds = self._limits.lease_seconds / LEASE_RENEWALS
        renewed = True
        while True:
            await trio.sleep(seconds if renewed else min(LOG_RETRY_SECONDS, seconds))
            renewed = await self.renew()

    async def end(self) -> None:
        """Say that this process ends. If the log cannot be written, the lease ends by itself.

        Cancellation: it was said, or not.
        """
        try:
            await append_checked(self._log, PROCESSES, [self._says(GONE)])
        except LogError as error:
            logger.error("cannot say that this process ends: %s", where(error))

    def _says(self, name: str) -> Draft:
        return Draft.of({"process": self.process}, name=name)

    # --- the others

    def listen_anew(self) -> None:
        """Forget what was heard, and measure silence from now on. A process that is then silent for a lease is dead."""
        self._listens_since = trio.current_time()
        self._heard.clear()
        self.deaths += 1

    async def catch_up(self) -> None:
        """Read what was said since the last that was heard: some of it did not come. Where that cannot be read, or
        may not be all, silence means nothing, and this process begins to listen anew.

        Cancellation: what was not read yet is read by a repeat.
        """
        self.deaths += 1  # a leave that others wrote may be gone with what was lost: all is looked through again
        while True:
            try:
                page = await self._read_on()
            except LogError as error:
                logger.error("cannot read what other processes have said: %s", where(error))
                self._cursor = None
                return self.listen_anew()
            if self._cursor is None or page.gap is not None or page.head.epoch != self._cursor.epoch:
                self._cursor = page.head
                return self.listen_anew()
            for event in page.events:
                self.hear(event)
            if self._cursor.offset >= page.head.offset:
                return None

    async def _read_on(self) -> Page:
        limits, after = self._limits, self._cursor
        if after is None:
            return Page((), None, await head_checked(self._log, PROCESSES))
        return await read_checked(self._log, PROCESSES, after, limit=limits.page_events, max_bytes=limits.page_bytes)

    def hear(self, event: Event) -> None:
        """Take in what a process says of itself, once."""
        heard, self._cursor = self._cursor, event.cursor
        if heard is not None and heard.epoch == event.cursor.epoch and event.offset <= heard.offset:
            self._cursor = heard
            return
        process = read_lease(event)
        if process is None:
            return
        now = trio.current_time()
        if event.name == GONE:
            self._heard[process] = -math.inf  # silent since ever: dead at once, without waiting for its lease
            self.deaths += 1
        elif process != self.process:
            self._heard[process] = now
        else:
            if not self._hears:  # the log was away, or this process stood still: so others' silence meant nothing
                self.listen_anew()
            self._heard_itself = now

    def expire(self) -> None:
        """Forget the processes whose lease has ended: from now on they are like a process that was never heard."""
        # Like one that was never heard, because such a one is dead as soon as this process has listened for a lease.
        # So the dead need not be remembered, and what is held does not grow with restarts.
        now = trio.current_time()
        for process, heard in list(self._heard.items()):
            if now - heard > self._limits.lease_seconds:
                del self._heard[process]
                self.deaths += 1
                if heard > -math.inf:  # else it had said goodbye
                    self._metrics.processes_lost += 1

    def is_dead(self, process: str) -> bool:
        """Tell whether a process has been silent for longer than a lease, while this one could hear it."""
        heard = self._heard.get(process, self._listens_since)
        return process != self.process and self._hears and trio.current_time() - heard > self._limits.lease_seconds

    @property
    def judges(self) -> bool:
        """Whether this process has listened for long enough to say which others are dead."""
        return self._hears and trio.current_time() - self._listens_since > self._limits.lease_seconds

    @property
    def alive(self) -> int:
        """Number of processes that hold a lease, as far as is heard here: this one too, while it hears itself."""
        now, lease = trio.current_time(), self._limits.lease_seconds
        return sum(1 for heard in [self._heard_itself, *self._heard.values()] if now - heard <= lease)

    @property
    def _hears(self) -> bool:
        """Whether others are heard at present: they are while this process hears its own renewals."""
        # Half a lease: long enough for a renewal that is late, and short enough that silence is not taken for death
        # when it was this process that stood still.
        return trio.current_time() - self._heard_itself <= self._limits.lease_seconds / 2


def read_lease(event: Event) -> str | None:
    """Return the process that a renewal speaks of; None if the event is no renewal."""
    try:
        return msgspec.json.decode(event.json, type=_Lease).process
    except msgspec.DecodeError:
        return None
