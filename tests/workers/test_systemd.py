"""What a service reads from systemd's environment."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from triolet.workers.addresses import passed_sockets
from triolet.workers.systemd import Notifier


def test_sockets_are_passed_to_the_process_that_is_meant() -> None:
    environment = {"LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b", "HOME": "/"}
    assert passed_sockets(environment, 7) == ["fd://3", "fd://4"]
    assert environment == {"HOME": "/"}, "a child is not meant"


@pytest.mark.parametrize("environment", [{}, {"LISTEN_PID": "8", "LISTEN_FDS": "1"}, {"LISTEN_PID": "7"}])
def test_nothing_is_passed_to_others(environment: dict[str, str]) -> None:
    assert passed_sockets(environment, 7) == []


def test_a_watchdog_is_one_that_watches_this_process() -> None:
    assert Notifier.of({"WATCHDOG_USEC": "2000000"}, 7)._watchdog_seconds == 2
    assert Notifier.of({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "7"}, 7)._watchdog_seconds == 2
    assert Notifier.of({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "8"}, 7)._watchdog_seconds is None
    assert Notifier.of({"WATCHDOG_USEC": "junk"}, 7)._watchdog_seconds is None


async def test_signs_of_life_come_twice_in_the_time_that_systemd_waits(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: list[float] = []
    notifier = Notifier.of({"WATCHDOG_USEC": "2000000", "NOTIFY_SOCKET": "/none"}, 7)
    monkeypatch.setattr(notifier, "_say", lambda *_: times.append(trio.current_time()))
    with trio.move_on_after(4.5):
        await notifier.keep_alive()
    assert times == [0, 1, 2, 3, 4]


async def test_without_systemd_nobody_is_told(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triolet.workers.systemd.socket", None)  # whoever makes one fails
    notifier = Notifier.of({}, 7)
    notifier.ready()
    notifier.reloading()
    notifier.stopping()
    with trio.fail_after(1):
        await notifier.keep_alive()
    assert trio.current_time() == 0
