"""What is known of a SqliteLog's file outside of it: so that a copy of it, put in its place, is not taken for it.

A log's epoch and offsets stand in its file, and whoever copies the file copies them. Put back later, the copy would go
on where it stood then: the offsets of events that were lost are given to others, and clients that had seen those
would miss the new ones without a word. So beside the file there is another, ``orders.db-life``, that says

- which file it is: its inode, and when that was made. No copy has the same (``cp``, ``sqlite3 .backup``, ``VACUUM
  INTO``, ``rsync``, another host);
- how far it had come: the number of its last change, written after each commit. A file that was overwritten in place
  (``cp`` over it, ``sqlite3 .restore``) has come less far;
- which file *this* one is, anew at each opening and end: put back together with the log, it is not the one it says.

Where all that fits, the log goes on in its epoch: after a restart, a crash, a loss of power with
``synchronous=full``. Where anything does not, or there is no such file, it cannot be known that nothing was lost: a new
epoch begins, and clients are told a gap.
"""

from __future__ import annotations

import ctypes
import logging
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple, TypeVar

import apsw
import msgspec

from ..errors import LogBroken
from .bounds import SQLITE_LIFE_BYTES

__all__ = ["FileIdentity", "FileReplaced", "LifeFile", "LifeOver", "check_life", "identity_of"]

logger = logging.getLogger("triolet.log")

T = TypeVar("T")


MARK_DIGITS: Final = 20
"""Places of the number in front, which is written over in one piece."""


AT_FDCWD: Final = -100
STATX_INO_AND_BTIME: Final = 0x100 | 0x800
STATX_BTIME_AT: Final = 80
"""Where ``struct statx`` (statx(2)) has the time of birth: seconds as int64, nanoseconds as uint32."""


class FileReplaced(LogBroken):
    """The file that is open is not the one that others find at its path."""


class LifeOver(Exception):
    """What is in the file is not what was there before: another process began a new epoch, or it was overwritten."""


class FileIdentity(NamedTuple):
    """Tells one file from every other that was or will be on its disk: an inode's number is given again, but not with
    the same time of birth. 0 where the system does not tell that."""

    inode: int
    birth: int


class _Life(msgspec.Struct, frozen=True):
    epoch: str
    log: FileIdentity
    itself: FileIdentity


