"""The messages to a client that are no events (the pong, answers, the app's own), until the writer takes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import trio

from ..bounds import WRITE_BYTES
from ..closing import FLOOD, GONE
from ..errors import ConnectionEnded
from ..limits import Limits
from ..sockets.outlet import Outlet
from ..wire.codec import Codec, size_of
from ..wire.messages import Message
from .ending import Ending
from .holding import Holding

__all__ = ["Outgoing"]


class Outgoing:
    """Keeps the messages that wait for the writer, and starts it.

    A message of the app's goes straight to the outlet while nothing waits before it, which is nearly always. Only
    behind a slow client does it pass a bounded memory channel of Trio's; that is made when it is needed, and let go
    when it is empty.

    Bounds: one pong; ``limits.follows`` answers, for a client that asks and does not read is given up;
    ``limits.outbox_messages`` messages of the app's, and then :meth:`send` waits.

    Attributes:
        said: how many messages other than events and heartbeats were given to the client, or wait for it.
        writing: whether the writer runs.
    """

    __slots__ = (
        "_answers",
        "_codec",
        "_ending",
        "_holding",
        "_limits",
        "_messages",
        "_outlet",
        "_pong",
        "_write",
        "said",
        "writing",
    )

    def __init__(self, limits: Limits, codec: Codec, outlet: Outlet, ending: Ending, holding: Holding) -> None:
        self._limits = limits
        self._codec = codec
        self._outlet = outlet
        self._ending = ending
        self._holding = holding
        self._pong: Any = None
        self._answers: deque[Any] | None = None  # an empty deque takes 760 bytes, of every idle connection
        self._messages: tuple[trio.MemorySendChannel[Any], trio.MemoryReceiveChannel[Any]] | None = None
        self._write: Callable[[], None] | None = None
        self.said = 0
        self.writing = False

    def pong(self, frame: bytes) -> None:
        """Answer a ping as soon as the outlet has room. Of several pongs the last suffices (RFC 6455 section 5.5.3)."""
        # One place and no queue: a client that sends pings and does not read holds one pong here, however many it sent.
        self._pong = frame
        self.wake()

    def answer(self, message: Message) -> None:
        """Have the writer send a message as soon as it can. A client that asks and does not read is given up."""
        if self._answers is None:
            self._answers = deque()
        if len(self._answers) > self._limits.follows:
            self._ending.end(FLOOD)
            return
        self.said += 1
        batch = self._codec.say(message)
        self._holding.hold(size_of(batch))
        self._answers.append(batch)
        self.wake()

    async def send(self, batch: Any) -> None:
        """Send a message of the app's, or wait while ``limits.outbox_messages`` wait for a slow client.

        Args:
            batch: the message, encoded.

        Raises:
            ConnectionEnded: the client is gone.

        Cancellation: the message is sent whole or not at all.
        """
        if self._ending.closing is not None:
            await trio.lowlevel.checkpoint()  # a handler that goes on sending must not starve the others
            raise ConnectionEnded(self._ending.closing)
        self.said += 1
        # Past the writer while nothing waits before it: no task is woken for it. Where something waits, the message
        # must not overtake it.
        if self._messages is None and not self._answers and self._outlet.write(batch):
            await trio.lowlevel.checkpoint()
            return
        if self._messages is None:
            self._messages = trio.open_memory_channel(self._limits.outbox_messages)
        self.wake()
        self._holding.hold(size_of(batch))  # before the wait: a sender that waits holds its message as well
        try:
            await self._messages[0].send(batch)
        except trio.BrokenResourceError:
            raise ConnectionEnded(self._ending.closing or GONE) from None
        except trio.Cancelled:
            self._holding.hold(-size_of(batch))
            raise
        self.wake()

    def take(self) -> Any:
        """Take the next batch for the client, or None: the pong, then the answers, then the app's messages."""
        if self._pong is not None:
            pong, self._pong = self._pong, None
            return pong
        batch = self._next_answers() if self._answers else None
        if batch is None and self._messages is not None:
            batch = self._next_message()
        if batch is not None:
            self._holding.hold(-size_of(batch))
        return batch

    def begin(self, write: Callable[[], None]) -> None:
        """Have the writer started by this whenever there may be work for it, from now on until :meth:`close`."""
        self._write = write

    @property
    def waits(self) -> bool:
        """Whether a message waits for the writer."""
        return self._pong is not None or bool(self._answers) or self._messages is not None

    def wake(self) -> None:
        """See that the writer runs, because there may be work for it."""
        if self._write is not None and not self.writing and not self._ending.cancelled:
            self.writing = True
            self._write()

    def close(self) -> None:
        """Keep the app's messages that wait for the last words; from now on :meth:`send` raises.

        Taking a message out of a full channel lets one in that waits, and its :meth:`send` returns. So all of those are
        taken too: what was said to be sent is sent, if the client hears any last words.
        """
        self._write = None
        if self._messages is None:
            return
        answers, outbox = self._answers or deque(), self._messages[1]
        with suppress(trio.WouldBlock):
            while True:
                answers.append(outbox.receive_nowait())
        outbox.close()
        self._answers, self._messages = answers, None

    def _next_answers(self) -> Any:
        """Return answers that wait as one batch of some ``WRITE_BYTES``: what is answered in one turn is one write."""
        assert self._answers is not None
        batches = [self._answers.popleft()]
        size = size_of(batches[0])
        while self._answers and size + size_of(self._answers[0]) <= WRITE_BYTES:
            batches.append(self._answers.popleft())
            size += size_of(batches[-1])
        if not self._answers:
            self._answers = None
        return self._codec.concat(batches) if len(batches) > 1 else batches[0]

    def _next_message(self) -> Any:
        """Return the app's next message. If there is none, let the channel go: the next one needs none again."""
        assert self._messages is not None
        try:
            return self._messages[1].receive_nowait()
        except trio.WouldBlock:
            self._messages = None
            return None
