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


def test_an_error_that_no_signal_has_made_is_that_error() -> None:
    with pytest.raises(ZeroDivisionError), Signals().ending_at_once():
        raise ZeroDivisionError
