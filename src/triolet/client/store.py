"""Where cursors are kept from one life of a program to the next."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol, runtime_checkable

import msgspec
import trio

from ..errors import ConfigError
from .bounds import CLIENT_STORED_CURSORS

__all__ = ["FileStore", "MemoryStore", "Store"]


@runtime_checkable
class Store(Protocol):
    """Keeps a cursor for each name: a file's, a table's beside what is done with the events."""

    async def load(self, name: str) -> str | None:
        """Return what was saved last under a name; None: nothing was."""

    async def save(self, name: str, cursor: str) -> None:
        """Keep a cursor under a name. When this returns it is kept, whatever happens to the program.

        Args:
            name: which one it is.
            cursor: its text, a space, and the name of the channel: so a place in another channel is found out.

        Cancellation: it is kept, or the one before is.
        """


class MemoryStore:
    """Keeps cursors as long as it lives, for tests.

    Attributes:
        cursors: by name.
    """

    def __init__(self) -> None:
        self.cursors: dict[str, str] = {}

    async def load(self, name: str) -> str | None:
        """See :class:`Store`."""
        await trio.lowlevel.checkpoint()
        return self.cursors.get(name)

    async def save(self, name: str, cursor: str) -> None:
        """See :class:`Store`."""
        await trio.lowlevel.checkpoint()
        self.cursors[name] = cursor


class FileStore:
    """Keeps cursors in a file of JSON, of one program at a time.

    Each save writes the file anew beside the old one, syncs it, and puts it in the old one's place: a disk that is full
    leaves the old one. Where another program has written the file meanwhile the next save fails, and says so.

    Args:
        path: of the file; its folder has to be there, and may be written to.

    Bounds: ``CLIENT_STORED_CURSORS`` names.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._seen: tuple[int, int, int] | None = None
        self._cursors: dict[str, str] | None = None
        self._lock = trio.Lock()

    async def load(self, name: str) -> str | None:
        """See :class:`Store`.

        Raises:
            ConfigError: the file cannot be read, or is none of ours.
        """
        async with self._lock:
            return (await self._known()).get(name)

    async def save(self, name: str, cursor: str) -> None:
        """See :class:`Store`.

        Raises:
            ConfigError: the file cannot be written, or another program writes it, too; or it has too many names.
        """
        async with self._lock:
            cursors = {**await self._known(), name: cursor}
            if len(cursors) > CLIENT_STORED_CURSORS:
                raise ConfigError(
                    f"{self._path} has {CLIENT_STORED_CURSORS} cursors already: use a file for each program"
                )
            await trio.to_thread.run_sync(self._write, cursors)  # goes on to its end where it is cancelled
            self._cursors = cursors

    async def _known(self) -> dict[str, str]:
        if self._cursors is None:
            self._cursors = await trio.to_thread.run_sync(self._read)
        return self._cursors

    def _read(self) -> dict[str, str]:
        try:
            self._seen = self._look()
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError, UnicodeError) as error:
            raise ConfigError(f"cannot read cursors from {str(self._path)!r}: {error}") from None

    def _write(self, cursors: dict[str, str]) -> None:
        # Under a name that no other program has: of two that write one file neither gets the other's half.
        beside = self._path.with_name(f"{self._path.name}.{os.getpid()}-{id(self):x}.new")
        try:
            if self._look() != self._seen:
                raise ConfigError(
                    f"another program has written or removed {str(self._path)!r}: use a file for each program"
                )
            try:
                with open(beside, "wb") as file:
                    file.write(msgspec.json.encode(cursors))
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(beside, self._path)
            except BaseException:
                beside.unlink(missing_ok=True)
                raise
            self._seen = self._look()
        except OSError as error:
            raise ConfigError(f"cannot keep cursors in {str(self._path)!r}: {error}") from None

    def _look(self) -> tuple[int, int, int] | None:
        """What tells this file from one that was put in its place; None: there is none."""
        try:
            seen = os.stat(self._path)
        except FileNotFoundError:
            return None
        return seen.st_ino, seen.st_mtime_ns, seen.st_size
