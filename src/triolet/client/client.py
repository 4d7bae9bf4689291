"""The client: what a program opens."""

from __future__ import annotations

import random as random_
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Any

import msgspec
import trio

from ..errors import ConfigError, CursorError
from ..event import Cursor
from ..value import encode_json
from ..wire.address import Base
from .bounds import CLIENT_COMMAND_SECONDS, CLIENT_SILENCE_SECONDS, CLIENT_WAIT_SECONDS
from .choice import TRANSPORTS, Choice
from .commands import CLOSED, Commands
from .credentials import Credentials, HeadersOption, TokenOption
from .dial import Dial
from .errors import STOPS, ClientError, one_of
from .events import Events
from .http import Http, usual_tls
from .items import Fault, Reply, Tell
from .link import Link
from .messages import Messages
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
        self._link = None if socket is None else Link(way, socket, self._commands, nursery)

    def messages(
        self,
        *,
        on_state: Callable[[Messages], object] | None = None,
        on_fault: Callable[[Messages, Fault], object] | None = None,
        on_tell: Callable[[Messages, Tell], object] | None = None,
    ) -> Messages:
        """Listen to what the app's handler says on the shared socket::

            async with live.messages() as messages:
                await messages.ready()
                await live.tell("here I am")
                async for said in messages:
                    if isinstance(said, Message): ...

        Args:
            on_state: called with the messages whenever their ``state`` or ``reason`` has changed, as with each new
                connection, whose handler knows nothing of what the last one was told.
            on_fault: called for broken promises of the server's; without, they are logged (``triolet.client``).
            on_tell: called at once with what is only for now (``live.tell``), in channels that the handler follows for
                this client. What one of these three raises ends the client's block.

        Raises:
            ConfigError: the client has no ``socket=``, or may not use WebSockets.
            RuntimeError: the client is closed.

        Bounds: ``CLIENT_MESSAGES`` wait for the program; see :class:`Messages`.
        """
        return Messages(self._shared("live.messages()"), self._nursery, on_state, on_fault, on_tell)

    async def tell(self, data: Any) -> None:
        """Say something to the app's handler, on the shared socket. When it returns the network has taken it; whether
        the handler has, only its answer tells. What must happen, and once, is a command: :meth:`send`.

        Args:
            data: a JSON value. One that is larger than the server takes (``limits.message_bytes``) ends the socket
                (1009), and one for a socket without a handler, too (1008): for all that share it, and for good.

        Raises:
            ClientError: of the kind ``network``: no connection is open now, so it was not said, or it ended meanwhile,
                so it may have been. The socket is open while something is followed on it, or listened to.
            ConfigError: the client has no ``socket=``, or may not use WebSockets.
            DataError: the data is no JSON value.
            RuntimeError: the client is closed.

        Bounds: one at a time is on its way; the others wait, and so a program waits where the server takes nothing.

        Cancellation: it may be said.
        """
        link, encoded = self._shared("live.tell()"), msgspec.Raw(encode_json(data))
        await trio.lowlevel.checkpoint_if_cancelled()
        if link.speaker is None:
            raise ClientError("nothing was said: no connection of the socket is open now", "network")
        if not await link.speaker.tell(type="message", data=encoded):
            raise ClientError("the connection of the socket ended while this was said: it may have been", "network")

    def _shared(self, what: str) -> Link:
        if self._commands.closed:
            raise RuntimeError(CLOSED)
        if self._link is None:
            raise ConfigError(f'{what} needs the URL of the app\'s live.socket: open_client(…, socket="/live")')
        if "websocket" not in self._way.choice.transports:
            raise ConfigError(
                f"{what} goes over a WebSocket, which is none of transports={self._way.choice.transports}"
            )
        return self._link

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
        snapshot: bool = False,
        fold: bool = False,
        auto_commit: bool = True,
        on_state: Callable[[Events], object] | None = None,
        on_fault: Callable[[Events, Fault], object] | None = None,
        on_tell: Callable[[Events, Tell], object] | None = None,
    ) -> Events:
        """Follow the channel behind a URL::

            async with live.follow("/orders/A123/events", after=0) as events:
                async for item in events:
                    if isinstance(item, Event): ...

        Args:
            url: the channel's, seen from the client's base.
            after: the cursor to go on from; 0 is the oldest event that is kept, -50 the newest fifty, None is from now
                on. What the client's store has kept comes before it.
            name: under which the store keeps its cursor; without, the URL.
            snapshot: whether it wants the channel's state, where the app has one for it: as a :class:`Snapshot`, first,
                where it begins from now on, and in place of a gap.
            fold: whether events that go together come as one, of what it has missed (:attr:`Event.folded`); what they
                make, :mod:`triolet.client.folds` knows.
            auto_commit: whether an item counts as done with when the next one is taken; False: ``events.commit()``
                says so.
            on_state: called with the events whenever their ``state`` or ``reason`` has changed.
            on_fault: called for broken promises of the server's; without, they are logged (``triolet.client``).
            on_tell: called at once with what is only for now (``live.tell``), whatever waits for the program. What one
                of these three raises ends the client's block.

        Returns:
            The events, which begin when their block is entered.

        Raises:
            ConfigError: a URL of another server, or what is no cursor.
            RuntimeError: the client is closed.

        Bounds: ``CLIENT_ITEMS`` items wait for the program; see :class:`Events`.
        """
        if self._commands.closed:
            raise RuntimeError(CLOSED)
        base = self._way.base
        return Events(
            self._way,
            self._link,
            self._commands,
            self._nursery,
            url,
            base.url(base.target(url, snapshot="1" if snapshot else None, fold="1" if fold else None)),
            _cursor(after),
            self._store,
            f"{base}{base.target(url)}" if name is None else name,
            auto_commit=auto_commit,
            on_state=on_state,
            on_fault=on_fault,
            on_tell=on_tell,
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
    if not isinstance(after, str | int) or isinstance(after, bool):
        raise ConfigError(f"after={after!r:.80}: a cursor, its text, or an offset")
    try:
        return Cursor.parse_after(str(after))
    except CursorError as error:
        raise ConfigError(f"after={after!r:.80}: {error}") from None


def _raised(group: BaseExceptionGroup[BaseException], own: BaseException | None) -> BaseException:
    """What a block and our tasks have raised, as one: to be stopped; else what the block has raised, as it is; else,
    where it was only cancelled, what one of our tasks has.
    """
    ours = one_of(group)
    if ours is None or isinstance(ours, STOPS):
        return ours or group
    theirs = one_of(own) if isinstance(own, BaseExceptionGroup) else own
    return ours if own is None or theirs is None or isinstance(theirs, trio.Cancelled) else own


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
    acknowledge: float | None = None,
    random: Callable[[], float] = random_.random,
) -> AsyncIterator[Client]:
    """Open a client of a server, for the time of an ``async with`` block. All its tasks are in one nursery, and end
    with it.

    Args:
        base: where the server is: ``https://shop.example``.
        token: who the client is: a text, or a function (async or not) that is asked before each connection and each
            renewal.
        headers: of every request: a mapping, or such a function.
        transports: of ``"websocket"``, ``"sse"``, ``"long-poll"``, ``"poll"``, in the order of preference. The first
            that works is used; better ones are tried again later.
        socket: the URL of a ``live.socket``: all follows then share one WebSocket, and :meth:`Client.messages` and
            :meth:`Client.tell` speak with its handler; where there is no WebSocket they share an event stream or a
            poll, if it has no handler. Without, each has a connection of its own, on its channel's URL.
        store: keeps cursors from one life of the program to the next, for at-least-once.
        tls: what certificates are checked with; without, as httpx does it.
        dial: opens connections in place of TCP: a network of a test's.
        websocket: the library, ``"trio-websocket"`` or ``"websockets"``.
        silence: seconds without a word before a connection counts as lost, until two beats have shown their pace.
        wait: seconds that a long poll may be held.
        acknowledge: over WebSocket, tell the server at most once in so many seconds what the program has applied of a
            channel, so that its operators see how fresh it is: an event counts so when the next item is taken, or, with
            ``auto_commit=False``, when it is committed. None: it is not told; nothing else depends on it.
        random: draws waits.

    Raises:
        ConfigError: an option that cannot work.
        RuntimeError: this is no program of Trio's; for others there is :func:`sync_client`.
        Exception: what the block raises, as it is and not in a group; else what a function of the program's has raised
            that is called here, or its store.

    Bounds: a connection for each follow, or one for all (``socket``), and one for each command asked by ``POST``.

    Cancellation: everything is unfollowed; commands that are not answered are :class:`Unanswered`.
    """
    if not trio.lowlevel.in_trio_run():
        raise RuntimeError("open_client needs Trio: trio.run(main). Without Trio there is sync_client")
    where = Base(base)
    if not (silence > 0 and wait > 0 and (acknowledge is None or acknowledge > 0)):
        raise ConfigError(f"{silence=}, {wait=}, {acknowledge=}: seconds, more than 0")
    if store is not None and not isinstance(store, Store):
        raise ConfigError(f"store={store!r:.60}: has load and save, as FileStore")
    context: SSLContext | bool = (tls or usual_tls()) if where.tls else False
    credentials, choice = Credentials(token, headers), Choice(transports)
    http = Http(where.host, context, dial)
    library = check_library(websocket)
    way = Way(where, context, dial, http, credentials, library, choice, silence, wait, random, acknowledge)
    own: BaseException | None = None
    raised: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            client = Client(way, socket, store, nursery)
            if client._link is not None:
                nursery.start_soon(client._link.run)
            try:
                yield client
            except BaseException as error:
                own = error
                raise
            finally:
                client._commands.close()
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raised = _raised(group, own)
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
            await http.aclose()
    try:
        if raised is not None:  # not above, where it would be given another context than its own
            raise raised
    finally:
        del own, raised  # or each would hold on to itself, by its traceback
