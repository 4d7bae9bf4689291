"""Answers that are asked for and not read: what the process holds for them stays near the memory ceiling."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from ..certificate import make_certificate
from ..needs import needs
from ..raw import PREFACE, SETTINGS, Wire, h2, h2_get, http, statuses
from ..server import Server, serving, wait_for

MEMORY = 50 << 20
LIMITS = {"memory_bytes": MEMORY, "write_seconds": 10}
CLOSED_WINDOW = h2(SETTINGS, payload=b"\x00\x04\x00\x00\x00\x00")
PAGES = {"poll": "/c/unread/events?after=0", "page": "/blob/262144", "small page": "/blob/30000"}
PATHS = pytest.mark.parametrize("path", PAGES.values(), ids=PAGES)


@pytest.fixture
def attacked(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server with a small ceiling. In the end it is there, holds little more, and answers."""
    arguments = [*make_certificate(tmp_path), "--http2"] if request.param == "h2" else []
    with serving(tmp_path, limits=LIMITS, arguments=arguments) as server:
        for _ in range(40):
            server.publish("unread", "x" * 50_000)
        with most_memory(server) as most:
            yield server
            assert most() < 1.5 * MEMORY, f"{most() >> 20} MiB more"
        is_welcome(server, 15)


@contextmanager
def most_memory(server: Server) -> Iterator[Callable[[], int]]:
    """Watch how much more the process holds than at the begin; what is yielded tells the most, in bytes."""
    begin = most = server.memory()
    done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.02):
            most = max(most, server.memory())

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield lambda: most - begin
    finally:
        done.set()
        watching.join()


def is_welcome(server: Server, seconds: float) -> None:
    """A newcomer is let in and answered within so many seconds. That others have the cores is not the server's fault:
    it has some seconds' worth of work to do, for which it may have to wait ten times as long."""
    began, waited = time.monotonic(), server.waited_for_a_core()
    wait_for(lambda: _is_answered(server), "a newcomer to be let in", 100)
    took = time.monotonic() - began - (server.waited_for_a_core() - waited)
    assert took < seconds, f"a newcomer was let in after {took:.1f} s"


def _is_answered(server: Server) -> bool:
    with suppress(OSError), Wire(server.address, secure=server.secure) as wire:
        wire.send(http("/", "Connection: close"))
        return statuses(wire.receive_all(100)) == [200]
    return False


@needs("openssl")
@PATHS
@pytest.mark.parametrize("attacked", ["h2"], indirect=True)
def test_2500_streams_with_closed_windows_hold_no_more_than_the_ceiling(attacked: Server, path: str) -> None:
    with ExitStack() as stack:
        for _ in range(25):
            with suppress(OSError):  # turned away
                wire = stack.enter_context(Wire(attacked.address, secure=True, protocols=["h2"]))
                wire.send(PREFACE + CLOSED_WINDOW + b"".join(h2_get(2 * n + 1, path) for n in range(100)))
        time.sleep(3)
        is_welcome(attacked, 10)


@PATHS
@pytest.mark.parametrize("attacked", ["http/1.1"], indirect=True)
def test_400_connections_that_do_not_read_hold_no_more_than_the_ceiling(attacked: Server, path: str) -> None:
    with ExitStack() as stack:
        for _ in range(400):
            with suppress(OSError):  # turned away
                stack.enter_context(Wire(attacked.address, receive_buffer=4_096)).send(http(path) * 20)
        time.sleep(3)
        is_welcome(attacked, 10)


@pytest.mark.parametrize("attacked", ["http/1.1"], indirect=True)
def test_400_requests_that_do_not_end_hold_no_more_than_the_ceiling(attacked: Server) -> None:
    head = http("/form", "Content-Length: 1000000", "Content-Type: text/plain", method="POST")
    with ExitStack() as stack:
        for _ in range(400):
            with suppress(OSError):  # turned away
                stack.enter_context(Wire(attacked.address)).send(head + bytes(900_000))
        time.sleep(1)
        is_welcome(attacked, 10)
