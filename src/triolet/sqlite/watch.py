"""Watches a SQLite file for commits of other processes, with inotify(7), which the standard library does not have.

What SQLite writes to its WAL is seen by others a moment later, when it has brought its shared memory up to date, of
which inotify knows nothing. So a process that has committed rings a bell: the file's times are set to now. The WAL is
watched as well, for a process that was killed before it rang.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import trio

from .bounds import INOTIFY_READ_BYTES, SQLITE_BLIND_SECONDS

__all__ = ["FileWatch", "ring", "watching"]

IN_MODIFY: Final = 0x2
IN_ATTRIB: Final = 0x4


def ring(path: str) -> None:
    """Tell the processes that watch a file that something was committed to it."""
    with suppress(OSError):  # the file is not ours, or gone: then they hear of it later
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

    Where the system cannot watch (it is not Linux, or has no watches left), the file is looked at again and again.
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
        """Wait until some process may have written; it may have been this one.

        Cancellation: nothing is lost.
        """
        if self._descriptor < 0:
            await trio.sleep(SQLITE_BLIND_SECONDS)
            return
        await trio.lowlevel.wait_readable(self._descriptor)
        self.forget()

    def forget(self) -> bool:
        """Forget what has happened so far, and return whether anything has."""
        # Read until it is empty: each commit leaves several notes, and they are all answered with one look.
        found = False
        try:
            while self._descriptor >= 0 and os.read(self._descriptor, INOTIFY_READ_BYTES):
                found = True
        except BlockingIOError:
            pass  # that was all
        return found

    def close(self) -> None:
        """Watch no longer."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1
