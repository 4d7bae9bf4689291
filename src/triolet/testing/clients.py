"""One client, whatever the transport: it hears the same messages in the same shape, and says what it expected."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar, Final, Self, TypedDict, Unpack

import trio

from .entrance import Entrance
from .http import PATIENCE_SECONDS
from .network import ClientEnd, Line, Network
from .strict import Order
from .transcript import Message, Transcript, differences, tell

__all__ = ["HANDSHAKE_SECONDS", "POLLS", "STREAMS", "TRANSPORTS", "Client", "ClientOptions", "Message", "with_after"]

STREAMS: Final = ("websocket", "sse")
"""Transports that keep a connection."""

POLLS: Final = ("long poll", "short poll")
"""Transports that ask again."""

TRANSPORTS: Final = (*STREAMS, *POLLS)
"""The four transports of a channel's URL."""

HANDSHAKE_SECONDS: Final = 60
"""Within which a server must answer a client that opens."""

QUIET: Final = {"open", "live", "beat"}
"""Messages that say how things stand, and are passed over where others are expected."""

MOST_NOTES: Final = 3
"""Clients whose dialogue is added to an error that passes through them."""


class ClientOptions(TypedDict, total=False):
    """What every client may be given.

    Keys:
        after: the cursor to go on from; 0: from the oldest event kept; None: from now.
        headers: of its requests.
        address: where it is, for the server; without, one that no client had yet.
        line: what its connections run over; without, the network's own.
        kernel_bytes: short for a line that holds so many bytes each way, sent and not yet read.
    """

    after: object
    headers: dict[str, str] | None
    address: str | None
    line: Line | None
    kernel_bytes: int | None


