"""The outlet of one HTTP/2 stream: DATA frames straight into the connection's own outlet, within the client's windows.

Nothing waits in between: what a window or the kernel has no room for stays with its stream, as it is, so live clients
of one channel share it.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from h2.connection import H2Connection
from h2.exceptions import ProtocolError

from ..budget import Budget
from ..sockets.direct_outlet import DirectOutlet
from ..sockets.outlet import Outlet
from .bounds import HTTP2_FRAME_BYTES

__all__ = ["Http2Stream", "StreamOutlet", "see_answered", "send_in_time"]


class Http2Stream:
    """What an ASGI scope's ``state`` holds of a stream of HTTP/2, where it holds a ClientStream of HTTP/1.

    Args:
        open_outlet: gives the stream's outlet, always the same.
        abort: resets the stream, or the connection where the client takes nothing at all.
        cut: the same, but also the connection where a part of a frame waits in it, which may be the stream's.
    """

    __slots__ = ("_open_outlet", "abort", "cut")

    def __init__(
        self, open_outlet: Callable[[], StreamOutlet], abort: Callable[[], None], cut: Callable[[], None]
    ) -> None:
        self._open_outlet = open_outlet
        self.abort = abort
        self.cut = cut

    @property
    def outlet(self) -> StreamOutlet:
        """The only writer of the stream's content."""
        return self._open_outlet()


