"""What every test shares: the same random inputs on every run, no real time, and the meaning of ``@needs``."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import wraps
from typing import Any

import hypothesis
import pytest
import trio
from trio.testing import MockClock

from triolet.bounds import POLLED_PRESENCE_SECONDS
from triolet.budget import Budget
from triolet.limits import Limits
from triolet.presence.sessions import Session
from triolet.server.worker import Worker
from triolet.testing import server as testing_server
from triolet.testing.network import MemoryLink
from triolet.testing.server import MemoryServer

from .e2e.needs import give_up, missing
from .leaks import Leaks, describe, left, let_go_of_records
from .loggers import kept_as_they_were
from .without_linux import take_away

if os.environ.get("TRIOLET_WITHOUT_LINUX"):
    take_away()

DESCRIPTORS = "/proc/self/fd"

hypothesis.settings.register_profile("house", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("house")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Take everything that was imported out of the sight of :func:`gc.get_objects`, which then costs next to nothing.
    What a test has left is taken out behind it."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Function) -> Iterator[None]:
    """Fail a test that has left an object of a connection's, when its fixtures have gone as well."""
    try:
        yield
        item.funcargs.clear()
        # The traceback of a test that has failed is shown, and holds all of it; so do those of tests that a test runs.
        if not _failed.pop(item.nodeid, False) and "pytester" not in item.fixturenames:
            things = left()
            assert not things, describe(things)
    finally:
        gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    """Remember which test has failed."""
    if call.when != "teardown" and call.excinfo is not None:
        _failed[item.nodeid] = True
    return (yield)


_failed: dict[str, bool] = {}


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
def _loggers_are_put_back() -> Iterator[None]:
    """The command sets up the log of a process, and a test is only a part of one."""
    with kept_as_they_were():
        yield


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


@pytest.fixture(autouse=True)
def _no_connection_is_left(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Fail a test whose server, when all clients have gone and while it still runs, holds an object of one of them."""
    leaks = Leaks()
    enter, all_leave = MemoryServer.enter, testing_server._check_all_leave

    @wraps(enter)
    def watched_enter(server: MemoryServer, link: MemoryLink, address: str) -> None:
        leaks.client_comes(server)
        enter(server, link, address)

    async def check_all_leave(server: MemoryServer) -> None:
        await all_leave(server)
        let_go_of_records(caplog.get_records("call"))
        if any(isinstance(thing, Session) for thing in leaks.all_have_left()):  # members that poll stay for a moment
            await trio.sleep(2 * POLLED_PRESENCE_SECONDS)
        things = leaks.all_have_left()
        assert not things, describe(things)

    def made(*args: Any, **options: Any) -> Worker:
        leaks.server_made()
        return Worker(*args, **options)

    monkeypatch.setattr(testing_server, "Worker", made)
    monkeypatch.setattr(MemoryServer, "enter", watched_enter)
    monkeypatch.setattr(testing_server, "_check_all_leave", check_all_leave)


def _descriptors() -> dict[str, str]:
    """What this process has open, by number (Linux; nothing is checked elsewhere)."""
    opened = {}
    with suppress(FileNotFoundError):
        for number in os.listdir(DESCRIPTORS):
            with suppress(OSError):  # the listing's own
                opened[number] = os.readlink(f"{DESCRIPTORS}/{number}")
    return opened
