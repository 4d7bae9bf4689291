"""What every test shares: the same random inputs on every run, no real time, and the meaning of ``@needs``."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import trio
from trio.testing import MockClock

from triolet.budget import Budget
from triolet.limits import Limits

from .e2e.needs import give_up, missing
from .without_linux import take_away

if os.environ.get("TRIOLET_WITHOUT_LINUX"):
    take_away()

hypothesis.settings.register_profile("house", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("house")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or in CI fail, a test whose ``@needs`` this machine does not meet."""
    wanted = [tool for mark in item.iter_markers("needs") for tool in mark.args]
    if absent := missing(tuple(dict.fromkeys(wanted))):
        give_up(absent)


class RealWaits(trio.abc.Instrument):
    """Counts the times that a run waited until a deadline came, as the system's clock goes.

    A wait that something ended is none: SQLite's threads are waited for, whatever the clock.
    """

    count = 0

    def __init__(self) -> None:
        self._since = 0.0

    def before_io_wait(self, timeout: float) -> None:
        self._since = _real_time.current_time()

    def after_io_wait(self, timeout: float) -> None:
        if 0 < timeout <= _real_time.current_time() - self._since:
            RealWaits.count += 1


_real_time = MockClock(rate=1)
_run = trio.run


@wraps(_run)
def _watched_run(*args: Any, instruments: Sequence[trio.abc.Instrument] = (), **options: Any) -> Any:
    return _run(*args, instruments=[*instruments, RealWaits()], **options)


setattr(trio, "run", _watched_run)  # noqa: B010  # before pytest-trio looks for it; mypy allows no other function there


@pytest.fixture(autouse=True)
def _no_real_time_passes(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test, unless it is end to end, that waited for the system's clock."""
    before = RealWaits.count
    yield
    waits = RealWaits.count - before
    if waits and "e2e" not in request.path.parts:
        pytest.fail(f"waited {waits} times for the system's clock: take autojump_clock, or triolet.testing.play")


@pytest.fixture
def limits() -> Limits:
    """The defaults: tests of a bound say ``Limits(what=…)`` themselves."""
    return Limits()


@pytest.fixture(autouse=True)
def _no_descriptor_is_left() -> Iterator[None]:
    """Fail a test that leaves a file or a socket open."""
    before = _descriptors().keys()
    yield
    left = {number: what for number, what in _descriptors().items() if number not in before}
    if left:
        gc.collect()
        left = {number: what for number, what in _descriptors().items() if number in left}
    assert not left, f"left open: {left}"


@pytest.fixture(autouse=True)
def _no_byte_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test whose servers, once they have ended, still count a byte as held for a client."""
    budgets: list[Budget] = []

    class Recorded(Budget):
        __slots__ = ()

        def __init__(self, ceiling: int) -> None:
            super().__init__(ceiling)
            budgets.append(self)

    monkeypatch.setattr("triolet.server.worker.Budget", Recorded)
    monkeypatch.setattr("triolet.app.service.Budget", Recorded)
    yield
    left = [budget.held for budget in budgets if budget.held]
    assert not left, f"bytes left: {left}"


def _descriptors() -> dict[str, str]:
    """What this process has open, by number (Linux; nothing is checked elsewhere)."""
    opened = {}
    for link in Path("/proc/self/fd").glob("*"):
        try:
            opened[link.name] = os.readlink(link)
        except OSError:
            continue  # the listing's own
    return opened
