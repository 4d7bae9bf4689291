"""The hunt: plays one seed after the other, and shrinks and tells what breaks a promise."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import trio
from trio.testing import MockClock

from triolet.testing.seed import seeded

from .checker import check
from .dialogue import dialogue, scene
from .draw import draw
from .findings import Finding
from .history import Asked, Crashed, History
from .plan import Plan
from .shrink import MOST_PLAYS, shrink
from .world import play

__all__ = ["Found", "Performance", "hunt", "perform", "play_batch", "report", "smallest"]

Found = tuple[int, list[tuple[int, str]]]
"""How many seeds were played, and the seeds in which something was found, with its kind."""

MOST_STEPS = 400_000
"""Steps of tasks in one play; one that takes more goes round in a circle."""
MOST_LINES = 150
"""Of a dialogue that is printed with a finding."""


@dataclass(frozen=True, slots=True)
class Performance:
    """A plan that was played: its history, and what the checker found."""

    plan: Plan
    history: History
    findings: tuple[Finding, ...]

    @property
    def kind(self) -> str | None:
        """Of the first finding; None where nothing was found."""
        return self.findings[0].kind if self.findings else None


class _Brake(trio.abc.Instrument):
    """Ends a play that goes round in a circle without time passing."""

    def __init__(self) -> None:
        self.steps = 0
        self.scope = trio.CancelScope()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Called by Trio."""
        self.steps += 1
        if self.steps == MOST_STEPS:
            self.scope.cancel()


def perform(plan: Plan) -> Performance:
    """Play a plan and check its history. The same plan gives the same history, step for step."""
    history, brake = History(), _Brake()

    async def main() -> None:
        with brake.scope:
            await play(plan, history)
        if brake.scope.cancelled_caught:
            history.add(Crashed(history.now, -1, f"more than {MOST_STEPS} steps of tasks: it goes round in a circle"))

    with _silent(), _looked_at_alone(), seeded(plan.seed):
        try:
            trio.run(main, clock=MockClock(autojump_threshold=0), instruments=[brake])
        except Exception as error:  # a bug of Triolet's that reached us, or of the simulation's
            history.add(Crashed(history.last, -1, _innermost(error)))
    return Performance(plan, history, tuple(check(plan, history)))


def hunt(seeds: Iterable[int]) -> Iterator[Performance]:
    """Play the plans of these seeds. Yields those in which a promise was broken."""
    for seed in seeds:
        performed = perform(draw(seed))
        if performed.findings:
            yield performed


def play_batch(seeds: list[int]) -> Found:
    """Hunt in a process of its own, which finds this here: what is in ``__main__`` it would not."""
    return len(seeds), [(performed.plan.seed, performed.kind or "") for performed in hunt(seeds)]


def smallest(performed: Performance, most_plays: int = MOST_PLAYS) -> Performance:
    """Shrink a plan in which a promise was broken to the few steps that matter for this kind of finding."""
    last = performed

    def fails(plan: Plan) -> bool:
        nonlocal last
        again = perform(plan)
        if performed.kind in [finding.kind for finding in again.findings]:
            last = again
            return True
        return False

    shrink(performed.plan, fails, most_plays)
    alike = sorted(last.findings, key=lambda finding: finding.kind != performed.kind)
    return replace(last, findings=tuple(alike))


def report(performed: Performance, *, whole: bool = False) -> str:
    """Tell what happened as a dialogue, and what was promised and what came at its end.

    Args:
        whole: all of it, however long that is; else up to the first finding, and where that is long only those
            connections that it is about.
    """
    findings, history = performed.findings, performed.history
    lines = dialogue(history)
    if findings and not whole:
        until = findings[0].at
        lines = dialogue(history, until=until)
        if len(lines) > MOST_LINES:
            lines = dialogue(history, _about(history, findings[0]), until)[-MOST_LINES:]
    told = [f"seed {performed.plan.seed}", *scene(performed.plan), "", *lines, ""]
    for finding in findings[:3] if not whole else findings:
        about = "" if finding.conn is None else f" (connection {finding.conn})"
        told += [
            f"{finding.kind}{about}, at {finding.at:.3f}",
            f"  promised: {finding.promised}",
            f"  came:     {finding.came}",
        ]
    told.append(f"repeat it: python -m hunt --seed {performed.plan.seed}")
    return "\n".join(told)


def _about(history: History, finding: Finding) -> list[int]:
    """The connections of the client that a finding is about."""
    asked = {record.conn: record.client for record in history.records if isinstance(record, Asked)}
    who = asked.get(finding.conn or -1)
    return [conn for conn, client in asked.items() if client == who]


@contextmanager
def _silent() -> Iterator[None]:
    """What Triolet logs is not for whoever reads the hunt's report."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def _looked_at_alone() -> Iterator[None]:
    """What was there before a play is none of what it leaves: to look for that is then a matter of milliseconds."""
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _innermost(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    place = "" if at is None else f" at {at.tb_frame.f_code.co_filename.rpartition('/')[2]}:{at.tb_lineno}"
    return f"{type(error).__name__}{place}: {error}"
