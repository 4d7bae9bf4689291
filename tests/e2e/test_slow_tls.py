"""Clients over TLS and HTTP/2 that stop reading, on real sockets: given up in time, and in nobody's way."""

from __future__ import annotations

import re
import selectors
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .certificate import make_certificate
from .crowd import SMALL_BUFFER
from .needs import needs, program
from .raw import DATA, Wire, h2, h2_get, http, read_h2, upgrade
from .server import PATIENCE, Server, serving, wait_for

pytestmark = needs("openssl")

ROOT = Path(__file__).parents[2]
URL = "/c/news/events"
WAYS = ("websocket", "sse", "http2", "window")
"""HTTP/1.1 twice; HTTP/2 with windows so wide that the kernel is the bound; and with those that every client begins
with, so that flow control is."""

EACH = 10
EVENTS = 600
PADDING = "x" * 1_000
RESET = 3
WIDE = h2(4, 0, 0, (4).to_bytes(2, "big") + (2**31 - 1).to_bytes(4, "big")) + h2(8, 0, 0, (2**30).to_bytes(4, "big"))
START = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FIRST = {
    "websocket": upgrade(URL),
    "sse": http(URL, "Accept: text/event-stream"),
    "http2": START + WIDE + h2_get(1, URL, ("accept", "text/event-stream")),
    "window": START + h2(4) + h2_get(1, URL, ("accept", "text/event-stream")),
}


class Client:
    """One that follows the channel. One that is not to read has little room in its kernel, or else in its window."""

    def __init__(self, server: Server, way: str, *, reads: bool) -> None:
        self.way = way
        protocol = "http/1.1" if way in ("websocket", "sse") else "h2"
        buffer = None if reads or way == "window" else SMALL_BUFFER
        self.wire = Wire(server.address, secure=True, protocols=[protocol], receive_buffer=buffer)
        self.wire.send(FIRST["http2" if way == "window" and reads else way])
        wait_for(lambda: self.wire.receive(0.1) and b"live" in self.heard, f"a live client by {way}")
        self.wire.socket.setblocking(False)

    @property
    def heard(self) -> bytes:
        """What came, without the framing of HTTP/2."""
        if self.way in ("websocket", "sse"):
            return self.wire.received
        return b"".join(data for kind, _, on, data in read_h2(self.wire.received) if kind == DATA and on == 1)

    @property
    def events(self) -> list[int]:
        return [int(number) for number in re.findall(rb'"n":(\d+)', self.heard)]

    @property
    def reset(self) -> bool:
        """Whether the server has reset its stream."""
        return any(kind == RESET and on == 1 for kind, _, on, _ in read_h2(self.wire.received))

    def read(self) -> None:
        """Take all that is there."""
        try:
            while not self.wire.ended:
                data = self.wire.socket.recv(1 << 16)
                self.wire.received += data
                self.wire.ended = not data
        except ssl.SSLWantReadError:
            pass
        except OSError:
            self.wire.ended = True


@contextmanager
def crowded(folder: Path, stall_seconds: float) -> Iterator[tuple[Server, list[Client], list[Client]]]:
    """A server with as many clients that read as that do not, by each way; those that do have read all there is."""
    arguments = ["--app-dir", str(ROOT), *make_certificate(folder), "--http2"]
    limits = {"stall_seconds": stall_seconds}
    with serving(folder, "tests.e2e.slow_app:app", arguments=arguments, limits=limits) as server:
        fast = [Client(server, way, reads=True) for way in WAYS for _ in range(EACH)]
        slow = [Client(server, way, reads=False) for way in WAYS for _ in range(EACH)]
        try:
            for first in range(0, EVENTS, 100):
                server.publish_many("news", [{"n": n, "pad": PADDING} for n in range(first, first + 100)])
            read(fast, lambda: all(client.heard.count(b'"n":') == EVENTS for client in fast), "everything")
            yield server, fast, slow
        finally:
            for client in [*fast, *slow]:
                client.wire.socket.close()


def read(clients: list[Client], until: Callable[[], bool], what: str) -> None:
    """Read for these clients until something is so."""
    deadline = time.monotonic() + 2 * PATIENCE
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client.wire.socket, selectors.EVENT_READ, client)
            client.read()
        while not until():
            assert time.monotonic() < deadline, f"waited for: {what}"
            for key, _ in selector.select(0.1):
                key.data.read()
                if key.data.wire.ended:
                    selector.unregister(key.fileobj)


def state(server: Server) -> dict[str, Any]:
    return dict(server.request("GET", "/state"))


def test_40_stalled_of_80_are_given_up_in_time_and_the_others_hear_everything(tmp_path: Path) -> None:
    with crowded(tmp_path, stall_seconds=3) as (server, fast, slow):
        assert all(client.events == [*range(EVENTS)] for client in fast)
        waited = server.waited_for_a_core()
        wait_for(lambda: state(server)["connections"] == len(fast), "the stalled to be given up")
        assert max(state(server)["gone_after"]) < 3 + 1 + server.waited_for_a_core() - waited
        windows = [client for client in slow if client.way == "window"]
        read(windows, lambda: all(client.reset for client in windows), "their streams to be reset")
        assert not any(client.wire.ended for client in fast)
        assert server.crashes() == []


def test_a_server_with_40_stalled_of_80_ends_within_its_grace_and_says_bye_to_the_others(tmp_path: Path) -> None:
    with crowded(tmp_path, stall_seconds=60) as (server, fast, _):
        assert state(server)["connections"] == 80
        assert server.process is not None
        server.process.terminate()
        read(fast, lambda: all(b"restarting" in client.heard for client in fast), "a bye")
        assert server.wait() == 0
        assert server.crashes() == []


def test_a_client_may_renew_its_keys_and_ask_for_ours(tmp_path: Path) -> None:
    """It takes for a command what it reads alone: each line is written when the one before has done its work."""
    said = tmp_path / "said"
    with serving(tmp_path, arguments=make_certificate(tmp_path)) as server, said.open("wb") as output:
        command = [program("openssl"), "s_client", "-tls1_3", "-connect", f"127.0.0.1:{server.port}"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=output) as client:
            assert client.stdin is not None
            wait_for(lambda: b"Verify return code" in said.read_bytes(), "TLS to be agreed on")
            for turn in (1, 2):
                for line, answer in ((b"K\n", b"KEYUPDATE"), (http("/"), b"HTTP/1.1 200")):
                    client.stdin.write(line)
                    client.stdin.flush()
                    wait_for(lambda: said.read_bytes().count(answer) == turn, f"{answer!r}")  # noqa: B023 - called at once
            client.stdin.close()
    assert server.crashes() == []
