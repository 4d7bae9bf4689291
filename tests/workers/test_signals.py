"""Signals that come before the process serves."""

from __future__ import annotations

import signal

import pytest

from triolet.workers.signals import EndedEarly, Signals


def test_an_order_to_end_of_which_an_import_has_made_another_error_is_the_end() -> None:
    signals = Signals()

    def import_something() -> None:
        try:
            signals._come(signal.SIGTERM, None)
        except EndedEarly as error:
            raise RuntimeError("Error calling __set_name__") from error

    with pytest.raises(EndedEarly), signals.ending_at_once():
        import_something()


@pytest.mark.parametrize(
    ("number", "orders"), [(signal.SIGTERM, [1, 2]), (signal.SIGQUIT, [1, 2]), (signal.SIGHUP, [])]
)
def test_sighup_is_no_order_to_end_by_which_a_process_is_bounded(number: int, orders: list[int]) -> None:
    signals = Signals()
    heard: list[int] = []
    signals.on_signal = heard.append
    for _ in range(2):
        signals._come(number, None)
    assert heard == orders


def test_an_error_that_no_signal_has_made_is_that_error() -> None:
    with pytest.raises(ZeroDivisionError), Signals().ending_at_once():
        raise ZeroDivisionError
