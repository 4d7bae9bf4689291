"""Admission: which connections are let in, decided before a byte of them is read, from what is cheap to know."""

from __future__ import annotations

from collections import Counter

from ..budget import Budget
from ..limits import Limits

__all__ = ["BUSY", "Admission"]

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: %d\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
"""The answer to one too many, with the seconds after which to come back."""


class Admission:
    """Counts connections, in all and by address, against ``limits.connections`` and ``connections_per_address``, and
    lets no client in while the memory budget is nearly spent."""

    def __init__(self, limits: Limits, budget: Budget) -> None:
        self._limits = limits
        self._budget = budget
        self._by_address: Counter[str] = Counter()
        self.connections = 0
        self.refused = 0

    def enter(self, address: str) -> bool:
        """Let one in, or not."""
        if (
            self.connections >= self._limits.connections
            or self._by_address[address] >= self._limits.connections_per_address
            or self._budget.near
        ):
            self.refused += 1
            return False
        self.connections += 1
        self._by_address[address] += 1
        return True

    def leave(self, address: str) -> None:
        """One that was let in is gone."""
        self.connections -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]
