"""Admission: which connections are let in, decided before a byte of them is read, from what is cheap to know."""

from __future__ import annotations

from collections import Counter

from ..bounds import HANDSHAKE_BYTES
from ..budget import Budget
from ..limits import Limits

__all__ = ["BUSY", "Admission"]

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: %d\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
"""The answer to one too many, with the seconds after which to come back."""


class Admission:
    """Counts connections, in all and by address, against ``limits.connections`` and ``connections_per_address``, and
    lets no client in while the memory budget is nearly spent.

    TLS handshakes that are not done are counted as well, against ``limits.handshakes`` and ``handshakes_per_address``:
    to begin one costs a client nothing, and us more than a connection that is served.
    """

    def __init__(self, limits: Limits, budget: Budget) -> None:
        self._limits = limits
        self._budget = budget
        self._by_address: Counter[str] = Counter()
        self._handshakes_by_address: Counter[str] = Counter()
        self.connections = 0
        self.handshakes = 0
        self.refused = 0

    def enter(self, address: str, *, handshake: bool = False) -> bool:
        """Let one in, or not.

        Args:
            address: the client's.
            handshake: whether it begins with a TLS handshake. :meth:`shook_hands` says that this is over.
        """
        if (
            self.connections >= self._limits.connections
            or self._by_address[address] >= self._limits.connections_per_address
            or (handshake and self._too_many_handshakes(address))
            or not self._budget.admits()
        ):
            self.refused += 1
            return False
        self.connections += 1
        self._by_address[address] += 1
        if handshake:
            self.handshakes += 1
            self._handshakes_by_address[address] += 1
            self._budget.hold(HANDSHAKE_BYTES)
        return True

    def shook_hands(self, address: str) -> None:
        """One that was let in with a handshake is done with it, in whatever way."""
        self.handshakes -= 1
        self._budget.hold(-HANDSHAKE_BYTES)
        _take_one(self._handshakes_by_address, address)

    def leave(self, address: str) -> None:
        """One that was let in is gone."""
        self.connections -= 1
        _take_one(self._by_address, address)

    def _too_many_handshakes(self, address: str) -> bool:
        return (
            self.handshakes >= self._limits.handshakes
            or self._handshakes_by_address[address] >= self._limits.handshakes_per_address
        )


def _take_one(counter: Counter[str], address: str) -> None:
    counter[address] -= 1
    if not counter[address]:
        del counter[address]
