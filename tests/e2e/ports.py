"""Ports of the loopback for servers of the tests."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from contextlib import suppress
from itertools import count
from pathlib import Path

__all__ = ["OF_REDIS", "free_port"]

OF_SERVERS = range(22_000, 32_000)
"""Below the range from which the kernel takes ports for clients: in there a client that waits for the server could be
given the very port, and connect to itself."""
OF_REDIS = range(10_000, 12_000)
"""Below it too. Those of a cluster speak to each other 10,000 further up, where nobody else is."""

_numbers = count(os.getpid() * 1_301)
"""Chance has no part in it: that begins anew with each test's seed, and processes that run the same tests side by side
would try the same ports."""
_given = os.open(Path(tempfile.gettempdir(), f"triolet-ports-{os.getuid()}"), os.O_RDWR | os.O_CREAT, 0o600)
"""A file of which the byte N is locked by the process that was given port N, until it ends."""


def free_port(ports: range = OF_SERVERS) -> int:
    """Return a port that nobody listens on now, and that this process alone is given as long as it lives.

    A server that is killed and started again leaves its port free for a moment, and clients that it had come back to
    that port whoever has it then: without the lock that may be a server of another test's, or of another run's.
    """
    for _ in ports:
        port = ports[next(_numbers) % len(ports)]
        with socket.socket() as probe, suppress(OSError):
            fcntl.lockf(_given, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port")
