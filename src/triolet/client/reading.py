"""The task of the program that reads a follow: one, within its block; and the server is told how far it has come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from ..event import Event
from .items import Item

__all__ = ["Reading"]


class Reading:
    """How a program reads one follow.

    Args:
        acknowledge: tell the server at most once in so many seconds what was applied; None: never.
        say: says it, on the WebSocket that there is; where there is none, nobody hears of it.
        auto: whether what was taken is applied when more is asked for; else the program says so.

    Attributes:
        begun: whether its block was entered.
        got: how many items the program has.
    """

    __slots__ = ("_applied", "_auto", "_say", "_seconds", "_taken", "_waits", "_woken", "begun", "got")

    def __init__(self, acknowledge: float | None, say: Callable[..., bool], *, auto: bool) -> None:
        self.begun = False
        self.got = 0
        self._seconds = acknowledge
        self._say = say
        self._auto = auto
        self._waits = False
        self._taken: Event | None = None
        self._applied: Event | None = None
        self._woken = trio.Event()

    @contextmanager
    def one(self) -> Iterator[None]:
        """For the time of a block the next item is waited for.

        Raises:
            RuntimeError: another task waits for it, or the follow's block was not entered.
        """
        if not self.begun:
            raise RuntimeError("a follow begins with its block: async with live.follow(url) as events")
        if self._waits:
            raise RuntimeError("another task waits for the next item of this follow: follow again for a second reader")
        if self._auto:
            self.done()
        self._waits = True
        try:
            yield
        finally:
            self._waits = False

    def took(self, item: Item) -> None:
        """The program has an item."""
        self.got += 1
        if isinstance(item, Event):
            self._taken = item

    def done(self) -> None:
        """What the program took is applied."""
        if self._taken is not None:
            self._applied, self._taken = self._taken, None
            self._woken.set()

    async def run(self) -> None:
        """Tell the server of the newest event that was applied, and of each once, for ever."""
        while self._seconds is not None:
            await self._woken.wait()
            await trio.sleep(self._seconds)
            self._woken = trio.Event()
            event, self._applied = self._applied, None
            if event is not None:
                self._say(type="ack", channel=event.channel, cursor=str(event.cursor))
