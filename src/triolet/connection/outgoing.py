"""The messages to a client that are no events (the pong, answers, the app's own), until the writer takes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import trio

from ..bounds import TURN_ALL_BYTES, TURN_BYTES, WRITE_BYTES
from ..closing import FLOOD, GONE
from ..errors import ConnectionEnded
from ..limits import Limits
from ..sockets.outlet import Outlet
from ..sockets.turn import Turn
from ..wire.codec import Codec, size_of
from ..wire.messages import Message
from .ending import Ending
from .holding import Holding

__all__ = ["Outgoing"]


class Outgoing:
    """Keeps the messages that wait for the writer, and starts it.

    A message of the app's is for the outlet while nothing waits before it, which is nearly always. It is kept until the
    end of the turn (sockets/turn.py), so that what is said in one turn is one write; whatever else writes to the outlet
    goes behind it, by :meth:`write` or after :meth:`flush`. Only behind a slow client does a message pass a bounded
    memory channel of Trio's; that is made when it is needed, and let go when it is empty.

    Bounds: ``limits.outbox_messages`` messages of this turn, and ``TURN_BYTES`` and one message more; one pong or ping;
    ``limits.follows`` answers, for a client that asks and does not read is given up; ``limits.outbox_messages``
    messages of the app's that wait, and then :meth:`send` waits.

    Attributes:
        said: how many messages other than events and heartbeats were given to the client, or wait for it.
        turn: at whose end the app's messages go out.
    """

    __slots__ = (
        "_answers",
        "_codec",
        "_control",
        "_ending",
        "_holding",
        "_limits",
        "_messages",
        "_outlet",
        "_turns",
        "_turns_size",
        "_wake",
        "_write",
        "said",
        "turn",
    )

    def __init__(
        self, limits: Limits, codec: Codec, outlet: Outlet, ending: Ending, holding: Holding, turn: Turn
    ) -> None:
        self._limits = limits
        self._codec = codec
        self._outlet = outlet
        self._ending = ending
        self._holding = holding
        self.turn = turn
        self._turns: list[Any] | None = None  # the app's messages of this turn
        self._turns_size = 0
        self._control: Any = None
        self._answers: deque[Any] | None = None  # an empty deque takes 760 bytes, of every idle connection
        self._messages: tuple[trio.MemorySendChannel[Any], trio.MemoryReceiveChannel[Any]] | None = None
        self._write: Callable[[], None] | None = None
        self._wake: trio.Event | None = None
        self.said = 0

    def control(self, frame: bytes) -> None:
        """Send a pong, or a ping, as soon as the outlet has room. Of several the last suffices (RFC 6455 section
        5.5.3), and who has just pinged need not be."""
        # One place and no queue: a client that sends pings and does not read holds one pong here, however many it sent.
        self._control = frame
        self.wake()

    def answer(self, message: Message) -> None:
        """Have the writer send a message as soon as it can. A client that asks and does not read is given up."""
        if self._answers is None:
            self._answers = deque()
        if len(self._answers) > self._limits.follows:
            self._ending.end(FLOOD)
            return
        self.flush()  # what the app has said before
        self.said += 1
        batch = self._codec.say(message)
        self._holding.hold(size_of(batch))
        self._answers.append(batch)
        self.wake()

    def say(self, batch: Any) -> bool:
        """Take a message of the app's, to be written at the end of the turn. False: it has to wait, by :meth:`send`.

        Args:
            batch: the message, encoded.
        """
        if self._ending.closing is not None:
            return False
        size = len(batch) if type(batch) is bytes else size_of(batch)
        if self._turns is None:
            # Where something waits, the message must not overtake it.
            if self._messages is not None or self._answers or not self._outlet.empty or not self.turn.runs:
                return False
            self._turns = [batch]
            self._turns_size = size
            self.turn.flush_at_end(self)
        else:
            self._turns.append(batch)
            self._turns_size += size
        self.said += 1
        # Not in the memory budget, which costs more than to keep it: it has a bound of its own, and for a moment only.
        self.turn.kept += size
        if self.turn.kept > TURN_ALL_BYTES:
            self.turn.end()
        elif self._turns_size >= TURN_BYTES or len(self._turns) >= self._limits.outbox_messages:
            self.flush()
        return True

    def flush(self) -> None:
        """Write what the app has said in this turn: also while the connection ends, for the pump may still write to it,
        and must not get ahead."""
        if self._turns is not None:
            batch = self._take_turns()
            if not self._outlet.write(batch):
                # Something else has filled the outlet since. Nothing of the app's can wait already: see `say`.
                self._messages = trio.open_memory_channel(self._limits.outbox_messages)
                self._holding.hold(size_of(batch))
                self._messages[0].send_nowait(batch)
                self.wake()

    def write(self, batch: Any) -> bool:
        """Write a batch to the outlet, as :meth:`Outlet.write` does, behind what the app has said in this turn."""
        self.flush()
        return self._outlet.write(batch)

    async def send(self, batch: Any) -> None:
        """Send a message of the app's that cannot be said at once, or wait while ``limits.outbox_messages`` wait for a
        slow client.

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
        """Take the next batch for the client, or None: what the app has said in this turn, for which nothing waited,
        then the pong or ping, then the answers, then the app's messages that had to wait."""
        if self._turns is not None:
            return self._take_turns()
        if self._control is not None:
            frame, self._control = self._control, None
            return frame
        batch = self._next_answers() if self._answers else None
        if batch is None and self._messages is not None:
            batch = self._next_message()
        if batch is not None:
            self._holding.hold(-size_of(batch))
        return batch

    def begin(self, write: Callable[[], None]) -> None:
        """Have the writer started by this when there is work for it for the first time."""
        self._write = write

    @property
    def has_control(self) -> bool:
        """Whether a pong or a ping waits."""
        return self._control is not None

    @property
    def waits(self) -> bool:
        """Whether a message waits for the writer."""
        return self._control is not None or bool(self._answers) or self._messages is not None

    def wake(self) -> None:
        """Wake the writer, because there may be work for it. The first time it is started: most clients are written to
        by the pump alone, and never need it."""
        if self._wake is not None:
            self._wake.set()
        elif self._write is not None and not self._ending.cancelled:
            write, self._write = self._write, None
            write()

    async def woken(self) -> None:
        """Wait until there may be work for the writer. The writer has just found none, with no await since.

        Cancellation: nothing is lost.
        """
        # Made only now: what came before this line was seen by the writer's own look, and needs no event.
        self._wake = trio.Event()
        await self._wake.wait()
        self._wake = None

    def close(self) -> None:
        """Keep the app's messages that wait for the last words; from now on :meth:`send` raises.

        Taking a message out of a full channel lets one in that waits, and its :meth:`send` returns. So all of those are
        taken too: what was said to be sent is sent, if the client hears any last words.
        """
        self._write = None
        if self._turns is not None:
            batch = self._take_turns()
            # Now, and not with the last words: a client that has gone may still read, and hears none.
            if not self._outlet.write(batch):
                self._answers = deque([batch, *(self._answers or ())])
        if self._messages is None:
            return
        answers, outbox = self._answers or deque(), self._messages[1]
        with suppress(trio.WouldBlock):
            while True:
                answers.append(outbox.receive_nowait())
        outbox.close()
        self._answers, self._messages = answers, None

    def _take_turns(self) -> Any:
        assert self._turns is not None
        batches, self._turns = self._turns, None
        self.turn.kept -= self._turns_size
        return self._codec.concat(batches) if len(batches) > 1 else batches[0]

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
