"""A claim: what one process holds in the log while it does what is to happen once, and what becomes of it."""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Sequence

import trio

from ..bounds import LOG_RETRY_SECONDS
from ..errors import LogAway, LogBroken, LogBusy, LogError, LogUncertain, where
from ..event import Draft
from ..hub import Hub
from ..limits import Limits
from ..log import EventLog, Kept
from ..log.checked import claim_checked, release_checked

__all__ = ["Claim"]

logger = logging.getLogger("triolet")


class Claim:
    """A key of the log's, held by one run of what it names.

    Args:
        log: holds it.
        hub: publishes what comes of it.
        limits: how long it is held without being renewed (``lease_seconds``), and its answer is kept.
        key: 32 bytes.
        print: the fingerprint of what is asked, 32 bytes.
    """

    __slots__ = ("_holder", "_hub", "_key", "_limits", "_log", "_print", "_renewed", "_settled")

    def __init__(self, log: EventLog, hub: Hub, limits: Limits, key: bytes, print: bytes) -> None:
        self._log = log
        self._hub = hub
        self._limits = limits
        self._key = key
        self._print = print
        self._holder = secrets.token_bytes(16)
        self._settled = False
        self._renewed: trio.Event | None = None  # while it is being renewed

    async def take(self) -> Kept | None:
        """Hold it, or hold it for longer. Return None, or what is there instead.

        Raises:
            LogError: it is not known to be held.
        """
        found = await claim_checked(self._log, self._key, self._print, self._holder, self._limits.lease_seconds)
        self._settled = found is not None
        return found

    async def renew(self) -> None:
        """Hold it for longer, if nothing has come of it yet.

        Where it was lost (this process stood still for longer than the lease) nobody is told: :meth:`commit` says so.
        """
        if self._settled:
            return
        self._renewed = renewed = trio.Event()
        try:
            await self.take()
        except LogError as error:
            logger.debug("a command's claim is not renewed: %s", where(error))
        finally:
            self._renewed = None
            renewed.set()

    async def commit(self, answer: bytes, writes: Sequence[tuple[str, Sequence[Draft]]]) -> Kept | None:
        """Store what came of it, and its answer, in one transaction. Return None; or, where the claim was lost and so
        nothing was stored, what is there instead.

        While the log is away this goes on trying, for ``limits.command_run_seconds``: with the same holder it takes
        effect once.

        Raises:
            ConfigError: the log cannot store such writes together.
            LogError: the log cannot store it, or is away for too long. Nothing was stored, or a repeat finds out.

        Cancellation: it is stored, or it is not: a repeat finds out.
        """
        claimed_at = -math.inf
        gives_up_at = trio.current_time() + self._limits.command_run_seconds
        while True:
            try:
                stored = await self._hub.commit(
                    self._key, self._holder, answer, self._limits.command_seconds, list(writes)
                )
                if not isinstance(stored, Kept):
                    self._settled = True
                    return None
                self._settled = bool(stored.print)
                # If nothing is there it has lapsed, and nobody else took it: what was done here can still be stored.
                found = stored if self._settled else await self.take()
                if found is not None:
                    return found
                if trio.current_time() < claimed_at + self._limits.lease_seconds:
                    raise LogBroken("the log has lost a claim that it had just given")
                claimed_at = trio.current_time()
            except (LogAway, LogBusy, LogUncertain) as error:
                if trio.current_time() + LOG_RETRY_SECONDS > gives_up_at:
                    raise
                logger.warning("what came of a command is not stored yet: %s", where(error))
                await trio.sleep(LOG_RETRY_SECONDS)

    async def give_back(self) -> None:
        """Let the next one take it, unless it is answered, or another's. If the log is away it lapses by itself."""
        if self._settled:
            return
        # Shielded, since it is given back where all is being cancelled as well, and no longer than a goodbye.
        with trio.move_on_after(self._limits.goodbye_seconds, shield=True):
            while self._renewed is not None:  # or that would claim it again behind this
                await self._renewed.wait()
            self._settled = True  # for a renewal that comes later
            try:
                await release_checked(self._log, self._key, self._holder)
            except LogError as error:
                logger.debug("a command's claim lapses by itself: %s", where(error))
