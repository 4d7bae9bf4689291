"""The bound sockets that a worker listens on: its own, and those that are lent to it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress

import trio

from ..errors import ConfigError
from ..limits import Limits
from ..sockets.link import prepare

__all__ = ["Listeners", "NamedSocket", "close_listener", "listen", "take_name_away"]


class Listeners:
    """Listening sockets, each closed exactly once.

    A lent socket may be held by other processes as well: its queue, and a Unix socket's name, stay when it is closed
    here.

    Args:
        own: bound sockets of this worker's own.
        limits: ``backlog`` clients may wait in each one's queue; one that acknowledges nothing for ``silence_seconds``
            is given up by the kernel.
    """

    def __init__(self, own: Iterable[socket.socket], limits: Limits) -> None:
        self._own = list(own)
        self._limits = limits
        self._open: list[socket.socket] = []

    def __iter__(self) -> Iterator[socket.socket]:
        return iter(tuple(self._open))

    def listen(self) -> None:
        """Listen on the worker's own."""
        for listener in self._own:
            self.adopt(listener)

    def adopt(self, listener: socket.socket) -> None:
        """Listen on a bound socket too. Raises ConfigError as :func:`listen`."""
        prepare(listener, self._limits.silence_seconds)  # first: what connects from now on inherits it
        listen(listener, self._limits.backlog)
        self._open.append(listener)

    def release(self, listener: socket.socket) -> None:
        """Close a lent socket: the clients in its queue are for others that hold it. One that is closed already, or
        was never adopted, is left alone."""
        if listener in self._open:
            self._open.remove(listener)
            trio.lowlevel.notify_closing(listener)
            listener.close()

    def close(self) -> None:
        """Close all, also those of the worker's own that it has never listened on."""
        for listener in {*self._open, *self._own}:
            close_listener(listener, owned=listener in self._own)
        self._open.clear()


def listen(listener: socket.socket, backlog: int) -> None:
    """Listen on a bound socket.

    Raises:
        ConfigError: another one listens at its address already. Two may be bound there for as long as neither listens:
            two servers that start at the same time, or two options that say the same.
    """
    try:
        listener.listen(backlog)
    except OSError as error:
        name = listener.getsockname()
        at = f"{name[0]}:{name[1]}" if isinstance(name, tuple) else f"unix:{os.fsdecode(name)}"
        raise ConfigError(f"cannot listen on {at}: {error.strerror or error} (errno {error.errno})") from None


class NamedSocket(socket.socket):
    """A Unix socket that is bound to a name in the file system, and knows which file that is.

    The name alone would not tell: another server may have put its own socket there meanwhile.
    """

    path = ""
    identity: tuple[int, int] | None = None

    def bind_name(self, path: str) -> None:
        """Bind it. Raises OSError where the name is taken."""
        self.bind(path)
        self.path = os.path.abspath(path)
        self.identity = _identity(self.path)

    def has_name(self, path: str) -> bool:
        """Whether it is this socket that is found there, however the path is written."""
        return self.identity is not None and _identity(path) == self.identity

    def take_name_away(self) -> None:
        """Remove the name, if it is still this socket's. Doing it again does nothing."""
        take_name_away(self)


def take_name_away(listener: socket.socket) -> None:
    """Remove a Unix socket's name, if the file of that name is still the one that was made for it."""
    identity = getattr(listener, "identity", None)
    if identity is None:
        return
    path = listener.path  # type: ignore[attr-defined]  # what has an identity has a path
    with suppress(OSError):
        if _identity(path) == identity:
            os.unlink(path)
    listener.identity = None  # type: ignore[attr-defined]


def close_listener(listener: socket.socket, *, owned: bool = True) -> None:
    """Close a listening socket, and take a Unix socket's name away if it is owned. Closing it again does nothing."""
    if listener.fileno() < 0:
        return
    listener.close()
    if owned:
        take_name_away(listener)


def _identity(path: str) -> tuple[int, int] | None:
    with suppress(OSError):
        found = os.lstat(path)
        return found.st_dev, found.st_ino
    return None
