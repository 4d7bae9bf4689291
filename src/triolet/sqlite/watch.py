"""Hears that another process has written to a SQLite file: inotify(7), which the standard library does not have.

What SQLite writes to its WAL is seen by others a moment later, when it has brought its shared memory up to date, of
which inotify knows nothing. So whoever has committed rings a bell: the file's times are set to now. The WAL is watched
as well, for a process that was killed before it rang.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import trio

__all__ = ["FileWatch", "ring", "watching"]

IN_MODIFY: Final = 0x2
IN_ATTRIB: Final = 0x4
READ_BYTES: Final = 1 << 12

BLIND_SECONDS: Final = 0.02
"""Between two looks at the file where there is no inotify."""


def ring(path: str) -> None:
    """Tell those who watch a file that something was committed to it."""
    with suppress(OSError):  # it is not ours, or gone: then they hear of it later
        os.utime(path)


@contextmanager
def watching(path: str) -> Iterator[FileWatch]:
    """Watch a SQLite file that is open here, for the time of a block."""
    watch = FileWatch(path)
    try:
        yield watch
    finally:
        watch.close()


class FileWatch:
    """Watches one file and its WAL. What happens from now on is remembered.

    Where the system cannot watch (not Linux, or no watches left), it looks after a short while.
    """

    def __init__(self, path: str) -> None:
        self._descriptor = -1
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "inotify_init1"):
            return
        self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        for name, mask in ((path, IN_ATTRIB), (f"{path}-wal", IN_MODIFY)):
            if libc.inotify_add_watch(self._descriptor, os.fsencode(name), ctypes.c_uint32(mask)) < 0:
                self.close()

    async def changed(self) -> None:
        """Wait until somebody may have written, be it this process. Cancellation: nothing is lost."""
        if self._descriptor < 0:
            await trio.sleep(BLIND_SECONDS)
            return
        await trio.lowlevel.wait_readable(self._descriptor)
        self.forget()

    def forget(self) -> bool:
        """Forget what has happened so far. Returns whether anything has."""
        found = False
        try:
            while self._descriptor >= 0 and os.read(self._descriptor, READ_BYTES):
                found = True
        except BlockingIOError:
            pass  # that was all
        return found

    def close(self) -> None:
        """Watch no longer."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1
