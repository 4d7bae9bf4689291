"""Ends, deletions, folds and states: what the checker says of them, and that plans have them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from hunt import draw
from hunt.channel_history import Closed, Listed
from hunt.folding import after, data_of, go_together, is_right
from hunt.history import ENDED, Appended
from hunt.plan import Rung
from triolet import Cursor
from triolet.event import END, FOLDS
from triolet.wire.fold import apply

from .story import Story

DELETED = {"outcome": "deleted"}


class Told(Story):
    """A story of a channel that may end."""

    def ends_at(self, offset: int, data: Any) -> None:
        self._heads["c0"] = offset
        self.history.add(Appended(self.at, "c0", Cursor(self.epoch, offset), END, data, None, None, 10))

    def folds(self, fold: str, *numbers: int) -> None:
        for number in numbers:
            self._heads["c0"] = at = self._heads.get("c0", 0) + 1
            place, data = Cursor(self.epoch, at), data_of(number, 0, fold)
            self.history.add(Appended(self.at, "c0", place, "message", data, "key 0", None, 10, fold))

    def hears_end(self, cursor: str, data: Any) -> None:
        self.hears("end", channel="c0", cursor=cursor, data=data)

    def hears_folded(self, cursor: str, fold: str, data: Any, count: int) -> None:
        event = {"channel": "c0", "id": cursor, "event": "message", "data": data, "key": "key 0", "fold": fold}
        self.hears("event", **event, folded=count)


def followed(**more: Any) -> Told:
    """Somebody has an event, and is live."""
    story = Told(**more)
    story.stores(0)
    story.asks("a.1")
    story.opens("a.1")
    story.lives("a.1")
    story.at = 10
    return story


def test_an_end_that_is_told_is_right_and_nothing_comes_behind_it() -> None:
    story = followed()
    story.ends_at(2, "over")
    story.hears_end("a.2", "over")
    story.bye(1000, "ended", None)
    story.ends()
    assert story.findings() == []
    story = followed()
    story.ends_at(2, "over")
    story.hears_end("a.2", "over")
    story.lives("a.2")
    assert "open" in story.kinds()


@pytest.mark.parametrize(
    ("cursor", "data", "kind"), [("a.2", "other", "an end"), ("a.3", "over", "a lost event"), ("a.1", "over", "an end")]
)
def test_an_end_that_is_none(cursor: str, data: str, kind: str) -> None:
    story = followed()
    story.ends_at(2, "over")
    story.hears_end(cursor, data)
    assert story.kinds()[0] == kind


def test_an_end_that_is_not_told_or_told_where_the_channel_goes_on() -> None:
    story = followed()
    story.ends_at(2, "over")
    story.at = 20
    story.over()
    assert "an end that is not told" in story.kinds()
    story = followed()
    story.ends_at(2, DELETED)
    story.stores(5)
    story.at = 20
    story.hears_end("a.2", DELETED)
    assert "an end" in story.kinds()


def test_a_deleted_event_is_given_to_nobody() -> None:
    story = Told()
    story.stores(0, 1)
    story.ends_at(3, DELETED)
    story.at = 10
    story.asks("a.0")
    story.opens("a.0")
    story.events(("a.1", 0))
    assert story.kinds()[0] == "a deleted event"


def test_nothing_is_stored_behind_an_end_and_a_publish_is_refused_there_alone() -> None:
    story = followed()
    attempt = story.publishes(9)
    story.fails(attempt)
    object.__setattr__(story.history.records[-1], "why", ENDED)
    assert story.kinds() == ["a publish refused"]
    story = Told()
    story.ends_at(1, "over")
    story.stores(9)
    assert story.kinds() == ["an event behind an end"]


def test_whoever_ends_or_deletes_is_told_the_event_that_says_so() -> None:
    for what, data in (("end", "over"), ("delete", DELETED)):
        story = Told()
        story.ends_at(1, data)
        story.history.add(Closed(0, 0, what, 0, "c0", "a.1"))
        assert story.findings() == []
        story.history.add(Closed(0, 0, "delete" if what == "end" else "end", 0, "c0", "a.1"))
        assert story.kinds() == ["an end is not stored"]


@pytest.mark.parametrize(("names", "kinds"), [(("c0",), 0), ((), 1), (("c0", "c0"), 1), (("c0", "c9"), 1)])
def test_the_list_of_channels(names: tuple[str, ...], kinds: int) -> None:
    story = Told()
    story.stores(0)
    story.at = 5
    story.history.add(Listed(5, 5, 0, "", "", 10, names))
    assert story.kinds() == ["a list of channels"] * kinds


# --- folds


@pytest.mark.parametrize("fold", FOLDS)
def test_the_reference_folds_as_triolet_does(fold: str) -> None:
    datas = [data_of(number, 2, fold) for number in range(60)]
    state = own = None
    pairs = list(pairwise(datas))
    for one, other in pairs:
        state, own = after(fold, state, one), apply(fold, own, one)
        assert state == own
        assert is_right(fold, [one], one)
        assert go_together(fold, one, other) or fold != "latest"
    assert any(go_together(fold, one, other) for one, other in pairs)


@pytest.mark.parametrize(
    ("data", "count", "kinds"),
    [(3, 3, []), (4, 3, ["a folded event"]), (3, 2, ["a lost event"]), (3, 4, ["a repeated event"])],
)
def test_a_folded_event_does_what_its_parts_do(data: int, count: int, kinds: list[str]) -> None:
    story = Told(client={"folds": True})
    story.stores(7)
    story.folds("sum", 0, 1, 2)
    story.asks("a.1")
    story.opens("a.1")
    story.hears_folded("a.4", "sum", data, count)
    assert story.kinds() == kinds


def test_nobody_is_folded_for_who_has_not_asked_unless_a_policy_says_so() -> None:
    for rungs, kinds in (((), ["a folded event"]), ((Rung("fold", events=1),), [])):
        story = Told(rungs=rungs)
        story.stores(7)
        story.folds("sum", 0, 1, 2)
        story.asks("a.1")
        story.opens("a.1")
        if rungs:
            story.gap("a.1", "a.4", "conflated", 2)
        story.hears_folded("a.4", "sum", 3, 3)
        assert story.kinds() == kinds


# --- states


@pytest.mark.parametrize(
    ("data", "missed", "kinds"),
    [
        ([1, 2], 0, []),
        ([2], 1, ["a state"]),
        ([1], 0, ["a state"]),
        ([0, 1, 2], 0, ["a state"]),
        ([1, 2, 3], 0, ["a state"]),
    ],
)
def test_a_state_has_what_was_not_deleted(data: list[int], missed: int, kinds: list[str]) -> None:
    story = Told(client={"state": True})
    object.__setattr__(story.plan, "every", 1)
    story.stores(0)
    story.ends_at(2, DELETED)
    story.stores(1, 2)
    story.asks(None)
    story.hears("open", channel="c0", cursor=None)
    story.hears("snapshot", channel="c0", cursor="a.4", data=data, missed=missed)
    assert story.kinds() == kinds


def test_a_state_may_lack_what_is_kept_no_longer_and_comes_where_something_is_lost() -> None:
    for after_, kinds in (("a.1", []), ("a.2", ["a snapshot"])):
        story = Told(client={"state": True}, keep_events=1)
        object.__setattr__(story.plan, "every", 1)
        story.stores(0, 1, 2)
        story.at = 10
        story.asks(after_)
        story.hears("open", channel="c0", cursor=None)
        story.hears("snapshot", channel="c0", cursor="a.3", data=[2], missed=2)
        assert story.kinds() == kinds


def test_plans_have_ends_folds_and_states() -> None:
    plans = [draw(seed) for seed in range(300)]
    clients = [client for plan in plans for client in plan.clients]
    steps = [step for plan in plans for step in plan.steps]
    assert {getattr(step, "fold", "") for step in steps} == {"", *FOLDS}
    assert {getattr(step, "what", "") for step in steps} >= {"end", "delete"}
    assert {(client.folds, client.state) for client in clients} == {
        (a, b) for a in (True, False) for b in (True, False)
    }
    assert any(plan.redis and plan.every for plan in plans)
    assert any(plan.limits.keep for plan in plans)
