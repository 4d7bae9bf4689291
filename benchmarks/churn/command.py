"""Clients come to two servers, one of them with TLS and HTTP/2, and leave at every stage. Is memory flat, nothing held?

    python -m benchmarks.churn

200,000 of them take some eight minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.churn.crowd import hello, make_visits
from benchmarks.churn.requests import Visit, http2_visits, visits
from triolet.http.bounds import REQUEST_BYTES

__all__ = ["GROWTH_BYTES", "Look", "churn", "main", "plain_visits", "secure_visits"]

CONNECTIONS: Final = 200_000
WARM: Final = 20_000
"""Before that many, memory may grow: caches fill, and the allocator finds its size."""
LOOKS: Final = 8
GROWTH_BYTES: Final = 2 << 20
PORTS: Final = range(12_000, 20_000)
START_SECONDS: Final = 60
SETTLE_SECONDS: Final = 45
"""Within which all is let go of when the last client of a part has left: a head has 10 s to come, a goodbye 5."""
REMEMBERED: Final = {"Event", "Cursor", "Closing", "ConnectionSnapshot", "FollowerSnapshot", "Happening"}
ROOT: Final = Path(__file__).parents[2]


class Look(msgspec.Struct, frozen=True):
    """What a server held after so many clients had come and gone."""

    visits: int
    rss: int
    objects: int
    ours: dict[str, int]
    held: dict[str, int]
    missed: list[str]
    seconds: float


def plain_visits() -> list[Visit]:
    """Without TLS."""
    return list(visits())


def secure_visits() -> list[Visit]:
    """With TLS: gone in the handshake, over HTTP/1.1, over HTTP/2."""
    first = hello()
    handshakes = [Visit("before TLS", (), "hello")]
    handshakes += [
        Visit(f"TLS: in the handshake, {at}", ((first[:at], b""),), "hello") for at in (1, 5, 60, len(first))
    ]
    return [*handshakes, *visits("http/1.1"), *http2_visits()]


def churn(ways: Sequence[Visit], count: int, warm: int, looks: int, say: Callable[[Look], None], *more: str) -> None:
    """Have so many clients come and go, and look at what is held: after ``warm`` of them, and ``looks`` times more."""
    with tempfile.TemporaryDirectory() as folder, _serving(Path(folder), *more) as port:
        made = 0
        parts = [warm, *[(count - warm) // looks] * looks]
        for part in parts:
            began = time.monotonic()
            missed = make_visits(("127.0.0.1", port), ways, made, part)
            made += part
            seconds = time.monotonic() - began
            say(_look(port, bool(more), made, missed, seconds))


def secure_arguments(folder: Path) -> list[str]:
    """Make a certificate, and return the arguments that serve with it."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    return ["--certfile", str(certificate), "--keyfile", str(key), "--http2"]


def grown(first: Look, last: Look) -> dict[str, int]:
    """Of which types of ours, but for events and what is remembered of the ended, there are more, and how many."""
    more = {name: number - first.ours.get(name, 0) for name, number in last.ours.items() if name not in REMEMBERED}
    return {name: number for name, number in more.items() if number > 0}


def verdict(seen: Sequence[Look]) -> str:
    """What is wrong: empty where nothing is."""
    more = max(look.rss for look in seen) - seen[0].rss
    wrong = [f"memory grew by {more / 1e6:.1f} MB"] if more > GROWTH_BYTES else []
    wrong += [f"there are more {types}"] if (types := grown(seen[0], seen[-1])) else []
    wrong += [f"after {look.visits:,}: held {look.held}" for look in seen if look.held]
    wrong += [f"{len(look.missed)} found no answer, as {look.missed[:3]}" for look in seen if look.missed]
    return "; ".join(wrong)


def main() -> None:
    """Run both, and exit with 1 where something is left."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.churn", description="clients that leave at every stage")
    parser.add_argument("--connections", type=int, default=CONNECTIONS, help="in all, default %(default)s")
    parser.add_argument(
        "--warm", type=int, default=WARM, help="of each server's before memory must be flat, default %(default)s"
    )
    options = parser.parse_args()
    wrong = ""
    with tempfile.TemporaryDirectory() as folder:
        secure = secure_arguments(Path(folder))
        for name, ways, share, more in (
            ("plain", plain_visits(), 0.6, []),
            ("TLS and HTTP/2", secure_visits(), 0.4, secure),
        ):
            seen: list[Look] = []
            print(f"{name}: {len(ways)} ways to leave, by FIN, half a FIN and RST", flush=True)

            def say(look: Look, seen: list[Look] = seen) -> None:
                seen.append(look)
                print(_line(look, seen[0]), flush=True)

            churn(ways, int(options.connections * share), options.warm, LOOKS, say, *more)
            wrong += verdict(seen)
    print(wrong or "flat: nothing is left")
    sys.exit(bool(wrong))


def _line(look: Look, first: Look) -> str:
    grown = (look.rss - first.rss) / 1e6
    missed = f", {len(look.missed)} found no answer" if look.missed else ""
    return (
        f"  {look.visits:>7,} gone: {look.rss / 1e6:6.1f} MB ({grown:+.2f}), {look.objects:,} objects, "
        f"held {look.held or 'nothing'}{missed}; {look.seconds:.0f} s"
    )


@contextmanager
def _serving(folder: Path, *more: str) -> Iterator[int]:
    port = _free_port()
    command = [sys.executable, "-m", "triolet", "serve", "benchmarks.churn.app:app", "--bind", f"127.0.0.1:{port}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen([*command, "--grace", "2", *more], cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        _wait_until_open(port, server, folder / "server.log")
        yield port
    finally:
        server.terminate()
        server.wait(20)


def _free_port() -> int:
    """A port that nobody listens on, below those that the kernel gives clients: in there one that waits for the server
    could be given the very port, and connect to itself."""
    for number in range(len(PORTS)):
        port = PORTS[(os.getpid() * 1_301 + number) % len(PORTS)]
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port")


def _wait_until_open(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        assert server.poll() is None, log.read_text(errors="replace")[-2_000:]
        assert time.monotonic() < deadline, f"it does not listen after {START_SECONDS} s"
        time.sleep(0.05)


def _look(port: int, secure: bool, made: int, missed: list[str], seconds: float) -> Look:
    """Wait until nothing is held, or the time for that is over."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        said = _ask(port, secure)
        held = _held(said)
        if not held or time.monotonic() > deadline:
            return Look(made, said["rss"], said["objects"], said["ours"], held, missed, seconds)
        time.sleep(0.25)


def _held(said: dict[str, Any]) -> dict[str, int]:
    """What is held for others than the one that asks."""
    lasting = {"windows", "tail_events", "presence_sessions", "tail"}
    connections = {**said["connections"], "http": said["connections"].get("http", 0) - 1}
    sizes = {**said["bytes"], "http": said["bytes"]["http"] - REQUEST_BYTES}
    kinds = {**connections, **said["things"], **{f"{kind} bytes": size for kind, size in sizes.items()}}
    return {kind: number for kind, number in kinds.items() if number and kind.removesuffix(" bytes") not in lasting}


def _ask(port: int, secure: bool) -> dict[str, Any]:
    context = ssl._create_unverified_context() if secure else None  # the certificate is our own
    url = f"{'https' if secure else 'http'}://127.0.0.1:{port}/held"
    with urllib.request.urlopen(url, timeout=30, context=context) as answer:
        said: dict[str, Any] = json.load(answer)
    return said
