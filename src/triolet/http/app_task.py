"""What stands between Hypercorn's protocol code and the app: a bounded inbox, and a task that may be given up.

Hypercorn puts a client's messages into a channel and waits where it is full: then nobody reads the socket, the
close is never seen, and an app that returned leaves the connection waiting for ever. Here putting never waits.
Whoever puts asks :attr:`Inbox.full` first, and is woken when there is room again.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import trio

from ..budget import Account, Budget
from ..errors import where
from ..limits import Limits
from ..sockets.server_state import UnreadMessages, inbox_of, leave_inbox
from ..sync.apart import start_apart
from ..sync.bounded_channel import BoundedChannel
from ..wire.http_answer import check_head
from .bounds import REQUEST_BYTES, REQUESTS_BELOW_CEILING, SEND_TO_NOBODY_SECONDS

__all__ = ["AppGroup", "Inbox", "bounded_websockets", "send_to_nobody"]

logger = logging.getLogger("triolet.server")


_CONTENT: Final = frozenset({"websocket.receive", "http.request"})
_HEADS: Final = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})
_DISCONNECTS: Final = frozenset({"websocket.disconnect", "http.disconnect"})

Message = Any
Send = Callable[[Message], Awaitable[None]]


class Inbox:
    """A client's messages that the app has not taken yet, in front of one run of the app.

    It is a :class:`~triolet.sync.bounded_channel.BoundedChannel` with ASGI's manners: the disconnect is its end, and is
    told again and again; and a message counts until whoever took it has used it up.

    Bounds: whoever puts stops when it is :attr:`full`, so it holds ``limits.inbox_bytes`` and
    ``limits.inbox_messages``, and one message more. What was taken of a request's body is counted until the app has
    returned, since most apps gather it.

    Attributes:
        scope: what the app runs in.
        tracked: whether who takes messages also says when they are used up (see :func:`bounded_websockets`);
            until then they count as if they still waited here.
    """

    __slots__ = (
        "_body",
        "_channel",
        "_closed",
        "_ended",
        "_goodbye_seconds",
        "_hold",
        "_on_room",
        "_taken",
        "scope",
        "tracked",
    )

    def __init__(self, limits: Limits, on_room: Callable[[], None], budget: Budget | Account) -> None:
        self._channel = BoundedChannel[Message](limits.inbox_messages, limits.inbox_bytes, budget.hold, on_room)
        self._hold = budget.hold
        self._body = 0
        self._on_room = on_room
        self._goodbye_seconds = limits.goodbye_seconds
        self._taken: deque[int] = deque()  # sizes of the messages that were taken and are not used up, oldest first
        self._ended: Message = None
        self._closed = False
        self.tracked = False
        self.scope = trio.CancelScope()

    @property
    def full(self) -> bool:
        """Whether the next message has to wait outside."""
        return self._channel.full

    async def __call__(self, message: Message) -> None:
        """Put a message in, as Hypercorn's streams do. It never waits."""
        if self._closed or self._ended is not None:
            return
        kind = message["type"]
        if kind in _DISCONNECTS:
            self._ended = message
            self._channel.end()
        elif kind in _CONTENT:
            self._channel.send_nowait(message, _size(message))
        else:
            self._channel.send_nowait(message, 0, 0)

    def give_up(self) -> None:
        """The client is gone: the app has ``limits.goodbye_seconds`` to end, and is cancelled then."""
        self.scope.deadline = min(self.scope.deadline, trio.current_time() + self._goodbye_seconds)

    async def receive(self) -> Message:
        """Take the next message: ASGI's ``receive``. After the disconnect it returns that again."""
        try:
            message, size, count = await self._channel.take()
        except trio.EndOfChannel:
            await trio.lowlevel.checkpoint()
            return self._ended
        if count and self.tracked and message["type"] == "websocket.receive":
            self._taken.append(size)
        else:
            if size and message["type"] == "http.request":
                self._body += size
                self._hold(size)
            self._channel.release(size, count)
        return message

    def used_up(self) -> None:
        """Whoever took the oldest message is done with it."""
        if self._taken:
            self._channel.release(self._taken.popleft())

    def close(self) -> None:
        """The app has returned: nothing is kept for it any more."""
        was_full, self._closed = self.full, True
        while self._taken:
            self.used_up()
        self._hold(-self._body)
        self._body = 0
        with suppress(trio.WouldBlock, trio.EndOfChannel):
            while True:
                self._channel.receive_nowait()
        if not was_full:  # or the channel has said so
            self._on_room()


