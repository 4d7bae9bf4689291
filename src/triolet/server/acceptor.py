"""Accepts clients: a few in each turn of the event loop, and with an answer also where no descriptor is left."""

from __future__ import annotations

import errno
import logging
import os
import random
import resource
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import trio

from ..bounds import ACCEPT_COMPLAINT_SECONDS, ACCEPT_PAUSE_SECONDS, ACCEPTS_AT_ONCE
from ..counters import Metrics
from ..limits import Limits
from ..sockets.link import Link, SocketLink
from ..wire.client_address import plain
from .admission import BUSY, Admission
from .listeners import Listeners

__all__ = ["OUT_OF_DESCRIPTORS", "Acceptor", "raise_descriptor_limit", "turn_away"]

logger = logging.getLogger("triolet.server")


OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""What ``accept`` fails with where the process or the machine has no room for one more. After any other error that
one client is gone already (accept(2): treat it like EAGAIN)."""


class Acceptor:
    """Accepts on listening sockets, and hands over each client.

    Args:
        listeners: which sockets; all are closed at the end.
        admission: knows how many clients there are, for the log.
        metrics: where clients are counted that were turned away for want of a descriptor.
        enter: takes a client's link and its address.
        limits: ``backlog``.
    """

    def __init__(
        self,
        listeners: Listeners,
        admission: Admission,
        metrics: Metrics,
        enter: Callable[[Link, str], None],
        limits: Limits,
    ) -> None:
        self._listeners = listeners
        self._admission = admission
        self._metrics = metrics
        self._enter = enter
        self._backlog = limits.backlog
        self._reserve = -1
        self._complain_at = 0.0
        self._accepting: trio.Nursery | None = None

    async def run(self, stop: Callable[[], Awaitable[None]]) -> None:
        """Accept until ``stop`` returns. Clients that wait in a queue then are let in too, and all listeners closed."""
        self._take_reserve()
        try:
            async with trio.open_nursery() as accepting:
                for listener in self._listeners:
                    accepting.start_soon(self._accept, listener)
                self._accepting = accepting
                await stop()
                accepting.cancel_scope.cancel()
            # The kernel resets the clients that it has told that they are connected, and that no one has accepted.
            for listener in self._listeners:
                self._accept_waiting(listener)
        finally:
            self._accepting = None
            self._give_up_reserve()
            self._listeners.close()

    def adopt(self, listener: socket.socket) -> None:
        """Accept on a bound socket too. Before and after :meth:`run` it is closed at once instead."""
        if self._accepting is None:
            listener.close()
            return
        self._listeners.adopt(listener)
        self._accepting.start_soon(self._accept, listener)

    def release(self, listener: socket.socket) -> None:
        """Accept on a lent socket no longer."""
        self._listeners.release(listener)

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

    def _accept_waiting(self, listener: socket.socket) -> None:
        """Let in the clients that wait in a queue. Bounds: as many as fit into it."""
        with suppress(OSError):  # BlockingIOError: that was all
            for _ in range(self._backlog):
                self._enter_accepted(*listener.accept())

    def _enter_accepted(self, connected: socket.socket, peer: Any) -> None:
        if not isinstance(peer, tuple):
            self._enter(SocketLink(connected, peer), "")
            return
        address = plain(str(peer[0]))  # on a socket of both, IPv4 comes as IPv6
        self._enter(SocketLink(connected, (address, *peer[1:])), address)

    async def _accept_failed(self, listener: socket.socket, error: OSError) -> None:
        """Out of descriptors: give up the one in reserve to answer 503, and take it back.

        Left in the queue, the client would wait without a word until a descriptor is free, and the socket would stay
        readable: the loop would turn as fast as it can.
        """
        if error.errno not in OUT_OF_DESCRIPTORS:
            return
        self._complain(error)
        self._give_up_reserve()
        self._metrics.refused += 1
        with suppress(OSError):  # the client went
            turn_away(SocketLink(*listener.accept()))
        self._take_reserve()
        await trio.sleep(ACCEPT_PAUSE_SECONDS)

    def _complain(self, error: OSError) -> None:
        now = trio.current_time()
        if now >= self._complain_at:
            self._complain_at = now + ACCEPT_COMPLAINT_SECONDS
            text = os.strerror(error.errno or 0)
            logger.error("cannot accept with %d connections: %s", self._admission.connections, text)

    def _take_reserve(self) -> None:
        with suppress(OSError):  # then there is none until the next time
            self._reserve = os.open(os.devnull, os.O_RDONLY)

    def _give_up_reserve(self) -> None:
        if self._reserve >= 0:
            os.close(self._reserve)
        self._reserve = -1


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
