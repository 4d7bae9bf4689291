"""Who takes part: those who are missing, do not start or exceed their time are named, and the others go on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.deadline import deadline
from benchmarks.fanout.contestants import Contestant
from benchmarks.fanout.machine import cpu_seconds
from benchmarks.results import Part, say
from benchmarks.upward.asking import Asking
from benchmarks.upward.measure import Asked, Entry, Plan, Window, rounds
from benchmarks.upward.servers import Kind, absent

__all__ = ["Contest"]

START_SECONDS = 60
IDLE_SECONDS = 1.0
IDLE_SHARE = 0.05


class Contest:
    """The contestants of a part, in whose text it is said who could not be measured, and why."""

    def __init__(self, part: Part, without: Sequence[str] = ()) -> None:
        self.part = part
        self._without = without
        self._failed: set[str] = set()

    def start(self, stack: ExitStack, kinds: Sequence[Kind], answer: Path | None = None) -> list[Contestant]:
        """Start all who are there."""
        started: list[Contestant] = []
        for kind in kinds:
            if kind.name in self._without:
                continue
            if why := absent(kind):
                self.tell(f"{kind.name} was left out: {why} is missing.")
                continue
            try:
                with deadline(kind.name, START_SECONDS):
                    started.append(stack.enter_context(kind(answer)))
            except RuntimeError as error:
                self.give_up(kind.name, error)
        return started

    def connect(self, stack: ExitStack, name: str, asking: Asking) -> bool:
        """Wait until clients are connected; False where they cannot."""
        try:
            with deadline(f"{name}, connecting", START_SECONDS):
                stack.enter_context(asking)
        except RuntimeError as error:
            asking.__exit__()
            self.give_up(name, error)
            return False
        return True

    def rounds(self, entries: Sequence[Entry], plan: Plan) -> list[Window]:
        """Measure everybody; who fails on the way has no windows.

        Whoever takes CPU while nothing is asked of it takes it from all others: that is said.
        """
        servers = {entry.server.name: entry.server.pid for entry in entries if isinstance(entry, Asked)}
        before = {name: cpu_seconds(pid) for name, pid in servers.items()}
        time.sleep(IDLE_SECONDS)
        for name, pid in servers.items():
            share = (cpu_seconds(pid) - before[name]) / IDLE_SECONDS
            if share > IDLE_SHARE:
                self.tell(f"{name} took {share:.0%} of a core while nothing was asked of it.")
        found = list(rounds(entries, plan, self.give_up))
        return [window for window in found if window.name not in self._failed]

    def give_up(self, name: str, error: Exception) -> None:
        """Go on without a peer; Triolet and what it is compared with are what is measured.

        Raises:
            Exception: what was given, of those.
        """
        if name.startswith(("Triolet", "C loop")):
            raise error
        self._failed.add(name)
        self.tell(f"{name} could not be measured: {error}.")

    def tell(self, sentence: str) -> None:
        """Say it now, and in the part's text."""
        say(sentence)
        self.part.text += f" {sentence}"
