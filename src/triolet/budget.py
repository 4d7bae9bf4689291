"""The memory budget: what windows, half-sent batches and messages on their way hold, in bytes, with a ceiling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Budget", "BudgetStatistics"]

NEAR = 0.9
"""Part of the ceiling: from here on no new client is let in, and down to here load is shed."""


@dataclass(frozen=True, slots=True)
class BudgetStatistics:
    """Bytes held now, the most that ever were, and the ceiling."""

    held: int
    peak: int
    ceiling: int


class Budget:
    """Counts bytes that are held for clients. Each part that holds some says so here, and again when they are gone.

    It never fails: what a kernel left of a batch is there, whatever the ceiling. When more is held than that,
    :attr:`on_over` is called, and the clients furthest behind are given up until it is less again (load shedding).

    Args:
        ceiling: bytes that may be held.

    Attributes:
        held: bytes that are held now.
        peak: the most that ever were.
        on_over: called when more bytes are held than the ceiling, in the midst of the call that held them. It must not
            wait, and should only set a flag.
    """

    __slots__ = ("ceiling", "held", "on_over", "peak")

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self.held = 0
        self.peak = 0
        self.on_over: Callable[[], None] = _nobody_watches

    def hold(self, more: int) -> None:
        """Count ``more`` bytes as held; fewer if it is below 0."""
        self.held += more
        if self.held > self.peak:
            self.peak = self.held
        if more > 0 and self.held > self.ceiling:  # giving back is no reason to look for more
            self.on_over()

    @property
    def near_bytes(self) -> int:
        """Bytes from which on no new client is let in."""
        return int(self.ceiling * NEAR)

    @property
    def near(self) -> bool:
        """Whether so much is held that no new client is let in."""
        return self.held >= self.near_bytes

    @property
    def over(self) -> bool:
        """Whether more is held than the ceiling."""
        return self.held > self.ceiling

    def statistics(self) -> BudgetStatistics:
        """Return what is held now, frozen."""
        return BudgetStatistics(self.held, self.peak, self.ceiling)


def _nobody_watches() -> None:
    """Do nothing: the app is not served yet, so nothing sheds load."""
