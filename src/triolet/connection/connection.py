"""One client: what its four children share, and what an app's handler is given."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import trio

from ..closing import CRASHED, FLOOD, GONE, NORMAL, Closing
from ..errors import ConfigError, ConnectionEnded
from ..event import Cursor, check_channel, encode_json
from ..hub import Follower, Hub
from ..limits import Limits
from ..server.outlet import Outlet
from ..wire.codec import Codec
from ..wire.messages import AppMessage, Open, Refused
from .inbox import Inbox

__all__ = ["Connection", "Surroundings"]


class Surroundings(msgspec.Struct, frozen=True):
    """What all connections of a process share.

    ``now`` is the wall clock, in seconds since 1970; ``random`` draws when clients come back; ``draining``
    is set when the server wants everybody to leave.
    """

    hub: Hub
    limits: Limits
    draining: trio.Event
    random: random.Random
    now: Callable[[], float]


class Connection:
    """One client: a nursery, an outlet, and its followers, by channel.

    An app's ``live.socket`` handler gets one: it follows channels, iterates over the client's messages and
    sends its own. All of that ends when the connection does: the handler is cancelled.

    Bounds: ``limits.follows`` channels; ``inbox_messages`` and ``inbox_bytes`` of messages that the handler has
    not taken yet; ``outbox_messages`` that the client has not, and then :meth:`send` waits.
    """

    __slots__ = (
        "_outbox",
        "_pong",
        "_wake",
        "answers",
        "behind",
        "closing",
        "codec",
        "decide",
        "followers",
        "heard_at",
        "inbox",
        "nursery",
        "outlet",
        "peer_closed",
        "pings",
        "raw",
        "surroundings",
    )

    def __init__(
        self,
        surroundings: Surroundings,
        outlet: Outlet,
        codec: Codec,
        *,
        pings: bool = False,
        raw: Callable[[str | bytes], Any] | None = None,
        decide: Callable[[str], Awaitable[tuple[str, Cursor | None] | None]] | None = None,
        takes_messages: bool = False,
    ) -> None:
        self.surroundings = surroundings
        self.outlet = outlet
        self.codec = codec
        self.pings = pings
        self._pong: Any = None
        self.raw = raw
        self.decide = decide
        self.followers: dict[str, Follower] = {}
        self.behind: dict[Follower, None] = {}
        self.answers: deque[Any] = deque()
        self.closing: Closing | None = None
        self.heard_at = trio.current_time()
        self.inbox = Inbox(surroundings.limits) if takes_messages else None
        self.peer_closed = False
        self.nursery: trio.Nursery | None = None
        self._outbox: tuple[trio.MemorySendChannel[Any], trio.MemoryReceiveChannel[Any]] | None = None
        self._wake: trio.Event | None = None
        outlet.on_full = self._full
        outlet.on_gone = self._gone

    @property
    def limits(self) -> Limits:
        """The app's limits."""
        return self.surroundings.limits

    @property
    def hub(self) -> Hub:
        """Where events come from."""
        return self.surroundings.hub

    # --- for the app's handler

    async def follow(self, channel: str, after: str | int | None = None) -> None:
        """Follow a channel: its events go to the client from now on, or from a cursor.

        Args:
            channel: its name. One that is followed already is followed anew from ``after``.
            after: the cursor to go on from, as text or a bare offset; None is "from now".

        Raises:
            ChannelNameError, CursorError: no such name or cursor can be.
            ConfigError: ``limits.follows`` channels are followed already.
            ConnectionEnded: the client is gone.
            LogError: the log cannot be read.
        """
        check_channel(channel)
        await trio.lowlevel.checkpoint()
        await self.add_follower(channel, None if after is None else Cursor.parse(str(after)))

    def unfollow(self, channel: str) -> None:
        """Follow a channel no longer. One that was not followed is no error."""
        follower = self.followers.pop(channel, None)
        if follower is not None:
            self.behind.pop(follower, None)
            self.hub.leave(follower)

    async def send(self, data: Any) -> None:
        """Send a message of the app's own: any JSON value, or text or bytes on a raw socket.

        Waits while ``limits.outbox_messages`` wait for a slow client, and is cancelled when that client is given up.
        What is sent is not in any log: a client that comes back does not get it again.

        Raises:
            ConnectionEnded: the client is gone.
            DataError: not JSON.

        Cancellation: the message is sent whole or not at all.
        """
        batch = self.raw(data) if self.raw is not None else self.codec.say(AppMessage(msgspec.Raw(encode_json(data))))
        if self.closing is not None:
            await trio.lowlevel.checkpoint()  # a handler that goes on sending must not starve the others
            raise ConnectionEnded(self.closing)
        if self._outbox is None and not self.answers and self.outlet.write(batch):
            await trio.lowlevel.checkpoint()
            return
        if self._outbox is None:
            self._outbox = trio.open_memory_channel(self.limits.outbox_messages)
        self.wake()
        try:
            await self._outbox[0].send(batch)
        except trio.BrokenResourceError:
            raise ConnectionEnded(self.closing or GONE) from None
        self.wake()

    async def close(self) -> None:
        """End the connection, after what was sent. The handler is cancelled here."""
        self.end(NORMAL)
        await trio.lowlevel.checkpoint()

    def __aiter__(self) -> Connection:
        return self

    async def __anext__(self) -> Any:
        """The client's next message: its ``data``, or text and bytes on a raw socket."""
        if self.inbox is None:
            raise ConfigError("only a live.socket has messages")
        return await self.inbox.get()

    # --- for the children

    def begin(self, nursery: trio.Nursery) -> None:
        """The children start now. If the peer was found gone before, they end at once."""
        self.nursery = nursery
        if self.closing is not None:
            nursery.cancel_scope.cancel()

    def end(self, closing: Closing) -> None:
        """End all children, for this reason; the first reason given stays."""
        if self.closing is None:
            self.closing = closing
            if self.nursery is not None:
                self.nursery.cancel_scope.cancel()

    def detach(self) -> None:
        """The bookkeeping of the end: synchronous, so nothing can cancel it."""
        self.outlet.on_full = self.outlet.on_gone = _nothing
        self.closing = self.closing or GONE
        for channel in list(self.followers):
            self.unfollow(channel)
        self.behind.clear()
        if self._outbox is not None:
            self._close_outbox(self._outbox[1])

    async def add_follower(self, channel: str, after: Cursor | None, url: str | None = None) -> None:
        """Follow, without asking whether one may. Raises as :meth:`follow`."""
        follower = await self.hub.follow(channel, self.codec, self.outlet, after, self.fell_behind, url)
        self.unfollow(channel)
        if self.closing is not None:
            self.hub.leave(follower)
            raise ConnectionEnded(self.closing)
        if len(self.followers) >= self.limits.follows:
            self.hub.leave(follower)
            raise ConfigError(f"this connection follows {len(self.followers)} channels: limits.follows")
        self.followers[channel] = follower
        self.fell_behind(follower)

    async def follow_url(self, url: str, after: Cursor | None) -> None:
        """Follow by URL: the Quart view behind it decides, as for a request of its own.

        Args:
            after: where to go on from; None is what the URL's ``?after=`` says.

        Raises:
            CursorError: the URL's cursor is none.
        """
        decided = await self.decide(url) if self.decide is not None else None
        if decided is None:
            self.answer(Refused(url))
            return
        channel, asked = decided
        after = asked if after is None else after
        try:
            await self.add_follower(channel, after, url)
        except ConfigError:
            self.end(FLOOD)

    def greet(self) -> None:
        """Say the first message of a socket that follows nothing by itself."""
        self.answer(Open(None, None))

    def answer(self, message: Any) -> None:
        """Have the writer say something as soon as it can. A client that asks and does not read is given up."""
        if len(self.answers) > self.limits.follows:
            self.end(FLOOD)
            return
        self.answers.append(self.codec.say(message))
        self.wake()

    def pong(self, frame: bytes) -> None:
        """Answer a ping as soon as the outlet has room; of several the last suffices (RFC 6455 section 5.5.3)."""
        self._pong = frame
        self.wake()

    def log_failed(self) -> None:
        """The log cannot be read now: the client is to come back, from its cursor."""
        self.end(CRASHED)

    def fell_behind(self, follower: Follower) -> None:
        """There is work for the writer."""
        self.behind[follower] = None
        self.wake()

    def next_outgoing(self) -> Any:
        """The next of the answers and of the app's messages, or None."""
        if self._pong is not None:
            pong, self._pong = self._pong, None
            return pong
        if self.answers:
            return self.answers.popleft()
        return None if self._outbox is None else self._next_message()

    def wake(self) -> None:
        """Wake the writer."""
        if self._wake is not None:
            self._wake.set()

    async def woken(self) -> None:
        """Wait until there may be work for the writer."""
        if not (self.answers or self.behind or self._outbox or self._pong):
            self._wake = trio.Event()
            await self._wake.wait()
            self._wake = None

    def retry(self, closing: Closing) -> int | None:
        """Draw when this client comes back, in milliseconds."""
        return None if closing.retry is None else self.surroundings.random.randint(*closing.retry)

    def _next_message(self) -> Any:
        """The app's next message. When there is none, the next one goes straight to the outlet again."""
        assert self._outbox is not None
        try:
            return self._outbox[1].receive_nowait()
        except trio.WouldBlock:
            self._outbox = None
            return None

    def _close_outbox(self, outbox: trio.MemoryReceiveChannel[Any]) -> None:
        """Keep what was sent for the last words; who waits to send more is told that it is over."""
        waiting = outbox.statistics().current_buffer_used
        for _ in range(waiting):
            self.answers.append(outbox.receive_nowait())
        outbox.close()
        self._outbox = None

    def _full(self) -> None:
        for follower in self.followers.values():
            follower.fall_behind()
        self.wake()

    def _gone(self) -> None:
        self.end(GONE)


def _nothing() -> None:
    """The connection has ended: nobody is to be told."""
