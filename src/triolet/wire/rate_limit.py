"""How often something may happen: a token bucket, pure."""

from __future__ import annotations

__all__ = ["Rate"]


class Rate:
    """So many a second on average, and so many at once.

    Stored as the one time at which the bucket would be full (the generic cell rate algorithm of ATM Forum
    TM 4.0), so there is nothing to refill.
    """

    __slots__ = ("_due", "_interval", "_slack")

    def __init__(self, per_second: float, burst: float) -> None:
        self._interval = 1 / per_second
        self._slack = burst / per_second
        self._due = 0.0

    def take(self, now: float) -> float:
        """Take one. Returns how many seconds too early that was, for who wants to wait them: 0 where it was in time."""
        self._due = max(self._due, now) + self._interval
        return max(0.0, self._due - now - self._slack)
