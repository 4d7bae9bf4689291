"""The hunt itself: it finds nothing, unless there is something; and what it finds it shrinks and tells."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import triolet.log.memory
from hunt import Performance, Plan, draw, hunt, perform, report, smallest
from hunt.__main__ import main
from hunt.plan import ClientPlan, LogPlan, Step
from hunt.shrink import shrink
from hunt.steps import STEPS, Cut, Publish, Wait
from triolet.event import Cursor
from triolet.log.contract import resume

SEEDS = 500
NEAR = 50
"""A seed from which it is not far to one that finds :func:`off_by_one`: it is 51."""


def test_the_first_seeds_break_no_promise() -> None:
    """The first 200 are in tests/e2e/test_hunt_command.py, where two processes share them."""
    assert [report(smallest(performed)) for performed in hunt(range(5))] == []


def test_a_seed_gives_the_same_plan_and_a_plan_the_same_history() -> None:
    for seed in (0, 3):
        assert draw(seed) == draw(seed)
        first, second = perform(draw(seed)), perform(draw(seed))
        assert first.history.records == second.history.records
        assert len(first.history.records) > 100


def test_plans_have_all_that_there_is() -> None:
    plans = [draw(seed) for seed in range(SEEDS)]
    kinds = {type(step) for plan in plans for step in plan.steps}
    assert kinds == set(STEPS)
    assert {client.transport for plan in plans for client in plan.clients} == {
        *("websocket", "sse", "sse behind", "socket", "long poll", "short poll", "python", "many sse", "many poll")
    }
    assert {client.member for plan in plans for client in plan.clients} == {True, False}
    assert {plan.servers for plan in plans} == {1, 2, 3}
    assert max(len(plan.steps) for plan in plans) < 80


def off_by_one(after: Cursor, epoch: str, oldest: int, head: int) -> Any:
    """What a log does that passes over the oldest event that is kept, and says nothing."""
    position, gap = resume(after, epoch, oldest, head)
    return (position + 1, None) if gap is not None and gap.reason == "expired" else (position, gap)


def found(monkeypatch: pytest.MonkeyPatch) -> Performance:
    monkeypatch.setattr(triolet.log.memory, "resume", off_by_one)
    return next(performed for performed in hunt(range(NEAR, NEAR + 100)) if not performed.plan.has_members)


def test_a_bug_is_found_shrunk_and_told_as_a_dialogue(monkeypatch: pytest.MonkeyPatch) -> None:
    performed = found(monkeypatch)
    small = smallest(performed)
    assert small.kind == performed.kind
    assert len(small.plan.steps) <= 6
    assert len(small.plan.clients) == 1
    told = report(small)
    assert len(told.splitlines()) < 80
    assert told.endswith(f"repeat it: python -m hunt --seed {performed.plan.seed}")
    assert "promised: " in told
    assert "came: " in told
    assert perform(small.plan).findings == small.findings


def test_the_command_tells_what_it_finds_and_stops_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = found(monkeypatch).plan.seed
    monkeypatch.setattr("hunt.__main__.smallest", lambda performed: performed)
    assert main(["--seeds", f"{seed}-{seed + 3}", "--stop"]) == 1
    told = capsys.readouterr().out
    assert f"seed {seed}\n" in told
    assert "1 seeds in" in told
    assert main(["--seed", str(seed)]) == 1


def test_the_command_finds_nothing_where_nothing_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "3"]) == 0
    assert "3 seeds in" in capsys.readouterr().out
    assert main(["--seconds", "0.01"]) == 0
    assert main(["--seed", "1"]) == 0
    assert "server 0 is up" in capsys.readouterr().out
    assert main(["--seeds", "some"]) == 1


# --- shrinking


def large() -> Plan:
    client = ClientPlan("A", "sse", route=0, kernel=700, deflate=True)
    other = replace(client, name="B", transport="websocket")
    steps: list[Step] = []
    for number in range(8):
        steps += [Publish(0, 20, batch=5, size=number), Wait(12), Cut(number % 2, "reset", 0.5)]
    log = LogPlan(yields=4)
    return replace(draw(0), clients=(client, other), steps=tuple(steps), servers=1, deflate=True, log=log, routes=((),))


def test_shrinking_leaves_what_matters_and_nothing_else() -> None:
    plays = 0

    def fails(plan: Plan) -> bool:
        nonlocal plays
        plays += 1
        cut = any(isinstance(step, Cut) and plan.clients[step.client].transport == "websocket" for step in plan.steps)
        published = any(isinstance(step, Publish) and step.count >= 2 and step.size == 3 for step in plan.steps)
        return cut and published

    small = shrink(large(), fails)
    assert small.steps == (Publish(0, 2, size=3), Cut(0, "reset", 0.5))
    assert small.clients == (ClientPlan("A", "websocket"),)
    assert (small.log, small.deflate) == (LogPlan(), False)
    assert plays < 150


def test_shrinking_ends_after_so_many_plays() -> None:
    plays = 0

    def fails(plan: Plan) -> bool:
        nonlocal plays
        plays += 1
        return plays % 2 == 0

    shrink(large(), fails, most_plays=10)
    assert plays == 10


def test_without_a_client_the_steps_of_the_others_stay_theirs() -> None:
    plan = large().without_client(0)
    assert [client.transport for client in plan.clients] == ["websocket"]
    assert plan.clients[0].name == "A"
    assert {step.client for step in plan.steps if isinstance(step, Cut)} == {0}
    assert len([step for step in plan.steps if isinstance(step, Cut)]) == 4
