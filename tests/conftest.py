"""What every test shares: the same random inputs on every run, and the meaning of ``@needs``."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from triolet.budget import Budget
from triolet.limits import Limits

from .e2e.needs import give_up, missing

hypothesis.settings.register_profile("house", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("house")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or in CI fail, a test whose ``@needs`` this machine does not meet."""
    wanted = [tool for mark in item.iter_markers("needs") for tool in mark.args]
    if absent := missing(tuple(dict.fromkeys(wanted))):
        give_up(absent)


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
    monkeypatch.setattr("triolet.service.Budget", Recorded)
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
