"""Backups that are put back, and publishes from threads: played as they are, and told by the checker."""

from __future__ import annotations

import pytest

from hunt import Performance, Plan, perform
from hunt.history import Appended, Heard, Lost, Published, Unpublished
from hunt.plan import ClientPlan, Step
from hunt.steps import Publish, PutBack, Trouble, Wait
from triolet.limits import Limits

from .story import Story

LIMITS = Limits(beat_seconds=4, silence_seconds=10)
CLIENTS = (ClientPlan("A", "websocket", start="0"), ClientPlan("B", "long poll", start="0"))


def play(*steps: Step) -> Performance:
    return perform(Plan(7, LIMITS, ((),), CLIENTS, steps))


@pytest.mark.parametrize("back", [PutBack(1), Trouble("put back", 1)])
def test_clients_beyond_a_backup_that_is_put_back_are_told_a_gap(back: Step) -> None:
    performed = play(Publish(0, 2), Wait(1), back, Wait(0.1), Publish(0, 3), Wait(8), Publish(0, 2), Wait(8))
    assert performed.findings == ()
    records = performed.history.records
    (again,) = [record for record in records if isinstance(record, Lost) and record.parent]
    assert (again.parent, again.kept, again.carries) == ("a", (("c0", 2),), False)
    heard = [record.message for record in records if isinstance(record, Heard)]
    gaps = [message.get("gap") or message for message in heard if message.get("gap") or message["type"] == "gap"]
    assert {(gap["from"], gap["to"], gap["reason"]) for gap in gaps} == {("a.5", "b.0", "epoch")}


def test_a_thread_publishes_through_the_apps_event_loop() -> None:
    performed = play(Publish(0, 3, via="thread", pace=0.2), Wait(2))
    assert performed.findings == ()
    assert sum(isinstance(record, Published) for record in performed.history.records) == 3


def test_whoever_publishes_in_another_event_loop_is_refused_and_nothing_is_stored() -> None:
    performed = play(Publish(0, 3, via="elsewhere", pace=0.2), Wait(2))
    assert performed.findings == ()
    refused = [record for record in performed.history.records if isinstance(record, Unpublished)]
    assert [(record.why, record.sure) for record in refused] == [("another event loop", True)] * 3
    assert not [record for record in performed.history.records if isinstance(record, Appended)]


def test_a_publish_in_another_event_loop_that_only_the_log_refuses_is_found() -> None:
    told = Story()
    told.fails(told.publishes(1, via="elsewhere"))
    told.over()
    assert told.kinds() == ["a publish from elsewhere"]


def test_a_publish_in_another_event_loop_that_returns_is_found() -> None:
    told = Story()
    attempt = told.publishes(1, via="elsewhere")
    told.stores(1)
    told.returns(attempt, "a.1", numbers=(1,))
    told.over()
    assert told.kinds() == ["a publish from elsewhere"]
