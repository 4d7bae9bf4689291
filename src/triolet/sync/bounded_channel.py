"""The bounded channel from the reader to the app's handler: bounded in messages and in bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import trio

from ..limits import Limits

__all__ = ["Inbox"]


class Inbox:
    """Messages of a client that the app's handler has not taken yet.

    Args:
        limits: the bounds.
        hold: is told how many bytes more (or less) wait here.

    Bounds: ``limits.inbox_messages`` and ``limits.inbox_bytes``; one message is always taken, however large.
    """

    __slots__ = ("_bytes", "_changed", "_hold", "_limits", "_messages")

    def __init__(self, limits: Limits, hold: Callable[[int], None]) -> None:
        self._limits = limits
        self._hold = hold
        self._messages: deque[tuple[Any, int]] = deque()
        self._bytes = 0
        self._changed = trio.Event()

    @property
    def full(self) -> bool:
        """Whether the next message has to wait."""
        return bool(self._messages) and (
            len(self._messages) >= self._limits.inbox_messages or self._bytes >= self._limits.inbox_bytes
        )

    def put_nowait(self, message: Any, size: int) -> None:
        """Put a message in. The reader asks :attr:`full` first."""
        self._messages.append((message, size))
        self._bytes += size
        self._hold(size)
        self._wake()

    async def room(self) -> None:
        """Wait until it is no longer full. Cancelling loses nothing."""
        while self.full:
            await self._changed.wait()

    async def get(self) -> Any:
        """Take the next message, or wait for it. Cancelling loses nothing."""
        await trio.lowlevel.checkpoint()
        while not self._messages:
            await self._changed.wait()
        message, size = self._messages.popleft()
        self._bytes -= size
        self._hold(-size)
        self._wake()
        return message

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
