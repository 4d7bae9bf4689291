"""A reverse proxy in memory, as nginx is one, or a gateway: it ends what is silent, buffers, blocks upgrades."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from .network import MemoryLink, Network
from .reach import Reach
from .relay import Manner, Relay

__all__ = ["Proxy", "proxy"]


class Proxy(Reach):
    """The ways to reach a served app through a proxy; those of :class:`triolet.testing.server.MemoryServer`.

    Attributes:
        network: between its clients and itself: faults there concern nobody who goes straight to the server.
        server: what is behind it: a server, or another proxy.
        manner: how it behaves.
    """

    def __init__(self, server: Reach, manner: Manner, network: Network, nursery: trio.Nursery) -> None:
        super().__init__(network, nursery)
        self.server = server
        self.manner = manner

    def enter(self, link: MemoryLink, address: str) -> None:
        """See :meth:`Reach.enter`. The server is told the address in a header."""
        if self._nursery.cancel_scope.cancel_called:
            link.abort()
        else:
            self._nursery.start_soon(Relay(self.server, self.manner, link).run, name="proxy")


@asynccontextmanager
async def proxy(
    server: Reach,
    *,
    idle_timeout: float = 60,
    buffers: bool = False,
    blocks_upgrade: bool = False,
    strips_upgrade: bool = False,
    ignores_accel: bool = False,
    buffer_bytes: int = 64 << 10,
    network: Network | None = None,
) -> AsyncIterator[Proxy]:
    """Put a proxy before a server, for the time of an ``async with`` block.

    Each request goes to the server on a connection of its own, with ``X-Forwarded-For`` and ``X-Forwarded-Proto`` and
    without what concerns one hop only; a client's connection is kept. An upgrade that the server agrees to becomes a
    tunnel. Where the server cannot be reached or breaks off the answer is 502, where it is silent 504. A client that
    goes takes its request with it.

    Args:
        server: what is behind it: a server, or another proxy.
        idle_timeout: seconds. A server that sends nothing for so long, before its answer, in it or through a tunnel,
            is given up and its client's connection closed (nginx: ``proxy_read_timeout``); so is a client that takes
            nothing, and one that asks nothing.
        buffers: keep every answer back until it is whole, or ``buffer_bytes`` of it have come. ``X-Accel-Buffering:
            no`` in an answer switches it off. (nginx itself, unless it is busy or compresses, passes on what it has;
            virus scanners and gateways do not.)
        blocks_upgrade: answer 400 to a request for an upgrade.
        strips_upgrade: pass such a request on without its ``Upgrade``, as nginx does unless it is told otherwise.
        ignores_accel: buffer whatever the answer says.
        buffer_bytes: what it keeps back of one answer at most.
        network: between clients and the proxy. Without, one of its own, on which bytes take no time.

    Raises:
        Exception: what the block raises, as it is and not in a group, unless the proxy fails too.
    """
    manner = Manner(idle_timeout, buffer_bytes if buffers else 0, blocks_upgrade, strips_upgrade, ignores_accel)
    network = network or Network(random=server.network.random)
    failure: Exception | None = None
    async with network.running(), trio.open_nursery() as nursery:
        front = Proxy(server, manner, network, nursery)
        try:
            yield front
        except Exception as error:  # raised below: in here, the nursery would put it into a group
            failure = error
        finally:
            front.vanish()
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
