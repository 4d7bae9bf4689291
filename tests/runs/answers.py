"""An app whose answers are runs, and several processes of it on one log, which may be killed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from quart_trio import QuartTrio
from trio.testing import wait_all_tasks_blocked

from tests.app.processes import Shared
from triolet import Cursor, EventLog, Limits, Triolet
from triolet.log import MemoryLog

__all__ = ["ANSWER", "EVENTS", "Cluster", "Process", "cluster", "make_app", "script", "told"]

ANSWER = "answers/42"
EVENTS = "/answers/42/events"


def make_app(limits: Limits | None = None, **options: Any) -> tuple[QuartTrio, Triolet]:
    app = QuartTrio("answers")
    live = Triolet(app, limits=limits, **options)

    @live.channel("/answers/<answer_id>/events")
    async def answer_events(answer_id: str) -> str:
        return f"answers/{answer_id}"

    live.socket("/live")
    return app, live


@asynccontextmanager
async def script(limits: Limits | None = None, log: EventLog | None = None) -> AsyncIterator[Triolet]:
    """A Triolet without an app."""
    async with Triolet(log=log or MemoryLog(limits), limits=limits) as live:
        yield live


async def told(log: EventLog, channel: str = ANSWER) -> list[Any]:
    """The data of all that a channel has, its end among it."""
    page = await log.read(channel, Cursor("", 0), limit=100_000, max_bytes=1 << 30)
    return [event.data for event in page.events]


class Process:
    """One process of the app. It is killed, or ends with its cluster.

    Attributes:
        log: its own view of the cluster's.
    """

    def __init__(self, live: Triolet, log: Shared, scope: trio.CancelScope) -> None:
        self.live = live
        self.log = log
        self._scope = scope

    async def kill(self) -> None:
        """It dies without a word: all its tasks are cancelled at once."""
        self._scope.cancel()
        await wait_all_tasks_blocked()


class Cluster:
    """Processes on one log.

    Attributes:
        log: theirs.
    """

    def __init__(self, log: MemoryLog, limits: Limits | None, nursery: trio.Nursery) -> None:
        self.log = log
        self._limits = limits
        self._nursery = nursery

    async def start(self) -> Process:
        """A process begins."""
        process: Process = await self._nursery.start(self._live)
        await wait_all_tasks_blocked()
        return process

    async def _live(self, task_status: trio.TaskStatus[Process]) -> None:
        log = Shared(self.log)
        app, live = make_app(self._limits, log=log)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery, app.app_context():
                await nursery.start(live.service.run)
                task_status.started(Process(live, log, scope))
                await trio.sleep_forever()


@asynccontextmanager
async def cluster(limits: Limits | None = None) -> AsyncIterator[Cluster]:
    log = MemoryLog(limits)
    async with log.open(), trio.open_nursery() as nursery:
        yield Cluster(log, limits, nursery)
        nursery.cancel_scope.cancel()
