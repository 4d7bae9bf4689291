"""What a service reads from systemd's environment."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from triolet import ConfigError
from triolet.workers.addresses import passed_sockets
from triolet.workers.systemd import Notifier


def test_sockets_are_passed_to_the_process_that_is_meant() -> None:
    environment = {"LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b", "HOME": "/"}
    assert passed_sockets(environment, 7) == ["fd://3", "fd://4"]
    assert environment == {"HOME": "/"}, "a child is not meant"


@pytest.mark.parametrize("environment", [{}, {"LISTEN_PID": "8", "LISTEN_FDS": "1"}, {"LISTEN_PID": "7"}])
def test_nothing_is_passed_to_others(environment: dict[str, str]) -> None:
    assert passed_sockets(environment, 7) == []


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "junk", "9" * 400, "9" * 5000])
def test_a_number_that_is_none_of_systemds_is_left_alone(number: str) -> None:
    assert passed_sockets({"LISTEN_PID": "7", "LISTEN_FDS": number}, 7) == []
    assert Notifier.of({"WATCHDOG_USEC": number}, 7)._watchdog_seconds is None


def test_more_sockets_than_can_be_served_are_refused() -> None:
    with pytest.raises(ConfigError, match="systemd has passed 1000000 sockets, and a server listens on 64 at most"):
        passed_sockets({"LISTEN_PID": "7", "LISTEN_FDS": "1000000"}, 7)


@pytest.mark.parametrize("address", ["/no/such/socket", "@no-such-name", f"/{'x' * 200}", "vsock:2:1"])
def test_a_systemd_that_does_not_hear_is_a_line_in_the_log_once(address: str, caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier.of({"NOTIFY_SOCKET": address}, 7)
    notifier.reloading()
    notifier.ready()
    (record,) = caplog.records
    assert f"systemd is not told RELOADING=1 over NOTIFY_SOCKET={address}: " in record.message


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
