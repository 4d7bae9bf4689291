"""An app's lifespan: it is started before its first request, and ended after its last (ASGI's ``lifespan``)."""

from __future__ import annotations

import logging
import math
from contextlib import suppress
from typing import Any, cast

import trio
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.typing import AppWrapper
from hypercorn.utils import LifespanFailureError, LifespanTimeoutError

from ..errors import ConfigError, first_of, innermost, where

__all__ = ["AppLifespan", "is_cancelled"]


logger = logging.getLogger("triolet.server")


def is_cancelled() -> bool:
    """Whether the task that asks is being cancelled."""
    return trio.current_effective_deadline() == -math.inf


class _Lifespan(Lifespan):
    """Hypercorn's, which knows what the app has said.

    Attributes:
        completed: that it has started.
        unended: why it could not end, if it could not.
    """

    completed = False
    unended: str | None = None

    async def asgi_send(self, message: Any) -> None:
        """Hear what the app says."""
        self.completed = self.completed or message["type"] == "lifespan.startup.complete"
        if message["type"] == "lifespan.shutdown.failed":
            self.unended = message.get("message") or "it does not say why"
        await super().asgi_send(message)


class AppLifespan:
    """One life of an app, which goes on in the task that runs :meth:`run`.

    Args:
        app, config: as Hypercorn's own.
        state: what the app may leave for its requests, and the server has left for it.
    """

    def __init__(self, app: AppWrapper, config: Config, state: dict[str, Any]) -> None:
        self._app = app
        self._lifespan = _Lifespan(cast(Any, self._call), config, state)

    @property
    def supported(self) -> bool:
        """Whether the app knows what a lifespan is. One that does not is served all the same."""
        return self._lifespan.completed or self._lifespan.supported

    async def _call(self, *arguments: Any) -> None:
        """The app. When it has started and then crashes that is said here, and it has ended early."""
        try:
            await self._app(*arguments)
        except Exception as error:
            if is_cancelled():
                logger.debug("the app's own tasks crashed when they were cut short", exc_info=error)
                return
            if not self._lifespan.completed or isinstance(innermost(error), LifespanFailureError):
                raise
            logger.error("the app's own tasks crashed", exc_info=error)
        except BaseException as error:
            if self._lifespan.completed or _is_passing(error):
                raise
            # Out of a group Hypercorn would take it for an app that knows no lifespan.
            raise LifespanFailureError("startup", where(error)) from error

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Call the app for its lifespan, until it returns.

        Raises:
            ConfigError: the app said that it could not start, or not end; the message says what it said.
        """
        failure: BaseException | None = None
        try:
            await self._lifespan.handle_lifespan(task_status=task_status)
        except* LifespanFailureError as failures:
            failure = first_of(failures)
        if failure is not None and not is_cancelled():  # its start was cut short, and it is not asked how it took that
            raise ConfigError(_sentence(failure)) from None

    async def start(self) -> None:
        """Have the app start, and wait until it has. Cancellation: the app goes on starting."""
        with suppress(trio.ClosedResourceError):  # it is not there any more to be told
            try:
                await self._lifespan.wait_for_startup()
            except LifespanTimeoutError:
                raise ConfigError("the app did not start: its before_serving takes longer than a minute") from None
        if (
            self._lifespan.shutdown.is_set() and not self._lifespan.completed
        ):  # it has returned, as some do that know no lifespan
            self._lifespan.supported = False

    async def ended_early(self) -> None:
        """Wait until the app ends although it was not told to. One that knows no lifespan never does."""
        if not self.supported:
            await trio.sleep_forever()
        await self._lifespan.shutdown.wait()

    async def finish(self) -> None:
        """Have the app end, and wait until it has.

        Raises:
            ConfigError: the app said that it could not; the message says what it said.

        Cancellation: the app goes on ending.
        """
        if not self._lifespan.shutdown.is_set():
            await self._lifespan.wait_for_shutdown()
        if self._lifespan.unended is not None:
            raise ConfigError(f"the app did not end: {self._lifespan.unended}")


def _is_passing(error: BaseException) -> bool:
    """Whether it is Trio's or the interpreter's own, or comes with such a one. Ctrl-C comes as an order to the server,
    so a KeyboardInterrupt is the app's."""
    own = (trio.Cancelled, GeneratorExit)
    return isinstance(error, own) or (isinstance(error, BaseExceptionGroup) and error.split(own)[0] is not None)


def _sentence(failure: BaseException) -> str:
    """What the app said, out of what Hypercorn makes of it: ``Lifespan failure in startup. 'message'``."""
    text = str(failure)
    stage, quote, message = text.partition("'")
    end = "start" if "startup" in stage else "end"
    return f"the app did not {end}: {message.removesuffix(quote) or 'it does not say why'}"
