"""Cursors on their way into the store: beside the program, the newest alone, and at its word at once."""

from __future__ import annotations

import trio

from ..errors import ConfigError, CursorError
from ..event import Cursor
from .store import Store

__all__ = ["Committing", "place"]


def place(cursor: Cursor, channel: str | None) -> str:
    """What is kept: a cursor, and of which channel it is. A cursor alone does not tell, and its URL, or the name that
    the program gave, may be another one's in the program's next life.
    """
    return str(cursor) if channel is None else f"{cursor} {channel}"


class Committing:
    """What one follow has to keep.

    Args:
        store: where.
        name: under which name.
        auto: whether what the program is done with is kept without its word. It does not wait for that: the newest is
            kept as fast as the store can.
    """

    __slots__ = ("_auto", "_kept", "_lock", "_name", "_store", "_wanted", "_woken")

    def __init__(self, store: Store, name: str, *, auto: bool) -> None:
        self._store = store
        self._name = name
        self._auto = auto
        self._wanted: str | None = None
        self._kept: str | None = None
        self._woken = trio.Event()
        self._lock = trio.Lock()

    async def load(self) -> tuple[Cursor, str | None] | None:
        """Where to go on, and in which channel that was. Raises ConfigError where what is stored is no cursor."""
        stored = await self._store.load(self._name)
        if stored is None:
            return None
        cursor, _, channel = stored.partition(" ")
        try:
            self._kept = stored
            return Cursor.parse(cursor), channel or None
        except CursorError as error:
            raise ConfigError(f"the store has no cursor under {self._name!r}: {error}") from None

    def done_with(self, place: str) -> None:
        """The program is done with everything up to a place."""
        if self._auto and place != self._wanted:
            self._wanted = place
            self._woken.set()

    async def now(self, place: str) -> None:
        """Keep it, and wait until it is kept."""
        self._wanted = place
        await self.flush()

    async def flush(self) -> None:
        """Wait until what is to be kept is."""
        async with self._lock:
            if self._wanted is not None and self._wanted != self._kept:
                wanted = self._wanted
                await self._store.save(self._name, wanted)
                self._kept = wanted

    async def run(self) -> None:
        """Keep what the program is done with, for ever."""
        while True:
            await self._woken.wait()
            self._woken = trio.Event()
            await self.flush()
