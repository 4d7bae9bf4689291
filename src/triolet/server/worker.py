"""One worker: accepts connections, serves each in isolation, and drains when it is told to."""

from __future__ import annotations

import errno
import logging
import os
import random
import resource
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import partial
from typing import Any

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.typing import ConnectionState
from hypercorn.utils import LifespanFailureError

from ..budget import Budget
from ..clock import wall_time
from ..counters import Metrics
from ..errors import ConfigError
from ..http.connection import GuardedContext, GuardedServer
from ..limits import Limits
from ..sockets.link import Link, SocketLink, prepare
from ..sockets.stream import BUDGET_KEY, DRAINING_KEY, LEAVE_KEY, METRICS_KEY, ClientStream
from ..sockets.tls import TlsStream
from .admission import BUSY, Admission
from .front import Door, Upgrades
from .isolation import isolated
from .status import serve_status_on

__all__ = ["Settings", "Worker", "close_listener", "first_of"]

logger = logging.getLogger("triolet.server")

ACCEPTS_AT_ONCE = 2
"""In one turn of the event loop: mostly their requests are there too, and to let one in takes half a millisecond, for
which live clients wait. (:data:`triolet.server.front.NEWCOMERS` are those whose requests come later.)"""
FULL_PAUSE_SECONDS = 0.1
COMPLAIN_SECONDS = 10
CLIENTS_PART = 0.7
"""Of the grace: what clients have; the rest is the app's."""
LEAVING_PART = 0.5
"""Of what clients have: within it all are asked to leave; the rest is for those that take long to."""


