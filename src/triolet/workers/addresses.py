"""Addresses on which a server listens, as they are written on a command line, and their bound sockets."""

from __future__ import annotations

import logging
import os
import socket
import stat
from contextlib import suppress
from ipaddress import ip_address

from ..errors import ConfigError

__all__ = ["address", "bind", "bind_shared", "bind_status"]

logger = logging.getLogger("triolet.server")


def bind(text: str) -> socket.socket:
    """Bind a socket to ``host:port``, ``[ipv6]:port`` or ``unix:path``. It does not listen yet.

    Raises:
        ConfigError: the operator's fault; there is no such address, or it is taken.
    """
    try:
        if text.startswith("unix:"):
            return _bind_unix(text.removeprefix("unix:"))
        host, _, port = text.rpartition(":")
        return _bind_tcp(host.strip("[]"), int(port))
    except (OSError, ValueError, OverflowError) as error:
        raise ConfigError(f"cannot listen on {text!r}: {error}") from None


def bind_shared(text: str, count: int) -> list[socket.socket]:
    """Bind ``count`` sockets to one address. The kernel shares out connections among them, by a hash of addresses and
    ports (SO_REUSEPORT, socket(7)). Unix sockets cannot do that: there it is one socket, ``count`` times.

    Raises:
        ConfigError: the operator's fault; there is no such address, or it is taken, even if only by a socket that
            would share it.
    """
    first = bind(text)
    if first.family == socket.AF_UNIX:
        return [first, *(first.dup() for _ in range(count - 1))]
    # It was bound without sharing, which shows that the address is free; now the sockets that share it.
    name = first.getsockname()
    first.close()
    try:
        return [_bind_tcp(name[0], name[1], shared=True) for _ in range(count)]
    except OSError as error:
        raise ConfigError(f"cannot listen on {text!r}: {error}") from None


def bind_status(text: str) -> socket.socket:
    """Bind the operator's listener, as :func:`bind` does. A port alone is one of 127.0.0.1.

    Metrics are not for the public, so an address that is not the loopback's is warned of.

    Raises:
        ConfigError: the operator's fault; there is no such address, or it is taken.
    """
    listener = bind(f"127.0.0.1:{text}" if text.isdecimal() else text)
    name = listener.getsockname()
    if isinstance(name, tuple) and not ip_address(name[0]).is_loopback:
        logger.warning("metrics and health are open to whoever reaches %s: is that a network of yours alone?", text)
    return listener


def _bind_tcp(host: str, port: int, *, shared: bool = False) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
    except BaseException:
        listener.close()
        raise
    return listener


def _bind_unix(path: str) -> socket.socket:
    """Bind a Unix socket. A socket that a dead server has left there is removed first."""
    # To connect is the only way to see whether a server is alive behind it: a bound socket stays when its process dies.
    listener = socket.socket(socket.AF_UNIX)
    with suppress(OSError):
        if stat.S_ISSOCK(os.stat(path).st_mode):
            try:
                listener.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)
            listener.close()
            listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    return listener


def address(scheme: str, listener: socket.socket) -> str:
    """Return where a socket listens, as a URL."""
    name = listener.getsockname()
    if not isinstance(name, tuple):
        return f"unix:{name}"
    return f"{scheme}://[{name[0]}]:{name[1]}" if ":" in name[0] else f"{scheme}://{name[0]}:{name[1]}"
