"""Which transport: the first of a list that works here, and the better ones tried again later. Sans-IO."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Final, Literal, get_args

from ..errors import ConfigError
from .bounds import CLIENT_BETTER_SECONDS
from .errors import Ended

__all__ = ["STREAMS", "TRANSPORTS", "Choice", "Transport"]

Transport = Literal["websocket", "sse", "long-poll", "poll"]

TRANSPORTS: Final[tuple[Transport, ...]] = get_args(Transport)
STREAMS: Final = ("websocket", "sse")
"""Those whose silence may be that of a proxy which buffers."""


class Choice:
    """The transport that a client uses now, of a list in the order of preference.

    What fails by itself is left for the next: an upgrade that is not answered with 101, a stream of which nothing comes
    through. From the last one it goes back to the first. One that has worked is remembered; if it was not the first,
    the first is tried again after five minutes, and then after twice as long each time, an hour at most.

    Attributes:
        transports: the list.
    """

    __slots__ = ("_at", "_better_at", "_home", "_patience", "_winner", "transports")

    def __init__(self, transports: Sequence[str]) -> None:
        unknown = [name for name in transports if name not in TRANSPORTS]
        if unknown or not transports or len(set(transports)) < len(transports):
            raise ConfigError(
                f"transports={transports!r}: each of {', '.join(TRANSPORTS)} at most once, and one at least"
            )
        self.transports: tuple[str, ...] = tuple(transports)
        self._at = 0
        self._home = 0
        self._winner: int | None = None
        self._better_at = inf
        self._patience = CLIENT_BETTER_SECONDS[0]

    @property
    def current(self) -> str:
        """The transport to use now."""
        return self.transports[self._at]

    @property
    def has_next(self) -> bool:
        """Whether another one is worth a try after this."""
        return len(self.transports) > 1 and self._at < len(self.transports) - 1

    @property
    def better_at(self) -> float:
        """When a better one is to be tried; infinity: this is the best, or it has not been shown to work."""
        return self._better_at if self._at else inf

    def works(self, transport: str, now: float) -> None:
        """Something has come through on a transport."""
        at = self.transports.index(transport)
        if at != self._at:
            return
        self._home = at
        if at == self._winner:
            return
        self._winner = at
        self._better_at = now + self._patience
        if at == 0:
            self._patience = CLIENT_BETTER_SECONDS[0]

    def fails(self, transport: str, ended: Ended, *, cut: bool) -> bool:
        """A connection has ended. Return whether another transport is to be tried at once.

        Args:
            cut: whether somebody was reached, and nothing came through: the way may be closed to a transport that has
                never worked.
        """
        if transport != self.current:
            return True
        blames = ended.blames or (cut and self._at != self._winner)
        if not blames or len(self.transports) == 1:
            return False
        if self._winner is not None and self._at < self._winner:  # a better one was tried, and this is known to work
            self._at, self._winner = self._winner, None
            return True
        last = self._at == len(self.transports) - 1
        self._at = 0 if last else self._at + 1
        self._winner = None
        return not last

    def refused(self) -> None:
        """A follow is over for good, so it was not the transport: back to the one before that was tried out."""
        if self._home != self._at:
            self._at, self._winner = self._home, None

    def try_better(self) -> None:
        """It is time: begin again with the first."""
        self._patience = min(2 * self._patience, CLIENT_BETTER_SECONDS[1])
        self._better_at = inf
        self._at = 0
