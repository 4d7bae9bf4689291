"""The supervisor: keeps its workers serving, starts one again that has ended, and replaces them all when told to.

It holds the listening sockets itself, one of each address for every worker's *place*, and lends them to the worker
that stands there. So no socket is closed when a worker goes, however it goes: the kernel would reset the connections
that wait in its queue. While a place is empty a neighbour serves its queue.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

import trio

from ..admin.contract import Answer, Hear, Question, not_now, nothing
from ..bounds import ADMIN_GATHER_SECONDS
from .bounds import (
    WORKER_BEAT_SECONDS,
    WORKER_DEAD_BEATS,
    WORKER_KILL_SECONDS,
    WORKER_NOW_SECONDS,
    WORKER_PAUSES,
    WORKER_SILENT_BEATS,
    WORKER_START_SECONDS,
    WORKER_STEADY_SECONDS,
)
from .control import SAID
from .places import Place, Places, WorkerProcess
from .systemd import Notifier

__all__ = ["Supervisor"]

logger = logging.getLogger("triolet.supervisor")


class Supervisor:
    """Runs a worker at each place.

    Args:
        places: the places. Their listening sockets are closed at its end.
        start: starts a worker's process, which is given a number.
        grace: seconds that workers have to end.
        notifier: is told when they serve, are replaced, and end.
        renew: called at SIGHUP, before anything else.

    Attributes:
        begun: set when all workers serve for the first time.
    """

    def __init__(
        self,
        places: Sequence[Place],
        start: Callable[[int], Awaitable[WorkerProcess]],
        grace: float,
        notifier: Notifier | None = None,
        renew: Callable[[], None] | None = None,
    ) -> None:
        self._renew = renew
        self._notifier = notifier or Notifier()
        self._patience = trio.CancelScope()
        self._places = Places(places)
        self._start_process = start
        self._grace = grace
        self._workers: list[WorkerProcess] = []
        self._numbers: set[int] = set()
        self._ending = trio.Event()
        self._changing: trio.CancelScope | None = None
        self._failed = False
        self.begun = trio.Event()
        self.restarts = 0

    async def run(self, signals: AsyncIterator[int]) -> int:
        """Serve until SIGTERM or SIGINT, or until it has to give up. SIGHUP replaces all workers.

        Args:
            signals: the numbers of the signals, as they come.

        Returns:
            The exit code: 0 if all was done as it was told, and else 1.

        Cancellation: workers notice that their supervisor is gone, and shut down gracefully.
        """
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._obey, signals)
                nursery.start_soon(self._begin)
                nursery.start_soon(self._watch)
                await self._ending.wait()
                await self._end()
                nursery.cancel_scope.cancel()
        finally:
            self._places.close()
        return 1 if self._failed else 0

    # --- for the operator's listener

    @property
    def ready(self) -> bool:
        """Whether clients should be sent here: some worker serves, and it is not the end."""
        return not self._ending.is_set() and self._places.serving > 0

    @property
    def figures(self) -> Mapping[str, float]:
        """The supervisor's own metrics, by name."""
        return {
            "workers": len(self._places),
            "workers_serving": self._places.serving,
            "worker_restarts_total": self.restarts,
        }

    async def ask_one(self, question: Question) -> Answer:
        """Ask a worker: one that answers and stays, if there is one.

        It is asked once, and no other after it: what was asked for may be done.

        Cancellation: as of :meth:`triolet.admin.contract.Desk.answer`.
        """
        ready = [worker for worker in self._workers if worker.ready and not worker.ended.is_set()]
        if not ready:
            return not_now("silent", "no worker serves now")
        worker = min(ready, key=lambda one: (one.unanswered > 1, one.left.is_set(), one.number))
        answer = await worker.ask(question)
        if answer is None:
            return not_now("silent", f"worker {worker.number} ended before it answered; what was asked for may be done")
        return answer

    async def ask_all(self, question: Question, hear: Hear = nothing) -> Mapping[int, Answer | None]:
        """Ask all workers, those that drain among them. None is the answer of one that does not answer in time.

        Bounds: ``ADMIN_GATHER_SECONDS``.

        Cancellation: nothing is lost.
        """
        told: dict[int, Answer | None] = {}

        async def ask(worker: WorkerProcess) -> None:
            told[worker.number] = None
            hear(worker.number, None)
            with trio.move_on_after(ADMIN_GATHER_SECONDS):
                told[worker.number] = answer = await worker.ask(question)
                hear(worker.number, answer)

        async with trio.open_nursery() as nursery:
            for worker in list(self._workers):
                if worker.ready:
                    nursery.start_soon(ask, worker)
        return dict(sorted(told.items()))

    # --- orders

    async def _obey(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            if number == signal.SIGHUP:
                if self._renew is not None:
                    self._renew()
                self._nursery.start_soon(self._replace_all)
            elif not self._ending.is_set():
                self._ending.set()
            else:
                self._patience.deadline = min(self._patience.deadline, trio.current_time() + WORKER_NOW_SECONDS)
                for worker in list(self._workers):
                    worker.now()

    async def _begin(self) -> None:
        """Fill all places. Why they cannot be filled was said, once: by the first worker itself, or of one."""
        workers = await self._start_all()
        if workers is None:
            self._failed = self._failed or not self._ending.is_set()
            self._ending.set()
            return
        self._stand(workers)
        # Who is told that they serve connects at once, and nobody listens before a worker has its sockets.
        with trio.move_on_after(WORKER_SILENT_BEATS * WORKER_BEAT_SECONDS):
            for worker in workers:
                await worker.obeyed()
        self.begun.set()
        if not self._ending.is_set():
            logger.info("%d workers serve", len(workers))
            self._notifier.ready()

    async def _replace_all(self) -> None:
        """Put new workers at all places; the old ones then drain. If a new one cannot start, the old ones stay."""
        if self._ending.is_set() or self._changing is not None or not self.ready:
            logger.error("SIGHUP: not now, workers are being started or ended already")
            return
        logger.info("SIGHUP: starting %d new workers", len(self._places))
        self._notifier.reloading()
        workers = await self._start_all()
        if workers is not None:
            old = [worker for worker in self._workers if worker not in workers]
            self._stand(workers)
            logger.info("%d new workers serve, the old ones drain", len(workers))
            # Until they have left they may accept: whoever waits for the word would still meet the old app.
            with trio.move_on_after(WORKER_SILENT_BEATS * WORKER_BEAT_SECONDS):
                for worker in old:
                    await worker.left.wait()
        elif not self._ending.is_set():
            logger.error("SIGHUP: the new workers could not start, and the OLD ones serve on")
        if not self._ending.is_set():
            self._notifier.ready()

    def _give_up(self, why: str) -> None:
        if not self._ending.is_set():
            logger.critical("giving up: %s", why)
            self._failed = True
            self._ending.set()

    async def _end(self) -> None:
        """Have all workers drain, and see to it that they are gone in time."""
        self._notifier.stopping()
        if self._changing is not None:
            self._changing.cancel()
        self._places.stop_filling()
        self._places.close()  # so that each worker is the last to hold its own, and can empty the queue
        for worker in list(self._workers):
            worker.stop()
        patience = trio.current_time() + self._grace + WORKER_KILL_SECONDS
        self._patience.deadline = min(self._patience.deadline, patience)
        with self._patience:
            await self._all_ended()
        for worker in list(self._workers):
            logger.error("worker %d (process %d) outstayed its grace, and is killed", worker.number, worker.pid)
            self._failed = True
            worker.kill()
        await self._all_ended()
        if self.begun.is_set():
            logger.info("ended")

    async def _all_ended(self) -> None:
        while self._workers:
            await self._workers[0].ended.wait()
            await trio.lowlevel.checkpoint()  # so that it is taken off the list

    # --- workers

    async def _watch(self) -> None:
        """Notice workers that are there and do not answer: stopped by somebody, or held up by their app."""
        while True:
            await trio.sleep(WORKER_BEAT_SECONDS)
            for worker in list(self._workers):
                if worker.ready and not worker.ended.is_set():
                    self._mind(worker)
                    worker.beat()

    def _mind(self, worker: WorkerProcess) -> None:
        who = f"worker {worker.number} (process {worker.pid})"
        if worker.unanswered >= WORKER_DEAD_BEATS:
            logger.error("%s has not answered for %d s, and is killed", who, WORKER_DEAD_BEATS * WORKER_BEAT_SECONDS)
            worker.kill()
        elif worker.unanswered >= WORKER_SILENT_BEATS and self._places.silence(worker):
            logger.error("%s does not answer, and another serves its queue", who)
        elif not worker.unanswered and self._places.answered(worker):
            logger.info("%s answers again", who)

    async def _start_all(self) -> list[WorkerProcess] | None:
        """Return a worker for each place, all of them ready; None if one cannot start, and then all are stopped."""
        # The first one alone, and the others together when it is ready: an app that cannot start says so once, and not
        # once for each worker.
        workers: list[WorkerProcess] = []

        async def start() -> None:
            if (worker := await self._start()) is not None:
                workers.append(worker)

        try:
            with trio.CancelScope() as self._changing:
                await start()
                if workers:
                    async with trio.open_nursery() as nursery:
                        for _ in range(len(self._places) - 1):
                            nursery.start_soon(start)
                if len(workers) == len(self._places) and not any(worker.left.is_set() for worker in workers):
                    return workers
        finally:
            self._changing = None
        for worker in workers:
            if worker.left.is_set() and not self._ending.is_set():
                logger.error("worker %d (process %d) was gone before all were ready", worker.number, worker.pid)
            worker.stop()
        return None

    async def _start(self) -> WorkerProcess | None:
        """Start a worker, wait until it is ready, and return it; None if it does not get so far."""
        number = next(number for number in range(len(self._numbers) + 1) if number not in self._numbers)
        self._numbers.add(number)
        try:
            worker = await self._start_process(number)
        except OSError as error:  # no more processes, descriptors or memory to be had now
            self._numbers.discard(number)
            logger.error("worker %d cannot be started: %s", number, error)
            return None
        except BaseException:
            self._numbers.discard(number)
            raise
        self._workers.append(worker)
        self._nursery.start_soon(self._attend, worker)
        try:
            with trio.move_on_after(WORKER_START_SECONDS):
                await worker.decided.wait()
        except trio.Cancelled:
            worker.stop()
            raise
        if not worker.ready:
            worker.kill()
        if not worker.ready and not self._ending.is_set() and (worker.code != SAID or self.begun.is_set()):
            logger.error("worker %d (process %d) did not start", worker.number, worker.pid)
        return worker if worker.ready else None

    async def _attend(self, worker: WorkerProcess) -> None:
        """Replace a worker when it leaves, and forget it when it has ended."""
        await worker.left.wait()
        if not self._ending.is_set():
            self._replace(worker)
        await worker.ended.wait()
        if worker.code != SAID or self.begun.is_set():  # else it was the first, and its own sentence says all
            logger.info("worker %d (process %d) has ended with %d", worker.number, worker.pid, worker.code)
        self._workers.remove(worker)
        self._numbers.discard(worker.number)
        if self._ending.is_set() and worker.code and worker.ready:
            self._failed = True

    def _stand(self, workers: Sequence[WorkerProcess]) -> None:
        """Put workers at the places, one at each, and stop those that stood there."""
        old = [self._places.put(place, worker) for place, worker in zip(self._places, workers, strict=True)]
        for worker in filter(None, old):
            worker.stop()

    def _replace(self, worker: WorkerProcess) -> None:
        """Start another worker at the place of one that leaves."""
        place = self._places.withdraw(worker)
        if place is not None:
            logger.error("worker %d (process %d) is gone, another is started", worker.number, worker.pid)
            self._nursery.start_soon(self._refill, place)

    async def _refill(self, place: Place) -> None:
        """Start a worker at a place that has none, again and again, and give up after the last pause."""
        if trio.current_time() - place.since >= WORKER_STEADY_SECONDS:
            place.attempts = 0
        with trio.CancelScope() as place.filling:
            while place.attempts < len(WORKER_PAUSES):
                pause = WORKER_PAUSES[place.attempts]
                place.attempts += 1
                await trio.sleep(pause)
                self.restarts += 1
                worker = await self._start()
                if worker is not None and place.worker is not None:  # SIGHUP was quicker
                    worker.stop()
                    return
                if worker is not None and not worker.left.is_set():
                    place.filling = None
                    self._places.put(place, worker)
                    return
            self._give_up(f"the worker at place {place.number} has ended {len(WORKER_PAUSES)} times in a row")
        place.filling = None
