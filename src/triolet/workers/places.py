"""Where workers stand: each place has listening sockets of its own, and no queue is left without a worker."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from typing import Protocol

import trio

from ..server.listeners import close_listener

__all__ = ["Place", "Places", "WorkerProcess"]


class WorkerProcess(Protocol):
    """The contract of a worker's process, as its supervisor sees it.

    Attributes:
        pid: the process.
        number: which of the workers that live now; one that has ended leaves its number to another.
        decided: set when it is ready, or has ended before it was.
        left: set when it takes no new clients any more: it drains by itself, or has ended.
        ended: set when the process is gone, with this exit ``code``.
    """

    pid: int
    number: int
    ready: bool
    code: int
    decided: trio.Event
    left: trio.Event
    ended: trio.Event

    def accept(self, place: Place) -> None:
        """Have it accept on a place's sockets too."""

    def release(self, place: Place) -> None:
        """Have it accept there no longer."""

    def stop(self) -> None:
        """Have it drain and end."""

    def now(self) -> None:
        """Have it end at once."""

    def kill(self) -> None:
        """End it. It has no say in that."""

    async def metrics(self) -> bytes | None:
        """Ask for its metrics, as text; None where it has none."""


class Place:
    """Where a worker stands: its listening sockets, one for each address, the same for each one that comes here."""

    def __init__(self, number: int, listeners: Sequence[socket.socket]) -> None:
        self.number = number
        self.listeners = listeners
        self.worker: WorkerProcess | None = None
        self.stand_in: WorkerProcess | None = None
        self.since = 0.0
        self.attempts = 0
        self.filling: trio.CancelScope | None = None


class Places:
    """All places of a supervisor. It moves workers between them, and starts and ends none.

    Args:
        places: with their numbers from 0 on. Their listening sockets are closed by :meth:`close`.
    """

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = places

    def __iter__(self) -> Iterator[Place]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    @property
    def serving(self) -> int:
        """How many have a worker."""
        return sum(place.worker is not None for place in self._places)

    def stop_filling(self) -> None:
        """Give up every attempt to put a worker where one is missing."""
        for place in self._places:
            if place.filling is not None:
                place.filling.cancel()

    def close(self) -> None:
        """Close the listening sockets. Doing it again does nothing."""
        for place in self._places:
            for listener in place.listeners:
                close_listener(listener)

    def put(self, place: Place, worker: WorkerProcess) -> WorkerProcess | None:
        """Put a worker at a place, and have it serve the queues that no worker serves. Returns the one that stood
        there, which no longer accepts there."""
        if place.filling is not None:
            place.filling.cancel()
        old, place.worker, place.since = place.worker, worker, trio.current_time()
        worker.accept(place)
        for other in filter(None, (old, place.stand_in)):
            other.release(place)
        place.stand_in = None
        for other_place in self._places:
            if other_place.worker is None and other_place.stand_in is None:
                other_place.stand_in = worker
                worker.accept(other_place)
        return old

    def withdraw(self, worker: WorkerProcess) -> Place | None:
        """A worker takes no new clients any more: neighbours serve the queues that it served. Returns the place that it
        leaves empty, if it stood at one."""
        left = next((place for place in self._places if place.worker is worker), None)
        if left is not None:
            left.worker = None
        for place in self._places:
            if place is left or place.stand_in is worker:
                worker.release(place)
                place.stand_in = self._neighbour(place)
                if place.stand_in is not None:
                    place.stand_in.accept(place)
        return left

    def _neighbour(self, place: Place) -> WorkerProcess | None:
        """The next worker, round about."""
        after = [*self._places[place.number + 1 :], *self._places[: place.number]]
        return next((other.worker for other in after if other.worker is not None), None)