@dataclass(frozen=True)
class Settings:
    """How a worker serves.

    ``grace`` is how many seconds clients have from the signal to the end; ``tls`` a context, if TLS is spoken
    here, whose ALPN decides about HTTP/2.
    """

    limits: Limits = field(default_factory=Limits)
    grace: float = 10
    tls: ssl.SSLContext | None = None
    http2: bool = False
    root_path: str = ""

    @property
    def scheme(self) -> str:
        """Of the URLs that clients come with."""
        return "http" if self.tls is None else "https"


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
    """

    def __init__(self, app: Any, settings: Settings) -> None:
        self.app = app
        self.settings = settings
        self.budget = Budget(settings.limits.memory_bytes)
        self.metrics = Metrics()
        self.admission = Admission(settings.limits, self.budget)
        self.crashes = 0
        self._config = hypercorn_config(settings)
        self._context = GuardedContext()
        self._state: dict[str, Any] = {}
        self._wrapped = ASGIWrapper(app)
        self._door = Door(settings.limits, self._upgrades, self._hypercorn, settings.root_path, self._state)
        self._reserve = -1
        self._complain_at = 0.0
        self.failed = False
        self.started = trio.Event()
        self.draining = trio.Event()
        self._connections: trio.Nursery | None = None
        self._accepting: trio.Nursery | None = None
        self._listeners: list[socket.socket] = []

    async def run(
        self,
        listeners: list[socket.socket],
        stop: Callable[[], Awaitable[None]],
        *,
        status: Sequence[socket.socket] = (),
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until ``stop`` returns, then drain and end within ``settings.grace`` seconds.

        Args:
            listeners: bound sockets of this worker's own. When draining begins, who waits in their queues is let in (to
                be told when to come back), and they are closed.
            stop: returns when the worker shall end, and again when it shall end at once.
            status: bound sockets of the operator's, where metrics and health are told until the very end.

        Raises:
            ConfigError: the app did not start; the message says what it said.
        """
        self._state[DRAINING_KEY] = self.draining
        self._state[BUDGET_KEY] = self.budget
        self._state[METRICS_KEY] = self.metrics
        self._state[LEAVE_KEY] = self.settings.grace * CLIENTS_PART * LEAVING_PART
        lifespan = Lifespan(self._wrapped, self._config, self._state)
        try:
            async with trio.open_nursery() as app_nursery:
                for listener in status:
                    app_nursery.start_soon(serve_status_on, listener, self)
                await app_nursery.start(lifespan.handle_lifespan)
                if await self._start(lifespan, stop):
                    for listener in listeners:
                        listener.listen(self.settings.limits.backlog)
                    self.started.set()
                    task_status.started()
                    await self._live(listeners, stop, lifespan, app_nursery)
                app_nursery.cancel_scope.cancel()
        except* LifespanFailureError as failures:
            raise ConfigError(f"the app did not start or end: {first_of(failures)}") from None
        finally:
            for listener in [*listeners, *status]:
                close_listener(listener)

    async def _start(self, lifespan: Lifespan, stop: Callable[[], Awaitable[None]]) -> bool:
        """Start the app. Returns False where the worker was told to stop before it had started."""
        started = False
        async with trio.open_nursery() as starting:

            async def give_up() -> None:
                await stop()
                starting.cancel_scope.cancel()

            starting.start_soon(give_up)
            with suppress(trio.ClosedResourceError):  # it is not there any more to be told
                await lifespan.wait_for_startup()
            if lifespan.shutdown.is_set():  # it has returned, as some do that know no lifespan
                lifespan.supported = False
            started = True
            starting.cancel_scope.cancel()
        if started and not lifespan.supported and self._upgrades() is not None:
            raise ConfigError("the app did not start: a background task of it crashed")
        return started

    async def _live(
        self,
        listeners: list[socket.socket],
        stop: Callable[[], Awaitable[None]],
        lifespan: Lifespan,
        app_nursery: trio.Nursery,
    ) -> None:
        with trio.CancelScope() as ending:
            async with trio.open_nursery() as connections:
                self._connections = connections
                await self._accept_until(listeners, partial(self._stop_or_crash, stop, lifespan))
                app_nursery.start_soon(self._cut_short, stop, ending)
                await self._drain(connections, ending)
            await lifespan.wait_for_shutdown()

    def accept_on(self, listener: socket.socket) -> None:
        """Accept on a bound socket too, which others may hold as well, until :meth:`release` or draining begins; it is
        closed then, here. Once the worker drains, it is closed at once."""
        if self._accepting is None:
            listener.close()
            return
        listener.listen(self.settings.limits.backlog)
        self._begin_to_accept(self._accepting, listener)

    def release(self, listener: socket.socket) -> None:
        """Accept on a socket no longer: who waits in its queue is for those who hold it as well."""
        if listener in self._listeners:
            self._listeners.remove(listener)
            trio.lowlevel.notify_closing(listener)
            listener.close()

    def enter(self, link: Link, address: str = "") -> None:
        """Serve a connection in a task of its own, or answer 503 where there is no room for it."""
        assert self._connections is not None, "the worker does not run"
        if self.admission.enter(address):
            self._connections.start_soon(self._connect, self._stream(link), address)
        else:
            self.metrics.refused += 1
            turn_away(link)

    def _stream(self, link: Link) -> ClientStream:
        tls = self.settings.tls
        return ClientStream(link, self.budget) if tls is None else TlsStream(link, self.budget, tls)

    async def _connect(self, stream: ClientStream, address: str) -> None:
        """Serve one connection until it ends, and close it whatever happens."""
        try:
            await isolated(partial(self._serve_stream, stream), self._crashed)
        finally:
            stream.abort()
            self.admission.leave(address)

    async def _stop_or_crash(self, stop: Callable[[], Awaitable[None]], lifespan: Lifespan) -> None:
        """Wait to be told to stop, or for the app to end by itself: a background task of it crashed, or its log."""
        async with trio.open_nursery() as either:

            async def ended() -> None:
                if not lifespan.supported:
                    return  # an app that knows no lifespan cannot end it
                await lifespan.shutdown.wait()
                logger.error("the app has ended by itself: a background task of it crashed")
                self.failed = True
                either.cancel_scope.cancel()

            either.start_soon(ended)
            await stop()
            either.cancel_scope.cancel()

    async def _accept_until(self, listeners: list[socket.socket], stop: Callable[[], Awaitable[None]]) -> None:
        self._reserve = os.open(os.devnull, os.O_RDONLY)
        try:
            async with trio.open_nursery() as accepting:
                for listener in listeners:
                    self._begin_to_accept(accepting, listener)
                self._accepting = accepting
                await stop()
                accepting.cancel_scope.cancel()
            # The kernel resets whom it has told that they are connected, and whom nobody has accepted.
            for listener in self._listeners:
                self._accept_waiting(listener)
        finally:
            self._accepting = None
            self._give_up_reserve()
            for listener in self._listeners:
                close_listener(listener, owned=listener in listeners)
            self._listeners.clear()

    def _begin_to_accept(self, accepting: trio.Nursery, listener: socket.socket) -> None:
        prepare(listener, self.settings.limits.silence_seconds)
        self._listeners.append(listener)
        accepting.start_soon(self._accept, listener)

    def _accept_waiting(self, listener: socket.socket) -> None:
        """Let in who waits in a queue. Bounds: so many as fit into it."""
        with suppress(OSError):  # BlockingIOError: that was all
            for _ in range(self.settings.limits.backlog):
                self._enter_accepted(*listener.accept())

    async def _drain(self, connections: trio.Nursery, ending: trio.CancelScope) -> None:
        """Ask everybody to leave. The app's own end needs a part of the grace as well."""
        logger.info("draining %d connections", self.admission.connections)
        now = trio.current_time()
        ending.deadline = now + self.settings.grace
        connections.cancel_scope.deadline = now + self.settings.grace * CLIENTS_PART
        self.draining.set()
        self._door.close()
        await self._context.terminated.set()

    async def _cut_short(self, stop: Callable[[], Awaitable[None]], ending: trio.CancelScope) -> None:
        """Told to stop again: end at once."""
        await stop()
        ending.cancel()

    async def _accept(self, listener: socket.socket) -> None:
        """Accept until cancelled, or the socket is closed."""
        while listener.fileno() >= 0:
            with suppress(trio.ClosedResourceError):
                await trio.lowlevel.wait_readable(listener)
            for _ in range(ACCEPTS_AT_ONCE):
                try:
                    self._enter_accepted(*listener.accept())
                except BlockingIOError:
                    break
                except OSError as error:
                    await self._accept_failed(listener, error)
                    break

    def _enter_accepted(self, connected: socket.socket, peer: Any) -> None:
        self.enter(SocketLink(connected, peer), str(peer[0]) if isinstance(peer, tuple) else "")

    async def _accept_failed(self, listener: socket.socket, error: OSError) -> None:
        """Out of descriptors: give up the one in reserve to answer 503, and take it back."""
        if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            return  # that one client is gone already (accept(2): treat like EAGAIN)
        now = trio.current_time()
        if now >= self._complain_at:
            self._complain_at = now + COMPLAIN_SECONDS
            logger.error("cannot accept with %d connections: %s", self.admission.connections, os.strerror(error.errno))
        self._give_up_reserve()
        self.metrics.refused += 1
        with suppress(OSError):  # nobody there any more
            turn_away(SocketLink(*listener.accept()))
        with suppress(OSError):  # then there is none until the next time
            self._reserve = os.open(os.devnull, os.O_RDONLY)
        await trio.sleep(FULL_PAUSE_SECONDS)

    def _give_up_reserve(self) -> None:
        if self._reserve >= 0:
            os.close(self._reserve)
        self._reserve = -1

    async def _serve_stream(self, stream: ClientStream) -> None:
        try:
            if isinstance(stream, TlsStream):
                await self._serve_tls(stream)
            else:
                await self._door.serve(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client went

    async def _serve_tls(self, stream: TlsStream) -> None:
        with trio.move_on_after(self.settings.limits.header_seconds) as handshake:
            await stream.handshake()
        if handshake.cancelled_caught:
            return
        if stream.protocol == "h2":
            await self._hypercorn(stream, b"")
        else:
            await self._door.serve(stream)

    async def _hypercorn(self, stream: ClientStream, first: bytes) -> None:
        await GuardedServer(
            self._wrapped,
            self._config,
            self._context,
            ConnectionState(self._state.copy()),
            stream,
            limits=self.settings.limits,
            first=first,
        ).run()

    @property
    def ready(self) -> bool:
        """Whether new clients should be sent here: not before the app has started, and not once it drains."""
        return self._connections is not None and not self.draining.is_set()

    async def exposition(self) -> tuple[str, bytes] | None:
        """The metrics of the app's Triolet, as a content type and a body. None where it has none."""
        service = getattr(self.app, "extensions", {}).get("triolet")
        return None if service is None else service.exposition()

    def _crashed(self) -> None:
        self.crashes += 1
        self.metrics.crashes += 1

    def _upgrades(self) -> Upgrades | None:
        service = getattr(self.app, "extensions", {}).get("triolet")
        return None if service is None else service.upgrades


class _DatedConfig(Config):
    """Tells the hour by our clock, which tests decide."""

    include_date_header = False

    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        return [(b"date", formatdate(wall_time(), usegmt=True).encode()), *super().response_headers(protocol)]


def hypercorn_config(settings: Settings) -> Config:
    """What Hypercorn's protocol code is told."""
    config = _DatedConfig()
    config.include_server_header = False
    config.h11_max_incomplete_size = settings.limits.header_bytes
    config.keep_alive_timeout = settings.limits.header_seconds
    config.websocket_max_message_size = settings.limits.message_bytes
    config.root_path = settings.root_path
    config.accesslog = None
    config.errorlog = logger
    return config


def first_of(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of a group."""
    error: BaseException = failures
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def close_listener(listener: socket.socket, *, owned: bool = True) -> None:
    """Close a listening socket, and take a Unix socket's name away if it is owned. Closing it again does nothing."""
    if listener.fileno() < 0:
        return
    name = listener.getsockname() if owned and listener.family == socket.AF_UNIX else None
    listener.close()
    if name:
        with suppress(OSError):
            os.unlink(name)


def turn_away(link: Link) -> None:
    """Answer 503 with what the kernel takes at once, and close."""
    with suppress(OSError):  # it went by itself
        link.send(BUSY % random.randint(2, 20))
    link.close()


def raise_descriptor_limit() -> int:
    """Raise ``RLIMIT_NOFILE`` to its hard limit. Returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
