"""One client, whatever the transport: it hears the same messages in the same shape, and says what it expected."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from itertools import takewhile
from types import TracebackType
from typing import Any, ClassVar, Final, Self, TypedDict, Unpack

import trio

from ..value import encode_json
from .commands import new_id, post, until_answered
from .entrance import Entrance
from .listener import Listener
from .many import Placed, places_in
from .network import ClientEnd, Line, Network
from .strict import Order, moved
from .transcript import Message

__all__ = ["HANDSHAKE_SECONDS", "POLLS", "STREAMS", "TRANSPORTS", "Client", "ClientOptions", "Message", "with_after"]

STREAMS: Final = ("websocket", "sse")
"""Transports that keep a connection."""

POLLS: Final = ("long poll", "short poll")
"""Transports that ask again."""

TRANSPORTS: Final = (*STREAMS, *POLLS)
"""The four transports of a channel's URL."""

HANDSHAKE_SECONDS: Final = 60
"""Within which a server must answer a client that opens."""

MOST_NOTES: Final = 3
"""Clients whose dialogue is added to an error that passes through them."""


class ClientOptions(TypedDict, total=False):
    """What every client may be given.

    Keys:
        after: the cursor to go on from; 0: from the oldest event kept; None: from now.
        follow: the URLs of many channels, for an event stream or a poll of a socket's URL: see :attr:`Client.urls`.
        headers: of its requests.
        address: where it is, for the server; without, one that no client had yet.
        line: what its connections run over; without, the network's own.
        kernel_bytes: short for a line that holds so many bytes each way, sent and not yet read.
    """

    after: object
    follow: Sequence[str]
    headers: dict[str, str] | None
    address: str | None
    line: Line | None
    kernel_bytes: int | None


NEVER_OPENED: Final = "it was never opened: async with server.client(…) as client"
"""Why a client hears nothing that no block has begun."""


