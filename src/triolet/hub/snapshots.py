"""Snapshots: the state of a channel and the cursor from which its events go on, in one step.

Whoever reads a state at one moment and joins a stream at another loses what came between, or gets it twice. So both
come from one place: an app's function returns its state together with the cursor that it is of, and a
:class:`~.reducer.Reducer` makes the state of the channel's own events.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from inspect import isawaitable, signature
from typing import Any, Protocol

import msgspec
import trio

from ..errors import ConfigError, LogError, SnapshotError, named, only_exceptions, repr_of, str_of, where
from ..event import Cursor, Event
from ..identity import Grant
from ..limits import Limits
from ..log.contract import EventLog
from ..value import encode_json
from ..wire.messages import SnapshotMessage

__all__ = ["Snapshot", "Source", "StateFunction", "takes_identity"]

logger = logging.getLogger("triolet.hub")


class Snapshot(msgspec.Struct, frozen=True):
    """A channel's state.

    Attributes:
        cursor: up to where the channel's events are in it.
        json: the state.
        missed: how many events are not in it, because they were lost before they could be, or because the app's
            function failed on them; None where that is not known.
    """

    cursor: Cursor
    json: bytes
    missed: int | None = 0

    @property
    def size(self) -> int:
        """Bytes of the state."""
        return len(self.json)

    def message(self, channel: str) -> SnapshotMessage:
        """Return the message that gives it to a client of the channel."""
        return SnapshotMessage(channel, str(self.cursor), msgspec.Raw(self.json), self.missed)


class Source(Protocol):
    """Where snapshots of a channel come from."""

    @property
    def is_shared(self) -> bool:
        """Whether all clients are given the same."""

    async def take(self, log: EventLog, limits: Limits, channel: str) -> Snapshot:
        """Return a snapshot of now.

        Raises:
            SnapshotError: the app's fault; there is none.
            LogError: the log cannot be read.

        Bounds: ``limits.snapshot_seconds`` and ``limits.snapshot_bytes``.
        """


def takes_identity(function: Callable[..., Any]) -> bool:
    """Whether a function that returns a channel's state wants to know who asks, as its second argument.

    Raises:
        ConfigError: the app's fault; it takes neither one argument nor two.
    """
    try:
        counts = [count for count in (1, 2) if _takes(function, count)]
    except (TypeError, ValueError):
        counts = []
    if not counts:
        raise ConfigError(
            f"snapshot= is a function of a channel's name, or of that and who asks, that returns (data, cursor); or a "
            f"Reducer; not {function!r:.80}"
        )
    return counts[-1] == 2


def _takes(function: Callable[..., Any], count: int) -> bool:
    try:
        signature(function).bind(*range(count))
    except TypeError:
        return False
    return True


class StateFunction:
    """An app's function as a source, bound to a client where it asks who that is.

    Args:
        function: returns ``(data, cursor)``, or something to await that does.
        grant: what the client was let in with; its identity is asked for when it is needed.
        is_personal: whether the function is told who asks.
    """

    __slots__ = ("_function", "_grant", "is_shared")

    def __init__(self, function: Callable[..., Any], grant: Grant | None, *, is_personal: bool) -> None:
        self._function = function
        self._grant = grant if is_personal else None
        self.is_shared = not is_personal

    def __str__(self) -> str:
        name = getattr(self._function, "__qualname__", None) or type(self._function).__qualname__
        return f"the snapshot function {name}"

    def __hash__(self) -> int:
        return hash(self._function)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StateFunction) and other.is_shared and self._function == other._function

    async def take(self, log: EventLog, limits: Limits, channel: str) -> Snapshot:
        """Ask the app. See Source."""
        who = () if self.is_shared else (None if self._grant is None else self._grant.identity,)
        try:
            with trio.fail_after(limits.snapshot_seconds), only_exceptions():
                answer = self._function(channel, *who)
                answer = await answer if isawaitable(answer) else answer
        except LogError:
            raise
        except Exception as error:
            raise failed(channel, where(error)) from error
        return _snapshot_of(channel, named(self._function), answer, limits)


def _snapshot_of(channel: str, name: str, answer: Any, limits: Limits) -> Snapshot:
    """Return what an app's function, called so, has answered, as a snapshot. Raises SnapshotError."""
    try:
        data, at = answer
    except (TypeError, ValueError):
        raise failed(channel, f"{name} returned no (data, cursor), but {type(answer).__name__}") from None
    cursor = at.cursor if isinstance(at, Event) else at
    try:
        cursor = Cursor.parse(cursor) if isinstance(cursor, str) else cursor
        if not isinstance(cursor, Cursor) or cursor.offset < 0:
            of = f"{name} returned {repr_of(at)}, which is no cursor"
            raise failed(channel, f"{of}: return that of the newest event that the data knows")
        json = encode_json(data)
    except SnapshotError:
        raise
    except Exception as error:
        raise failed(channel, f"what {name} returned {str_of(error)}") from error
    return check_size(channel, Snapshot(cursor, json), limits)


def check_size(channel: str, snapshot: Snapshot, limits: Limits) -> Snapshot:
    """Return a snapshot that is not too large. Raises SnapshotError."""
    if snapshot.size > limits.snapshot_bytes:
        raise failed(channel, f"{snapshot.size:,} bytes of JSON are more than limits.snapshot_bytes")
    return snapshot


def failed(channel: str, why: str) -> SnapshotError:
    """Log that there is no snapshot, and return what is raised."""
    error = SnapshotError(channel, why)
    logger.error("%s", str(error))  # a record would keep the error, with all that is in its frames
    return error
