"""What a person reads: who is there, what happens, what was said when."""

from __future__ import annotations

import pytest

from hunt import Performance, Plan, draw, perform, report
from hunt.dialogue import dialogue, scene
from hunt.plan import ClientPlan, Rung
from hunt.steps import Cut, Publish, Restart, Wait
from triolet.limits import Limits

from .story import Story


def test_a_scene_names_what_is_not_as_usual() -> None:
    plan = Plan(
        seed=7,
        limits=Limits(keep_events=3),
        routes=((), (Rung("latest", events=2), Rung("disconnect", seconds=5))),
        clients=(ClientPlan("A", "sse", start="0", kernel=700), ClientPlan("B", "socket", (0, 1), route=1, server=1)),
        steps=(Publish(0, 3, batch=2, pace=0.5, repeats=True), Wait(1), Cut(1, "silent", 0), Restart(0, 2)),
        servers=2,
        channels=2,
    )
    assert scene(plan) == [
        "limits: keep_events=3",
        "2 servers over one log",
        "route 1: latest(events=2) or disconnect(seconds=5)",
        "client A: sse of c0, start=0, kernel=700",
        "client B: socket of c0, c1, route=1, server=1",
        "1. publish 3x of 2 events to c0, 0.5 s apart, each twice with one dedupe",
        "2. wait 1 s",
        "3. B goes (silent), for 0 s",
        "4. server 0 drains, and is back after 2 s",
    ]


def test_a_dialogue_has_a_line_for_each_word_and_the_time_before_it() -> None:
    story = Story()
    story.asks("0")
    story.opens("a.0")
    story.at = 1.5
    attempt = story.publishes(0, 1)
    story.stores(0, 1)
    story.returns(attempt, "a.1", "a.2", numbers=(0, 1))
    story.events(("a.2", 1))
    story.at = 2
    story.ends("reset")
    assert dialogue(story.history) == [
        "    0.000  the log begins, epoch a",
        "    0.000  A#1 -> websocket of c0, after 0",
        "    0.000  A#1 <- 101",
        "    0.000  A#1 <- open channel=c0 cursor=a.0",
        "    1.500  publish 1 returns a.1 to a.2",
        "    1.500  A#1 <- event a.2",
        "    2.000  A#1 ends (reset)",
    ]
    told = report(Performance(story.plan, story.history, tuple(story.findings()))).splitlines()
    assert told[-9:] == [
        "    1.500  A#1 <- event a.2",
        "",
        "a lost event (connection 1), at 1.500",
        "  promised: the event at a.1 of c0",
        "  came:     the one at a.2",
        "an end without a cause (connection 1), at 2.000",
        "  promised: an end for a cause, with a bye",
        "  came:     reset",
        "repeat it: python -m hunt --seed 1",
    ]


def test_a_play_that_goes_round_in_a_circle_ends_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hunt.performance.MOST_STEPS", 500)
    assert "a crash" in [finding.kind for finding in perform(draw(0)).findings]


def test_an_error_that_nobody_expected_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("hunt.performance.play", broken)
    (finding,) = perform(draw(0)).findings
    assert finding.kind == "a crash"
    assert finding.came.startswith("ZeroDivisionError at test_dialogue.py")
