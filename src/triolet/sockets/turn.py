"""The turn of the event loop: what is said in it goes out at its end, and nobody does too much in it.

Why what an app says waits for the end of the turn. A handler that finds sixteen messages waiting answers all of them in
one go, and sixteen system calls would cost several times what the answers do. So they are kept, and written as one when
the handler waits for its next message; and whatever else it awaits instead, at the end of the turn: a task is woken for
that, once a turn and not once a message. There is no timer in it. In a process with nothing else to do that is at once.

Why the pump asks here before each of its rounds (:meth:`Turn.end`). It writes to the sockets themselves, past all that
is kept. What an app has said before it published must not come behind what it published.

Why messages are counted. To take a message that waits, or to send one to a client that has room, needs no pass of the
scheduler, and a pass costs more than most handlers do with a message. But a handler that always finds another one would
keep the process from all others. So each such step is counted here, over all connections: a handler may send to ten
thousand in a loop.
"""

from __future__ import annotations

from typing import NoReturn, Protocol

import trio

from ..bounds import TURN_SECONDS, TURN_STEPS

__all__ = ["Turn"]


class Speaker(Protocol):
    """What keeps something until the end of the turn."""

    def flush(self) -> None:
        """Write what is kept, if that has not been done. It must not wait."""


class Turn:
    """The present turn of the event loop, for one process.

    Attributes:
        kept: bytes that speakers keep; each of them counts its own.
        runs: whether anything flushes them at the end.

    Bounds: ``TURN_ALL_BYTES``, and one message more; and each speaker once for every time that it began to keep
    something in the turn.
    """

    __slots__ = ("_ends_at", "_flusher", "_speakers", "_steps", "kept", "runs")

    def __init__(self) -> None:
        self._speakers: list[Speaker] = []
        self._flusher: trio.lowlevel.Task | None = None  # while it sleeps
        self.runs = False
        self._steps = 0
        self._ends_at = 0.0
        self.kept = 0

    def flush_at_end(self, speaker: Speaker) -> None:
        """Have a speaker flushed at the end of the turn, or earlier. Only while it :attr:`runs`."""
        self._speakers.append(speaker)
        if self._flusher is not None:
            trio.lowlevel.reschedule(self._flusher)
            self._flusher = None

    def end(self) -> None:
        """Flush all that have something kept. It never waits, and nearly always there is nothing to do."""
        if self._speakers:
            speakers, self._speakers = self._speakers, []
            for speaker in speakers:
                speaker.flush()

    def over(self) -> bool:
        """Count a step, and tell whether it is time to give way to others, with a checkpoint."""
        self._steps += 1
        if self._steps & 3:  # looking at the clock at each of them would be a twentieth of all that a message costs
            return False
        now = trio.current_time()
        if self._steps < TURN_STEPS and now < self._ends_at:
            return False
        self._steps = 0
        self._ends_at = now + TURN_SECONDS
        return True

    async def run(self) -> NoReturn:
        """End each turn in which something was said, for ever.

        Cancellation: what is kept is written.
        """
        self.runs = True
        try:
            while True:
                self._flusher = trio.lowlevel.current_task()
                # Once it is rescheduled it runs in the next pass, when all have run that could run in this one.
                await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.SUCCEEDED)
                self.end()
        finally:
            self.runs, self._flusher = False, None
            self.end()
