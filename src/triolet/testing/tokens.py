"""A source whose items come when a test says so."""

from __future__ import annotations

from collections import deque
from typing import Any

import trio

__all__ = ["Tokens"]


class Tokens:
    """An async iterable for ``live.run``, in the hands of a test.

    ::

        tokens = Tokens()
        run = await live.run("answers/42", tokens)
        await tokens.give("Hel", "lo")     # returns when both were taken
        tokens.finish()                    # or fail(RuntimeError("no more"))
        assert await run.wait() == "done"

    Attributes:
        taken: how many items were taken.
        closed: whether whoever iterates has closed it (``aclose``), or was cancelled in it.
    """

    def __init__(self) -> None:
        self.taken = 0
        self.closed = False
        self._items: deque[Any] = deque()
        self._over = False
        self._error: BaseException | None = None
        self._changed = trio.Event()

    @property
    def waiting(self) -> int:
        """How many items were given and not taken: whoever iterates makes the source wait."""
        return len(self._items)

    async def give(self, *items: Any) -> None:
        """Give items, and wait until all were taken.

        Cancellation: they are given all the same.
        """
        self.give_nowait(*items)
        while self._items:
            await self._changed.wait()

    def give_nowait(self, *items: Any) -> None:
        """Give items, to be taken when they are asked for."""
        self._items.extend(items)
        self._change()

    def finish(self) -> None:
        """There are no more behind those that were given."""
        self._over = True
        self._change()

    def fail(self, error: BaseException) -> None:
        """Raise an error behind those that were given."""
        self._error = error
        self.finish()

    def __aiter__(self) -> Tokens:
        return self

    async def __anext__(self) -> Any:
        await trio.lowlevel.checkpoint()
        while not self._items and not self._over:
            await self._changed.wait()
        if self._items:
            self.taken += 1
            item = self._items.popleft()
            self._change()
            return item
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Note that it is closed."""
        self.closed = True
        await trio.lowlevel.checkpoint()

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
