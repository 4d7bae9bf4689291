"""Several processes of one app, on one log in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from quart_trio import QuartTrio

from triolet import EventLog, Triolet
from triolet.log import MemoryLog
from triolet.testing.scripted import ScriptedLog
from triolet.testing.server import MemoryServer, serve

__all__ = ["Process", "Shared", "processes"]


class Shared(ScriptedLog):
    """One process's view of a log that is open already."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[ScriptedLog]:
        yield self


class Process:
    def __init__(self, live: Triolet, server: MemoryServer, log: Shared) -> None:
        self.live = live
        self.server = server
        self.log = log


@asynccontextmanager
async def processes(
    count: int, make_app: Callable[[], tuple[QuartTrio, Triolet]], log: EventLog | None = None, **options: Any
) -> AsyncIterator[list[Process]]:
    """Serve an app so many times.

    Args:
        make_app: makes it, anew for each.
        log: theirs; without, one of its own.
        options: of each server.
    """
    log = log or MemoryLog()
    async with log.open(), AsyncExitStack() as stack:
        made = []
        for _ in range(count):
            app, live = make_app()
            view = Shared(log)
            made.append(Process(live, await stack.enter_async_context(serve(app, log=view, **options)), view))
        yield made
