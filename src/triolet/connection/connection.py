"""One client: what an app's handler is given, and the few things that its tasks share.

Why one nursery. A connection is a reader, a writer, a heartbeat and, on a ``live.socket``, the app's handler, in one
nursery (supervisor.py), for none of them is of use without the others: when the client is gone the handler must not go
on computing for it, and when the handler returns nothing is left to read for. Cancelling that nursery is the only way
in which a connection ends, whatever ends it: silence, a stalled kernel, a policy, the memory ceiling, a server that
drains. So "why" is kept in one place (ending.py), and no task has to know which others there are. A fifth one, its
lifetime, is no task: drain.py ends all connections in turns.

Why live events do not pass the writer. While a client is live, the hub's one pump calls ``send`` of its outlet in a
flat loop with those of all others, and nearly always the kernel takes the whole batch. Measured for 1,000 clients and
220 bytes each, that is 1.4 us of CPU a client; through a memory channel and a task of its own for each it is 7. And a
queue in front of each writer would be memory that a slow client fills. The writer is for what has to wait: a client
that is behind (new, back or slow: all the same), and what the app says to a client that is. Those messages do go
through a bounded memory channel of Trio's, so that ``conn.send`` waits where its client is slow (outgoing.py). To a
client that is not, they are written when the handler waits for the next message, or when the turn of the event loop
ends (sockets/turn.py).

What the tasks share is cut by noun:

- ``context``: what all connections of the process share, with the ``registry`` of those that are open
- ``access``: what its client was let in with
- ``subscriptions``: the followers, and which of them are behind; ``recheck``: asks about them again
- ``followings``: what each is called by its client, and how several of one channel stand beside each other
- ``outgoing``: what the writer takes next that is no event
- ``ending``: why it ends, and the nursery to cancel; ``history``: what happened to it
- ``holding``: its part of the memory budget

These know each other and not the connection. So one that has ended is freed at once, without the garbage collector: a
server that gives up ten thousand clients because memory is short must have that memory back now.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import trio

from ..closing import GONE, NORMAL, RESTARTING, Closing
from ..errors import ConfigError, DataError, repr_of
from ..event import Cursor, check_channel, encode_json
from ..hub import Follower, Policy, Subscription, check_policy
from ..identity import Identity, Request
from ..identity.control import check_follows
from ..limits import Limits
from ..presence.members import Member
from ..presence.statements import check_size, presence_channel
from ..sockets.outlet import Outlet
from ..sync.bounded_channel import BoundedChannel
from ..wire.codec import Codec, is_event_stream
from ..wire.many_codec import ManyCodec
from ..wire.messages import AppMessage, Open
from .access import Access
from .context import Context
from .ending import Ending
from .history import History
from .holding import Holding
from .outgoing import Outgoing
from .subscriptions import Subscriptions

__all__ = ["Connection"]

_ids = itertools.count(1)


class Connection:
    """One client: a nursery, an outlet, and its followers, by channel.

    An app's ``live.socket`` handler gets one: it follows channels, iterates over the client's messages and
    sends its own. All of that ends when the connection does: the handler is cancelled.

    Bounds: ``limits.follows`` channels; ``limits.inbox_messages`` and ``limits.inbox_bytes`` of messages that the
    handler has not taken yet; ``limits.outbox_messages`` of messages that the client has not taken yet, and then
    :meth:`send` waits.
    """

    __slots__ = (
        "codec",
        "context",
        "ending",
        "grant",
        "heard_at",
        "history",
        "holding",
        "id",
        "inbox",
        "outgoing",
        "outlet",
        "peer_closed",
        "raw",
        "subscriptions",
    )

    def __init__(
        self,
        context: Context,
        outlet: Outlet,
        codec: Codec,
        *,
        raw: Callable[[str | bytes], Any] | None = None,
        access: Access | None = None,
        takes_messages: bool = False,
    ) -> None:
        self.context = context
        self.id = next(_ids)
        self.outlet = outlet
        self.codec = codec
        self.raw = raw  # makes a batch of a message where there is no codec: on a raw socket
        self.ending = Ending()
        self.history = History()
        self.holding = Holding(context.budget)
        self.outgoing = Outgoing(context.limits, codec, outlet, self.ending, self.holding, context.turn)
        access = Access() if access is None else access
        self.subscriptions = Subscriptions(
            self.id, context, codec, outlet, self.outgoing, self.ending, self.history, access
        )
        # Most connections only receive. They have no inbox, and a message for the app ends them (reader.py).
        self.inbox: BoundedChannel[Any] | None = None
        if takes_messages:
            bounds = context.limits.inbox_messages, context.limits.inbox_bytes
            self.inbox = BoundedChannel(*bounds, self.holding.hold)
        self.heard_at = trio.current_time()
        self.peer_closed = False
        self.grant = access.grant
        # Methods of the parts and not of this object: nothing that the outlet holds refers back to the connection.
        outlet.on_full = self.subscriptions.stall
        outlet.on_gone = self.ending.gone
        # From here on what is revoked reaches it, though it is not open yet.
        context.registry.expect(self)

    @property
    def limits(self) -> Limits:
        """The app's limits."""
        return self.context.limits

    @property
    def transport(self) -> str:
        """Name of the transport by which events reach it: ``websocket`` or ``sse``."""
        return "sse" if is_event_stream(self.codec) or isinstance(self.codec, ManyCodec) else "websocket"

    @property
    def closing(self) -> Closing | None:
        """Why it ends; None while it is open."""
        return self.ending.closing

    @property
    def nursery(self) -> trio.Nursery | None:
        """The nursery of its tasks; None before they run."""
        return self.ending.nursery

    @property
    def identity(self) -> Identity | None:
        """Who the client is now, as the app's ``@live.identify`` said; None is nobody."""
        return None if self.grant is None else self.grant.identity

    @property
    def request(self) -> Request | None:
        """The request that opened it, as it was: URL, headers, cookies, session. None where there is no handler."""
        return None if self.grant is None else self.grant.request

    @property
    def subprotocol(self) -> str | None:
        """What the client and the route have agreed on; None is nothing, or no handler."""
        return None if self.grant is None else self.grant.subprotocol

    @property
    def followers(self) -> Mapping[str, Follower]:
        """Its followers, by channel; those of subscriptions that its client has named, by a key of theirs."""
        return self.subscriptions.followings.followers

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
            after: the cursor to go on from, as text or a bare offset; -50 is the newest 50 events and what comes; None
                is "from now".
            policy: what happens when the client stays behind; None is the app's (see :mod:`triolet.policies`).
            member: the member that the client is to the others there (see :meth:`Triolet.presence`); None if it is
                not present as one.

        Raises:
            ChannelNameError, CursorError, DataError: no such name, cursor or member can be.
            ConfigError: the app's fault; ``limits.follows`` channels are followed already, or ``policy`` is none.
            ConnectionEnded: the client is gone.
            LogError: the store's fault; the log cannot be read.

        What ``live.revoke`` has taken from the client while this waited for the log is followed no longer when it
        returns, as if it had been revoked a moment later. The client is told so.

        Cancellation: the channel is followed, or it is not; nothing is left behind.
        """
        self.context.home.check("Connection.follow")
        if policy is not None:
            check_policy(policy)
        if member is not None:
            presence_channel(channel)
        channel = check_follows(check_channel(channel))
        since = self.context.revocations.position
        await trio.lowlevel.checkpoint()
        cursor = None if after is None else Cursor.parse_after(str(after))
        present = member if member is None or isinstance(member, Member) else Member(member)
        if present is not None:
            check_size(present, self.limits)
        await self.subscriptions.add(Subscription(channel, cursor, policy=policy, member=present), since)

    def unfollow(self, channel: str) -> None:
        """Follow a channel no longer. It is no error if the channel was not followed. What the client follows under a
        name of its own (``sub``) stays: it would wait for events; ``live.revoke`` takes it away, announced.

        Raises:
            WrongThreadError: called from another thread or event loop than the app's.
        """
        self.context.home.check("Connection.unfollow")
        self.subscriptions.remove(channel)

    async def send(self, data: Any) -> None:
        """Send a message of the app's own: any JSON value, or text or bytes on a raw socket.

        It waits while ``limits.outbox_messages`` wait for a slow client, and is cancelled when that client is given up.
        The message is in no log: a client that comes back does not get it again.

        Raises:
            ConnectionEnded: the client is gone.
            DataError: the app's fault; ``data`` is no JSON value, or on a raw socket neither text nor bytes.

        Cancellation: the message is sent whole or not at all.
        """
        self.context.home.check("Connection.send")
        if self.raw is None:
            batch = self.codec.say(AppMessage(msgspec.Raw(encode_json(data))))
        else:
            batch = _encode_raw(self.raw, data)
        if not self.outgoing.say(batch):
            await self.outgoing.send(batch)
        elif self.outgoing.turn.over():  # a handler that goes on sending must not starve the others
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.checkpoint_if_cancelled()

    async def close(self) -> None:
        """End the connection, after what was sent. The handler is cancelled here."""
        self.context.home.check("Connection.close")
        self.end(NORMAL)
        await trio.lowlevel.checkpoint()  # where the cancellation that `end` began is delivered

    def __aiter__(self) -> Connection:
        return self

    async def __anext__(self) -> Any:
        """Return the client's next message: its ``data``, or text or bytes on a raw socket.

        Raises:
            ConfigError: the app's fault; this client cannot send messages.

        Cancellation: nothing is lost.
        """
        if self.inbox is None:
            raise ConfigError("only a live.socket has messages")
        self.context.home.check("a message of a Connection")
        if self.inbox.empty:
            self.outgoing.flush()
            return await self.inbox.wait()
        if self.outgoing.turn.over():
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.checkpoint_if_cancelled()
        try:
            return self.inbox.receive_nowait()
        except trio.WouldBlock:  # another task of the app's has taken it
            return await self.inbox.wait()

    # --- for admission

    def greet(self) -> None:
        """Say the first message of a socket that follows nothing by itself."""
        self.outgoing.answer(Open(None, None))

    # --- for its tasks

    def begin(self, nursery: trio.Nursery, write: Callable[[], None]) -> None:
        """Open the connection: its tasks start now. If the peer was found gone before, or the server shuts down
        gracefully, they end at once. It is open until :meth:`detach`.

        Args:
            nursery: theirs.
            write: starts the writer in it, when it has something to write.
        """
        # drain.py ends those that are registered when the server begins to drain; one that comes later ends here.
        self.context.registry.add(self)
        self.context.metrics.connection_opened(self.transport)
        if self.context.draining.is_set():
            self.end(RESTARTING)
        self.ending.begin(nursery)
        self.subscriptions.begin(nursery)
        self.outgoing.begin(write)
        if (
            self.subscriptions.behind
            or self.outgoing.waits
            or self.subscriptions.over is not None
            or not self.outlet.empty
        ):
            self.outgoing.wake()

    def end(self, closing: Closing) -> None:
        """End all tasks, for this reason; the first reason given stays."""
        self.ending.end(closing)

    def detach(self) -> None:
        """Do the bookkeeping of the end. It is synchronous, so nothing can cancel it; a second time does nothing."""
        self.holding.close()
        self.context.deadlines.remove(self.id)
        self.outlet.on_full = self.outlet.on_gone = _nothing
        self.end(GONE)  # a reason that was given before stays; so GONE is for a connection that was cancelled
        # The registry takes its last snapshot while the followers are still there to be seen.
        if self.context.registry.remove(self):
            seconds = trio.current_time() - self.history.opened_at
            assert self.closing is not None
            self.context.metrics.connection_closed(self.transport, self.closing, seconds)
        self.subscriptions.remove_all()
        self.outgoing.close()


def _nothing(*_: Closing) -> None:
    """Ignore what the outlet tells: the connection has ended."""


def _encode_raw(encode: Callable[[Any], Any], data: Any) -> Any:
    """Encode a message of a raw socket: of a number ``bytes`` would make as many zeros. Raises DataError."""
    if isinstance(data, bytearray | memoryview):
        data = bytes(data)
    if not isinstance(data, str | bytes):
        raise DataError(f"a raw socket sends text or bytes, not {repr_of(data)}")
    try:
        return encode(data)
    except UnicodeEncodeError as error:
        raise DataError(f"{data!r:.60} cannot be sent as text: {error.reason}") from error