class AppGroup:
    """Runs the app for the streams of one connection: Hypercorn's TaskGroup, in its contract.

    Args:
        nursery: the connection's.
        limits: bounds of the inboxes.
        on_room: called when an inbox that was full has room again.
        budget: where what waits is counted: unread messages of the client's, and what the app sends, from there on
            until it is taken.

    Attributes:
        running: the inboxes of the runs of the app that have not returned.
    """

    def __init__(
        self, nursery: trio.Nursery, limits: Limits, on_room: Callable[[], None], budget: Budget | Account
    ) -> None:
        self._budget = budget
        self._nursery = nursery
        self._limits = limits
        self._on_room = on_room
        self.running: set[Inbox] = set()
        self._request_bytes = min(REQUEST_BYTES, budget.ceiling // REQUESTS_BELOW_CEILING)

    async def spawn_app(self, app: Any, config: Any, scope: Any, send: Send) -> Inbox:
        """Run the app for one request; returns where to put its messages."""
        inbox = Inbox(self._limits, self._on_room, self._budget)
        leave_inbox(scope["state"], inbox)
        # Here, and not when its turn has come: many may be let in before that, and each by what is counted.
        self._budget.hold(self._request_bytes)
        self.running.add(inbox)
        start_apart(self._nursery, self._run, inbox, app, scope, send)
        return inbox

    def give_up(self) -> None:
        """The connection has ended: see :meth:`Inbox.give_up`, also where an app goes on behind its whole answer."""
        for inbox in self.running:
            inbox.give_up()

    def hold(self, more: int) -> None:
        """Count so many bytes more, or less, that the connection holds."""
        self._budget.hold(more)

    def spawn(self, func: Callable[..., Awaitable[object]], *args: Any) -> None:
        """Run a task of the connection's own: an app that has answered one request may start what reads the next."""
        start_apart(self._nursery, func, *args)

    async def _run(self, inbox: Inbox, app: Any, scope: Any, send: Send) -> None:
        async def send_counted(message: Message) -> None:
            """A message counts from here on, since it is the app's own from which what waits is made."""
            message = _checked(message)
            size = _size(message)
            hold(size)
            try:
                await send(message)
            finally:
                hold(-size)

        hold = self._budget.hold
        with inbox.scope:
            try:
                await app(scope, inbox.receive, send_counted, trio.to_thread.run_sync, trio.from_thread.run)
            except* Exception as errors:
                logger.error("the app failed on a %s request: %s", scope["type"], where(errors))
                logger.debug("the app's error", exc_info=errors)
            finally:
                self.running.remove(inbox)
                inbox.close()
                hold(-self._request_bytes)
                await send(None)


def _checked(message: Message) -> Message:
    """Return what the app sends, of the head of an answer with its headers in a list: they may be a generator's.

    Raises:
        DataError: in the app's own ``send``; no answer can begin like that.
    """
    kind = message["type"]
    if kind not in _HEADS:
        return message
    headers = list(message.get("headers", ()))
    check_head(200 if kind == "websocket.accept" else message["status"], headers)
    return {**message, "headers": headers}


def _size(message: Message) -> int:
    """The bytes (characters, of a text) that a message carries."""
    return len(message.get("body") or message.get("bytes") or message.get("text") or b"")


async def send_to_nobody(message: Message) -> None:
    """What a send to a client that is gone does: it lets others run, and slows down a loop that only sends."""
    if message is not None:
        await trio.sleep(SEND_TO_NOBODY_SECONDS)


def bounded_websockets(websocket_class: type[Any]) -> type[Any]:
    """Return a subclass of a Quart app's ``websocket_class`` whose unread messages are bounded.

    Quart-Trio takes what the client sends before anyone asks for it: 0.12 holds ten messages of any size, 0.13 any
    number. With this class a message counts in the inbox until ``receive()`` has returned it, and nothing is
    read from a client who is too far ahead. It also gives an empty binary message back as ``b""``, where Quart
    makes None of it.
    """

    class BoundedWebsocket(websocket_class):  # type: ignore[misc]  # a base that is known only when it runs
        """Quart's, with messages that count until they are received."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._inbox: UnreadMessages | None = inbox_of(self.scope)
            if self._inbox is not None:
                self._inbox.tracked = True

        async def receive(self) -> str | bytes:
            """Wait for the client's next message."""
            message: str | bytes | None = await super().receive()
            if self._inbox is not None:
                self._inbox.used_up()
            return b"" if message is None else message

    return BoundedWebsocket
