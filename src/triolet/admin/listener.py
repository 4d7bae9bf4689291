"""The operator's listener: accepts, reads one request a connection, and answers it.

It is no part of the app and of no use to clients, so it has a listener of its own, by default none. It takes few
connections at once, all that it waits for is bounded, and none of it can hold up the worker: it is cancelled with it.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import trio

from ..bounds import (
    ADMIN_BACKLOG,
    ADMIN_BODIES,
    ADMIN_BODY_SECONDS,
    ADMIN_CONNECTIONS,
    ADMIN_HEAD_SECONDS,
    ADMIN_PAUSE_SECONDS,
    ADMIN_SECONDS,
)
from ..server.acceptor import OUT_OF_DESCRIPTORS
from ..server.isolation import isolated
from ..server.listeners import listen
from ..wire.http_head import BadRequest
from .bounds import ADMIN_PAGES
from .contract import EVENT_STREAM, Answer, Question, Staff, not_now, refusal
from .exchange import Exchange, Request
from .guard import Guard
from .requests import media_type
from .routes import Route, find, values_of
from .table import ROUTES
from .watch import Watch

__all__ = ["Callers", "Office", "serve_admin"]

logger = logging.getLogger("triolet.server")


async def serve_admin(listener: socket.socket, office: Office) -> None:
    """Answer on a bound socket until cancelled. The caller closes it.

    Bounds: ``ADMIN_CONNECTIONS`` connections. Where there is one more, the oldest is cut off that is owed no answer:
    its request is not whole yet, or was answered. So neither who only holds a connection nor who sends a body slowly
    keeps others waiting. Where there is none, it waits.
    """
    listen(listener, ADMIN_BACKLOG)
    listener.setblocking(False)
    callers = Callers()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(office.watch.run)
        while True:
            await callers.room()
            stream = await _accept(listener)
            callers.enter()
            nursery.start_soon(callers.serve, stream, office)


class Callers:
    """The connections of one listener: how many there are, and which of them are owed no answer."""

    def __init__(self) -> None:
        self._unowed: dict[trio.CancelScope, None] = {}
        self._open = 0
        self._left = trio.Event()

    async def room(self) -> None:
        """Return when one more can be taken: there is room, or somebody who is owed nothing."""
        while self._open >= ADMIN_CONNECTIONS and not self._unowed:
            self._left = trio.Event()
            await self._left.wait()

    def enter(self) -> None:
        """Count one more, and cut off the oldest who is owed nothing, where that is one too many."""
        self._open += 1
        if self._open > ADMIN_CONNECTIONS and self._unowed:
            oldest = next(iter(self._unowed))
            del self._unowed[oldest]
            oldest.cancel()

    async def serve(self, stream: trio.abc.HalfCloseableStream, office: Office) -> None:
        """Serve one that was counted."""
        with trio.CancelScope() as scope:
            self._is_owed(scope, False)
            try:
                await isolated(partial(office.serve, stream, partial(self._is_owed, scope)), _was_logged)
            finally:
                self._unowed.pop(scope, None)
                self._open -= 1
                self._left.set()

    def _is_owed(self, scope: trio.CancelScope, an_answer: bool) -> None:
        if an_answer:
            self._unowed.pop(scope, None)
        else:
            self._unowed[scope] = None
            self._left.set()


class Office:
    """Answers requests: routes them, guards them, and asks the workers.

    Args:
        staff: the workers.
        guard: says who may ask.

    Attributes:
        watch: what the page is shown. Somebody must run it.

    Bounds: ``ADMIN_BODIES`` bodies at the same time that are longer than one reading, ``ADMIN_PAGES`` pages.
    """

    def __init__(self, staff: Staff, guard: Guard) -> None:
        self.watch = Watch(staff)
        self._staff = staff
        self._guard = guard
        self._bodies = trio.CapacityLimiter(ADMIN_BODIES)

    async def serve(self, stream: trio.abc.HalfCloseableStream, is_owed: Callable[[bool], object] = bool) -> None:
        """Answer one request, and close.

        Args:
            stream: the operator's.
            is_owed: called with True when the request is there to its last byte, and with False when it is answered.

        Bounds: ``ADMIN_HEAD_SECONDS`` for the head, ``ADMIN_BODY_SECONDS`` for a body from its turn on,
        ``ADMIN_SECONDS`` from the head until there is an answer, and again ``ADMIN_HEAD_SECONDS`` for its last byte.

        Cancellation: the stream is closed all the same. What was asked for is done or not.
        """
        exchange = Exchange(stream)
        try:
            with trio.move_on_after(ADMIN_HEAD_SECONDS) as patience:
                request = await self._heard(exchange)
            if patience.cancelled_caught or request is None:
                return
            is_owed(not exchange.unread)
            answer: Answer | None = not_now("late", f"no answer in {ADMIN_SECONDS} s; what was asked for may be done")
            if isinstance(request, Answer):
                answer = request
            else:
                with trio.move_on_after(ADMIN_SECONDS):
                    answer = await self._answer(exchange, request, is_owed)
            if answer is None:
                await exchange.stream(EVENT_STREAM, self.watch.feed)
                return
            with trio.move_on_after(ADMIN_HEAD_SECONDS):
                await exchange.answer(answer)
                is_owed(False)
                await exchange.linger()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client is gone
        finally:
            await trio.aclose_forcefully(stream)

    async def _heard(self, exchange: Exchange) -> Request | Answer | None:
        try:
            return await exchange.head()
        except BadRequest as error:
            return refusal(error.status, "http", f"this is no request that can be answered: {error}")

    async def _answer(self, exchange: Exchange, request: Request, is_owed: Callable[[bool], object]) -> Answer | None:
        """Return what is answered; None where it is the stream of figures."""
        route = find(ROUTES, request.method, request.path)
        if not (isinstance(route, Route) and route.is_open):
            is_page = isinstance(route, Route) and route.is_page
            if (no := self._guard.check(request.headers, is_page=is_page)) is not None:
                return no
        if isinstance(route, Answer):
            return route
        values = values_of(route, request.path, request.query)
        if isinstance(values, Answer):
            return values
        if route.ask is None:
            return None if self.watch.has_room else not_now("pages", f"{ADMIN_PAGES} pages are open: close some")
        if not route.takes:
            return await route.ask(self._staff, Question(route.operation, values))
        # A form of another site's page cannot send these types, and its script may not without being let.
        if media_type(request.headers) not in route.takes:
            return refusal(415, "type", f"{route.path} takes Content-Type: {' or '.join(route.takes)}")
        async with nullcontext() if exchange.is_short else self._bodies:
            body = await self._body(exchange)
            if isinstance(body, Answer):
                return body
            is_owed(True)
            told = {name: text for name, text in request.headers.items() if name[:3] == "ce-" or name == "content-type"}
            return await route.ask(self._staff, Question(route.operation, values, told, body))

    async def _body(self, exchange: Exchange) -> bytes | Answer:
        try:
            with trio.move_on_after(ADMIN_BODY_SECONDS):
                return await exchange.body()
        except BadRequest as error:
            return refusal(error.status, "body", str(error))
        return refusal(408, "slow", f"the body was not there within {ADMIN_BODY_SECONDS} s; nothing was done")


async def _accept(listener: socket.socket) -> trio.SocketStream:
    while True:
        await trio.lowlevel.wait_readable(listener)  # Trio's own sockets take none of a subclass, as one with a name is
        try:
            connected, _ = listener.accept()
            return trio.SocketStream(trio.socket.from_stdlib_socket(connected))
        except OSError as error:  # of BlockingIOError too: the client has gone
            if error.errno in OUT_OF_DESCRIPTORS:
                await trio.sleep(ADMIN_PAUSE_SECONDS)


def _was_logged() -> None:
    """Nothing more is to be done about it."""
