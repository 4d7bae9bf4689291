"""Rate limit: a token bucket, pure."""

from __future__ import annotations

from ..limits import Limits

__all__ = ["Rate", "control_rate", "message_rate"]


class Rate:
    """Allows ``per_second`` on average, and ``burst`` at once.

    It is stored as the one time at which the bucket would be full (the generic cell rate algorithm of ATM Forum
    TM 4.0), so there is nothing to refill.
    """

    __slots__ = ("_due", "_interval", "_slack")

    def __init__(self, per_second: float, burst: float) -> None:
        self._interval = 1 / per_second
        self._slack = burst / per_second
        self._due = 0.0

    def take(self, now: float, cost: float = 1) -> float:
        """Take one.

        Args:
            now: the time, in seconds of any clock that only goes forward.
            cost: as how many it counts.

        Returns:
            How many seconds too early that was; 0 if it was in time. A caller that only slows the client down waits
            them; one that refuses ends the connection.
        """
        due = self._due
        self._due = due = (due if due > now else now) + self._interval * cost
        early = due - now - self._slack
        return early if early > 0 else 0.0

    def admits(self, now: float) -> bool:
        """Take one, if it comes in time; what comes too early takes nothing."""
        due = self._due
        in_time = self.take(now) == 0
        if not in_time:
            self._due = due
        return in_time


def message_rate(limits: Limits) -> Rate:
    """Return the rate of one client's messages: ``limits.messages_per_second``, bursts of twice as many."""
    return Rate(limits.messages_per_second, 2 * limits.messages_per_second)


def control_rate(limits: Limits) -> Rate:
    """Return the rate of one client's pings and pongs: ``limits.control_per_second``, bursts of five times as many."""
    return Rate(limits.control_per_second, 5 * limits.control_per_second)
