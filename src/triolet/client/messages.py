"""What the app's handler says to a program, on the socket that all of a client shares."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

import trio

from ..closing import NORMAL
from ..errors import printable
from .bounds import CLIENT_MESSAGES
from .commands import CLOSED
from .errors import Ended
from .hooks import Hooks, call
from .items import Fault, Said, Tell
from .link import Link
from .reasoned import Reasoned
from .track import State

__all__ = ["Messages"]

logger = logging.getLogger("triolet.client")


class Messages(Reasoned):
    """What the app's handler says on the shared socket, as an async context manager and an async iterator; of
    ``live.messages()``.

    It gives a :class:`Message` for each ``conn.send`` of the handler's, and of the channels that the handler follows
    for this client (``conn.follow``) each :class:`Event`, once and in order, and a :class:`ChannelGap` for what will
    not come: all in the order in which the server has sent it. The socket is kept open for it, whatever the network
    does.

    Messages have no cursor. With a connection is lost what the handler said and the program did not get; the handler
    of the next connection begins anew, and knows nothing of what it was told. What must not be lost is an event, or
    upwards a command.

    Bounds: ``CLIENT_MESSAGES`` of each connection wait for the program. While more are there the socket is not read,
    nor anything that shares it; the server sees that, and gives the client up in the end. The next connection is read
    again, so what shares it goes on; but while more than twice ``CLIENT_MESSAGES`` wait there is no other.

    Cancellation: nothing is lost, but for what comes after the block.

    Attributes:
        state: the socket's: ``connecting``, ``live``, or ``gone`` for good.
    """

    def __init__(
        self,
        link: Link,
        nursery: trio.Nursery,
        on_state: Callable[[Messages], object] | None,
        on_fault: Callable[[Messages, Fault], object] | None,
        on_tell: Callable[[Messages, Tell], object] | None,
    ) -> None:
        super().__init__(link.url)
        self.state: State = "connecting"
        self._link = link
        self._hooks = Hooks(nursery, on_state, on_fault, on_tell)
        self._out, self._in = trio.open_memory_channel[Said](math.inf)
        self._room = CLIENT_MESSAGES
        self._changed = trio.Event()
        self._begun = False

    # --- for the program

    async def ready(self) -> None:
        """Wait until the socket is open: at once, where it is.

        Raises:
            ClientError: it will not be, and why.
            RuntimeError: the block was not entered, or was left.

        Cancellation: nothing is lost.
        """
        await trio.lowlevel.checkpoint()
        while self.state == "connecting":
            self._check()
            await self._changed.wait()
        self._check()
        if self.state == "gone":
            raise self.error or RuntimeError(CLOSED)

    def __aiter__(self) -> Self:
        """Iterate over them."""
        return self

    async def __anext__(self) -> Said:
        """The next one. Several tasks may wait: each gets another.

        Raises:
            ClientError: nothing more will come, and why.
            RuntimeError: the block was not entered, or was left.

        Cancellation: nothing is lost.
        """
        self._check()
        try:
            said = await self._in.receive()
            self._change()  # there is room
            return said
        except trio.EndOfChannel:
            error = self.error if self.state == "gone" else None  # else its block has been left, whatever is wrong now
            if error is None or error.code == NORMAL.code:
                raise StopAsyncIteration from None
            raise error from None
        except trio.ClosedResourceError:
            raise RuntimeError("its block has been left: nothing more is heard") from None

    async def __aenter__(self) -> Self:
        """Listen from now on, and have the socket opened, if it is not.

        Raises:
            RuntimeError: it was entered before, or the client is closed.
        """
        if self._begun:
            raise RuntimeError("it is entered once: call live.messages again")
        if self._link.listeners.is_closed:
            raise RuntimeError(CLOSED)
        self._begun = True
        self._link.listen(self)
        await trio.lowlevel.checkpoint()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Listen no longer. What waits is forgotten."""
        self._link.listeners.remove(self)
        self._out.close()
        self._in.close()
        self._change()

    def _check(self) -> None:
        if not self._begun:
            raise RuntimeError("it begins with its block: async with live.messages() as messages")
        if self._is_left:
            raise RuntimeError("its block has been left: nothing more is heard")

    @property
    def _is_left(self) -> bool:
        return self._in.statistics().open_receive_channels == 0

    # --- for the socket

    @property
    def _waiting(self) -> int:
        return self._in.statistics().current_buffer_used

    def put(self, said: Said) -> bool:
        """Take what was said: the program gets it, whatever its connection does. Return whether there was room."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # its block has been left
            self._out.send_nowait(said)
        return self._waiting <= self._room

    async def settle(self, most: int | None = None) -> None:
        """Wait until no more than so many wait for the program, by default as many as there is room for; or until its
        block is left, or nothing more will come.
        """
        while self._waiting > (self._room if most is None else most) and self.state != "gone" and not self._is_left:
            await self._changed.wait()

    def become(self, state: State, why: Ended | None = None) -> None:
        """Hear of the socket's state."""
        self.state = state
        self._why = why
        if state == "connecting":  # what waits already is no reason to leave the next connection unread
            self._room = self._waiting + CLIENT_MESSAGES
        if state == "gone":
            self._out.close()
        self._change()
        if self._hooks.on_state is not None:
            call(self._hooks.nursery, self._hooks.on_state, self)

    def fault(self, fault: Fault) -> None:
        """Hear of a broken promise of the server's, about a channel that the app follows."""
        if self._hooks.on_fault is not None:
            call(self._hooks.nursery, self._hooks.on_fault, self, fault)
        else:
            logger.warning("%s: a %s after %s, at %s", printable(str(fault.channel)), fault.kind, fault.after, fault.to)

    def told(self, tell: Tell) -> None:
        """Hear what is only for now, in a channel that the app follows."""
        self._hooks.told(self, tell)

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
