"""Hypercorn's connection, guarded: whatever a client does ends at most its own connection, and within a bound.

A chain of small subclasses; nothing is rebound inside Hypercorn's modules. A test pins the version that they were
written against, and says what to look at in the next one.
"""

# Why Hypercorn, and why guarded.
#
# Triolet's own WebSockets, event streams and polls are served straight on their sockets. Everything else that an
# app has (its pages, forms, Quart's WebSockets, HTTP/2) needs a whole HTTP server with ASGI, and Hypercorn is the
# one that runs on Trio natively. Writing another would be a project of its own; so its protocol code is kept, and
# what surrounds it is ours.
#
# What surrounds it had to be, because of what a single anonymous client can do to the stock server (0.18,
# measured). An error in one connection reaches the nursery of all and stops the process. Sends wait under a shield
# without a deadline. A full channel to the app stops the reading, so the client's end is never seen, and the
# connection stays for ever. What is read is bounded in messages, not in bytes: one client could park hundreds of
# megabytes. None of that can be configured away.
#
# The shape that follows from it, and holds for all files of this folder:
#
# 1. The task that reads never waits for the app. What the app has not taken waits in an inbox that never blocks who
#    puts; past its bounds nothing more is decoded, and then nothing more is read (HTTP/1.1) or acknowledged
#    (HTTP/2). The socket is watched all the while, so the end of a client is seen at once, whatever its app does.
# 2. Every write has a deadline, and no shield is without one. A write that was cut short ends the connection,
#    unless what follows still makes sense: where each message stands alone, one may be left out whole.
# 3. What is wrong is found before Hypercorn's parser sees it. A head is checked as a whole, and h11 is given one
#    request at a time; frames are read by our own session. So a rule is one of ours, with a test, and not a guess
#    at another's.
# 4. The end has one order. The app is told; the last answer gets its time to arrive; the socket is closed; and who
#    is left of the app is cancelled after `goodbye_seconds`. `abort` in a `finally` is the end of the ends.
#
# Why subclasses, and not a fork or a patch. A fork would be ours to mend for ever. Rebinding names inside
# Hypercorn's modules would change it for others in the process, and break without a word at its next release. A
# subclass says which methods it stands on, and a test lists them beside the pinned version: that is what to read
# again when the version moves. Isolation (a crash of one connection is its own) is not here but with those who
# accept: server/isolation.py.

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from typing import Any, Final, cast

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import EventWrapper, WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState, LifespanState
from hypercorn.utils import parse_socket_addr

from ..bounds import READ_BYTES, WRITE_BYTES
from ..budget import Account
from ..limits import Limits
from ..sockets.patience import Patience
from ..sockets.server_state import with_client
from ..sockets.stream import ClientStream
from ..wire.http_head import Head
from .app_task import AppGroup
from .busy import busy
from .http1 import GuardedH11
from .http2 import GuardedH2
from .websocket import GuardedWebSocket

__all__ = ["GuardedContext", "GuardedServer", "Lent"]


_GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


class _End(Enum):
    """Why a connection ended."""

    PEER = auto()  # the client has ended it
    LOST = auto()  # it was reset, or takes nothing any more
    OURS = auto()  # the last answer is out, or nothing was asked for a while
    GIVEN_BACK = auto()  # what is asked next is not for Hypercorn to serve, and all before is answered


def _gives_nothing_back(_: Head) -> bool:
    """What there is for a connection that is Hypercorn's to its end."""
    return False


class Lent:
    """What the owner of a connection hands over with it, and has back with it.

    Args:
        first: bytes of the client that were read before.
        gives_back: whether a request of HTTP/1.1 that comes behind another is to be given back.

    Attributes:
        returned: whether the connection goes on with its owner; else it has ended.
        unused: what was read and not used.
    """

    __slots__ = ("gives_back", "returned", "unused")

    def __init__(self, first: bytes = b"", gives_back: Callable[[Head], bool] = _gives_nothing_back) -> None:
        self.unused = first
        self.gives_back = gives_back
        self.returned = False


class GuardedContext(WorkerContext):
    """Hypercorn's context of a worker. Setting ``terminated`` ends the connections that wait for a request.

    Attributes:
        served: the connections that are being served. Only :meth:`serving` puts one in and takes it out: what comes of
            an app that outlives its client cannot put it back.
    """

    def __init__(self) -> None:
        super().__init__(None)
        self.served: set[GuardedServer] = set()
        self.terminated = _Terminated(self.served)

    @property
    def idle(self) -> set[GuardedServer]:
        """Those that wait for a request."""
        return {server for server in self.served if server.idle}

    @contextmanager
    def serving(self, server: GuardedServer) -> Iterator[None]:
        """Know a connection for the time of a block."""
        self.served.add(server)
        try:
            yield
        finally:
            self.served.discard(server)


