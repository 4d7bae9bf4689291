"""Ten thousand events that were missed, sent again to many clients at once: for those who keep a history."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import msgspec

from benchmarks.fanout.contestants import Contestant
from benchmarks.fanout.load import Load
from benchmarks.fanout.machine import cpu_seconds

__all__ = ["MISSED", "Replay", "replay"]

MISSED = 10_000
PATIENCE = 30.0


class Replay(msgspec.Struct, frozen=True):
    """Seconds until all had everything, the server's CPU, and the events that nobody got."""

    name: str
    transport: str
    clients: int
    seconds: float
    cpu: float
    events: int
    lost: int


def replay(server: Contestant, transport: str, program: Path, clients: int) -> Replay:
    """Publish, let the clients come, and wait until they have it all."""
    while server.published < MISSED:
        server.start(0, 16)
        time.sleep(0.2)
        server.stop()
    with ExitStack() as stack:
        cpu, start = cpu_seconds(server.pid), time.monotonic()
        path = server.history(transport)
        load = stack.enter_context(Load(program, server, transport, clients, path=path, in_flight=clients))
        expected = clients * MISSED
        counts, progress = load.counts(), time.monotonic()
        while counts.events < expected and time.monotonic() < progress + 3 and time.monotonic() < start + PATIENCE:
            time.sleep(0.01)
            now = load.counts()
            progress = time.monotonic() if now.events != counts.events else progress
            counts = now
        used = cpu_seconds(server.pid) - cpu
        lost = max(0, expected - counts.events)
        return Replay(server.name, transport, clients, progress - start, used, counts.events, lost)
