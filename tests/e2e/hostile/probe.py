"""What a hostile request is: a name, steps, and what must come of it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..raw import CLOSE, Wire, read_frames, read_h2, statuses
from ..server import PATIENCE, Server

Step = bytes | Callable[[Wire], object]
Expectation = Callable[[Wire], str]
"""Says what is missing in what the wire has received so far, or nothing when all is as it must be."""

_numbers = itertools.count(10_000)


@dataclass(frozen=True)
class Probe:
    """One hostile connection.

    ``TOKEN`` in bytes stands for a word of five characters that is new each time; a request for ``/hit/TOKEN``
    must not arrive at the app more than ``hits`` times. ``tunnelled`` says that the expectation holds behind a
    proxy as well: it is about bytes that a proxy passes on as they are.
    """

    name: str
    steps: Sequence[Step]
    expect: Expectation
    tunnelled: bool = False
    hits: int = 0
    seconds: float = 6

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def run(probe: Probe, server: Server, wire: Wire, *, proxied: bool = False) -> None:
    """Take the steps on a fresh connection and see what comes; the connection is closed afterwards."""
    token = str(next(_numbers)).encode()
    expect = probe.expect if probe.tunnelled or not proxied else unharmed
    smuggles = any(isinstance(step, bytes) and b"/hit/TOKEN" in step for step in probe.steps)
    with wire:
        for step in probe.steps:
            if isinstance(step, bytes):
                wire.send(step.replace(b"TOKEN", token))
            else:
                step(wire)
        deadline = time.monotonic() + probe.seconds
        while (complaint := expect(wire)) and not wire.ended and time.monotonic() < deadline:
            wire.receive(0.1)
        assert not complaint, f"{complaint}; got {wire.received[:600]!r}, ended: {wire.ended}"
        assert 500 not in statuses(wire.received), wire.received[:600]
        if smuggles:
            hits = settle(wire, server, token)
            assert proxied or hits <= probe.hits, f"the hidden request arrived: {wire.received!r}"


def settle(wire: Wire, server: Server, token: bytes) -> int:
    """Take what still comes, until there is a pause, and as many requests have arrived as were answered. Returns how
    many have."""
    deadline = time.monotonic() + PATIENCE
    while True:
        while not wire.ended and wire.receive(0.15):
            pass
        hits = int(server.request("GET", f"/hits/{token.decode()}")["hits"])
        answered = wire.received.count(b"hit " + token)
        if hits == answered:
            return hits
        assert time.monotonic() < deadline, f"{hits} arrived, {answered} were answered: {wire.received!r}"


# --- steps


def upgraded(target: str, *headers: str) -> Step:
    """Open a WebSocket."""
    return lambda wire: wire.open_websocket(target, *headers)


def until(mark: bytes) -> Step:
    """Wait for these bytes."""
    return lambda wire: wire.receive_until(mark)


def pause(seconds: float) -> Step:
    """Do nothing for a while, as a slow client does."""
    return lambda wire: time.sleep(seconds)


def unread(wire: Wire) -> None:
    """Read nothing until the server has given this connection up, or 10 s have passed."""
    own, server = wire.socket.getsockname()[1], wire.socket.getpeername()[1]
    deadline = time.monotonic() + 10
    while _is_open(server, own) and time.monotonic() < deadline:
        time.sleep(0.05)


def _is_open(near: int, far: int) -> bool:
    """Whether the kernel has an open connection from one port of this machine to another (proc(5): net/tcp)."""
    fields = (line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:])
    return any((_port(line[1]), _port(line[2]), line[3]) == (near, far, "01") for line in fields)


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def drip(data: bytes, seconds: float = 0.002) -> Step:
    """Send byte by byte."""

    def step(wire: Wire) -> None:
        for number in range(len(data)):
            if not wire.send(data[number : number + 1]):
                return
            time.sleep(seconds)

    return step


def again(data: bytes, times: int) -> Step:
    """Send the same many times, in big portions; stop when nobody takes it."""

    def step(wire: Wire) -> None:
        portion = max(1, (1 << 16) // len(data))
        for start in range(0, times, portion):
            if not wire.send(data * min(portion, times - start)):
                return

    return step


def end_sending(wire: Wire) -> None:
    wire.end_sending()


def reset(wire: Wire) -> None:
    wire.reset()
    wire.ended = True


# --- expectations


def unharmed(wire: Wire) -> str:
    """Whatever comes is right, as long as it harms nobody."""
    return ""


def ends(wire: Wire) -> str:
    """The server ends the connection."""
    return "" if wire.ended else "the connection was not ended"


def refused(*allowed: int) -> Expectation:
    """One answer, a refusal, and then the end of the connection."""
    codes = allowed or (400,)

    def expectation(wire: Wire) -> str:
        found = statuses(wire.received)
        if len(found) != 1 or found[0] not in codes:
            return f"answers {found}, not one of {codes}"
        return ends(wire)

    return expectation


def turned_away(wire: Wire) -> str:
    """At most one answer, of the 4xx kind (or 501, 505), and the end: some things deserve no answer."""
    found = statuses(wire.received)
    if len(found) > 1 or not all(400 <= status < 500 or status in (501, 505) for status in found):
        return f"answers {found}, not one refusal"
    return ends(wire)


def answered(*codes: int) -> Expectation:
    """Exactly these answers; the connection may stay."""

    def expectation(wire: Wire) -> str:
        found = statuses(wire.received)
        return "" if found == list(codes) else f"answers {found}, not {list(codes)}"

    return expectation


def answered_with(*allowed: int) -> Expectation:
    """One answer, with one of these codes; the connection may stay."""

    def expectation(wire: Wire) -> str:
        found = statuses(wire.received)
        return "" if len(found) == 1 and found[0] in allowed else f"answers {found}, not one of {allowed}"

    return expectation


def closed(*codes: int) -> Expectation:
    """A WebSocket close frame with one of these codes, and then the end of the connection."""

    def expectation(wire: Wire) -> str:
        found = [payload for opcode, payload in read_frames(wire.received) if opcode == CLOSE]
        if len(found) != 1:
            return f"{len(found)} close frames"
        code = int.from_bytes(found[0][:2], "big") if found[0] else 1005
        return ends(wire) if code in codes else f"closed with {code}, not with one of {codes}"

    return expectation


def says(mark: bytes) -> Expectation:
    """These bytes come."""
    return lambda wire: "" if mark in wire.received else f"no {mark!r}"


def h2_refused(wire: Wire) -> str:
    """GOAWAY or RST_STREAM or the end; never an interim success."""
    kinds = {kind for kind, _, _, _ in read_h2(wire.received)}
    return "" if wire.ended or kinds & {3, 7} else f"only frames of kinds {sorted(kinds)}"
