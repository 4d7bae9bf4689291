"""A link and its outlet as a Trio stream, through which Hypercorn reads and writes."""

from __future__ import annotations

import math
from collections.abc import Coroutine
from functools import partial
from typing import Any

import trio

from ..bounds import FINISH_SECONDS, READ_BYTES, WRITE_BYTES
from ..budget import Budget
from .direct_outlet import DirectOutlet
from .link import Link
from .patience import Patience
from .stages import Stage

__all__ = ["ClientStream"]


class ClientStream(trio.abc.HalfCloseableStream):
    """A client's stream. All that Hypercorn writes goes through the same outlet as all that Triolet writes.

    ``send_all`` may be cancelled without harm: what was begun is finished before any later byte.
    """

    __slots__ = ("_lock", "outlet", "socket", "stage")

    secure = False
    """Whether the stream is encrypted with TLS."""

    def __init__(self, link: Link, budget: Budget) -> None:
        self.socket = link
        """The link, under the name by which Hypercorn asks for addresses."""
        self.outlet = DirectOutlet(link, budget)
        self.stage = Stage.HEAD
        self._lock: trio.Lock | None = None

    @property
    def protocol(self) -> str | None:
        """The protocol that TLS has agreed on (ALPN, RFC 7301): ``"h2"`` or ``"http/1.1"``; None if on none."""
        return None

    async def send_all(self, data: Any) -> None:
        async with self._turn:
            await self.outlet.send_all(bytes(data))

    @property
    def _turn(self) -> trio.Lock:
        # Hypercorn writes from several tasks. In turns, as they came: two that wait in the outlet at once could
        # overtake each other.
        if self._lock is None:
            self._lock = trio.Lock()
        return self._lock

    async def wait_send_all_might_not_block(self) -> None:
        await self.outlet.drained()

    def receive_now(self, max_bytes: int) -> bytes:
        """Return what has come already, if that can be said without waiting; else ``b""``. Nothing is lost."""
        return self.socket.receive_now(max_bytes)

    def receive_some(self, max_bytes: int | None = None) -> Coroutine[Any, Any, bytes]:
        # Not `async def`: the link's coroutine is passed on, without one of ours around it for every read.
        return self.socket.receive_some(max_bytes or 1 << 16)

    async def send_eof(self) -> None:
        await self.outlet.drained()
        self.socket.send_eof()

    async def finish(self, seconds: float, *, unread: bool = False) -> None:
        """Say that nothing more comes, and :meth:`read_out`, in so many seconds. It does not close.

        Args:
            seconds: for how long.
            unread: whether the client was answered before all of its request had come, and may be sending that.

        Raises:
            BrokenResourceError: the client went.
        """
        until = trio.current_time() + seconds
        with trio.move_on_at(until) as saying:
            await self.send_eof()
        if not saying.cancelled_caught:
            await self.read_out(until, seconds if unread else 0)

    async def read_out(self, until: float, anew: float) -> None:
        """Read what the client still sends, until it has closed, and throw it away: a reset, for what was not read of
        it, would overtake the last answer (RFC 9112 section 9.6).

        Args:
            until: for how long, by Trio's clock.
            anew: how many seconds more there are from whatever comes, up to ``FINISH_SECONDS`` in all. 0: none.

        Raises:
            BrokenResourceError: the client went.
        """
        over = max(until, trio.current_time() + FINISH_SECONDS) if anew else until
        patience = Patience(until)
        while await patience.wait(partial(self.socket.receive_some, READ_BYTES)) and trio.current_time() < over:
            patience.until = min(over, max(until, trio.current_time() + anew))

    async def taken(self, seconds: float) -> bool:
        """Wait until the kernel has taken what was written; return False where it has not after so many seconds.

        It is looked at first: where this process is late, what its kernel takes at once counts as taken in time, and
        for the rest the time begins anew.

        Cancellation: nothing is lost.
        """
        if self.outlet.empty:
            await trio.lowlevel.checkpoint()
        until = trio.current_time() + seconds
        while not self.outlet.empty:
            with trio.move_on_at(until):
                await self.outlet.drained()
                break
            await trio.lowlevel.checkpoint()  # another task may have waited for the kernel
            if self.outlet.progress_at < until:
                break
            until = self.outlet.progress_at + seconds
        return self.outlet.empty

    async def send_in_time(self, data: Any, seconds: float) -> None:
        """Send, as ``send_all`` does, within so many seconds.

        Raises:
            TooSlowError: the client has not taken it; what was begun stays first in line.
            BrokenResourceError: the client went.

        Cancellation: as of ``send_all``.
        """
        async with self._turn:
            written, in_time = False, True
            while in_time and not written:
                written = self.outlet.write(bytes(data))
                in_time = await self.taken(seconds)
        if self.outlet.closed:
            raise trio.BrokenResourceError("the client has gone")
        if not in_time:
            raise trio.TooSlowError

    async def deliver(self, answer: bytes, seconds: float, until: float = math.inf) -> None:
        """Write a whole answer, in one call where the kernel takes it.

        Args:
            answer: its bytes.
            seconds: within which the client must take ``WRITE_BYTES``, or else it is reset.
            until: Trio's time at which no byte of it may go out any more: the client is reset instead.

        Bounds: all of it counts as the connection's until it is written, and the connection may be given up for it.

        Raises:
            BrokenResourceError: the client went, or did not take it.

        Cancellation: a part of it may be written.
        """
        outlet = self.outlet
        outlet.until = until
        try:
            if len(answer) > WRITE_BYTES or not outlet.write(answer):
                await self._deliver_in_pieces(answer, seconds)
            elif not outlet.empty:
                with outlet.budget.account(self.abort, outlet):
                    await self._taken(seconds)
        finally:
            outlet.until = math.inf
        if outlet.closed:
            raise trio.BrokenResourceError("the client has gone")

    async def _deliver_in_pieces(self, answer: bytes, seconds: float) -> None:
        whole = memoryview(answer)
        with self.outlet.budget.account(self.abort, self.outlet) as account:
            account.hold(len(answer))
            for start in range(0, len(answer), WRITE_BYTES):
                piece = whole[start : start + WRITE_BYTES]
                while not self.outlet.write(piece):
                    await self._taken(seconds)
                account.hold(-len(piece))  # meanwhile the outlet counts what is left of it
                await self._taken(seconds)
                account.hold(len(piece))  # the answer is held as a whole

    async def _taken(self, seconds: float) -> None:
        if not await self.taken(seconds):
            self.abort()

    async def aclose(self) -> None:
        self.socket.close()
        await trio.lowlevel.checkpoint()

    def abort(self) -> None:
        """Reset the connection at once."""
        self.outlet.abort()
