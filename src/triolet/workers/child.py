"""Workers as processes: each runs this same command once more, with a line to its supervisor."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence

import trio

from .control import ACCEPT, LEAVING, METRICS, NOW, READY, RELEASE, STOP, Control
from .places import Place

__all__ = ["CONTROL_OPTION", "Child", "starter"]

CONTROL_OPTION = "--control"
"""The option that tells a worker its end of the line; not for users."""


class Child:
    """A worker's process. See :class:`.places.WorkerProcess`.

    It imports the app anew, which is what a rolling restart is for. It has a session of its own, so that Ctrl-C in a
    terminal reaches the supervisor alone.
    """

    def __init__(self, number: int, process: trio.Process, control: Control) -> None:
        self.number = number
        self.pid = process.pid
        self.ready = False
        self.code = 0
        self.decided = trio.Event()
        self.left = trio.Event()
        self.ended = trio.Event()
        self._process = process
        self._control = control
        self._asked = 0
        self._told: dict[int, tuple[trio.Event, list[bytes]]] = {}

    async def attend(self) -> None:
        """Hear what the worker says, until its process has ended. The line alone would not tell that, because a process
        that the app has forked holds it too.

        Cancellation: the line is closed, and the worker shuts down gracefully.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._hear)
                self.code = await self._process.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._control.close()
        self.left.set()
        self.decided.set()
        self.ended.set()

    async def _hear(self) -> None:
        while (message := await self._control.hear()) is not None:
            if message.what == READY:
                self.ready = True
                self.decided.set()
            elif message.what == LEAVING:
                self.left.set()
            elif message.what == METRICS and message.place in self._told:
                told, text = self._told[message.place]
                text.append(message.text)
                told.set()
        self.left.set()

    def accept(self, place: Place) -> None:
        self._control.say(ACCEPT, place=place.number, listeners=place.listeners)

    def release(self, place: Place) -> None:
        self._control.say(RELEASE, place=place.number)

    def stop(self) -> None:
        self._control.say(STOP)

    def now(self) -> None:
        self._control.say(NOW)

    def kill(self) -> None:
        self._process.kill()

    async def metrics(self) -> bytes | None:
        """Ask for the worker's metrics, and return them; None if it has none.

        Cancellation: the answer is thrown away when it comes.
        """
        # Numbered, because the supervisor does not wait for ever: an answer that comes too late must not be taken for
        # that of the next question.
        self._asked = number = self._asked + 1
        told, text = self._told[number] = trio.Event(), list[bytes]()
        try:
            self._control.say(METRICS, place=number)
            await told.wait()
        finally:
            del self._told[number]
        return text[0] or None


def starter(arguments: Sequence[str], nursery: trio.Nursery) -> Callable[[int], Awaitable[Child]]:
    """Return a function that starts a worker's process, with the command line of this one.

    Args:
        arguments: the arguments of the command, without its name.
        nursery: where each process is attended to.
    """

    async def start(number: int) -> Child:
        control, theirs = Control.pair()
        with theirs:
            command = [sys.executable, "-P", "-m", "triolet", *arguments, CONTROL_OPTION, str(theirs.fileno())]
            try:
                process = await trio.lowlevel.open_process(
                    command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], start_new_session=True
                )
            except BaseException:
                control.close()
                raise
        child = Child(number, process, control)
        nursery.start_soon(child.attend)
        return child

    return start
