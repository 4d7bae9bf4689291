"""An app's lifespan: it is started before its first request, and ended after its last (ASGI's ``lifespan``)."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.typing import AppWrapper
from hypercorn.utils import LifespanFailureError

from ..errors import ConfigError, first_of

__all__ = ["AppLifespan"]


class AppLifespan:
    """One life of an app, which goes on in the task that runs :meth:`run`.

    Args:
        app, config: as Hypercorn's own.
        state: what the app may leave for its requests, and the server has left for it.
    """

    def __init__(self, app: AppWrapper, config: Config, state: dict[str, Any]) -> None:
        self._lifespan = Lifespan(app, config, state)

    @property
    def supported(self) -> bool:
        """Whether the app knows what a lifespan is. One that does not is served all the same."""
        return self._lifespan.supported

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Call the app for its lifespan, until it returns.

        Raises:
            ConfigError: the app said that it could not start, or not end; the message says what it said.
        """
        try:
            await self._lifespan.handle_lifespan(task_status=task_status)
        except* LifespanFailureError as failures:
            raise ConfigError(f"the app did not start or end: {first_of(failures)}") from None

    async def start(self) -> None:
        """Have the app start, and wait until it has. Cancellation: the app goes on starting."""
        with suppress(trio.ClosedResourceError):  # it is not there any more to be told
            await self._lifespan.wait_for_startup()
        if self._lifespan.shutdown.is_set():  # it has returned, as some do that know no lifespan
            self._lifespan.supported = False

    async def ended_early(self) -> None:
        """Wait until the app ends although it was not told to. One that knows no lifespan never does."""
        if not self.supported:
            await trio.sleep_forever()
        await self._lifespan.shutdown.wait()

    async def finish(self) -> None:
        """Have the app end, and wait until it has. Cancellation: the app goes on ending."""
        await self._lifespan.wait_for_shutdown()
