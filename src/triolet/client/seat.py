"""A follow's place on a connection that it shares with others."""

from __future__ import annotations

from typing import Protocol

import trio

from ..errors import printable
from .errors import Ended
from .heard import Heard, seconds_of
from .track import State, Track

__all__ = ["Rider", "Seat"]


class Rider(Protocol):
    """A follow that shares a connection."""

    @property
    def track(self) -> Track:
        """The position."""

    @property
    def has_room(self) -> bool:
        """Whether what one message brings can be put to the program without waiting."""

    def take_now(self, message: Heard) -> None:
        """Take a message where there is room."""

    def become(self, state: State, why: Ended | None = None) -> None:
        """Hear of the connection's state."""

    def trouble(self, why: Ended) -> None:
        """Hear of what went wrong beside a connection that stands."""


class Seat:
    """A rider's place, until it gets off.

    Attributes:
        rider: who has it.
        url: the path and query that it follows.
        left: set when it has got off.
        ended: why it has, where that was not the rider's own doing.
    """

    __slots__ = ("ended", "left", "rider", "url")

    def __init__(self, rider: Rider, url: str) -> None:
        self.rider = rider
        self.url = url
        self.left = trio.Event()
        self.ended: Ended | None = None

    def leave(self, ended: Ended) -> None:
        """Get off: the first that says why counts."""
        self.ended = self.ended or ended
        self.left.set()

    def give(self, message: Heard) -> None:
        """Have the rider take a message. What it finds wrong, or has no room for, is its own matter."""
        if message.type == "refused":
            self.leave(_refused(message))
        elif not self.rider.has_room and message.type != "tell":  # which takes no room
            self.leave(Ended("the program is slower than what it shares", retry=0, rides=True, alone=True))
        else:
            try:
                self.rider.take_now(message)
            except Ended as ended:  # it asks again at once
                ended.rides = True
                if ended.kind == "network":
                    ended.retry = 0
                self.leave(ended)


def _refused(message: Heard) -> Ended:
    """Where it may go better in a while, that is waited for. Else, where a channel is named, it had been open, and was
    taken away; or the app has refused to open it."""
    if isinstance(message.retry, int):
        why, retry = printable(message.reason) or "refused", seconds_of(message.retry)
        return Ended(f"{why}: asked again later", "refused", retry=retry, rides=True, by_server=True)
    if message.reason == "follows":  # one connection carries so many; of its own it may have one all the same
        why = "the socket carries as much as it may"
        return Ended(why, retry=0, rides=True, alone=True, by_server=True)
    if message.channel is not None:
        return Ended("revoked", "revoked", retry=None, code=4403, rides=True, by_server=True)
    return Ended("refused", "refused", retry=None, code=4403, rides=True, by_server=True)