class LifeFile:
    """The file beside a log's. All but :meth:`mark` runs while the log's write lock is held.

    Args:
        path: of the log.

    Attributes:
        is_lost: whether the file was found to be removed or replaced.
    """

    def __init__(self, path: str) -> None:
        self._opened: dict[str, tuple[int, int] | None] = {}  # devices and inodes, by path
        self.is_lost = False
        self._log = path
        self._path = f"{path}-life"
        self._descriptor = -1
        self._has_warned = False

    def opened(self) -> None:
        """The log has just been opened: from now on it is this file and no other. Raises LogError."""
        self._opened = {self._log: _place_of(self._log)}
        self.check_in_place()

    def prepared(self) -> None:
        """And so are what SQLite keeps beside it, until the last connection is closed: what one process has committed
        is there, and whoever opens the log finds it by their names."""
        for beside in (f"{self._log}-wal", f"{self._log}-shm"):
            if (place := _place_of(beside)) is not None:
                self._opened[beside] = place

    @property
    def exists(self) -> bool:
        """Whether there is such a file. There is none where it cannot be written."""
        return os.path.isfile(self._path)

    def vouches_for(self, epoch: str, number: int) -> bool:
        """Whether the log is known to be the one that had this epoch, and to have lost nothing since."""
        try:
            with open(self._path, "rb") as file:
                text, itself = file.read(SQLITE_LIFE_BYTES), identity_of(file.fileno())
            life = msgspec.json.decode(text[MARK_DIGITS:], type=_Life)
            return life == _Life(epoch, identity_of(self._log), itself) and int(text[:MARK_DIGITS]) <= number
        except (OSError, ValueError, msgspec.MsgspecError):
            return False

    def renew(self, epoch: str, number: int) -> None:
        """Vouch for the log as it is, in a new file. Where none can be made the next opening begins a new epoch."""
        self.close()
        try:
            self._descriptor = self._made(epoch, number)
        except OSError as error:
            with suppress(OSError):
                os.unlink(self._path)
            if not self._has_warned:
                self._has_warned = True
                logger.warning(
                    "%s cannot be written (%s): the next start begins a new epoch", self._path, error.strerror
                )

    def mark(self, epoch: str, number: int) -> None:
        """Say how far the log has come. Another process may have renewed the file meanwhile."""
        if self._descriptor < 0:
            return
        text = b"%0*d" % (MARK_DIGITS, number)
        with suppress(OSError):
            os.pwrite(self._descriptor, text, 0)
            if not os.fstat(self._descriptor).st_nlink:
                self.close()
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
                os.pwrite(self._descriptor, text, 0)
            return
        self.renew(epoch, number)  # somebody has removed it

    def check_in_place(self) -> None:
        """See that the log's path still leads to the file that was opened there, and so do those beside it.

        Raises:
            FileReplaced: one of them was removed, or another was put in its place.
        """
        for path, place in self._opened.items():
            now = _place_of(path)
            self.is_lost = now is None or now != place
            if self.is_lost:
                done = "removed" if now is None else "replaced"
                raise FileReplaced(f"{path} was {done} while it was in use: nothing more is stored or read; restart")

    @property
    def is_anothers(self) -> bool:
        """Whether another file stands in the place of any of them: whoever has opened that must not be disturbed."""
        if _place_of(self._log) is None:
            return True
        return any(_place_of(path) not in (place, None) for path, place in self._opened.items())

    def is_at(self, path: str) -> bool:
        """Whether a path leads to the log's file that was opened."""
        return _place_of(path) == self._opened[self._log]

    def while_in_place(self, query: Callable[[apsw.Connection], T], db: apsw.Connection) -> T:
        """Run a query, if the file is still the one that others open. Raises FileReplaced."""
        self.check_in_place()
        return query(db)

    def close(self) -> None:
        """Let go of it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def _made(self, epoch: str, number: int) -> int:
        folder, name = os.path.split(self._path)
        descriptor, path = tempfile.mkstemp(prefix=f"{name}-", dir=folder)
        try:
            os.fchmod(descriptor, os.stat(self._log).st_mode & 0o777)
            life = _Life(epoch, identity_of(self._log), identity_of(descriptor))
            os.write(descriptor, b"%0*d" % (MARK_DIGITS, number) + msgspec.json.encode(life))
            os.fsync(descriptor)
            os.rename(path, self._path)
        except OSError:
            os.close(descriptor)
            with suppress(OSError):
                os.unlink(path)
            raise
        return descriptor


def _place_of(path: str) -> tuple[int, int] | None:
    try:
        now = os.stat(path)
    except OSError:
        return None
    return now.st_dev, now.st_ino


def identity_of(file: str | int) -> FileIdentity:
    """Identify a file by its path or descriptor. Raises OSError."""
    known = os.stat(file)
    birth = getattr(known, "st_birthtime_ns", None)
    return FileIdentity(known.st_ino, _birth_of(file) if birth is None else birth)


def check_life(found: tuple[str, int], known: tuple[str, int]) -> None:
    """See that a file has the epoch that is known, and has come as far at least. Raises LifeOver."""
    if found[0] != known[0] or found[1] < known[1]:
        raise LifeOver


def _birth_of(file: str | int) -> int:
    """When a file was made, in nanoseconds. Python has no statx(2) on Linux before 3.15."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "statx"):
        return 0
    buffer = ctypes.create_string_buffer(256)
    where, name, flags = (AT_FDCWD, os.fsencode(file), 0) if isinstance(file, str) else (file, b"", 0x1000)
    if libc.statx(where, name, flags, STATX_INO_AND_BTIME, buffer) != 0:
        return 0
    seconds, rest = ctypes.c_int64.from_buffer(buffer, STATX_BTIME_AT), ctypes.c_uint32.from_buffer(buffer, 88)
    return seconds.value * 1_000_000_000 + rest.value
