"""The bytes that are held for one client, as a part of the process's memory budget."""

from __future__ import annotations

from ..budget import Budget

__all__ = ["Holding"]


class Holding:
    """Counts what is held for one client besides what is in its outlet, so that all of it can be given back at once.

    Args:
        budget: where it is counted for the whole process.

    Attributes:
        bytes: how much is held now.
    """

    __slots__ = ("_budget", "_open", "bytes")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._open = True
        self.bytes = 0

    def hold(self, more: int) -> None:
        """Count ``more`` bytes as held, fewer if it is below 0. After :meth:`close` nothing is counted any more."""
        if self._open:
            self.bytes += more
            self._budget.hold(more)

    def give_back(self) -> None:
        """Count nothing as held: the connection is ending, and what it held goes with it in a moment."""
        # Early, while the tasks are still being cancelled: load shedding gives clients up until the sum is small
        # enough, and would give up too many if each were counted until it is gone.
        self.hold(-self.bytes)

    def close(self) -> None:
        """Give all bytes back, for good. What a cancelled task lets go of later is not counted twice."""
        self.give_back()
        self._open = False
