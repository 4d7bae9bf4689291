"""The memory budget: what windows, half-sent batches and messages on their way hold, in bytes, with a ceiling."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Budget", "BudgetStatistics"]

NEAR = 0.9
"""The part of the ceiling from which on nobody new is let in."""


@dataclass(frozen=True, slots=True)
class BudgetStatistics:
    """Bytes held now, the most that ever were, and the ceiling."""

    held: int
    peak: int
    ceiling: int


class Budget:
    """Counts bytes that are held for clients. Whoever holds some says so here, and again when they are gone.

    It never fails: what a kernel left of a batch is there, whatever the ceiling. When more is held past it,
    :attr:`on_over` is called, and who is furthest behind is given up until it holds again.

    Args:
        ceiling: bytes.
    """

    __slots__ = ("ceiling", "held", "on_over", "peak")

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self.held = 0
        self.peak = 0
        self.on_over: Callable[[], None] = _nobody_watches

    def hold(self, more: int) -> None:
        """Hold so many bytes more; less, where it is below 0."""
        self.held += more
        if self.held > self.peak:
            self.peak = self.held
        if more > 0 and self.held > self.ceiling:  # giving back is no reason to look for more
            self.on_over()

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Hold so many bytes for the time of a block: an answer, from when it is made until all of it was taken."""
        self.hold(size)
        try:
            yield
        finally:
            self.hold(-size)

    @property
    def near_bytes(self) -> int:
        """From how many bytes on nobody new is let in."""
        return int(self.ceiling * NEAR)

    @property
    def near(self) -> bool:
        """Whether the ceiling is so near that nobody new is let in."""
        return self.held >= self.near_bytes

    @property
    def over(self) -> bool:
        """Whether more is held than may be."""
        return self.held > self.ceiling

    def statistics(self) -> BudgetStatistics:
        """What is held now."""
        return BudgetStatistics(self.held, self.peak, self.ceiling)


def _nobody_watches() -> None:
    """Until somebody does."""
