"""What is heard of a log by its tail, for as long as the log is open: one that ends or fails is listened to again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import trio

from ..bounds import LOG_RETRY_SECONDS
from ..errors import LogBroken, NotServingError, WrongThreadError, only_exceptions, where
from ..event import Event
from .checked import is_event, say
from .contract import EventLog
from .tail import Waiting, is_own, waiting

__all__ = ["Steps", "listening"]

_ENDED: Final = object()
_only_exceptions: Final = only_exceptions()  # one for all: a tail is waited for as long as the server serves


class Steps(AsyncIterator[Sequence[Event]]):
    """The steps of a log's tail, without an end.

    A tail of a log of one's own that just ends, fails, or tells of what is no event is left, and listened to anew after
    a while. What came meanwhile is told as what an overrun has lost, by an empty step: whoever hears of it asks the
    log. So where a tail is never well the log is asked again and again, and nobody is deaf in silence.

    Attributes:
        deaf: whether it has failed, and nothing was heard since.
    """

    def __init__(self, log: EventLog) -> None:
        self.deaf = False
        self._log = log
        self._left = ExitStack()
        self._batches: Any = None
        self._is_own = False
        self.listen()

    def listen(self) -> None:
        """Begin to listen."""
        with self._suffering():
            self._batches = self._left.enter_context(self._log.tail())
            self._is_own = is_own(self._batches)

    def leave(self) -> None:
        """Listen no longer."""
        self._batches = None
        with self._suffering():
            self._left.close()

    @property
    def stale(self) -> bool:
        """Whether there may be events that are not heard of: the log is unavailable, or its tail has failed."""
        try:
            with _only_exceptions:
                return self.deaf or bool(self._log.stale)
        except Exception as error:
            say(self._log, "stale", f" failed: {where(error)}")
            return True

    def waiting(self) -> Waiting:
        """Count what waits; nothing where the log does not tell."""
        return waiting(self._batches)

    async def __anext__(self) -> Sequence[Event]:
        """Wait for events and take all. Cancellation: nothing is lost, they stay for the next step."""
        if self._batches is not None:
            with self._suffering():
                step = await self._next()
                self.deaf = False
                return step
            await self._close()
        await trio.sleep(LOG_RETRY_SECONDS)
        self.listen()
        return ()

    async def _next(self) -> Sequence[Event]:
        step: Any = await anext(self._batches, _ENDED)
        if step is _ENDED:
            raise LogBroken("it has ended while the log is open")
        if self._is_own:
            return step  # type: ignore[no-any-return]  # as anext() types what may be its default
        events = list(step)
        if not all(map(is_event, events)):
            raise LogBroken("it tells of what is no event")
        if not events:  # it may have waited for nothing, and whoever hears of it may find nothing to wait for
            await trio.lowlevel.cancel_shielded_checkpoint()
        return events

    async def _close(self) -> None:
        aclose = getattr(self._batches, "aclose", None)
        if aclose is not None:  # it may be a generator that stands where it has told of what cannot be
            with self._suffering(), trio.move_on_after(LOG_RETRY_SECONDS):
                await aclose()
        self.leave()

    @contextmanager
    def _suffering(self) -> Iterator[None]:
        try:
            with _only_exceptions:
                yield
        except (NotServingError, WrongThreadError):
            raise
        except Exception as error:
            say(self._log, "tail", f"() failed, and is listened to again until it is well: {where(error)}")
            self.deaf = True


@contextmanager
def listening(log: EventLog) -> Iterator[Steps]:
    """Listen to a log for the time of a block.

    Raises:
        NotServingError: the log is not open.
    """
    steps = Steps(log)
    try:
        yield steps
    finally:
        steps.leave()
