"""The task that listens for silence: every connection has one, beside its reader and its writer."""

from __future__ import annotations

from math import inf

import trio

from .bounds import CLIENT_LUMPS, CLIENT_PROBE_SECONDS
from .choice import STREAMS, Choice
from .errors import Ended
from .heard import Heard
from .line import Line

__all__ = ["Heartbeat"]


class Heartbeat:
    """Ends a connection that is silent, of which nothing has come through at all, or which is to give way to a better
    one.

    Args:
        line: knows by when something is due.
        choice: of the transports, told that this one works.
        transport: this one.

    Attributes:
        heard_any: whether anything has come through.
        reached: whether somebody was there at all.
        silent: whether nobody is any more.
    """

    __slots__ = (
        "_beaten",
        "_choice",
        "_line",
        "_probe_until",
        "_sooner",
        "_until",
        "heard_any",
        "reached",
        "silent",
        "transport",
    )

    def __init__(self, line: Line, choice: Choice, transport: str) -> None:
        self.transport = transport
        self.heard_any = False
        self.reached = False
        self.silent = False
        self._beaten = False
        self._line = line
        self._choice = choice
        self._probe_until = inf
        self._until = inf
        self._sooner = trio.Event()

    def probe(self) -> None:
        """Somebody is there: something has to come through soon, if another transport could be tried."""
        self.reached = True
        if self._choice.has_next:
            self._probe_until = trio.current_time() + CLIENT_PROBE_SECONDS
            self._look()

    def listen(self) -> None:
        """From now on something is due."""
        self._line.listen(trio.current_time())
        self._look()

    def rest(self) -> None:
        """Nothing is due: it is the program that is waited for, or the time of the next poll."""
        self._line.rest()

    def works(self) -> None:
        """Something has come through."""
        self.heard_any = True
        self._probe_until = inf
        self._choice.works(self.transport, trio.current_time())
        self._look()

    def heard(self, message: Heard) -> None:
        """A message has come. Raises Ended where messages come too late, all at once."""
        self._line.heard(message, trio.current_time())
        self._beaten = self._beaten or message.type == "beat"
        if not self.heard_any:
            self.works()
        self.listen()
        if self._line.lumps >= CLIENT_LUMPS and self.transport in STREAMS and self._choice.has_next:
            raise Ended(f"what is sent over {self.transport} arrives in lumps", retry=0, blames=True)

    async def run(self) -> None:
        """Wait until it is over. Raises Ended."""
        while True:
            self._until = min(self._line.due, self._probe_until, self._better_at)
            self._sooner = trio.Event()
            with trio.move_on_at(self._until):
                await self._sooner.wait()
            now = trio.current_time()
            if now >= self._line.due:
                self.silent = True
                # What a proxy collects never comes: of such a stream the beginning at most was heard.
                raise Ended("silent", blames=self.transport == "sse" and not self._beaten)
            if now >= self._probe_until:
                raise Ended(f"nothing came through over {self.transport}", blames=True)
            if now >= self._better_at:
                self._choice.try_better()
                raise Ended("a better transport is tried again", retry=0)

    @property
    def _better_at(self) -> float:
        """When this gives way to a better transport; never, where it is not the one that is in use."""
        return self._choice.better_at if self.transport == self._choice.current else inf

    def _look(self) -> None:
        if min(self._line.due, self._probe_until, self._better_at) < self._until:
            self._sooner.set()
