"""What lies between two kernels: a line with latency and bandwidth, which may stall, swallow and forget."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any

import trio

from .kernel import Kernel

__all__ = ["KERNEL_BYTES", "Connection", "Line"]

KERNEL_BYTES = 64 << 10
LEAST_SEGMENT, MOST_SEGMENT = 1_460, 64 << 10
SEGMENT_SECONDS = 0.01
"""A segment is what the line carries in this time, within these bounds."""


@dataclass(frozen=True)
class Line:
    """What one connection runs over.

    Args:
        latency: seconds from one side to the other.
        bandwidth: bytes a second, each way.
        server_bytes: what the server's kernel holds at most: so much to send, and so much that came and was not read.
        client_bytes: the same for the client's kernel.

    Raises:
        ValueError: a latency below zero, or one of the others not above it.
    """

    latency: float = 0.0
    bandwidth: float = inf
    server_bytes: int = KERNEL_BYTES
    client_bytes: int = KERNEL_BYTES

    def __post_init__(self) -> None:
        if self.latency < 0 or self.bandwidth <= 0 or self.server_bytes < 1 or self.client_bytes < 1:
            raise ValueError(f"no line is like this: {self}")

    @classmethod
    def holding(cls, kernel_bytes: int) -> Line:
        """A line which holds so many bytes (at least 2) each way, one half of them in each kernel."""
        return cls(server_bytes=kernel_bytes - kernel_bytes // 2, client_bytes=kernel_bytes // 2)

    @property
    def segment(self) -> int:
        """Bytes that go out in one piece."""
        if self.bandwidth == inf:
            return MOST_SEGMENT
        return max(LEAST_SEGMENT, min(MOST_SEGMENT, int(self.bandwidth * SEGMENT_SECONDS)))


class _Trouble:
    """What a connection suffers from: stalls that hold back what is sent, and voids that swallow it."""

    __slots__ = ("parked", "stalls", "unheard", "voids")

    def __init__(self) -> None:
        self.stalls = self.voids = 0
        self.parked: deque[tuple[Callable[[Any], None], Any]] = deque()
        self.unheard: list[Kernel] = []


class Connection:
    """Two kernels and the line between them.

    Args:
        at: lets something happen at a time, after all that was to happen then before.
        accept: called when the server's kernel has the connection ready.

    Attributes:
        rates: bytes a second which the client's app reads at most; the least counts.
    """

    def __init__(
        self,
        at: Callable[[float, Callable[[], None]], None],
        address: str,
        line: Line,
        accept: Callable[[Connection], None],
    ) -> None:
        self.address = address
        self.line = line
        self.segment = line.segment
        self.client = Kernel(line.client_bytes, line.server_bytes)
        self.server = Kernel(line.server_bytes, line.client_bytes)
        for kernel, peer in ((self.client, self.server), (self.server, self.client)):
            kernel.peer, kernel.carrier = peer, self
        self.client.free = False
        self.direct = False
        self.rates: list[float] = []
        self._at = at
        self._accept = accept
        self._instant = line.latency == 0 and line.bandwidth == inf
        self._established = self._forgotten = False
        self._trouble = _Trouble()
        self._last_due = {self.client: 0.0, self.server: 0.0}

    @property
    def over(self) -> bool:
        """Whether nothing will ever happen here any more."""
        return self.client.over and self.server.over

    def open(self) -> None:
        """Shake hands: there, back, and there again with the first data right behind."""
        self._bring(self.client, self._asked, None)

    def _asked(self, _: None) -> None:
        self._bring(self.server, self._answered, None)

    def _answered(self, _: None) -> None:
        if not self._established:
            self._established = True
            self._bring(self.client, self._agreed, None)
            self._settle()
            self.client.line_free()

    def _agreed(self, _: None) -> None:
        self._accept(self)

    # --- what the kernels ask for

    def carry(self, sender: Kernel, arrive: Callable[[Any], None], what: Any, size: int = 0) -> None:
        """Bring something to the other side: ``arrive(what)``, now, later, or never. What one sends stays in order."""
        if self.direct:
            arrive(what)
        elif not self._forgotten:
            self._bring(sender, arrive, what, size)

    def known(self, sender: Kernel) -> bool:
        """Whether the other side, or what stands between, knows of the connection; if not, it answers with a reset."""
        if self._trouble.voids:
            if sender not in self._trouble.unheard:
                self._trouble.unheard.append(sender)
        elif self._forgotten:
            self._answer_with_reset(sender)
            return False
        return True

    def _bring(self, sender: Kernel, arrive: Callable[[Any], None], what: Any, size: int = 0) -> None:
        if self._trouble.voids:
            return
        if self._instant:
            self._arrive(arrive, what)
            return
        departs = trio.current_time() + size / self.line.bandwidth
        if size and self.line.bandwidth < inf:
            sender.free = False
            self._at(departs, sender.line_free)
        self._last_due[sender] = max(departs + self.line.latency, self._last_due[sender])
        self._at(self._last_due[sender], lambda: self._arrive(arrive, what))

    def _arrive(self, arrive: Callable[[Any], None], what: Any) -> None:
        if self._trouble.stalls or self._trouble.parked:
            self._trouble.parked.append((arrive, what))
        elif not self._trouble.voids:
            arrive(what)

    # --- what faults do

    def stall(self) -> None:
        """Carry nothing, until as many :meth:`flow` as this."""
        self._trouble.stalls += 1
        self._settle()

    def flow(self) -> None:
        """Carry on with what waits."""
        self._trouble.stalls -= 1
        while self._trouble.parked and not self._trouble.stalls:
            arrive, what = self._trouble.parked[0]
            if not self._trouble.voids:
                arrive(what)
            self._trouble.parked.popleft()
        self._settle()

    def swallow(self) -> None:
        """Lose whatever is sent, until as many :meth:`forget` as this."""
        self._trouble.voids += 1
        self._settle()

    def forget(self) -> None:
        """Swallow no more; but nobody out there knows of this connection: what is sent is answered by a reset.

        What a kernel has sent unheard it sends again, so that one is told now.
        """
        self._trouble.voids -= 1
        if self._trouble.voids:
            return
        if not self._established:
            if not (self._forgotten or self.client.reset or self.client.closed):
                self.open()  # its kernel asks again
            return
        self._forgotten = True
        self._settle()
        for kernel in (self.client, self.server):
            if kernel in self._trouble.unheard or kernel.outgoing or kernel.unacknowledged:
                self._answer_with_reset(kernel)

    def end(self) -> None:
        """End in order, for both. What is on the way arrives first; what is sent later is answered by a reset."""
        for kernel in (self.client, self.server):
            self.carry(kernel, kernel.peer.end_arrived, None)
        self._forgotten = True
        self._settle()
        for kernel in (self.client, self.server):
            kernel.unacknowledged = 0
            if kernel.outgoing:
                self._answer_with_reset(kernel)

    def refuse(self) -> None:
        """Let this one never come about: the client finds it broken."""
        self._trouble.voids += 1
        self.vanish()

    def vanish(self) -> None:
        """Be gone on both sides at once, whatever is wrong with the line."""
        self.client.lose()
        self.server.lose()

    def _answer_with_reset(self, sender: Kernel) -> None:
        if self._instant:
            self._arrive(sender.reset_arrived, None)
        else:
            due = trio.current_time() + 2 * self.line.latency
            self._at(due, lambda: self._arrive(sender.reset_arrived, None))

    def _settle(self) -> None:
        hindered = self._trouble.stalls or self._trouble.voids or self._forgotten or self._trouble.parked
        self.direct = self._instant and self._established and not hindered
