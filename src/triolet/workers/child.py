"""Workers as processes: each runs this same command once more, with a line to its supervisor."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import trio

from ..admin.contract import Answer, Question
from ..admin.lines import ask_over
from .control import ACCEPT, ASK, BEAT, LEAVING, NOW, READY, RELEASE, STOP, Control
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
        self.unanswered = 0
        self._beats = self._answers = 0
        self._news = trio.lowlevel.ParkingLot()

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
        self._news.unpark_all()
        self.decided.set()
        self.ended.set()

    async def _hear(self) -> None:
        while (message := await self._control.hear()) is not None:
            if message.what == READY:
                self.ready = True
                self.decided.set()
            elif message.what == LEAVING:
                self.left.set()
            elif message.what == BEAT:
                self.unanswered = 0
                self._answers += 1
                self._news.unpark_all()
        self.left.set()
        self._news.unpark_all()

    def accept(self, place: Place) -> None:
        self._control.say(ACCEPT, place=place.number, listeners=place.listeners)

    def release(self, place: Place) -> None:
        self._control.say(RELEASE, place=place.number)

    def beat(self) -> None:
        self.unanswered += 1
        self._beats += 1
        self._control.say(BEAT)

    async def obeyed(self) -> None:
        self.beat()  # orders are obeyed one after the other, and this one is answered
        number = self._beats
        while self._answers < number and not self.left.is_set():
            await self._news.park()

    def stop(self) -> None:
        self._control.say(STOP)
        if not self.decided.is_set():  # it imports the app, and hears nothing else
            with suppress(OSError):
                self._process.terminate()

    def now(self) -> None:
        self._control.say(NOW)

    def kill(self) -> None:
        self._process.kill()

    async def ask(self, question: Question) -> Answer | None:
        """Ask the worker what an operator wants to know, and return its answer; None where it ends without one.

        Cancellation: as of :meth:`triolet.admin.contract.Desk.answer`.
        """
        # Over a line of its own: a question and an answer may be long, and one that nobody waits for any more ends with
        # its line, wherever it is.
        try:
            ours, theirs = socket.socketpair()
        except OSError:  # no descriptor left
            return None
        with theirs:
            self._control.say(ASK, listeners=[theirs])
        return await ask_over(trio.SocketStream(trio.socket.from_stdlib_socket(ours)), question)


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
