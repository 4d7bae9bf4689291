"""What slows down a client that has sent too much at once: for a while nothing more is read of it.

No task that reads sleeps that: it has other streams to read, and sees the client's end. But where it is the frames of
all streams that are too many, as over HTTP/2, there is nothing else to read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from ..limits import Limits
from ..wire.rate_limit import message_rate

__all__ = ["Crumbs", "Pace", "Pause"]


class Pause:
    """A time in which nothing is read. It is true while it lasts.

    Args:
        spawn: starts a task of the connection's.
        over: is called when reading may go on.
    """

    __slots__ = ("_lasting", "_over", "_spawn")

    def __init__(self, spawn: Callable[..., Any], over: Callable[[], None]) -> None:
        self._spawn = spawn
        self._over = over
        self._lasting: trio.CancelScope | None = None

    def __bool__(self) -> bool:
        return self._lasting is not None

    def begin(self, seconds: float) -> None:
        """Pause from now on for so long."""
        self._lasting = trio.CancelScope()
        self._spawn(self._last, self._lasting, trio.current_time() + seconds)

    def give_up(self) -> None:
        """Nothing is to be read any more: the client has gone."""
        if self._lasting is not None:
            self._lasting.cancel()

    async def _last(self, lasting: trio.CancelScope, until: float) -> None:
        with lasting:
            await trio.sleep_until(until)
        self._lasting = None
        if not lasting.cancelled_caught:
            self._over()


class Pace(Pause):
    """Pauses where a client has sent more than messages may come in that time (``limits.messages_per_second``)."""

    __slots__ = ("_rate",)

    def __init__(self, limits: Limits, spawn: Callable[..., Any], over: Callable[[], None]) -> None:
        super().__init__(spawn, over)
        self._rate = message_rate(limits)

    def pay(self, messages: float) -> None:
        """Count what came as so many messages."""
        early = self._rate.take(trio.current_time(), messages)
        if early and not self:
            self.begin(early)


class Crumbs:
    """Has a client of HTTP/2 pay for frames of bodies that have brought nearly nothing. One that sends too many is read
    on later, with all of its streams: a window holds back bytes, and not frames.

    Args:
        limits: of which ``messages_per_second`` is taken.
        heard: called after a pause: the client could not be heard, and is not silent for that.
    """

    __slots__ = ("_heard", "_rate")

    def __init__(self, limits: Limits, heard: Callable[[], None]) -> None:
        self._rate = message_rate(limits)
        self._heard = heard

    async def pay(self, messages: float) -> None:
        """Count a frame as so many messages, and pause if those are too many."""
        if messages > 0 and (early := self._rate.take(trio.current_time(), messages)):
            await trio.sleep(early)
            self._heard()
