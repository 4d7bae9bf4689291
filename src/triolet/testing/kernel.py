"""One side of a TCP connection as its operating system sees it: two bounded buffers, a window, and what may arrive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import trio

__all__ = ["Carrier", "Kernel"]


class Carrier(Protocol):
    """What lies between two kernels."""

    segment: int
    """Bytes that go out in one piece."""

    direct: bool
    """Whether what is sent now arrives now."""

    def carry(self, sender: Kernel, arrive: Callable[[Any], None], what: Any, size: int = 0) -> None:
        """Bring something to the other side: ``arrive(what)``, now, later, or never. What one sends stays in order."""

    def known(self, sender: Kernel) -> bool:
        """Whether anybody there knows of the connection; if not, the answer to what was to be sent is on its way."""


class Kernel:
    """A socket, from below. ``peer`` and ``carrier`` are set once, before anything is done with it.

    What the app hands over (``send``) waits in ``outgoing`` until the peer's window has room for it, and counts
    against ``bound`` until the peer's kernel has acknowledged it. What arrives waits in ``incoming`` until it is
    read; only then does the window open again.

    Attributes:
        ended: whether our side has ended (FIN); what was taken before is still sent.
        finished: whether the peer's end has arrived.
        reset: whether the connection was reset. What was not read is gone then (RFC 9293, 3.10.7; Linux would still
            hand it out, others do not), unless the peer's end had come as well: then it may be read up to there.
        closed: whether the app has closed; what arrives then is answered by a reset.
        free: whether the line takes a further segment now.
    """

    __slots__ = (
        "_told",
        "_waiting",
        "_window",
        "bound",
        "carrier",
        "closed",
        "ended",
        "finished",
        "free",
        "incoming",
        "outgoing",
        "peer",
        "reset",
        "unacknowledged",
    )

    peer: Kernel
    carrier: Carrier

    def __init__(self, bound: int, peer_bound: int) -> None:
        self.bound = bound
        self.outgoing = bytearray()
        self.unacknowledged = 0
        self.incoming = bytearray()
        self.ended = self.finished = self.reset = self.closed = False
        self.free = True
        self._window = peer_bound
        self._told = False
        self._waiting: trio.Event | None = None

    # --- what the app does

    @property
    def room(self) -> int:
        """Bytes that a send would take now."""
        held = len(self.outgoing) + self.unacknowledged
        return self.bound - held + (self._window if self.carrier.direct else 0)

    def send(self, data: Any) -> int:
        """Take what fits. Raises as ``socket.send`` does."""
        if self.reset:
            raise ConnectionResetError("reset by the peer")
        if self.ended:
            raise BrokenPipeError("our side has ended")
        size = len(data)
        if self.carrier.direct and size <= self._window and not self.peer.closed:
            self._window -= size
            self.peer.incoming += data
            self.peer.wake()
            return size
        room = self.room
        if room <= 0:
            raise BlockingIOError
        taken = memoryview(data)[:room]
        self.outgoing += taken
        self.push()
        return len(taken)

    def read(self, max_bytes: int) -> bytes:
        """Hand out what has come, and what comes at once because there is room for it again."""
        taken = b""
        while self.incoming and len(taken) < max_bytes:
            piece = bytes(self.incoming[: max_bytes - len(taken)])
            del self.incoming[: len(piece)]
            taken += piece
            self.carrier.carry(self, self.peer.window_opened, len(piece))
        return taken

    @property
    def readable(self) -> bool:
        """Whether a read gives something, be it the end or an error."""
        return bool(self.incoming) or self.finished or self.reset or self.closed

    @property
    def writable(self) -> bool:
        """Whether a send takes something, or fails."""
        return self.room > 0 or self.ended or self.reset

    @property
    def over(self) -> bool:
        """Whether nothing will ever happen here any more."""
        return self.reset or (self.closed and self._told and not self.unacknowledged)

    async def changed(self) -> None:
        """Wait for anything to happen here."""
        if self._waiting is None:
            self._waiting = trio.Event()
        await self._waiting.wait()

    def end(self) -> None:
        """Tell the peer, after all that was taken, that nothing more comes."""
        if not (self.ended or self.reset):
            self.ended = True
            self.push()
        self.wake()

    def close(self) -> None:
        """Read no more. In order, if all that came was read; else it is a reset (RFC 1122, 4.2.2.13)."""
        if self.closed:
            return
        unread = bool(self.incoming)
        self.closed = True
        if unread:
            self.abort()
        else:
            self.end()

    def abort(self) -> None:
        """Reset the connection at once. What is still here is thrown away."""
        told = self.reset
        self.closed = True
        self.lose()
        if not told:
            self.carrier.carry(self, self.peer.reset_arrived, None)

    def lose(self) -> None:
        """The connection is broken here, and nobody is told."""
        self.reset = True
        self.finished = False
        self.outgoing.clear()
        self.incoming.clear()
        self.unacknowledged = 0
        self.wake()

    def push(self) -> None:
        """Send what the peer's window and the line have room for now."""
        while self.free and self.outgoing and self._window > 0:
            if not self.carrier.known(self):
                return
            segment = bytes(self.outgoing[: min(self._window, self.carrier.segment)])
            del self.outgoing[: len(segment)]
            self._window -= len(segment)
            self.unacknowledged += len(segment)
            self.carrier.carry(self, self.peer.data_arrived, segment, len(segment))
        if self.free and self.ended and not (self.outgoing or self._told or self.reset) and self.carrier.known(self):
            self._told = True
            self.carrier.carry(self, self.peer.end_arrived, None)

    # --- what arrives

    def line_free(self) -> None:
        """The line has taken a segment, and takes the next."""
        self.free = True
        self.push()

    def data_arrived(self, data: bytes) -> None:
        """Keep it for the app; a closed socket answers with a reset."""
        if self.reset:
            return
        if self.closed:
            self.abort()
            return
        self.incoming += data
        self.carrier.carry(self, self.peer.acknowledged, len(data))
        self.wake()

    def acknowledged(self, count: int) -> None:
        """The peer's kernel has so much: we need to keep it no longer."""
        if not self.reset:
            self.unacknowledged = max(0, self.unacknowledged - count)  # a cut may have settled it already
            self.wake()

    def window_opened(self, count: int) -> None:
        """The peer's app has read so much."""
        if not self.reset:
            self._window += count
            self.push()
            self.wake()

    def end_arrived(self, _: None) -> None:
        """The peer sends no more."""
        self.finished = not self.reset
        self.wake()

    def reset_arrived(self, _: None) -> None:
        """The peer knows of no such connection."""
        finished, left = self.finished, bytes(self.incoming)
        self.lose()
        if finished:
            self.finished = True
            self.incoming += left

    def wake(self) -> None:
        """Let those look again who wait."""
        if self._waiting is not None:
            self._waiting.set()
            self._waiting = None
