"""The dialer: finds the server that has a partition now, and connects to it."""

from __future__ import annotations

import logging
from binascii import crc_hqx
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import anyio
import trio
from anyio.abc import ByteStream
from coredis.connection import BaseConnection, Location, TCPLocation, UnixDomainSocketLocation
from coredis.exceptions import ConnectionError as RedisConnectionError
from coredis.exceptions import RedisError

from .answer import answer_in_time
from .url import RedisAddress

__all__ = ["Dialer", "slot_of"]

logger = logging.getLogger("triolet.log")

SLOTS: Final = 16_384


def _is_told_here(record: logging.LogRecord) -> bool:
    """Whether a record of coredis' is written. One with the traceback of a connection that failed is not: its error is
    raised too, and the log tells of that in a line. A Redis that hangs would write 145 more each time it is tried."""
    return not record.exc_info or logging.getLogger("coredis").isEnabledFor(logging.DEBUG)


logging.getLogger("coredis").addFilter(_is_told_here)

Node = tuple[str, int]
"""Host and port."""


def slot_of(tag: str) -> int:
    """Return the slot of a hash tag in a cluster (https://redis.io/docs/reference/cluster-spec/)."""
    return crc_hqx(tag.encode(), 0) % SLOTS


class Dialer:
    """Finds and connects to servers.

    Args:
        address: where the servers are.
        seconds: how long connecting, and any one answer, may take.
        nursery: where connections run; they end with it, and raise nothing into it.
    """

    def __init__(self, address: RedisAddress, seconds: float, nursery: trio.Nursery) -> None:
        self._address = address
        self._seconds = seconds
        self._nursery = nursery
        self._nodes = list(address.nodes)

    @asynccontextmanager
    async def connected(self, slot: int) -> AsyncIterator[BaseConnection]:
        """Connect to the server that has a slot, for the time of a block.

        Raises:
            RedisError, OSError, TimeoutError: no server can be reached, or it does not let us in.

        Cancellation: the connection is closed.
        """
        # Asked anew for each connection: that the partition has moved may be the reason why the last one broke.
        address = self._address
        node: Node | None
        if address.service:
            node = await self._first(self._nodes, self._ask_a_sentinel)
        elif address.is_cluster:
            node = await self._first(self._nodes, partial(self._ask_a_node, slot))
        else:
            node = address.nodes[0] if address.nodes else None
        async with self._open(node, address.db) as connection:
            yield connection

    async def _first(self, nodes: list[Node], ask: Callable[[Node], Awaitable[Node]]) -> Node:
        """Ask one node after the other. The one that answered is asked first the next time."""
        failed: Exception | None = None
        for at, node in enumerate(nodes):
            try:
                found = await ask(node)
            except (RedisError, OSError, anyio.EndOfStream, anyio.BrokenResourceError) as error:  # the last two of TLS
                logger.debug("%s:%s does not know: %s", *node, error)
                if failed is None or _says(error) >= _says(failed):
                    failed = error
            else:
                nodes.insert(0, nodes.pop(at))
                return found
        try:
            raise failed or RedisConnectionError("there is nobody to ask")
        finally:
            del failed  # or it and this frame hold each other

    async def _ask_a_sentinel(self, sentinel: Node) -> Node:
        credentials = {"username": self._address.sentinel_username, "password": self._address.sentinel_password}
        async with self._open(sentinel, 0, credentials) as connection:
            asked = connection.create_request(b"SENTINEL GET-MASTER-ADDR-BY-NAME", self._address.service)
            found = await answer_in_time(asked, self._seconds)
        if not found:
            raise RedisConnectionError(f"the sentinels know no service {self._address.service!r}")
        return found[0].decode(), int(found[1])

    async def _ask_a_node(self, slot: int, node: Node) -> Node:
        async with self._open(node, 0) as connection:
            ranges = await answer_in_time(connection.create_request(b"CLUSTER SLOTS"), self._seconds)
        owner = None
        for first, last, primary, *_ in ranges:
            at = ((primary[0] or b"").decode() or node[0], int(primary[1]))  # a node need not say its own address
            if at not in self._nodes:  # so that the log survives the nodes of its URL being replaced one by one
                self._nodes.append(at)
            if first <= slot <= last:
                owner = at
        if owner is None:
            raise RedisConnectionError(f"nobody in the cluster has the slot {slot}")
        return owner

    @asynccontextmanager
    async def _open(
        self, node: Node | None, db: int, credentials: dict[str, str | None] | None = None
    ) -> AsyncIterator[BaseConnection]:
        if credentials is None:
            credentials = {"username": self._address.username, "password": self._address.password}
        opening = _Opening(partial(self._make, node, db, credentials))
        self._nursery.start_soon(opening.run)
        try:
            yield await answer_in_time(opening, self._seconds)
        finally:
            opening.end()

    async def _make(self, node: Node | None, db: int, credentials: dict[str, str | None]) -> _Connection:
        address = self._address
        location = UnixDomainSocketLocation(address.path) if node is None else TCPLocation(*node)
        if node is None:
            stream: ByteStream = await anyio.connect_unix(address.path)
        elif address.tls is None:
            stream = await anyio.connect_tcp(*node)
        else:
            stream = await anyio.connect_tcp(
                *node, ssl_context=address.tls, tls_hostname=node[0], tls_standard_compatible=False
            )
        return _Connection(stream, location, db=db, **credentials)


def _says(error: Exception) -> int:
    """How much an error says where several failed: what one has answered, that one may answer yet, or that nobody is
    there."""
    return 2 if isinstance(error, RedisError) else int(isinstance(error, TimeoutError))


class _Connection(BaseConnection):
    """A connection of coredis' over a stream that is open already: one that is refused has made nothing to close."""

    def __init__(self, stream: ByteStream, location: Location, **options: Any) -> None:
        super().__init__(location, **options)
        self._opened = stream

    async def _connect(self) -> ByteStream:
        return self._opened

    def describe(self) -> str:
        return f"<connection to {self.location}>"


class _Opening:
    """A connection from its making to its end, and whatever it ends with: all of the log runs in its nursery. It stands
    in for Trio's ``task_status``, and for a request, whose answer is the connection.
    """

    def __init__(self, make: Callable[[], Awaitable[_Connection]]) -> None:
        self._make = make
        self._scope = trio.CancelScope()
        self._connection: _Connection | None = None
        self._ready = trio.Event()
        self._error: Exception | None = None

    async def run(self) -> None:
        """Make the connection, and run it to its end."""
        try:
            with self._scope:
                self._connection = await self._make()
                await self._connection.run(task_status=self)
        except Exception as error:
            self._error = error.with_traceback(None)  # of its frames nothing is held
        if self._error is None and not self._ready.is_set():
            self._error = RedisConnectionError("the connection ended")
        self._ready.set()

    def started(self, value: None = None) -> None:
        """It is open."""
        self._ready.set()

    async def get_result(self) -> _Connection:
        """Wait until it is open.

        Raises:
            RedisError, OSError, EndOfStream, BrokenResourceError: it will not be.

        Cancellation: nothing is lost.
        """
        await self._ready.wait()
        if self._error is None:
            assert self._connection is not None, "it was made"
            return self._connection
        error, self._error = self._error, None
        try:
            raise error
        finally:
            del error

    def end(self) -> None:
        """End it, however far it has come."""
        if self._connection is not None:
            self._connection.invalidate()  # it is used no more by anybody who has it still
        self._scope.cancel()
