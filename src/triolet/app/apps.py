"""The apps of one Triolet: a service for each, and one without an app, for a script that publishes."""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

from quart import current_app
from quart_trio import QuartTrio

from ..errors import ConfigError, NotServingError
from ..log import EventLog, MemoryLog
from ..sync.home import Home
from .identify import EXTENSION
from .open_log import open_log
from .service import Options, Service, alone

__all__ = ["Apps", "is_in_memory"]


class Apps:
    """Makes the services of one Triolet, and knows which of them is meant.

    Args:
        log: what the app named: a URL, or a log of its own.
        options: how each of them is served.

    Bounds: one service for each app that lives.
    """

    def __init__(self, log: str | EventLog, options: Options) -> None:
        self._log = log
        self._options = options
        self._services: WeakSet[Service] = WeakSet()
        self._last: Service | None = None
        self._alone: Any = None
        self._home: Home | None = None

    def add(self, app: QuartTrio) -> Service:
        """Make the service of an app."""
        self._last = service = self._make(app)
        self._services.add(service)
        return service

    @property
    def present(self) -> Service:
        """The service of the present app; outside of any app's context, of the one that is served.

        Raises:
            NotServingError: there is no app yet.
            ConfigError: several are served, and none of them is the present one.
        """
        service: Service | None = current_app.extensions.get(EXTENSION) if current_app else None
        if service is None:
            served = [service for service in self._services if service.running]
            if len(served) > 1:
                raise ConfigError("several apps are served: publish within `async with app.app_context():`")
            service = served[0] if served else self._last
        if service is None:
            raise NotServingError("no app yet: Triolet(app), init_app(app), or async with Triolet(…)")
        return service

    async def open(self) -> None:
        """Keep a log and a hub open without any app, until :meth:`close`.

        Raises:
            ConfigError: there is an app: it is open while that is served.
            LogError: the log cannot be opened.
        """
        if self._last is not None:
            raise ConfigError("this Triolet has an app: it is open while that is served")
        self._home = Home()
        self._last = service = self._make(None)
        self._alone = alone(service)
        try:
            await self._alone.__aenter__()
        except BaseException:
            self._last = None
            raise

    async def close(self, *error: Any) -> Any:
        """End what :meth:`open` began, with the error of the block, if any."""
        if self._home is not None:
            self._home.check("Triolet.__aexit__")
        try:
            return await self._alone.__aexit__(*error)
        finally:
            self._last = None

    def _make(self, app: QuartTrio | None) -> Service:
        return Service(app, self._open_log, self._options)

    def _open_log(self) -> EventLog:
        return open_log(self._log, self._options.limits) if isinstance(self._log, str) else self._log


def is_in_memory(log: str | EventLog) -> bool:
    """Whether a log is known to its process only."""
    return log == "memory:" or isinstance(log, MemoryLog)
