"""The bound sockets that a worker listens on: its own, and those that are lent to it."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

import trio

from ..errors import ConfigError
from ..limits import Limits
from ..sockets.link import prepare

__all__ = ["Listeners", "NamedSocket", "close_listener", "listen", "take_name_away"]

LOCK: Final = ".lock"
"""How the name of the file ends that is locked beside a Unix socket's."""


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


def listen(listener: socket.socket, backlog: int, option: str = "--bind") -> None:
    """Listen on a bound socket.

    Args:
        listener: the socket.
        backlog: how many clients may wait in its queue.
        option: which one has named its address.

    Raises:
        ConfigError: another one listens at its address already. Two may be bound there for as long as neither listens:
            two servers that start at the same time, or two options that say the same.
    """
    try:
        listener.listen(backlog)
    except OSError as error:
        name = listener.getsockname()
        at = f"{name[0]}:{name[1]}" if isinstance(name, tuple) else f"unix:{os.fsdecode(name)}"
        raise ConfigError(
            f"cannot listen on {at} ({option}): {error.strerror or error} (errno {error.errno})"
        ) from None


class NamedSocket(socket.socket):
    """A Unix socket that is bound to a name in the file system, and knows which file that is.

    The name alone would not tell: another server may have put its own socket there meanwhile.

    One that is bound and does not listen yet refuses who connects, as one does whose server is dead. So a lock on a
    file beside it, which the kernel lets go of with the process, says that its server is alive. Who has the lock may
    take away a name at which nobody answers. Who has not just binds, and fails where the name is taken.
    """

    path = ""
    identity: tuple[int, int] | None = None
    lock: int | None = None

    def claim_name(self, path: str) -> None:
        """Lock a name, and take it away if a dead server has left it. Raises OSError where that is not allowed."""
        self.path = os.path.abspath(path)
        self.lock = _lock(self.path + LOCK)
        if self.lock is not None and _is_dead(self.path):
            os.unlink(self.path)

    def bind_name(self) -> None:
        """Bind it to the name that was claimed. Raises OSError where it is taken."""
        self.bind(self.path)
        self.identity = _identity(self.path)
        if self.lock is None:  # whoever had it was about to end
            self.lock = _lock(self.path + LOCK)

    def has_name(self, path: str) -> bool:
        """Whether it is this socket that is found there, however the path is written."""
        return self.identity is not None and _identity(path) == self.identity

    def release_lock(self) -> None:
        """Let go of the name. Doing it again does nothing."""
        lock, self.lock = self.lock, None
        if lock is not None:
            with suppress(OSError):
                os.unlink(self.path + LOCK)
            os.close(lock)


def take_name_away(listener: socket.socket) -> None:
    """Remove a Unix socket's name, if the file of that name is still the one that was made for it."""
    identity = getattr(listener, "identity", None)
    if identity is not None:
        path = listener.path  # type: ignore[attr-defined]  # what has an identity has a path
        with suppress(OSError):
            if _identity(path) == identity:
                os.unlink(path)
        listener.identity = None  # type: ignore[attr-defined]  # as above
    if isinstance(listener, NamedSocket):
        listener.release_lock()


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


def _lock(path: str) -> int | None:
    """Lock a file, which is made for it; None where another has locked it, or it cannot be made."""
    while True:
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        except OSError:
            return lock  # a file system that knows no locks
        found = os.fstat(lock)
        if _identity(path) == (found.st_dev, found.st_ino):
            return lock
        os.close(lock)  # its owner has removed it meanwhile


def _is_dead(path: str) -> bool:
    """Whether there is a socket at which nobody answers."""
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(path).st_mode):
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(path)
                except ConnectionRefusedError:
                    return True
                except OSError:
                    pass  # it is somebody's: binding says so
    return False
