"""One client: what its tasks share, and what an app's handler is given."""

from __future__ import annotations

import itertools
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
import trio

from ..budget import Budget
from ..closing import CRASHED, FLOOD, GONE, LAGGING, NORMAL, RESTARTING, Closing
from ..counters import Metrics
from ..errors import ConfigError, ConnectionEnded
from ..event import Cursor, check_channel, encode_json
from ..home import Home
from ..hub import Follower, Hub, Lag, Policy, State, Step, Subscription
from ..limits import Limits
from ..presence.presence import Attendance, Session
from ..presence.statements import Member, presence_channel
from ..sockets.outlet import Outlet
from ..sync.bounded_channel import Inbox
from ..sync.timer import Alarm
from ..wire.codec import SSE, SSE_CHUNKED, Codec, size_of
from ..wire.messages import AppMessage, Open, Refused
from .snapshot import ConnectionSnapshot, Happening, snapshot

__all__ = ["Connection", "Surroundings"]

logger = logging.getLogger("triolet.connection")

_ids = itertools.count(1)

HAPPENINGS = 16
"""How many of the last notable things are remembered of a connection. Of most there are none."""

FROM_THE_OLDEST = Cursor("", 0)


class Surroundings(msgspec.Struct, frozen=True):
    """What all connections of a process share.

    ``now`` is the wall clock, in seconds since 1970; ``random`` draws when clients come back; ``draining``
    is set when the server wants everybody to leave. ``connections`` are those that are open, by their ids;
    ``policy`` is that of followers without one of their own; ``ended`` are the last connections that ended; ``alarm``
    wakes the heartbeats; ``attendance`` knows who is present; ``home`` is the run in which all of this lives.
    """

    hub: Hub
    limits: Limits
    budget: Budget
    draining: trio.Event
    random: random.Random
    now: Callable[[], float]
    connections: dict[int, Connection]
    policy: Policy | None = None
    metrics: Metrics = msgspec.field(default_factory=Metrics)
    ended: deque[ConnectionSnapshot] = msgspec.field(default_factory=partial(deque, maxlen=256))
    alarm: Alarm = msgspec.field(default_factory=Alarm)
    attendance: Attendance | None = None
    home: Home = msgspec.field(default_factory=Home)


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
        "attached",
        "behind",
        "closing",
        "codec",
        "decide",
        "followers",
        "heard_at",
        "held",
        "history",
        "id",
        "inbox",
        "nursery",
        "opened_at",
        "outlet",
        "peer_closed",
        "pings",
        "raw",
        "returned",
        "said",
        "sessions",
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
        decide: Callable[[str], Awaitable[Subscription | None]] | None = None,
        takes_messages: bool = False,
    ) -> None:
        self.surroundings = surroundings
        self.id = next(_ids)
        self.opened_at = trio.current_time()
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
        self.held = 0
        self.attached = True
        self.inbox = Inbox(surroundings.limits, self.hold) if takes_messages else None
        self.peer_closed = False
        self.said = 0
        self.nursery: trio.Nursery | None = None
        self._outbox: tuple[trio.MemorySendChannel[Any], trio.MemoryReceiveChannel[Any]] | None = None
        self._wake: trio.Event | None = None
        outlet.on_full = self._full
        outlet.on_gone = self._gone
        self.history: list[Happening] | None = None
        self.sessions: dict[str, Session] | None = None
        self.returned = False

    @property
    def limits(self) -> Limits:
        """The app's limits."""
        return self.surroundings.limits

    @property
    def transport(self) -> str:
        """How events reach it: ``websocket`` or ``sse``."""
        return "sse" if self.codec in (SSE, SSE_CHUNKED) else "websocket"

    @property
    def sent(self) -> int:
        """A number that changes when something other than beats is sent."""
        return self.said + sum(follower.position.offset for follower in self.followers.values())

    @property
    def hub(self) -> Hub:
        """Where events come from."""
        return self.surroundings.hub

    # --- for the app's handler

    async def follow(
        self,
        channel: str,
        after: str | int | None = None,
        *,
        policy: Policy | None = None,
        member: str | Member | None = None,
    ) -> None:
        """Follow a channel: its events go to the client from now on, or from a cursor.

        Args:
            channel: its name. One that is followed already is followed anew from ``after``.
            after: the cursor to go on from, as text or a bare offset; None is "from now".
            policy: what happens when the client stays behind; None is the app's (see :mod:`triolet.policies`).
            member: who the client is to the others there (see :meth:`Triolet.presence`); None is nobody.

        Raises:
            ChannelNameError, CursorError, DataError: no such name, cursor or member can be.
            ConfigError: ``limits.follows`` channels are followed already.
            ConnectionEnded: the client is gone.
            LogError: the log cannot be read.
        """
        self.surroundings.home.check("Connection.follow")
        check_channel(channel if member is None else presence_channel(channel))
        await trio.lowlevel.checkpoint()
        cursor = None if after is None else Cursor.parse(str(after))
        who = member if member is None or isinstance(member, Member) else Member(member)
        await self.add_follower(Subscription(channel, cursor, policy=policy, member=who))

    def unfollow(self, channel: str) -> None:
        """Follow a channel no longer. One that was not followed is no error."""
        follower = self.followers.pop(channel, None)
        if follower is not None:
            self.said += follower.position.offset  # what it was sent stays sent: a beat is not put off by this
            self.behind.pop(follower, None)
            self.hub.leave(follower)
        if self.sessions is not None and (session := self.sessions.pop(channel, None)) is not None:
            assert self.surroundings.attendance is not None
            self.surroundings.attendance.leave(session)

    async def send(self, data: Any) -> None:
        """Send a message of the app's own: any JSON value, or text or bytes on a raw socket.

        Waits while ``limits.outbox_messages`` wait for a slow client, and is cancelled when that client is given up.
        What is sent is not in any log: a client that comes back does not get it again.

        Raises:
            ConnectionEnded: the client is gone.
            DataError: not JSON.

        Cancellation: the message is sent whole or not at all.
        """
        self.surroundings.home.check("Connection.send")
        batch = self.raw(data) if self.raw is not None else self.codec.say(AppMessage(msgspec.Raw(encode_json(data))))
        if self.closing is not None:
            await trio.lowlevel.checkpoint()  # a handler that goes on sending must not starve the others
            raise ConnectionEnded(self.closing)
        self.said += 1
        if self._outbox is None and not self.answers and self.outlet.write(batch):
            await trio.lowlevel.checkpoint()
            return
        if self._outbox is None:
            self._outbox = trio.open_memory_channel(self.limits.outbox_messages)
        self.wake()
        self.hold(size_of(batch))
        try:
            await self._outbox[0].send(batch)
        except trio.BrokenResourceError:
            raise ConnectionEnded(self.closing or GONE) from None
        except trio.Cancelled:
            self.hold(-size_of(batch))
            raise
        self.wake()

    async def close(self) -> None:
        """End the connection, after what was sent. The handler is cancelled here."""
        self.surroundings.home.check("Connection.close")
        self.end(NORMAL)
        await trio.lowlevel.checkpoint()

    def __aiter__(self) -> Connection:
        return self

    async def __anext__(self) -> Any:
        """The client's next message: its ``data``, or text and bytes on a raw socket."""
        if self.inbox is None:
            raise ConfigError("only a live.socket has messages")
        self.surroundings.home.check("a message of a Connection")
        return await self.inbox.get()

    # --- for the children

    def hold(self, more: int) -> None:
        """Count bytes that are held for this client, besides those in its outlet. No longer once it is detached."""
        if self.attached:
            self.held += more
            self.surroundings.budget.hold(more)

    def begin(self, nursery: trio.Nursery) -> None:
        """The children start now: from here to :meth:`detach` it is open. If the peer was found gone before, or the
        server drains, they end at once."""
        self.nursery = nursery
        self.surroundings.connections[self.id] = self
        self.surroundings.metrics.connection_opened(self.transport)
        if self.surroundings.draining.is_set():
            self.end(RESTARTING)
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
        self.hold(-self.held)
        self.attached = False
        self.outlet.on_full = self.outlet.on_gone = _nothing
        self.closing = self.closing or GONE
        if self.surroundings.connections.pop(self.id, None) is not None:
            seen = snapshot(self)
            self.surroundings.metrics.connection_closed(seen.transport, self.closing, seen.open_seconds)
            self.surroundings.ended.append(seen)
        for channel in list(self.followers):
            self.unfollow(channel)
        self.behind.clear()
        if self._outbox is not None:
            self._close_outbox(self._outbox[1])

    async def add_follower(self, subscription: Subscription) -> None:
        """Follow, without asking whether one may. Raises as :meth:`follow`."""
        if subscription.policy is None and self.surroundings.policy is not None:
            subscription = msgspec.structs.replace(subscription, policy=self.surroundings.policy)
        channel, after, member = subscription.channel, subscription.after, subscription.member
        follower = await self.hub.follow(subscription, self.codec, self.outlet, self)
        self.unfollow(channel)
        if self.closing is not None:
            self.hub.leave(follower)
            raise ConnectionEnded(self.closing)
        if len(self.followers) >= self.limits.follows:
            self.hub.leave(follower)
            raise ConfigError(f"this connection follows {len(self.followers)} channels: limits.follows")
        self.followers[channel] = follower
        self.fell_behind(follower)
        if member is not None and self.surroundings.attendance is not None:
            self.sessions = {} if self.sessions is None else self.sessions
            self.sessions[channel] = self.surroundings.attendance.join(channel, member)
        if after is not None and after != FROM_THE_OLDEST and not self.returned:
            self.returned = True
            self.surroundings.metrics.returned += 1

    async def follow_url(self, url: str, after: Cursor | None) -> None:
        """Follow by URL: the Quart view behind it decides, as for a request of its own.

        Args:
            after: where to go on from; None is what the URL's ``?after=`` says.

        Raises:
            CursorError: the URL's cursor is none.
        """
        decided = await self.decide(url) if self.decide is not None else None
        if decided is None:
            self.surroundings.metrics.follows_refused += 1
            self.answer(Refused(url))
            return
        after = decided.after if after is None else after
        try:
            await self.add_follower(msgspec.structs.replace(decided, after=after, url=url))
        except ConfigError:
            self.end(FLOOD)

    def acknowledge(self, channel: str, cursor: str) -> None:
        """The client has applied everything up to a cursor. Raises CursorError where that is none."""
        applied = Cursor.parse(cursor)
        follower = self.followers.get(channel)
        published_at = None if follower is None else follower.window.published_at(applied)
        if published_at is not None:
            self.surroundings.metrics.event_acknowledged(published_at)

    def greet(self) -> None:
        """Say the first message of a socket that follows nothing by itself."""
        self.answer(Open(None, None))

    def answer(self, message: Any) -> None:
        """Have the writer say something as soon as it can. A client that asks and does not read is given up."""
        if len(self.answers) > self.limits.follows:
            self.end(FLOOD)
            return
        self.said += 1
        said = self.codec.say(message)
        self.hold(size_of(said))
        self.answers.append(said)
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

    def stepped(self, follower: Follower, step: Step, lag: Lag) -> None:
        """The policy says something new about a follower."""
        if step is not Step.CATCH_UP:
            self.surroundings.metrics.steps[step.name.lower()] += 1
            behind = f"{lag.events} events and {lag.seconds:.1f} s behind"
            self.note("policy", follower.channel, f"{step.name.lower()}, {behind}")
        if step is Step.DISCONNECT:
            self.end(LAGGING)
        if step is not Step.CATCH_UP and not follower.logged & 1 << step:
            follower.logged |= 1 << step
            logger.info(
                "connection %d: %s, %d events and %.1f s behind", self.id, step.name.lower(), lag.events, lag.seconds
            )

    def note(self, what: str, channel: str | None = None, detail: str = "") -> None:
        """Remember something notable, for ``live.explain``. Bounds: the last ``HAPPENINGS``."""
        if self.history is None:
            self.history = []
        self.history.append(Happening(trio.current_time(), what, channel, detail))
        del self.history[:-HAPPENINGS]

    def next_outgoing(self) -> Any:
        """The next of the answers and of the app's messages, or None."""
        if self._pong is not None:
            pong, self._pong = self._pong, None
            return pong
        batch = self.answers.popleft() if self.answers else None
        if batch is None and self._outbox is not None:
            batch = self._next_message()
        if batch is not None:
            self.hold(-size_of(batch))
        return batch

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
        if any(follower.state is State.LIVE for follower in self.followers.values()):
            self.surroundings.metrics.fell_behind += 1
            self.note("fell behind", None, "its kernel took no more")
        for follower in self.followers.values():
            follower.fall_behind()
        self.wake()

    def _gone(self) -> None:
        self.end(GONE)


def _nothing() -> None:
    """The connection has ended: nobody is to be told."""
