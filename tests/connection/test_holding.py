"""What is held for one client: counted for the process too, and given back at once."""

from __future__ import annotations

from triolet.budget import Budget
from triolet.connection.holding import Holding


def test_what_one_holds_the_process_holds() -> None:
    budget = Budget(1_000)
    one, other = Holding(budget), Holding(budget)
    one.hold(5)
    other.hold(7)
    one.hold(-2)
    assert (one.bytes, other.bytes, budget.held) == (3, 7, 10)


def test_what_is_given_back_can_be_held_again() -> None:
    budget = Budget(1_000)
    one = Holding(budget)
    one.hold(5)
    one.give_back()
    assert (one.bytes, budget.held) == (0, 0)
    one.hold(1)
    assert budget.held == 1


def test_after_the_end_nothing_is_counted_twice() -> None:
    budget = Budget(1_000)
    one = Holding(budget)
    one.hold(5)
    one.close()
    one.hold(-5)  # a task that is being cancelled lets go of what it had
    one.close()
    assert (one.bytes, budget.held) == (0, 0)
