"""Which events of a channel one client may see: the app's function, asked about each, and held to a yes or a no."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol, TypeAlias

from ..counters import Metrics
from ..errors import PASSING, where
from ..event import Cursor, Event

__all__ = ["Allow", "Filter", "Marked", "Marker"]

logger = logging.getLogger("triolet.hub")

Allow: TypeAlias = Callable[[Event], bool]
"""The app's function, bound to a client already: whether that client may see an event."""


class Filter:
    """What one client may see of a channel, event by event.

    It fails closed. Where the function raises, or answers anything but True or False, the event is not sent, and the
    stream goes on with the next one. Each time is counted, and the first is logged: without a message, which may quote
    the event.

    Args:
        allow: the app's function; None: all may be seen. It is called in the pump, between the writes to other clients,
            so it must answer at once: from what it knows, without a lock, a file or a network.
        metrics: where failures are counted.

    Attributes:
        writes: how often its client was written something of the channel: events, or what is said around them.
        told: the place that what was written last has told its client; None where it has told none.
        noted: the writes, and the place that its client knew, when it was last told or looked at. The heartbeat notes
            it.
    """

    __slots__ = ("_allow", "_failed", "_metrics", "noted", "told", "writes")

    def __init__(self, allow: Allow | None, metrics: Metrics) -> None:
        self._allow = allow
        self._metrics = metrics
        self._failed = False
        self.writes = 0
        self.told: Cursor | None = None
        self.noted: tuple[int, Cursor | None] | None = None

    @property
    def hides(self) -> bool:
        """Whether its client may not see every event."""
        return self._allow is not None

    def allows(self, event: Event) -> bool:
        """Ask the app's function about an event. It never raises what that raises. An end is for everybody."""
        if self._allow is None or event.ends:
            return True
        try:
            answer: object = self._allow(event)
        except PASSING:
            raise
        except BaseException as error:  # asyncio's CancelledError, say, which would end the pump, and so the server
            self._fail(where(error, with_message=False))
            return False
        # By identity: a coroutine, a Mock or a non-empty answer of a database would all count as a yes.
        if answer is not True and answer is not False:
            self._fail(f"it answered neither True nor False, but {type(answer).__name__}")
        return answer is True

    def asks_as(self, other: Filter) -> bool:
        """Whether the same function is asked, about the same client."""
        mine, theirs = self._allow, other._allow
        if isinstance(mine, partial) and isinstance(theirs, partial):  # as routes bind a client to their function
            return (mine.func, mine.args, mine.keywords) == (theirs.func, theirs.args, theirs.keywords)
        return mine == theirs

    def parts(self, pairs: Iterable[tuple[Event, Any]]) -> list[Any]:
        """Return the parts of those events that its client may see.

        Args:
            pairs: events, each with its encoded form.
        """
        return self.marked([pair for pair in pairs if self.allows(pair[0])])

    def marked(self, pairs: Sequence[tuple[Event, Any]]) -> list[Any]:
        """Return the parts of events that its client may see, as that client is sent them."""
        if pairs:
            self.told = pairs[-1][0].cursor
        return [part for _, part in pairs]

    def _fail(self, why: str) -> None:
        self._metrics.allow_failures += 1
        if not self._failed:
            self._failed = True
            logger.error("an allow= function failed, so its client is not sent the event: %s", why)


class Marker(Protocol):
    """What says, before each event of a stream that follows many channels, where its client stands in all of them."""

    def at(self, channel: str) -> Callable[[Cursor], bytes]:
        """Return what makes that of the cursors in a channel, for as long as the client is sent nothing else."""


class Marked(Filter):
    """What one client is sent of a channel on a stream that follows many: each event behind a mark of this client's.

    Args:
        allow, metrics: as of Filter.
        channel: the channel's name.
        marker: makes the marks.
    """

    __slots__ = ("_channel", "_marker")

    def __init__(self, allow: Allow | None, metrics: Metrics, channel: str, marker: Marker) -> None:
        super().__init__(allow, metrics)
        self._channel = channel
        self._marker = marker

    def marked(self, pairs: Sequence[tuple[Event, Any]]) -> list[Any]:
        mark, parts = self._marker.at(self._channel), super().marked(pairs)
        return [mark(event.cursor) + part for (event, _), part in zip(pairs, parts, strict=True)]
