"""The way in for connections: what a client of the kit needs of a served app, or of a proxy before it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

from .cookies import Cookies
from .network import ClientEnd, Line, MemoryLink, Network

__all__ = ["ADDRESS", "Entrance"]

ADDRESS: Final = "198.51.100.1"
"""Where requests come from that say nothing else."""


class Entrance(ABC):
    """What connections are made to.

    Attributes:
        network: what its clients are connected through: faults may be done to it.
        began: the moment in Trio's seconds from which its clients' dialogues count.
        cookies: what its requests and clients carry; None: none.
    """

    cookies: Cookies | None = None

    def __init__(self, network: Network, nursery: trio.Nursery) -> None:
        self.network = network
        self.began = trio.current_time()
        self._nursery = nursery
        self._ends: list[ClientEnd] = []
        self._sweep_at = 32

    @abstractmethod
    def enter(self, link: MemoryLink, address: str) -> None:
        """Take in a connection that has arrived; the client's end finds it reset where nobody listens any more."""

    def connect(
        self, *, address: str = ADDRESS, line: Line | None = None, kernel_bytes: int | None = None
    ) -> ClientEnd:
        """Open a connection and return the client's end of it, at once.

        Args:
            address: the client's, as the server sees it.
            line: what the connection runs over; None: the network's.
            kernel_bytes: short for the line that holds so many bytes each way.
        """
        if kernel_bytes is not None:
            line = Line.holding(kernel_bytes)
        return self._keep(self.network.connect(address, lambda link: self.enter(link, address), line))

    def _keep(self, end: ClientEnd) -> ClientEnd:
        self._ends.append(end)
        if len(self._ends) >= self._sweep_at:
            self._ends = [end for end in self._ends if not end.connection.over]
            self._sweep_at = 2 * len(self._ends) + 32
        return end

    def vanish(self) -> None:
        """End all connections to it on both sides at once, whatever is wrong with the network."""
        for end in self._ends:
            end.connection.vanish()

    def start_soon(self, work: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Do a client's own work beside the test; it ends with the server at the latest."""
        self._nursery.start_soon(work, *args)
