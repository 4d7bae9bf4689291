"""Folds: what a client makes of folded events is what it would have made of all of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triolet.event import FOLDS, Cursor, Draft, Event
from triolet.wire.fold import Folder, apply, folded

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=8,
)
DRAFTS = st.builds(
    lambda data, key, fold, name: Draft.of(data, key=key, fold=fold if key else None, name=name),
    JSON,
    st.sampled_from(["k", "k", "k", "other", None]),
    st.sampled_from([*FOLDS, None]),
    st.sampled_from(["message", "message", "message", "delta"]),
)


def events_of(drafts: list[Draft]) -> list[Event]:
    return [
        Event(Cursor("e", offset), "c", draft.name, draft.json, draft.key, float(offset), draft.fold)
        for offset, draft in enumerate(drafts, 1)
    ]


def states(events: list[Event]) -> dict[Any, Any]:
    """What a client has made of each key of each kind, and the events without a fold."""
    made: dict[Any, Any] = {}
    for event in events:
        if event.fold is None:
            made.setdefault("events", []).append(event)
        else:
            place = event.name, event.key, event.fold
            made[place] = apply(event.fold, made.get(place), event.data)
    return made


@given(st.lists(DRAFTS, max_size=20), st.sampled_from([None, *FOLDS]))
def test_the_state_is_the_same_whatever_was_folded(drafts: list[Draft], fold: str | None) -> None:
    if fold is not None:  # long runs of one kind
        drafts = [Draft(draft.json, key="k", fold=fold) for draft in drafts]
    events = events_of(drafts)
    few = folded(events)
    assert states(few) == states(events)
    assert sum(event.folded for event in few) == len(events)
    place = 0
    for event in few:  # each covers what lies between the one before it and itself
        place += event.folded
        assert event.offset == place


@given(st.lists(DRAFTS, max_size=12), st.integers(0, 12))
def test_what_was_folded_in_parts_can_be_folded_on(drafts: list[Draft], cut: int) -> None:
    events = events_of(drafts)
    parts = folded(events[:cut]) + folded(events[cut:])
    assert states(folded(parts)) == states(events)
    assert sum(event.folded for event in folded(parts)) == len(events)


def one(fold: str, *values: Any) -> list[Any]:
    return [event.data for event in folded(events_of([Draft.of(value, key="k", fold=fold) for value in values]))]


@pytest.mark.parametrize(
    ("fold", "values", "expected"),
    [
        ("concat", ["a", "b", "", "ü\n"], ["abü\n"]),
        ("concat", [[1], [], [2, [3]]], [[1, 2, [3]]]),
        ("concat", ["a", 1, "b", "c"], ["a", 1, "bc"]),
        ("concat", ["a", ["b"]], ["a", ["b"]]),
        ("concat", [1, 2], [1, 2]),
        ("latest", [1, "a", None], [None]),
        ("sum", [1, 2.5, -4], [-0.5]),
        ("sum", [2**60, 2**60], [2**61]),
        ("sum", [True, 1, 1], [True, 2]),
        ("sum", [1e308, 1e308], [1e308, 1e308]),
        ("merge", [{"a": 1}, {"b": {"c": None}}, {"a": None}], [{"a": None, "b": {"c": None}}]),
        ("merge", [{"a": {"b": 1}}, {"a": {"c": 2}}], [{"a": {"b": 1, "c": 2}}]),
        ("merge", [{"a": 1}, {"a": {"b": 2}}], [{"a": 1}, {"a": {"b": 2}}]),
        ("merge", [{"a": None}, {"a": {"b": 2}}], [{"a": None}, {"a": {"b": 2}}]),
        ("merge", [{"a": 1}, 5, {"b": 1}], [5, {"b": 1}]),
    ],
)
def test_what_goes_together_and_what_does_not(fold: str, values: list[Any], expected: list[Any]) -> None:
    assert one(fold, *values) == expected


def test_what_does_not_change_is_sent_as_it_was_published() -> None:
    (event,) = events_of([Draft(b'{"a" : 1.0}', key="k", fold="merge")])
    assert folded([event]) == [event]


def test_a_folder_tells_how_much_it_holds() -> None:
    folder = Folder()
    for event in events_of([Draft.of("abc", key="k", fold="concat")] * 3 + [Draft.of(1)]):
        folder.add(event)
    assert (folder.count, len(folder), folder.size) == (4, 2, 16)


@pytest.mark.parametrize("fold", ["concatenate", "", None])
def test_a_fold_is_one_that_there_is(fold: Any) -> None:
    if fold is None:
        assert Draft.of(1, key="k", fold=None).fold is None
        return
    with pytest.raises(Exception, match=f"fold must be one of concat, latest, merge, sum, not {fold!r}$"):
        Draft.of(1, key="k", fold=fold)


def test_a_fold_goes_by_a_key() -> None:
    with pytest.raises(Exception, match="fold='sum' must be of an event with a key: give it one"):
        Draft.of(1, fold="sum")