class Client(Listener):
    """A client of a served app, as an async context manager; on leaving the block it is gone without goodbye.

    Like a browser, it reads all the time, answers pings, and asks again, whether the test listens or not; what it was
    told waits, without bound, until :meth:`next` or :meth:`expect` takes it. One that reads too slowly, or not at
    all, is made by a fault (``stalled``, ``slow_reader``).

    The messages are the JSON objects of the protocol, on every transport: ``open``, ``event``, ``gap``, ``live``,
    ``snapshot``, ``beat``, ``lag``, ``tell``, ``end`` and ``bye``, by their ``type``.

    A transport of one's own implements :meth:`connect` and :meth:`read`.

    Attributes:
        transport: its name.
        path: the URL that is followed.
        address: where the client is, for the server; a fresh one for each client.
        cursor: where it would go on from, after what was taken; None while none was.
        cursors: the same by channel, for a client that follows many.
        retry: ms after which the server wants it back, where it said so last; None: not by itself, or nothing said.
        heard: all messages taken, in order.
        closed: why the connection has ended; None while it has not. What it said before may still wait.
    """

    transport: ClassVar[str] = "?"

    def __init__(self, reach: Entrance, path: str, **options: Unpack[ClientOptions]) -> None:
        super().__init__(reach.began)
        if unknown := sorted(options.keys() - ClientOptions.__annotations__.keys()):
            raise TypeError(f"a client has no option {unknown[0]!r}, but {', '.join(ClientOptions.__annotations__)}")
        after = options.get("after")
        self.reach = reach
        self.path = path
        self.start = None if after is None else str(after)
        self.headers = options.get("headers") or {}
        self.address = options.get("address") or reach.network.new_address()
        self.options = options
        self.cursor = self.start
        self.cursors: dict[str, str] = {}
        self.retry: int | None = None
        self.closed = NEVER_OPENED
        self._ends: list[ClientEnd] = []
        self._scope = trio.CancelScope()
        self._order = Order()

    # --- what a transport implements

    @abstractmethod
    async def connect(self) -> None:
        """Open, from :attr:`cursor`, on a connection of :meth:`dial`.

        Raises:
            RefusedError: the server answered that it would not.
        """

    @abstractmethod
    async def read(self) -> str:
        """Pass what comes to :meth:`hear`, until the connection ends. Return why it did, for people."""

    def dial(self) -> ClientEnd:
        """Open a connection to the server. It is reset when the client goes."""
        line, kernel_bytes = self.options.get("line"), self.options.get("kernel_bytes")
        end = self.reach.connect(address=self.address, line=line, kernel_bytes=kernel_bytes)
        self._ends.append(end)
        return end

    def hang_up(self, end: ClientEnd) -> None:
        """Have done with a connection."""
        end.reset()
        if end in self._ends:
            self._ends.remove(end)

    def receive(self, message: Message) -> None:
        """Hear a message as it came over the wire; one for subscriptions with a name (``sub``) with a key ``for``
        more, which names them. What is for none of them, for the client has left, is passed over. Raises
        MalformedError where the protocol lets it not come now."""
        subs = self._order.take(message)
        if subs == []:
            self.transcript.heard(trio.current_time(), message)
        else:
            self.hear(message if subs is None else {**message, "for": subs})

    def keep_cursor(self, message: Message) -> None:
        """Go on from a message that is taken; not from a gap of conflated events, whose newest are still to come.

        Where a channel is filtered for this client, ``live`` and beats move it over what it may not see.
        """
        kind = message["type"]
        if kind == "bye":
            self.retry = message.get("retry")
        if isinstance(message, Placed):
            self.cursor = message.place or self.cursor
            self.cursors.update(places_in(message))
            return
        for channel, cursor in moved(message, self._order.filtered):
            if self.cursor == self.cursors.get(channel):
                self.cursor = cursor
            self.cursors[channel] = cursor
        places = {"open": "cursor", "event": "id", "gap": "to", "snapshot": "cursor", "end": "cursor"}
        place = places.get(kind)
        if place is None or message.get("reason") == "conflated" or message.get(place) is None:
            return
        self.cursor = message[place]
        if message.get("channel") is not None:
            self.cursors[message["channel"]] = message[place]

    # --- what a test does

    @property
    def name(self) -> str:
        """Its transport, its URL, where it is, and how far it has come."""
        return f"{self.transport} {self.path} from {self.address}, cursor {self.cursor}"

    @property
    def urls(self) -> tuple[str, ...]:
        """Those that it follows by one request: then :attr:`cursor` says where it stands in all of their channels."""
        return tuple(self.options.get("follow", ()))

    @property
    def network(self) -> Network:
        """What it is connected through."""
        return self.reach.network

    @property
    def ends(self) -> tuple[ClientEnd, ...]:
        """Its ends of the connections that are open now: what faults are done to."""
        return tuple(self._ends)

    def cut(self) -> None:
        """Lose the network, and the server's side is told (a reset). What had come before still waits."""
        self._drop()
        self._end("cut")

    async def reconnect(self) -> None:
        """Come back as a good client does: on a new connection, from :attr:`cursor`, or from where the old one began.

        What waits of the old connection and was not taken is forgotten: it will be told again.

        Raises:
            RefusedError: as at first.
            trio.BrokenResourceError: nobody is there.
            AssertionError: it was never opened, so there is nothing to come back to, and nobody would close it.
        """
        if self.closed == NEVER_OPENED:
            raise AssertionError(f"cannot come back: {NEVER_OPENED}")
        self._drop()
        for opened in takewhile(lambda message: message["type"] == "open", self._waiting):
            self.keep_cursor(opened)
        self._waiting.clear()
        await self._open()

    async def command(self, url: str, data: Any = None, id: str | None = None) -> Message:
        """Ask for a command, and again with the same id until it is answered, over as many connections as it takes.

        It goes over the client's own WebSocket; where it has none, as a POST request with the client's headers.

        Args:
            url: the command's.
            data: a JSON value.
            id: what makes it take effect once; without, a new one.

        Returns:
            The reply: ``status``, ``data``, and ``repeated`` where it is the answer of an earlier time.

        Raises:
            DataError: the data is no JSON value.
            trio.TooSlowError: there was no answer within an hour but such as say when to ask again (``retry``).
            RefusedError: a WebSocket that has ended was not let in again.

        Cancellation: the command may be done; ask again with the same id.
        """
        id = id or new_id()
        encode_json(data)  # only to see that it can be: over a WebSocket the server would end that
        self.transcript.said(trio.current_time(), {"type": "command", "id": id, "url": url, "data": data})
        return await until_answered(partial(self.ask_command, id, url, data))

    async def ask_command(self, id: str, url: str, data: Any) -> Message | None:
        """Ask for a command once. Return the reply; None where the connection ended before it."""
        end = self.dial()
        try:
            return await post(end, url, self.headers, id, data, self.reach.cookies)
        finally:
            self.hang_up(end)

    # --- as a context manager, and as an iterator

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, AssertionError) and len(getattr(error, "__notes__", ())) < MOST_NOTES:
            dialogue = self.dialogue()
            if dialogue not in str(error):
                error.add_note(f"\n{dialogue}")
        self._drop()
        self._end("left")
        if error is None and self._failure is not None and not self._told:
            raise self._failure

    # --- inside

    async def _open(self) -> None:
        self.closed = None
        self._order = Order()
        try:
            with trio.fail_after(HANDSHAKE_SECONDS):
                await self.connect()
        except BaseException:
            self._drop()
            self._end("not let in")
            raise
        self._scope = trio.CancelScope()
        self.reach.start_soon(self._run, self._scope)

    async def _run(self, scope: trio.CancelScope) -> None:
        why = "the block of its server has ended"
        with scope:
            try:
                # One that came back again before this could begin would read what is the new connection's.
                await trio.lowlevel.checkpoint_if_cancelled()
                why = await self.read()
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                why = f"reset: {error}"
            except Exception as error:
                why = f"{type(error).__name__}: {error}"
                self._failure = error
            finally:
                if not scope.cancel_called:  # else there may be another connection by now
                    self._drop()
                    self._end(why)

    def _drop(self) -> None:
        self._scope.cancel()
        for end in self._ends:
            end.reset()
        self._ends.clear()


def with_after(path: str, cursor: str | None) -> str:
    """A path that asks for what comes after a cursor."""
    return path if cursor is None else f"{path}{'&' if '?' in path else '?'}after={cursor}"
