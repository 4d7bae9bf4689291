"""Runs: what the checker says of them, and that plans have them, with all that may befall them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hunt import draw
from hunt.folding import key_of, name_of
from hunt.history import KILLED, Appended, Draining, Serving
from hunt.run_history import Beginning, Begun, Gave, Halted, Outcome, SourceOver, Unbegun
from hunt.steps import Begin, Close, Halt, Restart
from triolet import Cursor
from triolet.event import END

from .story import Story

DONE = {"outcome": "done"}


class Told(Story):
    """A story of a run on server 0; a second server is there too."""

    def __init__(self) -> None:
        super().__init__(run_lease_seconds=3)
        self.history.add(Serving(0, 0))
        self.history.add(Serving(0, 1))
        self.history.add(Beginning(0, 1, 0, "c0", 0))
        self.history.add(Begun(0, 1))

    def gives(self, *numbers: int) -> None:
        for number in numbers:
            self.history.add(Gave(self.at, 1, number))

    def has(self, *numbers: int) -> None:
        for number in numbers:
            self._heads["c0"] = at = self._heads.get("c0", 0) + 1
            what = (name_of(number), [number, ""], key_of(number))
            self.history.add(Appended(self.at, "c0", Cursor("a", at), *what, f"run.{number}", 10))

    def ends_with(self, data: Any) -> None:
        self._heads["c0"] = at = self._heads.get("c0", 0) + 1
        self.history.add(Appended(self.at, "c0", Cursor("a", at), END, data, None, END, 10))

    def source(self, how: str) -> None:
        self.history.add(SourceOver(self.at, 1, how))

    def is_told(self, outcome: str) -> None:
        self.history.add(Outcome(self.at, 1, outcome))

    def is_killed(self) -> None:
        self.history.add(Draining(self.at, 0, KILLED))
        self.drained()


def well(story: Told) -> None:
    story.gives(0, 1)
    story.has(0, 1)
    story.source("done")
    story.ends_with(DONE)
    story.is_told("done")


def with_a_hole(story: Told) -> None:
    story.gives(0, 1, 2)
    story.has(0, 2)


def out_of_order(story: Told) -> None:
    story.gives(0, 1)
    story.has(1, 0)


def twice(story: Told) -> None:
    story.gives(0)
    story.has(0, 0)


def without_its_last(story: Told) -> None:
    story.gives(0, 1)
    story.has(0)
    story.source("done")
    story.ends_with(DONE)


def late(story: Told) -> None:
    story.gives(0)
    story.at = 3


def endless(story: Told) -> None:
    story.source("done")
    story.at = 3


def stopped_by_nobody(story: Told) -> None:
    story.ends_with({"outcome": "stopped", "reason": "asked"})


def lost_by_nobody(story: Told) -> None:
    story.ends_with({"outcome": "lost"})


def done_before_its_source(story: Told) -> None:
    story.ends_with(DONE)


def told_otherwise(story: Told) -> None:
    well(story)
    story.history.records[-1] = Outcome(story.at, 1, "failed")


def killed_and_forgotten(story: Told) -> None:
    story.is_killed()
    story.at = 9


def stopped_in_vain(story: Told) -> None:
    story.at = 1
    story.history.add(Halted(1, 1, 1, "c0", True))
    story.at = 4


def refused_for_nothing(story: Told) -> None:
    story.history.add(Beginning(0, 2, 0, "c1", 0))
    story.history.add(Unbegun(0, 2, "RunError", "one goes on there"))


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        (with_a_hole, "a run's items"),
        (out_of_order, "a run's items"),
        (twice, "a run's items"),
        (without_its_last, "a run's items"),
        (late, "a late item"),
        (endless, "a run without an end"),
        (stopped_by_nobody, "an end of a run"),
        (lost_by_nobody, "an end of a run"),
        (done_before_its_source, "an end of a run"),
        (told_otherwise, "an outcome"),
        (killed_and_forgotten, "a run without an end"),
        (stopped_in_vain, "a run without an end"),
        (refused_for_nothing, "a run refused"),
    ],
    ids=lambda one: getattr(one, "__name__", None),
)
def test_a_run_that_breaks_a_promise_is_found(told: Callable[[Told], None], kind: str) -> None:
    story = Told()
    told(story)
    story.over()
    assert kind in story.kinds()


def killed_and_found(story: Told) -> None:
    story.gives(0)
    story.is_killed()
    story.at = 3.2
    story.ends_with({"outcome": "lost"})


def stopped_in_time(story: Told) -> None:
    story.gives(0)
    story.has(0)
    story.history.add(Halted(story.at, story.at, 1, "c0", True))
    story.source("left")
    story.ends_with({"outcome": "stopped", "reason": "asked"})
    story.is_told("stopped")


@pytest.mark.parametrize("told", [well, killed_and_found, stopped_in_time], ids=lambda one: one.__name__)
def test_a_run_that_keeps_them_is_right(told: Callable[[Told], None]) -> None:
    story = Told()
    told(story)
    story.at = 9
    story.over()
    assert story.findings() == []


def test_plans_have_runs_beside_all_else() -> None:
    plans = [plan for plan in map(draw, range(200)) if plan.has_runs]
    assert len(plans) > 20
    begun = [(plan, step) for plan in plans for step in plan.steps if isinstance(step, Begin)]
    assert {step.then for _, step in begun} == {"done", "raises", "odd"}
    assert any(step.unwatched for _, step in begun)
    assert any(step.fold for _, step in begun)
    assert any(plan.redis for plan in plans)
    assert any(plan.has_members for plan in plans)
    assert any(plan.has_identities for plan in plans)
    assert any(client.transport == "python" for plan in plans for client in plan.clients)
    steps = [step for plan in plans for step in plan.steps]
    assert any(isinstance(step, Restart) and step.killed for step in steps)
    assert {type(step) for step in steps} >= {Halt, Close}
    assert max(plan.channels for plan in plans) < 6