class StreamOutlet(Outlet):
    """Writes a batch as DATA frames, one after the other, while both windows and the kernel have room.

    Args:
        below: the connection's outlet, which all its streams share.
        lock: held by whoever has a part of a frame in hand; nothing is written then.
        reset: resets the stream.
        sent: is told of each frame: its size, and whether it ends a batch.
        take: gives what is to be written, of h2's and of what others have left before it.
        caught_up: waits until all that has come of the client is used: it may have opened a window.

    Bounds: what is left of one batch. In h2 and below it there is never more than one frame.
    """

    __slots__ = (
        "_answer",
        "_below",
        "_caught_up",
        "_changed",
        "_h2",
        "_lock",
        "_progress_at",
        "_reset",
        "_rest",
        "_sent",
        "_stream_id",
        "_take",
    )

    def __init__(
        self,
        budget: Budget,
        connection: H2Connection,
        stream_id: int,
        below: DirectOutlet,
        lock: trio.Lock,
        reset: Callable[[], None],
        sent: Callable[[int, bool], None] | None = None,
        take: Callable[[], bytes] | None = None,
        caught_up: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
    ) -> None:
        self._caught_up = caught_up
        self._progress_at = 0.0
        self._h2 = connection
        self._stream_id = stream_id
        self._below = below
        self._lock = lock
        self._reset = reset
        self._sent = sent
        self._take = connection.data_to_send if take is None else take
        self._rest: memoryview | None = None
        self._answer: bytes | None = None  # empty where none waits, and a task sees to those before
        self._changed: trio.Event | None = None
        super().__init__(budget)
        self.send = self._send

    @property
    def empty(self) -> bool:
        return self._rest is None

    @property
    def closed(self) -> bool:
        return self.send is _refuse

    @property
    def pending(self) -> int:
        return 0 if self._rest is None else len(self._rest)

    @property
    def progress_at(self) -> float:
        """Waiting for the kernel, a stream gets on as long as its connection does."""
        return self._progress_at if self._below.empty else max(self._progress_at, self._below.progress_at)

    @progress_at.setter
    def progress_at(self, time: float) -> None:
        self._progress_at = time

    def keep(self, batch: Any, taken: int) -> None:
        self._hold(memoryview(batch)[taken:])
        self.progress_at = trio.current_time()
        self.on_full()

    async def drained(self) -> None:
        await trio.lowlevel.checkpoint()
        while self._rest is not None:
            if self._rest and self._window() <= 0:
                if self._changed is None:
                    self._changed = trio.Event()
                await self._changed.wait()
                continue
            async with self._lock:
                # A part of a frame that waits there may be ours, which must not go out after our time either.
                self._below.until = self.until
                try:
                    await self._below.drained()
                finally:
                    self._below.until = math.inf
                if self._rest is not None and trio.current_time() >= self.until:
                    self.cut()
                elif self._rest is not None:
                    self._flush(self._rest)

    async def look_again(self) -> None:
        await self._caught_up()
        while self._lock.locked() and self._below.empty:  # by one who writes what the kernel takes: it is done soon
            await trio.lowlevel.checkpoint()
        if self._rest is None or self._lock.locked() or not self._below.empty:
            return
        if trio.current_time() >= self.until:
            self.cut()
        else:
            self._flush(self._rest)

    def answer(self, data: bytes) -> bool:
        """Write behind what waits, without waiting for it. Of several such the last suffices: they are pongs (RFC 6455
        section 5.5.3), and a close. Returns whether :func:`see_answered` is to be started."""
        seen_to = self._answer is not None
        if not self.write(data):
            self._answer = data
        elif self._rest is None:
            return False
        elif not seen_to:
            self._answer = b""
        return not seen_to

    @property
    def waits(self) -> bool:
        """Whether somebody waits for a window."""
        return self._changed is not None

    def window_opened(self) -> None:
        """The client may have given room. Nobody is woken in vain: it can give room to others as often as it will."""
        if self._changed is not None and (self.closed or self._window() > 0):
            self._changed.set()
            self._changed = None

    def fail(self) -> None:
        self._end()
        super().fail()

    def abort(self) -> None:
        self._end()
        self._reset()

    def cut(self) -> None:
        # What the kernel has left of a frame, which may be ours, cannot be taken back: it goes out, or the connection
        # ends with all of its streams, which are stuck behind it anyway.
        if self._rest is not None and not self._below.empty:
            self._end()
            self._below.abort()
        else:
            self.abort()

    def _end(self) -> None:
        self.send = _refuse
        self._hold(None)
        self.window_opened()

    def _send(self, batch: Any) -> int:
        if self._lock.locked() or not self._below.empty:
            raise BlockingIOError
        taken = self._put(batch)
        if taken == len(batch) and not self._below.empty:
            self.keep(batch, taken)
        return taken

    def _put(self, batch: Any) -> int:
        """Write what there is room for. Raises BrokenPipeError where the stream has ended."""
        connection, stream_id = self._h2, self._stream_id
        taken, size = 0, len(batch)
        try:
            room = min(size, connection.local_flow_control_window(stream_id))
            while taken < room and self._below.empty:
                end = min(room, taken + HTTP2_FRAME_BYTES)
                connection.send_data(stream_id, batch if end - taken == size else memoryview(batch)[taken:end])
                self._below.write(self._take())
                if self._sent is not None:
                    self._sent(end - taken, end == size)
                taken = end
        except ProtocolError:
            raise BrokenPipeError("the stream has ended") from None
        return taken

    def _flush(self, rest: memoryview) -> None:
        try:
            taken = self._put(rest)
        except OSError:
            self.fail()
            return
        if taken or not rest:
            self.progress_at = trio.current_time()
        rest = rest[taken:]
        if not rest and self._answer:
            rest, self._answer = memoryview(self._answer), b""
        self._hold(None if not rest and self._below.empty else rest)

    def _window(self) -> int:
        try:
            return self._h2.local_flow_control_window(self._stream_id)
        except ProtocolError:
            return 1  # it has ended, and writing will show that

    def _hold(self, rest: memoryview | None) -> None:
        before, self._rest = self._rest, rest
        self.budget.hold((0 if rest is None else len(rest)) - (0 if before is None else len(before)))


async def send_in_time(outlet: StreamOutlet, data: bytes | None, seconds: float) -> bool:
    """Write, and wait until it is taken; return False where that took more than so many seconds. To a stream that is
    gone it does nothing.

    Args:
        outlet: the stream's.
        data: what is written; None waits for what was written before.
        seconds: how long that may take.

    Cancellation: nothing is lost; a part of it may be written.
    """
    written = data is None
    until = trio.current_time() + seconds
    while True:
        with trio.move_on_at(until) as patience:
            while data is not None and not written:
                written = outlet.write(data)
                await outlet.drained()
            await outlet.drained()
        if not patience.cancelled_caught:
            return True
        await outlet.look_again()
        if outlet.progress_at < until:
            return False
        until = outlet.progress_at + seconds  # it has given room in time


async def see_answered(outlet: StreamOutlet, seconds: float) -> None:
    """Send a stream's answers as soon as there is room: the app may never send anything more. Where the client takes
    nothing for so long, the stream is reset.

    Cancellation: what is not sent stays in the outlet.
    """
    try:
        if not await send_in_time(outlet, None, seconds):
            outlet.abort()
    finally:
        outlet._answer = None


def _refuse(_: Any) -> int:
    """What ``send`` does once the stream is gone; nothing refers back to the outlet then."""
    raise BrokenPipeError("the stream has ended")
