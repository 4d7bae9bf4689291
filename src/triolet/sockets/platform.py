"""What only some systems have, and what stands in its place elsewhere: the one seam that knows the kernel's name.

``triolet serve`` is made for Linux. On macOS one process serves, for development: docs/how-to/serving.rst says what is
given where.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from typing import Final

__all__ = ["LINUX", "SHARES_PORTS", "tcp_options"]

LINUX: Final = sys.platform == "linux"

TCP_RXT_CONNDROPTIME: Final = 0x80
"""macOS's name for it, which Python does not know."""

SHARES_PORTS: Final = LINUX and hasattr(socket, "SO_REUSEPORT")
"""Whether the kernel shares out connections among sockets of one port. Elsewhere the option exists, and gives all of
them to one; there all workers accept on one socket."""


def tcp_options(notsent_bytes: int, user_timeout_seconds: float) -> Iterator[tuple[int, int]]:
    """The options of a TCP socket that are not everywhere, with their values, as far as this system has them.

    Args:
        notsent_bytes: what the kernel takes beyond what it has sent. Without it a stalled client is noticed later.
        user_timeout_seconds: after which a peer that acknowledges nothing is given up. Without it the kernel's own time
            holds, some minutes; what pings is found gone by those.
    """
    notsent = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if notsent is not None:
        yield notsent, notsent_bytes
    timeout = getattr(socket, "TCP_USER_TIMEOUT", None)
    if timeout is not None:
        yield timeout, int(user_timeout_seconds * 1000)
    elif sys.platform == "darwin":
        yield TCP_RXT_CONNDROPTIME, max(1, int(user_timeout_seconds))
