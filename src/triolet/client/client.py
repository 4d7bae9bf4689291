"""The client: what a program opens."""

from __future__ import annotations

import random as random_
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Any

import httpx
import trio

from ..bounds import CLIENT_COMMAND_SECONDS, CLIENT_SILENCE_SECONDS, CLIENT_WAIT_SECONDS
from ..errors import ConfigError, CursorError
from ..event import Cursor
from .address import Base
from .choice import TRANSPORTS, Choice
from .commands import Commands
from .credentials import Credentials, HeadersOption, TokenOption
from .dial import Dial
from .events import Events
from .http import Http
from .items import Fault, Reply
from .link import Link
from .store import Store
from .way import Way
from .websocket import check_library

__all__ = ["Client", "open_client"]


class Client:
    """A client of one server; of :func:`open_client`. It can follow any number of channels, and ask for commands.

    Attributes:
        transport: the one that it uses now.
    """

    def __init__(self, way: Way, socket: str | None, store: Store | None, nursery: trio.Nursery) -> None:
        self._way = way
        self._store = store
        self._nursery = nursery
        self._commands = Commands(way)
        self._link = None if socket is None else Link(way, socket, self._commands)

    @property
    def transport(self) -> str:
        """The transport that is used now, of those that were given."""
        return self._way.choice.current

    def follow(
        self,
        url: str,
        *,
        after: Cursor | str | int | None = None,
        name: str | None = None,
        auto_commit: bool = True,
        on_state: Callable[[Events], object] | None = None,
        on_fault: Callable[[Events, Fault], object] | None = None,
    ) -> Events:
        """Follow the channel behind a URL::

            async with live.follow("/orders/A123/events", after=0) as events:
                async for item in events:
                    if isinstance(item, Event): ...

        Args:
            url: the channel's, seen from the client's base.
            after: the cursor to go on from; 0 is the oldest event that is kept, None is from now on. What the
                client's store has kept comes before it.
            name: under which the store keeps its cursor; without, the URL.
            auto_commit: whether an item counts as done with when the next one is taken; False: ``events.commit()``
                says so. on_state: called with the events whenever their ``state`` or ``reason`` has changed.
                on_fault: called for broken promises of the server's; without, they are logged (``triolet.client``).

        Raises:
            ConfigError: a URL of another server, or what is no cursor.
        """
        if self._commands.closed:
            raise RuntimeError("the client is closed: its block has been left")
        return Events(
            self._way,
            self._link,
            self._commands,
            self._nursery,
            url,
            _cursor(after),
            self._store,
            f"{self._way.base}{self._way.base.target(url)}" if name is None else name,
            auto_commit=auto_commit,
            on_state=on_state,
            on_fault=on_fault,
        )

    async def send(
        self, url: str, data: Any = None, *, id: str | None = None, timeout: float = CLIENT_COMMAND_SECONDS
    ) -> Reply:
        """Ask for a command, which is to happen once, and again under the same id until it is answered.

        It goes over a WebSocket that is open, else as a ``POST`` with an ``Idempotency-Key``.

        Args:
            url: of a ``@live.command``, seen from the client's base.
            data: a JSON value.
            id: to ask again what may have been asked before, by a program that has ended, say; without, a new one.
            timeout: seconds.

        Returns:
            Whatever the app answered, its refusals too.

        Raises:
            Unanswered: the time is over; its ``sent`` says whether it may have happened.
            DataError: the data is no JSON value.
            ConfigError: a URL of another server, or an id that cannot be.

        Bounds: ``CLIENT_COMMANDS`` at once; ``CLIENT_COMMANDS_WAITING`` wait for their turn.

        Cancellation: it may happen; ask again with the same id.
        """
        return await self._commands.send(url, data, id, timeout)


def _cursor(after: Cursor | str | int | None) -> Cursor | None:
    if after is None or isinstance(after, Cursor):
        return after
    try:
        return Cursor.parse_after(str(after))
    except CursorError as error:
        raise ConfigError(f"after={after!r:.80}: {error}") from None


@asynccontextmanager
async def open_client(
    base: str,
    *,
    token: TokenOption = None,
    headers: HeadersOption = None,
    transports: Sequence[str] = TRANSPORTS,
    socket: str | None = None,
    store: Store | None = None,
    tls: SSLContext | None = None,
    dial: Dial | None = None,
    websocket: str = "trio-websocket",
    silence: float = CLIENT_SILENCE_SECONDS,
    wait: float = CLIENT_WAIT_SECONDS,
    random: Callable[[], float] = random_.random,
) -> AsyncIterator[Client]:
    """Open a client of a server, for the time of an ``async with`` block. All its tasks are in one nursery, and end
    with it.

    Args:
        base: where the server is: ``https://shop.example``.
        token: who the client is: a text, or a function (async or not) that is asked before each connection and each
            renewal. headers: of every request: a mapping, or such a function. transports: of ``"websocket"``,
            ``"sse"``, ``"long-poll"``, ``"poll"``, in the order of preference. The first that works is used; better
            ones are tried again later.
        socket: the URL of a ``live.socket``: all follows then share one WebSocket. Without, each has one of its own,
            on its channel's URL.
        store: keeps cursors from one life of the program to the next, for at-least-once.
        tls: what certificates are checked with; without, as httpx does it.
        dial: opens connections in place of TCP: a network of a test's.
        websocket: the library, ``"trio-websocket"`` or ``"websockets"``.
        silence: seconds without a word before a connection counts as lost, until two beats have shown their pace.
        wait: seconds that a long poll may be held.
        random: draws waits.

    Raises:
        ConfigError: an option that cannot work.
        Exception: what the block raises, as it is and not in a group.

    Cancellation: everything is unfollowed.
    """
    where = Base(base)
    if not (silence > 0 and wait > 0):
        raise ConfigError(f"silence={silence!r}, wait={wait!r}: seconds, more than 0")
    if store is not None and not isinstance(store, Store):
        raise ConfigError(f"store={store!r:.60}: has load and save, as FileStore")
    context: SSLContext | bool = (tls or httpx.create_ssl_context()) if where.tls else False
    credentials, choice = Credentials(token, headers), Choice(transports)
    http = Http(where.host, context, dial)
    way = Way(where, context, dial, http, credentials, check_library(websocket), choice, silence, wait, random)
    try:
        async with trio.open_nursery() as nursery:
            client = Client(way, socket, store, nursery)
            if client._link is not None:
                nursery.start_soon(client._link.run)
            try:
                yield client
            finally:
                client._commands.close()
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise (group.exceptions[0] if len(group.exceptions) == 1 else group) from None
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
            await http.aclose()
