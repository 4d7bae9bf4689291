"""Where a program of a play keeps its cursors: a disk that outlives it, which may be slow, and fail."""

from __future__ import annotations

from collections.abc import Callable

import trio

__all__ = ["Disk", "DiskError", "Handle"]


class DiskError(OSError):
    """It could not be written."""


class Disk:
    """What is kept.

    Args:
        seconds: that a save takes. fails: every so many-th save does (0: none). happens: draws whether a save that is
            cut off has got through. saved: told of every cursor, when it is kept.

    Attributes:
        cursors: by name. fails: see above; 0 when the weather is good.
    """

    def __init__(
        self, seconds: float, fails: int, happens: Callable[[], bool], saved: Callable[[str, str], None]
    ) -> None:
        self.cursors: dict[str, str] = {}
        self.fails = fails
        self._seconds = seconds
        self._happens = happens
        self._saved = saved
        self._saves = 0

    async def save(self, name: str, cursor: str) -> None:
        """Keep a cursor; at the beginning or at the end of the time that this takes."""
        self._saves += 1
        await trio.lowlevel.checkpoint()
        if self.fails and self._saves % self.fails == 0:
            raise DiskError("the disk is full")
        early = self._happens()
        if early:
            self._keep(name, cursor)
        if self._seconds:
            await trio.sleep(self._seconds)
        if not early:
            self._keep(name, cursor)

    def _keep(self, name: str, cursor: str) -> None:
        self.cursors[name] = cursor
        self._saved(name, cursor)


class Handle:
    """One life's hold of a disk: the client's ``store=``. When the program is killed it is ``dead``."""

    def __init__(self, disk: Disk) -> None:
        self.dead = False
        self._disk = disk

    async def load(self, name: str) -> str | None:
        """See triolet.client.Store."""
        await trio.lowlevel.checkpoint()
        return self._disk.cursors.get(name)

    async def save(self, name: str, cursor: str) -> None:
        """See triolet.client.Store."""
        if not self.dead:
            await self._disk.save(name, cursor)
