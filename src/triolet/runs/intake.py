"""The way in: a run's source, read in a task of its own, and what waits to be stored of it."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Any

import msgspec
import trio

from ..errors import DataError, only_exceptions
from ..event import END, Draft, encode_json
from ..limits import Limits

__all__ = ["Intake", "Items"]

logger = logging.getLogger("triolet.runs")


class Items(msgspec.Struct, frozen=True):
    """How a run's items become events, where they are no drafts.

    Attributes:
        name, key, fold: those of each event.
    """

    name: str = "message"
    key: str | None = None
    fold: str | None = None

    def check(self) -> None:
        """Raises DataError: no event can be called so, or have such a fold."""
        Draft.of(None, name=self.name, key=self.key, fold=self.fold)


class Intake:
    """Reads a source into batches: what comes while one is being stored is the next one.

    The source is iterated and closed in one task, which no other code of ours opens scopes in: a generator may have
    a nursery open over its ``yield``.

    Args:
        source: any async iterable. It is closed (``aclose``) at its end, however that comes.
        items: how its items become events.
        run: the run's name. Each event is named by it and a number, so that storing may be repeated.
        limits: bounds of a batch, and of an event.
        hold: told how many bytes more are held, or (below 0) less.

    Attributes:
        error: what the source has raised, or what was wrong with an item.
        over: whether nothing will come any more.

    Bounds: one batch; then the source waits.
    """

    __slots__ = (
        "_bytes",
        "_count",
        "_hold",
        "_items",
        "_limits",
        "_room",
        "_run",
        "_scope",
        "_some",
        "_source",
        "_stop_at",
        "_waiting",
        "error",
        "over",
    )

    def __init__(
        self, source: AsyncIterable[Any], items: Items, run: str, limits: Limits, hold: Callable[[int], None]
    ) -> None:
        self.error: Exception | None = None
        self.over = False
        self._source = source
        self._items = items
        self._run = run
        self._limits = limits
        self._hold = hold
        self._count = 0
        self._waiting: list[Draft] = []
        self._bytes = 0
        self._some = trio.Event()
        self._room = trio.Event()
        self._scope = trio.CancelScope()
        self._stop_at = math.inf

    async def read(self) -> None:
        """Read the source to its end, and close it."""
        error: Exception | None = None
        with self._scope:
            try:
                with only_exceptions():
                    await self._read()
            except Exception as raised:
                error = raised
        if not self.over:
            self.error = error
            self._end()

    async def _read(self) -> None:
        iterator = aiter(self._source)
        try:
            async for item in iterator:
                if self.over:
                    break
                self._put(item)
                if self._stop_at < math.inf:  # that was its last word
                    break
                while self._full and not self.over:
                    self._room = trio.Event()
                    await self._room.wait()
        finally:
            await _close(iterator)

    def _put(self, item: Any) -> None:
        self._count += 1
        draft = self._draft(item)
        size = len(draft.json)
        if size > self._limits.event_bytes:
            raise DataError(f"item {self._count} of a run: {size} bytes of JSON are more than limits.event_bytes")
        self._waiting.append(draft)
        self._bytes += size
        self._hold(size)
        self._some.set()

    def _draft(self, item: Any) -> Draft:
        name = f"{self._run}.{self._count}"
        if not isinstance(item, Draft):
            return Draft(encode_json(item), self._items.name, self._items.key, name, self._items.fold)
        if item.name == END:
            raise DataError(f"item {self._count} of a run ends its channel: a run ends where its source does")
        return item if item.dedupe is not None else msgspec.structs.replace(item, dedupe=name)

    @property
    def _full(self) -> bool:
        limits = self._limits
        return len(self._waiting) >= limits.run_batch_events or self._bytes >= limits.run_batch_bytes

    async def take(self) -> list[Draft]:
        """Wait for what is to be stored next, and return it. It is empty when all is taken and nothing will come.

        Cancellation: nothing is lost.
        """
        while not self._waiting and not self.over:
            self._some = trio.Event()
            if self._stop_at == math.inf:  # as for nearly every item: a scope costs as much as the rest of this
                await self._some.wait()
                continue
            with trio.move_on_at(self._stop_at) as patience:
                await self._some.wait()
            if patience.cancelled_caught:
                logger.error("the source of a run does not heed its cancellation; what it yields now is dropped")
                self._end()
        taken, self._waiting = self._waiting, []
        self._hold(-self._bytes)
        self._bytes = 0
        self._room.set()
        return taken

    def stop(self, seconds: float) -> None:
        """Cancel the source, and wait for its end for so many seconds at most."""
        self._stop_at = min(self._stop_at, trio.current_time() + seconds)
        self._scope.cancel()
        self._some.set()

    def drop(self) -> None:
        """Cancel the source, take nothing more of it, and forget what waits."""
        self._scope.cancel()
        self._stop_at = -math.inf
        self._waiting.clear()
        self._hold(-self._bytes)
        self._bytes = 0
        self._end()

    def _end(self) -> None:
        self.over = True
        self._some.set()


async def _close(iterator: AsyncIterator[Any]) -> None:
    close = getattr(iterator, "aclose", None)
    if close is not None:
        await close()