class _Terminated(EventWrapper):
    def __init__(self, served: set[GuardedServer]) -> None:
        super().__init__()
        self._served = served

    async def set(self) -> None:
        await super().set()
        for server in list(self._served):
            server.drain()


class GuardedServer(TCPServer):
    """One connection behind the door: pages, forms, Quart's own WebSockets, HTTP/2 over TLS; and all of it behind ASGI
    middleware. Where a request is not for it any more, the connection is given back.

    Args:
        app, config, context, state: as Hypercorn's own.
        stream: the client's stream, TLS with its handshake done. Each ASGI scope's ``state`` has it.
        limits: the bounds; each protocol's docstring says what it holds.
        lent: what was read of the client before, and what of it is given back.

    Bounds: once the client is gone the socket is closed at once and the app is told; it is cancelled after
    ``limits.goodbye_seconds``. A write that makes no progress for ``limits.write_seconds`` ends the connection.

    Cancellation: the connection is reset.

    Attributes:
        idle: whether it waits for a request.
    """

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: GuardedContext,
        state: LifespanState,
        stream: ClientStream,
        *,
        limits: Limits,
        lent: Lent | None = None,
    ) -> None:
        super().__init__(app, config, context, state, cast(Any, stream))
        self.context: GuardedContext
        self.stream: Any  # a ClientStream, where Hypercorn expects TLS of Trio's
        self._limits = limits
        self._lent = Lent() if lent is None else lent
        self._guarded: GuardedH11 | GuardedH2
        self._account: Account
        self._nursery: trio.Nursery
        self._reading = trio.CancelScope()
        self._patience = Patience()
        self.idle = False
        self._in_head = False
        self._asked = False
        self._end: _End | None = None

    async def run(self) -> None:
        """Serve the connection until it ends, and close it; or until a request is given back."""
        try:
            await self._serve()
        finally:
            # The protocol knows this connection too. Left so, only the garbage collector would free the two.
            guarded = vars(self).pop("_guarded", None)
            if isinstance(guarded, GuardedH2):
                guarded.let_go()

    async def _serve(self) -> None:
        budget = self.stream.outlet.budget
        with self.context.serving(self), budget.account(self._give_up) as self._account:
            async with trio.open_nursery() as self._nursery:
                try:
                    self._guarded = self._protocol(self._nursery)
                    await self._guarded.initiate()
                    await self._read()
                    if self._end is _End.GIVEN_BACK:
                        return
                    await self._guarded.handle(Closed())
                    ended_at = trio.current_time()
                    self._guarded.task_group.give_up()
                    if self._end is _End.OURS:
                        await self._linger()
                    if self._end is not _End.LOST:
                        await self.stream.aclose()
                    self._nursery.cancel_scope.deadline = ended_at + self._limits.goodbye_seconds
                finally:
                    if self._end is not _End.GIVEN_BACK:
                        self.stream.abort()

    def drain(self) -> None:
        """End the connection if it waits for a request, or else when its answer is complete."""
        if self.idle:
            self.end()

    def end(self) -> None:
        """End the connection from our side. What was written still arrives."""
        self._finish(_End.OURS)

    async def protocol_send(self, event: Event) -> None:
        """Do what the protocol says."""
        if isinstance(event, RawData):
            await self._write(lambda: event.data)
        elif isinstance(event, Closed):
            self._finish(_End.OURS)
        elif isinstance(event, Updated):
            self._set_idle(event.idle)

    def _protocol(self, nursery: trio.Nursery) -> GuardedH11 | GuardedH2:
        socket = self.stream.socket
        surroundings = (
            self.app,
            self.config,
            self.context,
            AppGroup(nursery, self._limits, self._wake, self._account),
            ConnectionState(with_client(self.state, self.stream)),
            self.stream.secure,
            parse_socket_addr(socket.family, socket.getpeername()),
            parse_socket_addr(socket.family, socket.getsockname()),
            self.protocol_send,
        )
        if self.stream.protocol != "h2":
            return GuardedH11(*surroundings, limits=self._limits, takes=self._takes, write_now=self._write_now)
        return GuardedH2(
            *surroundings,
            limits=self._limits,
            below=self.stream,
            lock=self.send_lock,
            write=self._write,
            write_now=self._write_now,
        )

    def _wake(self) -> None:
        if self._end is None:
            self._guarded.wake()

    async def _read(self) -> None:
        """Read until the connection ends, so that the client's end is seen whatever the app does meanwhile."""
        data, self._lent.unused = self._lent.unused, b""
        self._set_idle(not data)  # what was asked already is answered, also by a server that drains
        with self._reading:
            while self._end is None:
                if data:
                    taken, data = data, b""
                    await self._guarded.handle(RawData(taken))
                data = await self._patience.wait(self._receive) or b""
                if not data:
                    self.end()  # if it has not ended: nothing was asked for a while
        self._lent.unused += data  # came when the connection was given back already, from another task

    async def _receive(self) -> bytes:
        await self._guarded.room()
        self._mind_head()
        try:
            data = bytes(await self.stream.receive_some(READ_BYTES))
        except _GONE:
            self._finish(_End.LOST)
            return b""
        if not data:
            self._finish(_End.PEER)
        return data

    def _takes(self, asked: Head, from_head: bytes, later: bool) -> bool:
        """Whether a request is served here. Another is given back with the connection, unless an app may still do
        something for an earlier one.

        Raises:
            BadRequest: 503; nothing more may be held.
        """
        back = later and self._end is None and not self._guarded.task_group.running and self._lent.gives_back(asked)
        if back:
            self._lent.unused, self._lent.returned = from_head, True
            self._finish(_End.GIVEN_BACK)
        elif not self.stream.outlet.budget.admits():
            raise busy()
        return not back

    def _mind_head(self) -> None:
        """A request that has begun has ``limits.header_seconds`` to be asked."""
        if self._guarded.in_head and not self._in_head:
            self._patience.until = trio.current_time() + self._limits.header_seconds
        self._in_head = self._guarded.in_head

    def _set_idle(self, idle: bool) -> None:
        # What came behind the last request may have begun the next one already: it has no longer than any other.
        self._in_head = idle and self._guarded.in_head
        seconds = self._limits.header_seconds if self._in_head else self._idle_seconds()
        self._patience.until = trio.current_time() + seconds if idle else math.inf
        self._asked = self._asked or not idle
        self.idle = idle
        if idle and self._asked and self.context.terminated.is_set():
            self.end()

    def _give_up(self) -> None:
        """The memory that this connection holds is wanted. A client that takes nothing can be told nothing."""
        self._finish(_End.LOST)
        self.stream.abort()
        self._nursery.cancel_scope.cancel()

    def _idle_seconds(self) -> float:
        """How long to wait for what comes next: the first request of a connection has less time than the next one, and
        so has the answer to a close frame."""
        closes = isinstance(self._guarded, GuardedH11) and isinstance(self._guarded.stream, GuardedWebSocket)
        return self._limits.header_seconds if closes or not self._asked else self.config.keep_alive_timeout

    def _finish(self, end: _End) -> None:
        if self._end is None:
            self._end = end
            self._reading.cancel()

    def _write_now(self, data: bytes) -> bool:
        """Write without waiting, or return False where something waits already."""
        if self.send_lock.locked() or not self.stream.outlet.write(data):
            return False
        if not self.stream.outlet.empty:
            self._nursery.start_soon(self._write_rest)
        return True

    async def _write_rest(self) -> None:
        """Wait until the kernel has all, though the app may write nothing more for long."""
        async with self.send_lock:
            if not await self.stream.taken(self._limits.write_seconds):
                self._finish(_End.LOST)

    async def _write(self, make: Callable[[], bytes]) -> None:
        """Write, or find that the client is lost; then it does nothing, but lets others run.

        Args:
            make: gives what is to be written, when it is its turn.
        """
        begun, size, waiting = False, 0, 0
        try:
            async with self.send_lock:
                data = make()
                size = waiting = len(data)
                self._account.hold(waiting)
                for start in range(0, size, WRITE_BYTES) if self._end is None else ():
                    begun, piece = True, data[start : start + WRITE_BYTES]
                    self._account.hold(-len(piece))  # what is left of it the outlet counts
                    waiting -= len(piece)
                    await self.stream.send_in_time(piece, self._limits.write_seconds)
        except (trio.TooSlowError, *_GONE):
            self._finish(_End.LOST)
        except trio.Cancelled:
            # What is written next makes sense to the client only where each write stands alone, and may be left out.
            if (begun and size > WRITE_BYTES) or not self._guarded.survives_cancelled_writes:
                self._finish(_End.LOST)
            raise
        finally:
            self._account.hold(-waiting)

    async def _linger(self) -> None:
        """Let the last answer arrive."""
        seconds = self._limits.goodbye_seconds
        until = trio.current_time() + seconds
        unread = isinstance(self._guarded, GuardedH11) and self._guarded.unread  # HTTP/2 reads on, stream by stream
        with suppress(*_GONE):
            with trio.move_on_at(until) as saying:
                async with self.send_lock:
                    await self.stream.send_eof()
            if not saying.cancelled_caught:
                await self.stream.read_out(until, seconds if unread else 0)
