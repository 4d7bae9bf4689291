"""The whole server in memory: the front, Hypercorn's protocol code, Quart, hub and outlets, on Trio's virtual clock."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from ..app.open_log import open_log
from ..app.service import Service
from ..hub import Hub
from ..log import EventLog
from ..server.settings import Settings
from ..server.worker import Worker
from .client_websocket import WebSocketClient
from .http import Answer, EventStream
from .network import MemoryLink, Network
from .reach import Reach
from .seed import current

__all__ = ["Answer", "EventStream", "MemoryServer", "WebSocketClient", "serve"]


class MemoryServer(Reach):
    """A served app, and the ways to reach it.

    Attributes:
        app: what is served.
        worker: the real one.
        hub: the app's, if it has a Triolet.
        stop: set it, and the server drains. ``stop_now`` ends it at once, once it drains.
        ended: set when the server has ended.
    """

    def __init__(self, app: Any, worker: Worker, network: Network, nursery: trio.Nursery) -> None:
        super().__init__(network, nursery)
        self.app = app
        self.worker = worker
        self.hub: Hub | None = None
        self.stop = trio.Event()
        self.stop_now = trio.Event()
        self.ended = trio.Event()

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return self.worker.admission.connections

    @property
    def followers(self) -> int:
        """How many clients follow: streams, and long polls that wait. The app's own tasks (``live.follow``) are not
        among them."""
        return 0 if self.hub is None else sum(audience.watchers for audience in self.hub.windows)

    def enter(self, link: MemoryLink, address: str) -> None:
        """See :meth:`Reach.enter`; a server that drains listens no longer."""
        if self.worker.draining.is_set():
            link.abort()
        else:
            self.worker.enter(link, address)


@asynccontextmanager
async def serve(
    app: Any, *, log: EventLog | str | None = None, network: Network | None = None, **settings: Any
) -> AsyncIterator[MemoryServer]:
    """Serve an app in memory for the time of an ``async with`` block; it drains at the end.

    Args:
        app: the ASGI app, usually a QuartTrio with a Triolet.
        log: what the app keeps its events in for the time of the block, an EventLog or a name as ``Triolet`` takes it;
            without, what it always does.
        network: what clients are connected through; without, one of its own, on which bytes take no time. Several
            servers may share one.
        settings: of :class:`triolet.server.settings.Settings`; the limits are those of the app's Triolet.

    Raises:
        TypeError: this is no ASGI app, for example the function that makes one.
        RuntimeError: the app cannot be served again, since it has a ``while_serving`` generator that has run.
        AssertionError: at the end of a block that ends well, if a connection outlives its client, or a follower
            its connection.
        Exception: what the block raises, as it is and not in a group, unless the server fails too.
    """
    failure: Exception | None = None
    chance = current()
    network = network or Network(random=chance.random("network"))
    _check_is_app(app)
    _check_unspent(app)
    service: Service | None = getattr(app, "extensions", {}).get("triolet")
    if service is not None:
        service.random.seed(chance.random("service").getrandbits(64))
        settings.setdefault("limits", service.limits)
    worker = Worker(app, Settings(**settings))
    try:
        async with _log_of(service, log), network.running(), trio.open_nursery() as nursery:
            server = MemoryServer(app, worker, network, nursery)
            await nursery.start(_run, server)
            if service is not None:
                server.hub = service.context.hub
            try:
                yield server
                await _check_all_leave(server)
            except Exception as error:  # raised below: in here, the nursery would put it into a group
                failure = error
            finally:
                server.stop.set()
    except Exception as error:
        if failure is None:
            raise
        raise error from failure
    if failure is not None:
        raise failure
    left = 0 if server.hub is None else server.hub.statistics().followers  # the app's own tasks have ended, too
    assert left == 0, f"{left} followers are left"


def _check_is_app(app: Any) -> None:
    try:
        inspect.signature(app).bind({}, None, None)
    except TypeError:
        raise TypeError(f"{app!r} is no ASGI app: that is called with scope, receive and send") from None


def _check_unspent(app: Any) -> None:
    spent = [gen.__name__ for gen in getattr(app, "while_serving_gens", ()) if getattr(gen, "ag_frame", gen) is None]
    if spent:
        advice = "make the app anew for each test, in a function"
        raise RuntimeError(f"Quart runs a while_serving generator once, and {', '.join(spent)} has run: {advice}")


@asynccontextmanager
async def _log_of(service: Service | None, log: EventLog | str | None) -> AsyncIterator[None]:
    """Give the app another log."""
    if service is None or log is None:
        yield
        return
    usual = service.make_log
    service.make_log = lambda: open_log(log, service.limits) if isinstance(log, str) else log
    try:
        yield
    finally:
        service.make_log = usual


async def _run(server: MemoryServer, *, task_status: trio.TaskStatus[None]) -> None:
    async def stop() -> None:
        await (server.stop_now if server.stop.is_set() else server.stop).wait()

    try:
        await server.worker.run([], stop, task_status=task_status)
    finally:
        server.ended.set()


async def _check_all_leave(server: MemoryServer) -> None:
    """Once its client has gone, a connection may take the time of a goodbye, and the app's task as much again."""
    server.vanish()
    if server.connections:
        await trio.sleep(3 * server.worker.settings.limits.goodbye_seconds)
    assert server.connections == 0, f"{server.connections} connections are left"
    assert server.followers == 0, f"{server.followers} followers are left"
