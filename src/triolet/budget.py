"""The memory budget: what windows, half-sent batches and messages on their way hold, in bytes, with a ceiling."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from .bounds import MEMORY_NEAR_PART

__all__ = ["Account", "Budget", "BudgetStatistics"]


@dataclass(frozen=True, slots=True)
class BudgetStatistics:
    """Bytes held now, the most that ever were, and the ceiling."""

    held: int
    peak: int
    ceiling: int


class Writing(Protocol):
    """An outlet, as far as an account looks at it."""

    @property
    def pending(self) -> int:
        """Bytes that wait in it, which it counts itself."""


class Budget:
    """Counts bytes that are held for clients. Each part that holds some says so here, and again when they are gone.

    It never fails: what a kernel left of a batch is there, whatever the ceiling. When more is held past it,
    :attr:`on_over` is called, and clients are given up until it holds again.

    Args:
        ceiling: bytes.

    Attributes:
        accounts: of the connections that hold requests and unread answers. Each is here from its begin to its end.
    """

    __slots__ = ("accounts", "ceiling", "held", "on_over", "peak")

    def __init__(self, ceiling: int) -> None:
        self.accounts: set[Account] = set()
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
        """Bytes from which on no new client is let in."""
        return int(self.ceiling * MEMORY_NEAR_PART)

    @property
    def near(self) -> bool:
        """Whether so much is held that no new client is let in."""
        return self.held >= self.near_bytes

    @property
    def over(self) -> bool:
        """Whether more is held than the ceiling."""
        return self.held > self.ceiling

    def admits(self) -> bool:
        """Whether one more may come in: a connection, a request on one, a stream, an upgrade.

        While the answer is no, somebody is asked to make room: with the doors closed nothing more may ever be held, and
        clients that only hold would keep all others out.
        """
        if not self.near:
            return True
        self.on_over()
        return False

    def open_account(self, give_up: Callable[[], None], outlet: Writing | None = None) -> Account:
        """Count what is held for one connection, until the account is closed.

        Args:
            give_up: ends the connection at once.
            outlet: where what waits in it is this connection's to answer for, its outlet.
        """
        account = Account(self, give_up, outlet)
        self.accounts.add(account)
        return account

    @contextmanager
    def account(self, give_up: Callable[[], None], outlet: Writing | None = None) -> Iterator[Account]:
        """Count what is held for one connection, for the time of a block. At its end all is given back. Arguments as of
        :meth:`open_account`."""
        account = self.open_account(give_up, outlet)
        try:
            yield account
        finally:
            account.close()

    def statistics(self) -> BudgetStatistics:
        """Return what is held now, frozen."""
        return BudgetStatistics(self.held, self.peak, self.ceiling)


class Account:
    """What is held for one connection: bodies of requests, and unread answers.

    Attributes:
        given_up: whether the connection is ending, and holds what it holds for a moment only.
    """

    __slots__ = ("_budget", "_end", "_held", "_open", "_outlet", "given_up")

    def __init__(self, budget: Budget, give_up: Callable[[], None], outlet: Writing | None) -> None:
        self._budget = budget
        self._end = give_up
        self._outlet = outlet
        self._open = True
        self._held = 0
        self.given_up = False

    @property
    def bytes(self) -> int:
        """How much is held now."""
        return self._held if self._outlet is None else self._held + self._outlet.pending

    @property
    def ceiling(self) -> int:
        """The budget's."""
        return self._budget.ceiling

    def hold(self, more: int) -> None:
        """Hold so many bytes more, or less where it is below 0. After :meth:`close` nothing is counted any more."""
        if self._open:
            self._held += more
            self._budget.hold(more)

    def close(self) -> None:
        """Give everything back, for good: tasks that are being cancelled let go of it later, and not twice."""
        self._budget.accounts.discard(self)
        self.hold(-self._held)
        self._open = False
        self._end = _nobody_watches  # the connection knows its account: a circle, which reference counts do not free

    def give_up(self) -> None:
        """End the connection. Its bytes count until its tasks have let go of them, which many take a while to do."""
        self.given_up = True
        self._end()


def _nobody_watches() -> None:
    """Do nothing: nothing sheds load yet, or the connection has ended."""
