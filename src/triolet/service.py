"""What runs for one app while it is served: one log, one hub, and what its connections share."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from .connection import Surroundings
from .errors import ConfigError, NotServingError
from .hub import Hub
from .limits import Limits
from .log import EventLog
from .server.stream import DRAINING_KEY

if TYPE_CHECKING:
    from .upgrades import AppUpgrades

__all__ = ["Service"]

logger = logging.getLogger("triolet")


class Service:
    """One app's log and hub. It stands in ``app.extensions["triolet"]``.

    Attributes:
        app: the app; None outside of one.
        upgrades: who serves the app's WebSockets.
        attended: whether a server of ours serves the app, and says when it drains.
    """

    upgrades: AppUpgrades

    def __init__(
        self,
        app: Any,
        make_log: Callable[[], EventLog],
        limits: Limits,
        origins: frozenset[str],
        *,
        deflate: bool = False,
    ) -> None:
        self.app = app
        self.limits = limits
        self.origins = origins
        self.deflate = deflate
        self.attended = False
        self.draining = trio.Event()
        self._make_log = make_log
        self._log: EventLog | None = None
        self._surroundings: Surroundings | None = None
        self._stopping = trio.Event()

    @property
    def running(self) -> bool:
        """Whether the log is open."""
        return self._log is not None

    @property
    def log(self) -> EventLog:
        """The log, open. Raises NotServingError before the app is served and after."""
        if self._log is None:
            raise NotServingError("the event log is open while the app is served, or within `async with live:`")
        return self._log

    @property
    def surroundings(self) -> Surroundings:
        """What the app's connections share. Raises NotServingError."""
        if self._surroundings is None:
            raise NotServingError("nobody can follow before the app is served")
        return self._surroundings

    def begin(self, state: dict[str, Any]) -> None:
        """The app's life begins, on a server that has left this ``state`` for it."""
        self.attended = DRAINING_KEY in state
        self.draining = state[DRAINING_KEY] if self.attended else trio.Event()
        if not self.attended:
            logger.warning("not on `triolet serve`: everything works, but a client that stalls cannot be cut off")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep log and hub open until :meth:`stop`. It may be run again when it has ended.

        Raises:
            ConfigError: it runs already; an app is served by one worker of a process.
            LogError: the log cannot be opened.
        """
        if self.running:
            raise ConfigError("this app is served already in this process: make another of it for another server")
        self._stopping = trio.Event()
        log = self._make_log()
        async with log.open(), trio.open_nursery() as nursery:
            hub = Hub(log, self.limits)
            await nursery.start(hub.run)
            self._log = log
            self._surroundings = Surroundings(hub, self.limits, self.draining, random.Random(), time.time)
            try:
                task_status.started()
                await self._stopping.wait()
            finally:
                self._log = self._surroundings = None
                nursery.cancel_scope.cancel()

    async def stop(self) -> None:
        """End :meth:`run`."""
        self._stopping.set()
