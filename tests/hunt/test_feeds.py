"""Tasks of a server's own that follow a channel: what the checker says of what they were given; and plans have them."""

from __future__ import annotations

from typing import Any

import pytest

from hunt import draw, perform
from hunt.feed_history import Fed, Feeding, Starved
from hunt.history import Over, Weather
from hunt.plan import ClientPlan, FeedPlan, Plan
from hunt.steps import Close, Publish, Restart, Wait
from triolet import Limits

from .story import Story, event

FEED = "feed 1"


class Told(Story):
    """A story of one task, and of no client."""

    def __init__(self, **feed: Any) -> None:
        super().__init__()
        self.plan = Plan(1, Limits(), ((),), (), (), feeds=(FeedPlan(FEED, **feed),))

    def follows(self, after: str | None = "0") -> None:
        self.history.add(Feeding(self.at, FEED, after))

    def gives(self, kind: str, **message: Any) -> None:
        self.history.add(Fed(self.at, FEED, {"type": kind, **message}))

    def gives_events(self, *offsets: int) -> None:
        for offset in offsets:
            self.gives("event", **event(f"a.{offset}", offset - 1))

    def stops(self, cursor: str | None) -> None:
        self.history.add(Starved(self.at, FEED, cursor))


def caught_up(**feed: Any) -> Told:
    story = Told(**feed)
    story.stores(0, 1, 2)
    story.at = 10
    story.follows()
    story.gives_events(1, 2, 3)
    story.gives("live", cursor="a.3")
    return story


def test_all_of_it_once_and_in_order_is_right() -> None:
    story = caught_up()
    story.at = 20
    story.stores(3)
    story.gives_events(4)
    story.stops("a.4")
    story.follows("a.4")
    story.gives("live", cursor="a.4")
    story.stops("a.4")
    assert story.findings() == []


@pytest.mark.parametrize(("offset", "kind"), [(3, "a repeated event"), (5, "a lost event"), (6, "a lost event")])
def test_what_is_missing_or_comes_again(offset: int, kind: str) -> None:
    story = caught_up()
    story.stores(3, 4)
    story.gives_events(offset)
    assert story.kinds() == [kind]


def test_a_gap_is_of_what_is_kept_no_longer() -> None:
    story = caught_up()
    story.stores(3, 4)
    story.gives("gap", **{"from": "a.3", "to": "a.4"}, missed=1, reason="expired")
    assert story.kinds() == ["a gap that is not"]


def test_live_is_not_said_before_what_there_was() -> None:
    story = Told()
    story.stores(0, 1, 2)
    story.at = 10
    story.follows()
    story.gives_events(1, 2)
    story.gives("live", cursor="a.2")
    assert story.kinds() == ["live too early"]


@pytest.mark.parametrize("pause", [0, 1])
def test_an_event_that_comes_late_where_nothing_hinders(pause: float) -> None:
    for hindered in (False, True):
        story = caught_up(pause=pause)
        story.at = 20
        story.stores(3)
        if hindered:
            story.history.add(Weather(20, "the log", "slow read", 24))
        story.at = 25
        story.gives_events(4)
        story.stops("a.4")
        assert story.kinds() == ([] if hindered or pause else ["a late event"])


def test_where_it_would_go_on_is_where_it_stands() -> None:
    story = caught_up()
    story.stops("a.2")
    assert story.kinds() == ["feed's cursor"]


def test_a_quarter_of_the_plans_have_them() -> None:
    plans = [draw(seed) for seed in range(200)]
    feeds = [feed for plan in plans for feed in plan.feeds]
    assert 30 <= sum(bool(plan.feeds) for plan in plans) <= 70
    assert {feed.after for feed in feeds} == {None, "0"}
    assert {feed.server for feed in feeds} >= {0, 1}
    assert any(feed.pause for feed in feeds)


def test_it_goes_on_through_restarts_and_ends_and_is_waited_for() -> None:
    steps = (
        *(Publish(0, 3), Wait(1), Restart(0, 0.5, killed=True), Publish(0, 2), Wait(8), Publish(0, 2), Wait(1)),
        *(Close(0, "end"), Wait(1), Close(0, "delete"), Publish(0, 2), Restart(0, 0.5), Wait(8), Publish(0, 1)),
    )
    feeds = (FeedPlan("feed 1", after="0"), FeedPlan("feed 2", pause=0.2))
    performed = perform(Plan(7, Limits(), ((),), (ClientPlan("A", "websocket"),), steps, feeds=feeds))
    assert performed.findings == ()
    records = performed.history.records
    given = [record for record in records if isinstance(record, Fed)]
    assert {record.feed for record in given} == {"feed 1", "feed 2"}
    assert {record.message["type"] for record in given} == {"event", "live", "end", "gap"}
    (over,) = [record for record in records if isinstance(record, Over)]
    assert over.behind == ()
