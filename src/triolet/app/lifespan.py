"""The life of an app, and in it that of its log and hub: they open before anything of the app's, and close after it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

import trio
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGILifespan

from ..errors import TrioletError, innermost, str_of
from ..http.lifespan import is_cancelled
from ..sockets.server_state import server_state
from .service import EXTENSION, Service
from .views import is_marked

__all__ = ["ASYNCIO", "LOADING", "SERVES_ITSELF", "LifespanConnection", "live_with"]

logger = logging.getLogger("triolet")

ASYNCIO = "this app runs on Trio, and this server on asyncio: use `triolet serve module:app`, or `hypercorn -k trio`"
"""What a server is told that cannot run the app."""
SERVES_ITSELF = 'the app serves itself while it is loaded: put app.run() below `if __name__ == "__main__":`'
LOADING: ContextVar[list[str] | None] = ContextVar("LOADING", default=None)
"""While an app is loaded to be served: a list of how often it tries to serve itself, which would go on in its place."""


class LifespanConnection(TrioASGILifespan):
    """Quart's lifespan, which tells the app's Triolet on what server it lives."""

    def __init__(self, app: Any, scope: Any) -> None:
        super().__init__(app, scope)
        self._server = server_state(scope)

    async def __call__(self, receive: Any, send: Any) -> None:
        if not trio.lowlevel.in_trio_run():
            await receive()
            await send({"type": "lifespan.startup.failed", "message": ASYNCIO})
            return
        if (served := LOADING.get()) is not None:
            served.append(SERVES_ITSELF)
            await receive()
            await send({"type": "lifespan.startup.failed", "message": SERVES_ITSELF})
            return
        service: Service = self.app.extensions[EXTENSION]
        service.begin(self._server)
        _warn_of_unasked_guards(self.app)
        start = _Start(send)
        self.app.logger.addFilter(start)
        try:
            await super().__call__(receive, start.send)
        except Exception:
            told = start.failed or (start.over and self._server is not None)  # by the server
            if not told and not is_cancelled():
                # Hypercorn would go on without the app's background tasks, and not say why.
                logger.exception("the app's own tasks crashed")
            raise
        finally:
            self.app.logger.removeFilter(start)


class _Start(logging.Filter):
    """Hears how an app's start ends, so that it is told once: an error of the app's own with its traceback, which Quart
    logs, and one that Triolet has raised as the sentence that it is.

    Attributes:
        over: whether the app has said how its start has ended.
        failed: whether the last that it has said was that it could not start.
    """

    def __init__(self, send: Any) -> None:
        super().__init__()
        self._send = send
        self._error: BaseException | None = None
        self.over = False
        self.failed = False

    def filter(self, record: logging.LogRecord) -> bool:
        if self.over or not record.exc_info or record.exc_info[1] is None:
            return True
        self._error = innermost(record.exc_info[1])
        if is_cancelled():
            return False  # a start that was cut short fails in some way, and in which is of no interest
        return not isinstance(self._error, TrioletError)

    async def send(self, message: Any) -> None:
        self.failed = message["type"] == "lifespan.startup.failed"
        if self.failed and self._error is not None:
            message = {**message, "message": str_of(self._error) or type(self._error).__name__}
        self.over = True
        await self._send(message)


def live_with(app: QuartTrio, service: Service) -> None:
    """Have log and hub open whenever the app is served.

    They open before all of the app's ``before_serving`` functions, those that were registered earlier too: any of them
    may publish.
    """
    app.before_serving_funcs.insert(0, partial(_live, app, service))


async def _live(app: QuartTrio, service: Service) -> None:
    """Open log and hub, and have them close after all of the app's own ``after_serving`` functions and
    ``while_serving`` generators, of which Quart-Trio 0.12 ends the functions first and 0.13 the generators. Commands
    and runs end before all of those, since they may use what those close."""

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        try:
            await service.run(task_status=task_status)
        finally:  # however the app's life ends: it may have another one
            functions: list[Any] = app.after_serving_funcs
            generators: list[Any] = app.while_serving_gens
            for them, ours in ((functions, finish), (functions, end), (generators, last), (generators, first)):
                if ours in them:
                    them.remove(ours)

    ends = 2

    async def end() -> None:
        nonlocal ends
        ends -= 1
        if not ends:
            await service.stop()

    finish = service.finish_work
    first: Any = _AtTheEnd(finish)  # of what is ended: of generators that is the one that began last
    last: Any = _AtTheEnd(end)
    await app.nursery.start(run)
    app.after_serving_funcs.insert(0, finish)
    app.after_serving_funcs.append(end)
    app.while_serving_gens += [last, first]


class _AtTheEnd:
    """As a ``while_serving`` generator, of which Quart asks no more. Trio warns of one that is not gone through."""

    def __init__(self, end: Callable[[], Awaitable[None]]) -> None:
        self._end = end
        self._begun = False

    async def __anext__(self) -> None:
        if not self._begun:
            self._begun = True
            return
        await self._end()
        raise StopAsyncIteration


def _warn_of_unasked_guards(app: QuartTrio) -> None:
    """Say so if the app guards its WebSockets in a way that does not guard Triolet's."""
    guards = [guard for guards in app.before_websocket_funcs.values() for guard in guards]
    if guards and any(is_marked(view) for view in app.view_functions.values()):
        names = ", ".join(sorted({getattr(guard, "__name__", repr(guard)) for guard in guards}))
        logger.warning(
            "before_websocket functions (%s) are not asked for Triolet's URLs, over no transport: "
            "before_request functions are, also for a WebSocket, and live.identify is",
            names,
        )
