"""One worker: accepts connections, serves each in isolation, and drains when it is told to."""

# Why a front before Hypercorn
#
# Hypercorn speaks HTTP well, and every page and form goes through it. But it puts several layers between a socket and
# the app: a stream, a protocol object, a task for the app, and channels between them. A client that follows a channel
# has no use for any of them. It says nothing more in HTTP, and what it is sent are the same bytes for all. It needs a
# socket, an outlet and a cursor, so that is what it should cost. A poll is one head and one answer, and should cost no
# more than these and the view.
#
# So the front reads each request head, strictly and within bounds, and sees what is asked for. A WebSocket, an event
# stream, a poll or a command on a URL of Triolet's is served straight on its stream. Everything else is given to
# Hypercorn with the bytes that were read, as if they had not been, and Hypercorn has the connection until a request is
# Triolet's again: browsers and proxies ask for pages and polls on one connection. The view is asked in both cases: the
# front decides how a request is served, never whether it may.
#
# The front steps back where it would be in the way: if ASGI middleware stands before the app, that must see every
# request; over HTTP/2 many requests share a connection, and only Hypercorn and h2 can keep them apart. There the
# transports write through an outlet that knows of it, and all else stays the same.
#
# The life of a worker
#
# start    The app's lifespan starts. No client can connect before it has: sockets are bound, and do not listen.
# serve    Connections come in, each in a task of its own, in isolation: its crash is counted, and ends only itself.
# drain    Told to stop, or the app has ended by itself: the clients in the queues are let in and the listeners
#          closed; every client is asked to leave, spread over a time so that the others can take them; what was
#          asked already is answered. After `clients_seconds` the connections are cut.
# end      The app's lifespan ends, in what is left of the grace. At its end, or at a second order to stop, all is
#          cancelled.

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

import trio

from ..budget import Budget
from ..counters import Metrics
from ..errors import ConfigError
from ..http.app_host import AppHost
from ..http.lifespan import AppLifespan
from ..sockets.link import Link
from ..sockets.server_state import ServerState, leave_server
from ..sockets.stages import OpenSockets, Stage
from ..sockets.stream import ClientStream
from ..sockets.tls import TlsStream
from .acceptor import Acceptor, turn_away
from .access_log import AccessLog, write_refusal
from .admission import Admission
from .front import Front, Upgrades
from .isolation import isolated
from .listeners import Listeners
from .proxied import Proxied, say_busy
from .proxy_protocol import ProxyProtocolError, read_proxy_header
from .settings import Settings

__all__ = ["Worker"]

logger = logging.getLogger("triolet.server")

Stop = Callable[[], Awaitable[None]]
"""Returns when a worker is to stop, and when called again, once it is to stop at once."""


Serve = Callable[[ClientStream], Awaitable[None]]
"""Serves a connection, whose TLS handshake is done."""


