"""A memory channel that is bounded in items and in bytes, and tells what it holds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import trio

__all__ = ["BoundedChannel", "ChannelStatistics"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """Items and bytes that a channel holds now, the most that it ever held, and its bounds."""

    items: int
    bytes: int
    peak_items: int
    peak_bytes: int
    max_items: int
    max_bytes: int


class BoundedChannel(Generic[T]):
    """Items on their way from a task that must not wait to one that takes its time.

    Trio's own channel is bounded in items, and its sender waits where it is full. Here what a sender does then is the
    sender's to decide: a reader stops to read, a log drops what is oldest. So :meth:`send_nowait` always takes, and
    its owner asks :attr:`full` first, or drops afterwards.

    Args:
        max_items, max_bytes: it is full when it holds as many items, or as many bytes. An empty channel always takes
            one item, however large.
        hold: called with the number of bytes that are held more, or (below 0) less.
        on_room: called when the channel was full and is not any more.

    Bounds: ``max_items`` and ``max_bytes``, and what its owner sends without asking.
    """

    __slots__ = (
        "_bytes",
        "_hold",
        "_items",
        "_max_bytes",
        "_max_items",
        "_on_room",
        "_peak_bytes",
        "_peak_items",
        "_receiver",
        "_sender",
        "_waiting",
    )

    def __init__(
        self,
        max_items: int,
        max_bytes: int,
        hold: Callable[[int], None] | None = None,
        on_room: Callable[[], None] | None = None,
    ) -> None:
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._hold = hold
        self._on_room = on_room
        # Infinite, as Trio counts: the bounds are ours, and one of them is no number of items.
        channel = trio.open_memory_channel[tuple[T, int, int]](math.inf)
        self._sender, self._receiver = channel
        self._items = self._bytes = self._peak_items = self._peak_bytes = 0
        self._waiting: trio.Event | None = None

    @property
    def full(self) -> bool:
        """Whether the next item has to wait."""
        return self._items > 0 and (self._items >= self._max_items or self._bytes >= self._max_bytes)

    @property
    def empty(self) -> bool:
        """Whether nothing is held."""
        return self._items == 0

    def fits(self, size: int, count: int = 1) -> bool:
        """Tell whether an item of ``size`` bytes that counts for ``count`` would stay within both bounds."""
        return self._items + count <= self._max_items and self._bytes + size <= self._max_bytes

    def send_nowait(self, item: T, size: int, count: int = 1, *, held: bool = False) -> None:
        """Put an item in.

        Args:
            item: what is sent.
            size: how many bytes it holds.
            count: how many items it counts as: a batch as its events; a message that must get through as none.
            held: whether ``hold`` is told of its bytes by the caller: once for many items.

        Raises:
            trio.ClosedResourceError: :meth:`end` was called before.
        """
        self._sender.send_nowait((item, size, count))
        self._items += count
        self._bytes += size
        if self._items > self._peak_items:
            self._peak_items = self._items
        if self._bytes > self._peak_bytes:
            self._peak_bytes = self._bytes
        if self._hold is not None and not held:
            self._hold(size)

    async def room(self) -> None:
        """Wait until it is no longer full.

        Cancellation: nothing is lost.
        """
        while self.full:  # several may wait, and the first of them may fill it again
            if self._waiting is None:
                self._waiting = trio.Event()
            await self._waiting.wait()

    async def receive(self) -> T:
        """Take the next item, or wait for it.

        Raises:
            trio.EndOfChannel: all items were taken, and :meth:`end` was called.

        Cancellation: nothing is lost.
        """
        item, size, count = await self.take()
        self.release(size, count)
        return item

    async def take(self) -> tuple[T, int, int]:
        """Take the next item as :meth:`receive` does, but with its size and count, which stay held.

        They are given back with :meth:`release`, when the item is used up. So a channel stays full while its receiver
        still works on what it took, and the sender goes on waiting.

        Raises:
            trio.EndOfChannel: all items were taken, and :meth:`end` was called.

        Cancellation: nothing is lost.
        """
        # Let others run first: where one of them sends, that costs less than to be parked and woken (measured: 3 µs).
        await trio.lowlevel.checkpoint()
        if self._items:
            try:
                return self._receiver.receive_nowait()
            except trio.WouldBlock:
                pass  # what is held was taken before, and is not used up
        return await self._receiver.receive()

    async def wait(self) -> T:
        """Wait for the next item of an empty channel, and take it. Unlike :meth:`receive` it lets nobody run first.

        Raises:
            trio.EndOfChannel: :meth:`end` was called.

        Cancellation: nothing is lost.
        """
        item, size, count = await self._receiver.receive()
        self.release(size, count)
        return item

    def receive_nowait(self) -> T:
        """Take the next item, without waiting.

        Raises:
            trio.WouldBlock: there is none now.
            trio.EndOfChannel: there is none, and :meth:`end` was called.
        """
        item, size, count = self._receiver.receive_nowait()
        self.release(size, count)
        return item

    def release(self, size: int, count: int = 1) -> None:
        """Hold ``size`` bytes and ``count`` items less: an item that was taken is used up."""
        # Looked at only where somebody wants to know: most channels are never full, and this runs for each message.
        watched = self._waiting is not None or self._on_room is not None
        was_full = watched and self.full
        self._items -= count
        self._bytes -= size
        if self._hold is not None:
            self._hold(-size)
        if was_full and not self.full:
            self._tell_of_room()

    def end(self) -> None:
        """Let nothing more in. What is there can still be taken; then :meth:`receive` raises ``trio.EndOfChannel``."""
        self._sender.close()

    @property
    def queued(self) -> int:
        """Number of items that :meth:`receive_nowait` could return now."""
        return self._receiver.statistics().current_buffer_used

    @property
    def awaited(self) -> bool:
        """Whether a task waits for an item."""
        return self._receiver.statistics().tasks_waiting_receive > 0

    def statistics(self) -> ChannelStatistics:
        """Return what is held now, and the most that ever was."""
        return ChannelStatistics(
            self._items, self._bytes, self._peak_items, self._peak_bytes, self._max_items, self._max_bytes
        )

    def _tell_of_room(self) -> None:
        if self._waiting is not None:
            self._waiting.set()
            self._waiting = None
        if self._on_room is not None:
            self._on_room()
