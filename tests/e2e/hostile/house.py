"""A server under attack, and those who watch over it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from ..bystander import Bystander
from ..raw import Wire
from ..server import Server, wait_for
from .probe import Probe, run

LIMITS = {
    "header_seconds": 1,
    "message_seconds": 1,
    "goodbye_seconds": 0.5,
    "stall_seconds": 1,
    "write_seconds": 1,
    "wait_seconds": 1,
    "beat_seconds": 1,
}
GROWTH = 150 << 20
"""What the process may have grown by after any of it, in bytes."""


class House:
    """A server under attack, and those who watch over it. After a failure it begins anew, for the next probe."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._watch = self._open()

    def _open(self) -> Watch:
        self.server.start()
        return Watch(self.server)

    def attack(self, probe: Probe, connect: Callable[[], Wire], *, proxied: bool = False) -> None:
        """Send one hostile connection, and see that it harmed nobody."""
        if not self.server.alive():
            self._watch = self._open()
        try:
            run(probe, self.server, connect(), proxied=proxied)
            self._watch.check()
        except BaseException:
            self.close()
            with suppress(Exception):  # the next probe tries again, and tells
                self._watch = self._open()
            raise

    def close(self) -> None:
        self._watch.bystander.leave()
        self.server.kill()


class Watch:
    """What the server was like before any attack, and the bystanders."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.pid = server.pid
        self.bystander = Bystander(server)
        self.bystander.prove()
        self.descriptors = server.descriptors()
        self.tasks = server.tasks()
        self.memory = server.memory()
        self.crashes = len(server.crashes())

    def check(self) -> None:
        """Nobody missed anything, nothing is left over, nothing unexpected was logged."""
        self.bystander.prove()
        assert self.server.pid == self.pid
        wait_for(lambda: self.server.descriptors() <= self.descriptors, "descriptors to come back")
        wait_for(lambda: self.server.tasks() <= self.tasks, "tasks to come back")
        news = self.server.crashes()[self.crashes :]
        assert not news, f"unexpected in the log: {news[:3]}\n{self.server.log[-1500:]}"
        assert self.server.memory() < self.memory + GROWTH