class Client(ABC):
    """A client of a served app, as an async context manager; on leaving the block it is gone without goodbye.

    Like a browser, it reads all the time, answers pings, and asks again, whether the test listens or not; what it was
    told waits, without bound, until :meth:`next` or :meth:`expect` takes it. One that reads too slowly, or not at
    all, is made by a fault (``stalled``, ``slow_reader``).

    The messages are the JSON objects of the protocol, on every transport: ``open``, ``event``, ``gap``, ``live``,
    ``beat``, ``lag`` and ``bye``, by their ``type``.

    A transport of one's own implements :meth:`connect` and :meth:`read`.

    Attributes:
        transport: its name.
        path: the URL that is followed.
        address: where the client is, for the server; a fresh one for each client.
        cursor: where it would go on from, after what was taken; None while it was told none.
        cursors: the same by channel, for a socket that follows many.
        heard: all messages taken, in order.
        closed: why the connection has ended; None while it has not. What it said before may still wait.
        retry: ms after which the server wants it back, where it said so last; None: not by itself, or nothing said.
    """

    transport: ClassVar[str] = "?"

    def __init__(self, reach: Entrance, path: str, **options: Unpack[ClientOptions]) -> None:
        after = options.get("after")
        self.reach = reach
        self.path = path
        self.start = None if after is None else str(after)
        self.headers = options.get("headers") or {}
        self.address = options.get("address") or reach.network.new_address()
        self.options = options
        self.cursor = self.start
        self.cursors: dict[str, str] = {}
        self.heard: list[Message] = []
        self.closed: str | None = None
        self.retry: int | None = None
        self.transcript = Transcript(reach.began)
        self._ends: list[ClientEnd] = []
        self._waiting: deque[Message] = deque()
        self._arrived = trio.Event()
        self._failure: Exception | None = None
        self._told = False
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

    def hear(self, message: Message) -> None:
        """Take in a message that has come."""
        self.transcript.heard(trio.current_time(), message)
        self._waiting.append(message)
        self._wake()

    def receive(self, message: Message) -> None:
        """Hear a message as it came over the wire. Raises MalformedError where the protocol lets it not come now."""
        self._order.take(message)
        self.hear(message)

    def keep_cursor(self, message: Message) -> None:
        """Go on from a message that is taken; not from a gap of conflated events, whose newest are still to come."""
        kind = message["type"]
        if kind == "bye":
            self.retry = message.get("retry")
        place = {"open": "cursor", "event": "id", "gap": "to"}.get(kind)
        if place is None or message.get("reason") == "conflated" or message.get(place) is None:
            return
        self.cursor = message[place]
        if message.get("channel") is not None:
            self.cursors[message["channel"]] = message[place]

    # --- what a test does

    @property
    def network(self) -> Network:
        """What it is connected through."""
        return self.reach.network

    @property
    def ends(self) -> tuple[ClientEnd, ...]:
        """Its ends of the connections that are open now: what faults are done to."""
        return tuple(self._ends)

    @property
    def events(self) -> list[Message]:
        """Of what was taken, the events."""
        return [message for message in self.heard if message["type"] == "event"]

    async def next(self, *, within: float = PATIENCE_SECONDS) -> Message | None:
        """Take the next message, of whatever type; None at the end of the connection, however it ended.

        Args:
            within: seconds to wait at most; 0: it has come already.

        Raises:
            AssertionError: nothing came within that time.

        Cancellation: nothing is lost.
        """
        __tracebackhide__ = True
        try:
            return await self._next(trio.current_time() + within)
        except trio.TooSlowError:
            but = f"but none came within {within:g} s"
        raise AssertionError(f"expected  a message\n{but}\n\n{self.dialogue()}")

    async def expect(self, kind: str = "event", /, *, within: float = 60, **fields: Any) -> Message:
        """Take the next message, and check that it is this one.

        Messages that only say how things stand (``open``, ``live``, ``beat``) are passed over, except those of the
        type that is expected.

        Args:
            kind: the message's type.
            within: seconds to wait at most; 0: it has come already.
            fields: what it has, with the names on the wire: ``event="order-status"``, ``data={"state": "paid"}``,
                ``id=…``, ``reason="expired"``. A trailing ``_`` is dropped, for ``from_=…``. They are compared
                with ``==``, so anything that knows how to be equal will do, such as ``pytest.approx``.

        Returns:
            The message.

        Raises:
            AssertionError: another message came, or none in that time, or the connection ended. It tells the nearest
                message, what differs, and the dialogue so far, with virtual times.

        Cancellation: nothing is lost.
        """
        __tracebackhide__ = True
        fields = {name.rstrip("_"): value for name, value in fields.items()}
        what = tell({"type": kind, **fields})
        message, but = await self._pass(within, lambda message: message["type"] in QUIET - {kind})
        if message is None:
            raise AssertionError(self._miss(what, but or f"nothing came within {within:g} s", kind, fields))
        if found := differences(message, kind, fields):
            raise AssertionError(self._miss(what, f"{tell(message)}\n{_lines(found)}", kind, fields, message))
        return message

    async def until(self, kind: str, /, *, within: float = 60) -> Message:
        """Take messages up to the next of a type, and return that. They are all in :attr:`heard`.

        Raises:
            AssertionError: it did not come within so many seconds, or the connection ended.
        """
        __tracebackhide__ = True
        message, but = await self._pass(within, lambda message: message["type"] != kind)
        if message is None:
            raise AssertionError(self._miss(kind, but or f"none came within {within:g} s", kind, {}))
        return message

    async def pick(self, wanted: Callable[[Message], bool], what: str, *, within: float = 60) -> Message:
        """Take the first message of some sort, before those that wait.

        Args:
            wanted: says which.
            what: says it to people.
            within: seconds to wait at most.

        Raises:
            AssertionError: there was none in that time, or the connection ended.
        """
        __tracebackhide__ = True
        with trio.move_on_after(within):
            while True:
                await trio.lowlevel.checkpoint()
                for message in self._waiting:
                    if wanted(message):
                        self._waiting.remove(message)
                        return self._taken(message)
                if self.closed is not None:
                    raise AssertionError(f"expected  {what}\nbut the connection had ended\n\n{self.dialogue()}")
                await self._arrived.wait()
        raise AssertionError(f"expected  {what}\nbut there was no answer within {within:g} s\n\n{self.dialogue()}")

    async def nothing_for(self, seconds: float) -> None:
        """Check that for so long nothing comes but ``open``, ``live`` and ``beat``, and that the connection lives.

        What had come before and was not taken counts as coming now; so ``nothing_for(0)`` checks that nothing has.

        Raises:
            AssertionError: something else came, or the connection ended.
        """
        __tracebackhide__ = True
        message, ended = await self._pass(seconds, lambda message: message["type"] in QUIET)
        if message is not None or ended is not None:
            but = ended if message is None else f"came  {tell(message)}"
            raise AssertionError(f"expected  nothing for {seconds:g} s\nbut {but}\n\n{self.dialogue()}")

    def cut(self) -> None:
        """Lose the network, and the server's side is told (a reset). What had come before still waits."""
        self._drop()
        self._end("cut")

    async def reconnect(self) -> None:
        """Come back as a good client does: on a new connection, going on from :attr:`cursor`.

        What waits of the old connection and was not taken is forgotten: it will be told again.

        Raises:
            RefusedError: as at first.
            trio.BrokenResourceError: nobody is there.
        """
        self._drop()
        self._waiting.clear()
        await self._open()

    def dialogue(self) -> str:
        """All that was said, with virtual times: what a failed expectation shows."""
        state = "open" if self.closed is None else f"ended: {self.closed}"
        head = f"{self.transport} {self.path} from {self.address}, cursor {self.cursor}, {state}"
        return f"{head}\n{self.transcript.text()}"

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

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        __tracebackhide__ = True
        if (message := await self.next()) is None:
            raise StopAsyncIteration
        return message

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
                why = await self.read()
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                why = f"reset: {error}"
            except Exception as error:
                why, self._failure = f"{type(error).__name__}: {error}", error
            finally:
                if not scope.cancel_called:  # else there may be another connection by now
                    self._drop()
                    self._end(why)

    async def _next(self, deadline: float) -> Message | None:
        """The next message; what waits already is in time, whenever that was. Raises trio.TooSlowError."""
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            if self._failure is not None:
                self._told = True
                raise self._failure
            if self.closed is not None:
                return None
            with trio.fail_at(deadline):
                await self._arrived.wait()
        return self._taken(self._waiting.popleft())

    async def _pass(self, within: float, by: Callable[[Message], bool]) -> tuple[Message | None, str | None]:
        """The next message that is not passed by; without one in that time, how the connection ended, if it has."""
        deadline = trio.current_time() + within
        try:
            while (message := await self._next(deadline)) is not None:
                if not by(message):
                    return message, None
        except trio.TooSlowError:
            return None, None
        return None, f"the connection had ended: {self.closed}"

    def _taken(self, message: Message) -> Message:
        self.keep_cursor(message)
        self.heard.append(message)
        return message

    def _drop(self) -> None:
        self._scope.cancel()
        for end in self._ends:
            end.reset()
        self._ends.clear()

    def _end(self, why: str) -> None:
        if self.closed is None:
            self.closed = why
            self.transcript.note(trio.current_time(), why)
        self._wake()

    def _wake(self) -> None:
        self._arrived.set()
        self._arrived = trio.Event()

    def _miss(self, what: str, but: str, kind: str, fields: dict[str, Any], came: Message | None = None) -> str:
        """The text of an expectation that was not met."""
        parts = [f"expected  {what}", f"but came  {but}" if came is not None else f"but {but}"]
        nearest = self.transcript.nearest(kind, fields)
        if nearest is not None and nearest[1] is not came:
            time, message = nearest
            when = "is still to be taken" if any(message is one for one in self._waiting) else "was taken before"
            found = differences(message, kind, fields)
            parts.append(f"nearest   {tell(message)}\n{_lines([f'came at {time:.3f} s, and {when}', *found])}")
        return "\n".join([*parts, "", self.dialogue()])


def with_after(path: str, cursor: str | None) -> str:
    """A path that asks for what comes after a cursor."""
    return path if cursor is None else f"{path}{'&' if '?' in path else '?'}after={cursor}"


def _lines(found: list[str]) -> str:
    return "\n".join(f"          {line}" for line in found)
