"""The clients: threads, each of which makes one visit after another, from addresses of the loopback."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from benchmarks.churn.requests import FINS, Visit

__all__ = ["make_visits"]

THREADS: Final = 24
PATIENCE_SECONDS: Final = 10.0
ADDRESSES: Final = 200
"""From so many addresses, so that the kernel has a port for each connection, whatever it remembers of the ended."""

NO_PORT: Final = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24)
_RESET: Final = struct.pack("ii", 1, 0)


class _Share:
    """Which visits are still to be made, and which did not go as they should."""

    def __init__(self, visits: Sequence[Visit], first: int, count: int) -> None:
        self._visits = visits
        self._next = first
        self._end = first + count
        self._lock = threading.Lock()
        self.missed: list[str] = []

    def take(self) -> int | None:
        with self._lock:
            if self._next >= self._end:
                return None
            self._next += 1
            return self._next - 1

    def visit(self, number: int) -> tuple[Visit, str]:
        """Every visit in turn, and each of them left in every way: the numbers have no common factor."""
        count = len(self._visits)
        return self._visits[number % count], FINS[(number // count) % len(FINS)]


def make_visits(address: tuple[str, int], visits: Sequence[Visit], first: int, count: int) -> list[str]:
    """Make so many visits. Returns which found no answer: none, where the server is well."""
    share = _Share(visits, first, count)
    threads = [threading.Thread(target=_visitor, args=(address, share)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return share.missed


def _visitor(address: tuple[str, int], share: _Share) -> None:
    contexts = {protocol: _trusting(protocol) for protocol in ("http/1.1", "h2")}
    while (number := share.take()) is not None:
        visit, end = share.visit(number)
        try:
            _visit(address, visit, end, f"127.0.1.{number % ADDRESSES + 1}", contexts)
        except (OSError, AssertionError) as error:
            share.missed.append(f"{visit.name}, {end}: {error!r}")


def _visit(address: tuple[str, int], visit: Visit, end: str, source: str, contexts: dict[str, ssl.SSLContext]) -> None:
    plain = socket.socket()
    wire = plain
    try:
        plain.settimeout(PATIENCE_SECONDS)
        plain.setsockopt(socket.IPPROTO_IP, NO_PORT, 1)
        plain.bind((source, 0))
        plain.connect(address)
        if visit.tls in contexts:
            wire = contexts[visit.tls].wrap_socket(plain)
        for sent, mark in visit.steps:
            wire.sendall(sent)
            _wait_for(wire, mark, visit)
        if end == "half":
            wire.shutdown(socket.SHUT_WR)
            if visit.tls != "h2":
                _read_some(wire)
        elif end == "reset":
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    finally:
        wire.close()


def _wait_for(wire: socket.socket, mark: bytes, visit: Visit) -> None:
    came = b""
    while mark not in came:
        data = wire.recv(1 << 16)
        assert data, f"it ended with {came[-60:]!r}"
        came += data


def _read_some(wire: socket.socket) -> None:
    """What is there, or comes in a moment: not to the end, which some answers do not have."""
    wire.settimeout(0.02)
    with suppress(OSError):
        while wire.recv(1 << 16):
            pass


def _trusting(protocol: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    return context


def hello() -> bytes:
    """The first bytes of a TLS handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = _trusting("h2").wrap_bio(incoming, outgoing)
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()
