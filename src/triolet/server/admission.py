"""Admission: which connections are let in, decided before a byte of them is read, from what is cheap to know."""

from __future__ import annotations

from collections import Counter

from ..bounds import HANDSHAKE_BYTES
from ..budget import Budget
from ..limits import Limits
from ..wire.client_address import owner

__all__ = ["BUSY", "Admission"]

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: %d\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
"""The answer to one too many, with the seconds after which to come back."""


class Admission:
    """Counts connections, in all and by address, against ``limits.connections`` and ``connections_per_address``, and
    lets no client in while the memory budget is nearly spent.

    TLS handshakes that are not done are counted as well, against ``limits.handshakes`` and ``handshakes_per_address``:
    to begin one costs a client nothing, and us more than a connection that is served.

    Of IPv6 not an address is counted but its /64: a client has all of that, and could come from a new address each
    time. Those of a Unix socket, whose address is ``""``, are one client's.

    An address of None is a listed proxy's: what it brings is counted in all, and by the addresses of its clients
    (proxied.py).
    """

    def __init__(self, limits: Limits, budget: Budget) -> None:
        self._limits = limits
        self._budget = budget
        self._by_address: Counter[str] = Counter()
        self._handshakes_by_address: Counter[str] = Counter()
        self.connections = 0
        self.handshakes = 0
        self.refused = 0

    def enter(self, address: str | None, *, handshake: bool = False) -> bool:
        """Let a connection in, or not.

        Args:
            address: the client's.
            handshake: whether it begins with a TLS handshake. :meth:`shook_hands` says that this is over.
        """
        if (
            self.connections >= self._limits.connections
            or not self._has_room(address, handshake)
            or not self._budget.admits()
        ):
            self.refused += 1
            return False
        self.connections += 1
        self._count(address, handshake)
        return True

    def take(self, address: str | None, *, handshake: bool = False) -> bool:
        """Count one more of an address, of which a proxy has told on a connection that is in. Return False where that
        has as many as it may."""
        if not self._has_room(address, handshake):
            self.refused += 1
            return False
        self._count(address, handshake)
        return True

    def shook_hands(self, address: str | None) -> None:
        """One that was let in with a handshake is done with it, in whatever way."""
        self.handshakes -= 1
        self._budget.hold(-HANDSHAKE_BYTES)
        _take_one(self._handshakes_by_address, address)

    def leave(self, address: str | None) -> None:
        """A connection that was let in is gone."""
        self.connections -= 1
        self.give_back(address)

    def give_back(self, address: str | None) -> None:
        """What was taken for an address is over."""
        _take_one(self._by_address, address)

    def _has_room(self, address: str | None, handshake: bool) -> bool:
        limits = self._limits
        if handshake and self.handshakes >= limits.handshakes:
            return False
        if address is None:
            return True
        whose = owner(address)
        return self._by_address[whose] < limits.connections_per_address and not (
            handshake and self._handshakes_by_address[whose] >= limits.handshakes_per_address
        )

    def _count(self, address: str | None, handshake: bool) -> None:
        if address is not None:
            self._by_address[owner(address)] += 1
        if handshake:
            self.handshakes += 1
            self._budget.hold(HANDSHAKE_BYTES)
            if address is not None:
                self._handshakes_by_address[owner(address)] += 1


def _take_one(counter: Counter[str], address: str | None) -> None:
    if address is None:
        return
    whose = owner(address)
    counter[whose] -= 1
    if not counter[whose]:
        del counter[whose]
