"""Reader: from the client to the app. It answers control frames at once and puts messages where they belong."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, Protocol, TypeAlias

import msgspec
import trio

from ..bounds import COMMAND_RETRY_SECONDS, FOLLOW_URL_CHARACTERS, LOG_RETRY_SECONDS, READ_BYTES, READ_IN_A_ROW
from ..closing import BAD_MESSAGE, CRASHED, FLOOD, GONE, UNSUPPORTED
from ..errors import ChannelNameError, ConnectionEnded, LogAway, LogError, RemoteError
from ..hub import key_of
from ..identity import Identity
from ..sockets.patience import Patience
from ..sync.bounded_channel import BoundedChannel
from ..wire.frames import Binary, Close, Text
from ..wire.messages import Ack, Auth, CommandMessage, Follow, Incoming, Reply, Unfollow, parse_client
from ..wire.session import Session, reply_to
from .connection import Connection
from .expiry import renew

__all__ = ["AskCommand", "MessageHandler", "read"]


class Asked(Protocol):
    """A command that is asked and not answered yet."""

    def leave(self) -> None:
        """The client has gone: its answer is told to nobody."""


AskCommand: TypeAlias = Callable[[str, str, bytes, Callable[[Any, Reply], None]], "Asked | Reply"]
"""Has a command done, given its URL, its id, its data as JSON, and what tells the client; or answers it at once."""

MESSAGES: Final = (Text, Binary)  # not made anew for each of them
TOO_MANY_COMMANDS = msgspec.Raw(b'{"error":"commands","message":"too many commands are not answered yet; try again"}')


async def read(
    conn: Connection,
    source: trio.abc.ReceiveStream,
    session: Session,
    first: bytes = b"",
    ask: AskCommand | None = None,
) -> None:
    """Read until the connection ends.

    A message must be finished by the session's deadline. While the app has not taken what came before, for
    ``limits.stall_seconds`` at most, nothing more is read: the client's kernel holds it back.

    Args:
        conn: the connection.
        source: the client's bytes.
        session: the WebSocket, after its handshake.
        first: what was read behind the handshake already.
        ask: has the client's commands done; None where it may ask for none.

    Bounds: what the session holds, and ``READ_BYTES`` that came in.

    Cancellation: what was read and not handled is lost; the connection is ending then.
    """
    handler = MessageHandler(conn, ask)
    try:
        await _handle(conn, handler, session, first)
        while conn.closing is None:
            # No cancel scope where no message is begun, which is nearly always: one costs as much as a message.
            reads = source.receive_some if session.deadline == math.inf else partial(_in_time, source, session)
            data = await reads(READ_BYTES)
            if not data:  # the stream has ended without a close frame
                raise RemoteError(GONE)
            conn.heard_at = trio.current_time()
            await _handle(conn, handler, session, bytes(data))
    except RemoteError as error:
        conn.end(error.closing)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        conn.end(GONE)
    finally:
        handler.leave()


async def _in_time(source: trio.abc.ReceiveStream, session: Session, max_bytes: int) -> bytes | bytearray:
    """Read while a message is unfinished.

    Raises:
        RemoteError: it was not finished in time.
    """
    # A deadline for the whole message, and not for each read: a client that sends one byte at a time would meet every
    # other (slow loris).
    data = await Patience(session.deadline).wait(partial(source.receive_some, max_bytes))
    if data is None:
        raise session.late()
    return data


async def _handle(conn: Connection, handler: MessageHandler, session: Session, data: bytes) -> None:
    """Handle the messages in some bytes, in one go as far as there is room for them.

    Raises:
        RemoteError: the client's fault, or its wish: the connection ends.
    """
    take = handler.message if conn.raw is None else handler.deliver
    in_a_row = 0
    for event in session.receive(data, conn.heard_at):
        if isinstance(event, MESSAGES):
            in_a_row += session.weight
            if session.early or in_a_row >= READ_IN_A_ROW:
                handler.settle(session.held)
                # Too many messages are slowed down, not refused: the client's kernel fills, and holds it back.
                await trio.sleep(session.early)
                conn.heard_at = session.now = trio.current_time()  # it could not be heard, and is not silent for that
                in_a_row = 0
            late = take(event.data, len(event.data))
            if late is not None:
                handler.settle(session.held)
                await late
                session.now = conn.heard_at  # later than before: it has waited
                in_a_row = 0
        elif isinstance(event, Close):
            conn.peer_closed = True  # it left by itself: the goodbye is a close frame, without a bye
            raise RemoteError(reply_to(event))
        elif not conn.outgoing.write(event.frame):
            conn.outgoing.control(event.frame)
    handler.settle(session.held)


class MessageHandler:
    """Handles a client's messages, whether their frames were read here or by another server."""

    def __init__(self, conn: Connection, ask: AskCommand | None) -> None:
        self._conn = conn
        self._ask = ask
        self._unfinished = 0
        self._delivered = 0
        self._deciding = 0
        self._named: dict[str, trio.CancelScope] | None = None  # what is decided of those that have a name
        self._renews = False
        self._asked: dict[Asked, int] | None = None  # with the sizes of their data; none until the first

    def leave(self) -> None:
        """The client is not read any more: the answers to its commands are told to nobody."""
        self.settle()
        asked, self._asked = self._asked or {}, None
        for command, size in asked.items():
            command.leave()
            self._conn.holding.hold(-size)

    def settle(self, unfinished: int = 0) -> None:
        """Count what is held, for all that was handled since the last time: no await may lie between.

        Args:
            unfinished: bytes of what is not handled yet.
        """
        more = self._delivered + unfinished - self._unfinished
        if more:
            self._conn.holding.hold(more)
        self._delivered, self._unfinished = 0, unfinished

    def message(self, message: str | bytes, size: int) -> Awaitable[None] | None:
        """Handle one message.

        Args:
            message: text, or bytes of a binary message.
            size: its size, in bytes or characters, as it counts for the inbox.

        Returns:
            None where that is done, as it nearly always is; else what has to be awaited before the next: there is no
            room for it.

        Raises:
            RemoteError: the client's fault; the message is of no known shape, or comes where none is taken.

        Cancellation: the message may be lost; the connection is ending then.
        """
        conn = self._conn
        if conn.raw is not None:
            return self.deliver(message, size)
        if isinstance(message, bytes):
            raise RemoteError(UNSUPPORTED)
        said = parse_client(message, conn.context.limits.message_depth)
        if isinstance(said, Incoming):
            return self.deliver(said.data, size)
        if isinstance(said, Unfollow):
            self._unfollow(said)
        elif isinstance(said, Ack):
            conn.subscriptions.acknowledge(said.channel, said.cursor)
        elif isinstance(said, Auth):
            self._renew(said.token)
        elif isinstance(said, CommandMessage):
            self._command(said)
        else:
            self._follow(said)
        return None

    def _follow(self, said: Follow) -> None:
        """Follow a URL in a task of its own, because its Quart view may take its time."""
        # Bounded by what the client may follow at all: else one that asks for ten thousand URLs in one message each
        # would start ten thousand tasks.
        conn = self._conn
        after = said.cursor()
        if len(said.url) > FOLLOW_URL_CHARACTERS:
            raise RemoteError(BAD_MESSAGE, "a URL too long")
        assert conn.nursery is not None, "it reads"
        if self._deciding >= conn.limits.follows:
            if said.sub is not None:
                self._take_back(said.sub)
            conn.subscriptions.turn_away(said.url, said.sub, "follows")
            return
        self._deciding += 1
        if said.sub is None:
            conn.nursery.start_soon(self._decide, said.url, after)
            return
        self._take_back(said.sub)
        if self._named is None:
            self._named = {}
        asked = self._named[said.sub] = trio.CancelScope()
        conn.nursery.start_soon(self._decide_named, said.url, after, said.sub, asked)

    async def _decide_named(self, url: str, after: Any, sub: str, asked: trio.CancelScope) -> None:
        with asked:
            await self._decide(url, after, sub, asked)
        assert self._named is not None
        if self._named.get(sub) is asked:
            del self._named[sub]

    def _take_back(self, sub: str) -> None:
        """Give up what is being decided about a name: the client asks for something else, or has left."""
        if self._named and (asked := self._named.pop(sub, None)) is not None:
            asked.cancel()

    def _unfollow(self, said: Unfollow) -> None:
        if said.sub is None:
            assert said.channel is not None, "it was parsed so"
            self._conn.unfollow(said.channel)
            return
        self._take_back(said.sub)
        self._conn.subscriptions.remove(key_of(said.sub))

    async def _decide(
        self, url: str, after: Any, sub: str | None = None, asked: trio.CancelScope | None = None
    ) -> None:
        try:
            await self._follow_patiently(url, after, sub, asked)
        except (ConnectionEnded, ChannelNameError):
            pass  # the client is gone meanwhile; or it is the view's own fault, which was logged where it happened
        finally:
            self._deciding -= 1

    def _renew(self, token: str) -> None:
        """Ask the app about a new credential, in a task of its own. While it is asked, another is refused."""
        conn = self._conn
        ask = None if conn.grant is None or self._renews else conn.grant.ask
        if ask is None or conn.nursery is None:
            renew(conn, None)
            return
        self._renews = True
        conn.nursery.start_soon(self._renew_with, ask, token)

    async def _renew_with(self, ask: Callable[[str], Awaitable[Identity | None]], token: str) -> None:
        since = self._conn.context.revocations.position
        try:
            identity = await ask(token)
        finally:
            self._renews = False
        renew(self._conn, identity, since)

    async def _follow_patiently(self, url: str, after: Any, sub: str | None, asked: trio.CancelScope | None) -> None:
        """Follow, once the log can be asked: while it is away, what the client follows already stays as it is."""
        while True:
            try:
                await self._conn.subscriptions.follow_url(url, after, sub, asked)
                return
            except LogAway:
                await trio.sleep(LOG_RETRY_SECONDS)
            except LogError:
                self._conn.end(CRASHED)
                return

    def _command(self, said: CommandMessage) -> None:
        """Have a command done, in a task that is not the connection's."""
        conn = self._conn
        if len(said.url) > FOLLOW_URL_CHARACTERS or len(said.id) > conn.limits.command_id_bytes or self._ask is None:
            raise RemoteError(BAD_MESSAGE, "a command that cannot be")
        if self._asked is None:
            self._asked = {}
        if len(self._asked) >= conn.limits.commands:
            conn.outgoing.answer(Reply(said.id, 429, TOO_MANY_COMMANDS, 1000 * COMMAND_RETRY_SECONDS))
            return
        data = bytes(said.data)
        asked = self._ask(said.url, said.id, data, self._answer)
        if isinstance(asked, Reply):
            conn.outgoing.answer(asked)
            return
        conn.holding.hold(len(data))
        self._asked[asked] = len(data)

    def _answer(self, asked: Asked, reply: Reply) -> None:
        assert self._asked is not None, "it has left, and nothing is told it"
        self._conn.holding.hold(-self._asked.pop(asked))
        self._conn.outgoing.answer(reply)

    def deliver(self, message: Any, size: int) -> Awaitable[None] | None:
        """Put what is for the app's handler into its inbox; as :meth:`message`, of which it is the last step."""
        inbox = self._conn.inbox
        if inbox is None:
            raise RemoteError(BAD_MESSAGE, "nobody here takes messages")
        if inbox.full:
            return self._deliver_late(inbox, message, size)
        self._delivered += size
        inbox.send_nowait(message, size, held=True)
        return None

    async def _deliver_late(self, inbox: BoundedChannel[Any], message: Any, size: int) -> None:
        # Backpressure: while this waits nothing is read, so the client's kernel fills. But not for ever: behind a
        # handler that takes nothing the client's close would not be heard either.
        with trio.move_on_after(self._conn.limits.stall_seconds):
            await inbox.room()
        self._conn.heard_at = trio.current_time()  # nothing could be heard meanwhile
        if inbox.full:
            self._conn.context.metrics.slow_handlers += 1
            raise RemoteError(FLOOD)
        inbox.send_nowait(message, size)