class Worker:
    """Serves one ASGI app on listening sockets.

    A connection's crash is its own: it is counted, logged in one line without payload, and closed.

    Args:
        app: the ASGI app. If it is a Quart app with a Triolet, WebSockets of that are served straight on their
            sockets.
        settings: how.

    Attributes:
        started: set when the app has started, and the worker listens.
        draining: set when it drains.
        failed: whether the app ended by itself, so that the process should end with an error.
        crashes: connections that ended with an error which no transport has caught.
    """

    def __init__(self, app: Any, settings: Settings) -> None:
        self.app = app
        self.settings = settings
        self.budget = Budget(settings.limits.memory_bytes)
        self.metrics = Metrics()
        self.admission = Admission(settings.limits, self.budget)
        self.started = trio.Event()
        self.draining = trio.Event()
        self.failed = False
        self.crashes = 0
        state: dict[str, Any] = {}  # what the lifespan leaves for requests
        access_log = AccessLog(settings.access_log)
        server = ServerState(self.budget, self.metrics, self.draining, settings.leave_seconds, self.sockets, app=app)
        leave_server(state, replace(server, refused=write_refusal) if settings.access_log else server)
        proxied = Proxied(settings.forwarded, self.admission, self.metrics)
        served = proxied.around(access_log.around(app), access_log.around(say_busy))
        self._host = AppHost(served, settings.limits, settings.root_path, state)
        self._front = Front(
            settings.limits,
            self._upgrades,
            self._host.serve,
            settings.root_path,
            state,
            forwarded=settings.forwarded,
            proxied=proxied,
            access_log=access_log,
        )
        self._acceptor: Acceptor | None = None
        self._connections: trio.Nursery | None = None
        self._streams: set[ClientStream] = set()

    # --- its life

    async def run(
        self,
        listeners: list[socket.socket],
        stop: Stop,
        *,
        beside: Sequence[Callable[[], Awaitable[None]]] = (),
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until ``stop`` returns, then drain and end within ``settings.grace`` seconds.

        Args:
            listeners: bound sockets of this worker's own. When draining begins, the clients in their queues are
                let in (to be told when to come back), and they are closed.
            stop: returns when the worker shall end, and again when it shall end at once.
            beside: what runs until the very end, for the operator; it is cancelled then.

        Raises:
            ConfigError: the app did not start; the message says what it said.
        """
        ours = Listeners(listeners, self.settings.limits)
        self._acceptor = Acceptor(ours, self.admission, self.metrics, self.enter, self.settings.limits)
        lifespan = self._host.lifespan()
        try:
            async with trio.open_nursery() as app_nursery:
                for run in beside:
                    app_nursery.start_soon(run)
                await app_nursery.start(lifespan.run)
                if await self._start(lifespan, stop):
                    ours.listen()
                    self.started.set()
                    task_status.started()
                    await self._serve(self._acceptor, stop, lifespan, app_nursery)
                app_nursery.cancel_scope.cancel()
        finally:
            ours.close()

    async def _start(self, lifespan: AppLifespan, stop: Stop) -> bool:
        """Start the app. Returns False where the worker was told to stop before it had started."""
        started = False
        async with trio.open_nursery() as starting:

            async def give_up() -> None:
                await stop()
                starting.cancel_scope.cancel()

            starting.start_soon(give_up)
            await lifespan.start()
            started = True
            starting.cancel_scope.cancel()
        if started and not lifespan.supported and self._upgrades() is not None:
            raise ConfigError("the app did not start: a background task of it crashed")
        return started

    async def _serve(self, acceptor: Acceptor, stop: Stop, lifespan: AppLifespan, app_nursery: trio.Nursery) -> None:
        """Serve until the worker drains, and then until the last connection has ended, and the app."""
        with trio.CancelScope() as ending:
            async with trio.open_nursery() as connections:
                self._connections = connections
                await acceptor.run(partial(self._stop_or_crash, stop, lifespan))
                app_nursery.start_soon(self._cut_short, stop, ending)
                await self._drain(connections, ending)
            await lifespan.finish()

    async def _stop_or_crash(self, stop: Stop, lifespan: AppLifespan) -> None:
        """Wait to be told to stop, or for the app to end by itself: a background task of it crashed, or its log."""
        async with trio.open_nursery() as either:

            async def ended() -> None:
                await lifespan.ended_early()
                logger.error("the app has ended by itself: a background task of it crashed")
                self.failed = True
                either.cancel_scope.cancel()

            either.start_soon(ended)
            await stop()
            either.cancel_scope.cancel()

    async def _drain(self, connections: trio.Nursery, ending: trio.CancelScope) -> None:
        """Ask all clients to leave. The app's own end needs a part of the grace as well."""
        logger.info("draining %d connections", self.admission.connections)
        now = trio.current_time()
        ending.deadline = now + self.settings.grace
        connections.cancel_scope.deadline = now + self.settings.clients_seconds
        self.draining.set()
        self._front.close()
        await self._host.drain()

    async def _cut_short(self, stop: Stop, ending: trio.CancelScope) -> None:
        """Told to stop again: end at once."""
        await stop()
        ending.cancel()

    # --- connections

    def accept_on(self, listener: socket.socket) -> None:
        """Accept on a bound socket too, which others may hold as well, until :meth:`release` or draining begins; it is
        closed then, here. Once the worker drains, it is closed at once."""
        assert self._acceptor is not None, "the worker does not run"
        self._acceptor.adopt(listener)

    def release(self, listener: socket.socket) -> None:
        """Accept on a socket no longer: the clients in its queue are for others that hold it as well."""
        assert self._acceptor is not None, "the worker does not run"
        self._acceptor.release(listener)

    def enter(self, link: Link, address: str = "") -> None:
        """Serve a connection in a task of its own, or answer 503 where there is no room for it."""
        assert self._connections is not None, "the worker does not run"
        is_proxy = self.settings.forwarded.is_proxy((address, 0) if address else None)
        owner = None if is_proxy else address
        # What a listed proxy brings is counted, and shakes hands, when its PROXY header has said whose it is.
        waits = is_proxy and self.settings.proxy_protocol
        if self.admission.enter(owner, handshake=self.settings.tls is not None and not waits):
            self._connections.start_soon(self._connect, link, owner)
        else:
            self.metrics.refused += 1
            turn_away(link)

    def _stream(self, link: Link) -> ClientStream:
        tls = self.settings.tls
        return ClientStream(link, self.budget) if tls is None else TlsStream(link, self.budget, tls)

    async def _connect(self, link: Link, address: str | None) -> None:
        """Serve one connection until it ends, and close it whatever happens. Its address is None where it is a listed
        proxy's."""
        try:
            if self.settings.proxy_protocol:
                await isolated(partial(self._serve_proxied, link, address), self._crashed)
            else:
                await self._serve_link(link, address, self._front.serve)
        finally:
            self.admission.leave(address)

    async def _serve_link(self, link: Link, address: str | None, serve: Serve) -> None:
        stream = self._stream(link)
        self._streams.add(stream)
        try:
            await isolated(partial(self._serve_stream, stream, address, serve), self._crashed)
        finally:
            self._streams.discard(stream)
            stream.abort()

    async def _serve_proxied(self, link: Link, address: str | None) -> None:
        """Serve a connection that a proxy has begun by saying who the client is. Another one is closed."""
        tls, proxied = self.settings.tls is not None, None
        try:
            proxied = await _read_proxied(link, self.settings, self.metrics)
        finally:
            if proxied is None and address is not None and tls:
                self.admission.shook_hands(address)
        if proxied is None:
            return
        if address is not None:
            await self._serve_link(proxied, address, self._front.serve)
            return
        client = self.settings.forwarded.client_behind(_peer(link), _peer(proxied))
        if not self.admission.take(client, handshake=tls):
            self.metrics.refused += 1
            if tls:
                turn_away(proxied)
            else:  # the client may have asked by now: closed at once, its connection would be reset before the answer
                await self._serve_link(proxied, client, self._front.turn_away)
            return
        try:
            await self._serve_link(proxied, client, self._front.serve)
        finally:
            self.admission.give_back(client)

    async def _serve_stream(self, stream: ClientStream, address: str | None, serve: Serve) -> None:
        try:
            if isinstance(stream, TlsStream):
                try:
                    agreed = await self._front.agree(stream)
                finally:
                    self.admission.shook_hands(address)
                if not agreed:
                    return
            await serve(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the client went

    def _crashed(self) -> None:
        self.crashes += 1
        self.metrics.crashes += 1

    # --- what there is to see

    @property
    def ready(self) -> bool:
        """Whether new clients should be sent here: not before the app has started, and not once it drains."""
        return self._connections is not None and not self.draining.is_set()

    def sockets(self) -> OpenSockets:
        """How far every connection has come. Cost: a look at each."""
        stages = dict.fromkeys(Stage, 0)
        unsent = 0
        for stream in self._streams:
            stages[stream.stage] += 1
            unsent += stream.outlet.pending
        stages[Stage.IDLE] += self._host.idle
        stages[Stage.HTTP] = max(0, stages[Stage.HTTP] - self._host.idle)
        return OpenSockets(MappingProxyType(stages), unsent)

    @property
    def desk(self) -> Any:
        """Where the operator's questions to the app's Triolet are answered; None where it has none."""
        service = getattr(self.app, "extensions", {}).get("triolet")
        return None if service is None else service.desk

    def _upgrades(self) -> Upgrades | None:
        service = getattr(self.app, "extensions", {}).get("triolet")
        return None if service is None else service.upgrades


async def _read_proxied(link: Link, settings: Settings, metrics: Metrics) -> Link | None:
    """Return the link with the client's address that a proxy has told of. Where it has not, or is not listed, it is
    closed: None."""
    proxied = None
    try:
        if settings.forwarded.trusts(_peer(link)) or not settings.only_forwarded:
            proxied = await read_proxy_header(link, settings.limits.header_seconds)
        else:
            metrics.refused += 1
    except (ProxyProtocolError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
        logger.debug("a connection without a PROXY header: %s", error)
    finally:
        if proxied is None:
            link.abort()
    return proxied


def _peer(link: Link) -> Any:
    """Who is connected, as ASGI has it: address and port, or None for a Unix socket's."""
    peer = link.getpeername()
    return peer if isinstance(peer, tuple) else None
