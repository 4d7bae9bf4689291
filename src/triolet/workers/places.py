"""The places of workers: each has listening sockets of its own, and no accept queue is left without a worker."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from typing import Protocol

import trio

from ..admin.contract import Answer, Question
from ..server.listeners import close_listener

__all__ = ["Place", "Places", "WorkerProcess"]


class WorkerProcess(Protocol):
    """The contract of a worker's process, as its supervisor sees it.

    Attributes:
        pid: the process.
        number: which of the workers that live now; one that has ended leaves its number to another.
        unanswered: how many beats in a row it has not answered.
        decided: set when it is ready, or has ended before it was.
        left: set when it takes no new clients any more: it shuts down by itself, or has ended.
        ended: set when the process is gone.
    """

    pid: int
    number: int
    ready: bool
    code: int
    unanswered: int
    decided: trio.Event
    left: trio.Event
    ended: trio.Event

    def accept(self, place: Place) -> None:
        """Have it accept on a place's sockets too."""

    def release(self, place: Place) -> None:
        """Have it accept on a place's sockets no longer."""

    def beat(self) -> None:
        """Ask whether it is there. Each one that it does not answer is counted, and an answer forgives all."""

    async def obeyed(self) -> None:
        """Wait until it has done what it was told so far, or has left."""

    def stop(self) -> None:
        """Have it shut down gracefully, and end."""

    def now(self) -> None:
        """Have it end at once, without waiting for its clients."""

    def kill(self) -> None:
        """End the process. It has no say in that (SIGKILL)."""

    async def ask(self, question: Question) -> Answer | None:
        """Ask it what an operator wants to know; None where it ends without an answer."""


class Place:
    """Where a worker stands: its listening sockets, one for each address, the same for each one that comes here.

    Attributes:
        stand_in: a neighbour that serves the queues as well, while there is no worker here or it is ``silent``.
    """

    def __init__(self, number: int, listeners: Sequence[socket.socket]) -> None:
        self.number = number
        self.listeners = listeners
        self.worker: WorkerProcess | None = None
        self.stand_in: WorkerProcess | None = None
        self.silent = False
        self.since = 0.0
        self.attempts = 0
        self.filling: trio.CancelScope | None = None


class Places:
    """All places of a supervisor. It moves workers between them, and starts and ends none.

    Args:
        places: the places, in the order of their numbers. Their listening sockets are closed by :meth:`close`.
    """

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = places

    def __iter__(self) -> Iterator[Place]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    @property
    def serving(self) -> int:
        """How many have a worker that answers."""
        return sum(place.worker is not None and not place.silent for place in self._places)

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
        """Put a worker at a place, and have it serve the queues that no worker serves.

        Returns:
            The worker that stood there, which accepts there no longer; None if there was none.
        """
        if place.filling is not None:
            place.filling.cancel()
        old, place.worker, place.since = place.worker, worker, trio.current_time()
        place.silent = False
        worker.accept(place)
        for other in filter(None, (old, place.stand_in)):
            other.release(place)
        place.stand_in = None
        for other_place in self._places:
            if (other_place.worker is None or other_place.silent) and other_place.stand_in is None:
                other_place.stand_in = worker
                worker.accept(other_place)
        return old

    def withdraw(self, worker: WorkerProcess) -> Place | None:
        """Have neighbours serve the queues of a worker that takes no new clients any more.

        Returns:
            The place that it leaves empty; None if it stood at none.
        """
        left = next((place for place in self._places if place.worker is worker), None)
        if left is not None:
            left.worker, left.silent = None, False
            worker.release(left)
        self._stand_in(worker, left)
        return left

    def silence(self, worker: WorkerProcess) -> bool:
        """A worker does not answer: a neighbour serves its queues too. Returns whether that is news."""
        place = next((place for place in self._places if place.worker is worker and not place.silent), None)
        if place is None:
            return False
        place.silent = True
        self._stand_in(worker, place)
        return True

    def answered(self, worker: WorkerProcess) -> bool:
        """A worker that was silent answers again. Returns whether that is news."""
        place = next((place for place in self._places if place.worker is worker and place.silent), None)
        if place is None:
            return False
        if place.stand_in is not None:
            place.stand_in.release(place)
        place.silent, place.stand_in = False, None
        return True

    def _stand_in(self, worker: WorkerProcess, left: Place | None) -> None:
        """Have neighbours serve the queues that a worker served, its own and those where it stood in."""
        for place in self._places:
            if place.stand_in is worker:
                worker.release(place)
                place.stand_in = None
            elif place is not left:
                continue
            neighbour = self._neighbour(place)
            if place.stand_in is None and neighbour is not None:
                place.stand_in = neighbour
                neighbour.accept(place)

    def _neighbour(self, place: Place) -> WorkerProcess | None:
        """Return the worker of the next place that has one, after the last place from the first on."""
        after = [*self._places[place.number + 1 :], *self._places[: place.number]]
        return next((other.worker for other in after if other.worker is not None and not other.silent), None)
