"""What a program is sent as one event counts as those it stands for, and makes the same of its states."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from trio.testing import MockClock

from tests.shop import ORDER, ORDERS
from triolet.client import Event, Snapshot
from triolet.client.errors import Ended
from triolet.client.folds import Values, apply
from triolet.client.heard import read
from triolet.client.track import Track
from triolet.event import Cursor, Draft, encode_json
from triolet.testing import cut

from .stage import WAYS, client_of, options_of, shop, take, told

CASES = Path(__file__).parents[2] / "conformance" / "vectors" / "folds.json"


def drafts(random: Random, count: int) -> list[Draft]:
    """Events of few keys, of all folds, often one behind the other."""
    made: list[Draft] = []
    while len(made) < count:
        fold = random.choice(["concat", "latest", "merge", "sum"])
        for _ in range(random.choice([1, 2, 5])):
            data: Any = {
                "concat": random.choice("abc"),
                "latest": random.randrange(9),
                "merge": {random.choice("xy"): random.choice([None, 1, {"z": 2}])},
                "sum": random.randrange(9),
            }[fold]
            made.append(Draft.of(data, key=fold, fold=fold))
    return made[:count]


@pytest.mark.parametrize("way", WAYS)
async def test_what_was_missed_comes_folded_and_makes_the_same(way: str, autojump_clock: MockClock) -> None:
    random = Random(way)
    async with shop() as (server, live):
        opened = client_of(server, **options_of(way))
        async with (
            opened as client,
            client.follow(ORDERS, fold=True, after=0) as folded,
            client.follow(ORDERS, after=0) as each,
        ):
            few, all_of_them = Values(), Values()
            count = given = stood_for = 0
            for _ in range(3):
                with cut(server.network):
                    await live.publish_many(ORDER, drafts(random, 60))
                count += 60
                while stood_for < count:
                    (item,) = await take(folded, 1)
                    if isinstance(item, Event):
                        given, stood_for = given + 1, stood_for + item.folded
                    few.take(item)
                while each.cursor is None or each.cursor.offset < count:
                    all_of_them.take(*await take(each, 1))
                assert few == all_of_them
                assert folded.cursor == each.cursor
            assert stood_for == count
            assert given < count * 0.8


@pytest.mark.parametrize("way", WAYS)
async def test_an_event_says_how_it_goes_together_with_others(way: str, autojump_clock: MockClock) -> None:
    async with shop() as (server, live), client_of(server, **options_of(way)) as client:
        await live.publish(ORDER, 1, key="ä", fold="sum")
        await live.publish(ORDER, 2, key="ä", fold="sum")
        for fold, expected in [(True, [(3, 2)]), (False, [(1, 1), (2, 1)])]:
            async with client.follow(ORDERS, after=0, fold=fold) as events:
                items = [item for item in await take(events, len(expected)) if isinstance(item, Event)]
                assert [(item.data, item.folded) for item in items] == expected
                assert {(item.key, item.fold, item.name) for item in items} == {("ä", "sum", "message")}


@pytest.mark.parametrize("way", WAYS)
async def test_the_newest_so_many_may_be_one(way: str, autojump_clock: MockClock) -> None:
    async with shop() as (server, live), client_of(server, **options_of(way)) as client:
        for number in range(5):
            await live.publish(ORDER, number, key="k", fold="sum")
        async with client.follow(ORDERS, after=-3, fold=True) as events:
            items = await take(events, 2)
            assert told(items) == [9, "live"]
            assert str(items[-1].cursor).endswith(".5")  # type: ignore[union-attr]  # it is an event


def tracked(after: str) -> tuple[Track, list[Any]]:
    """A position that was opened, and what is wrong."""
    faults: list[Any] = []
    track = Track("/c", Cursor.parse(after), faults.append)
    track.take(read(encode_json({"type": "open", "channel": "c", "cursor": after})))
    return track, faults


def say(track: Track, id: str, folded: int) -> list[Any]:
    """An event comes that stands for so many."""
    message = {"type": "event", "channel": "c", "id": id, "event": "x", "data": 1, "time": 0, "folded": folded}
    return track.take(read(encode_json(message)))


@pytest.mark.parametrize(("after", "id", "folded"), [("e.1", "e.5", 4), ("0", "e.9", 4), ("1", "e.5", 4)])
def test_one_that_stands_for_all_up_to_it_leaves_no_hole(after: str, id: str, folded: int) -> None:
    track, faults = tracked(after)
    assert len(say(track, id, folded)) == 1
    assert (str(track.cursor), faults) == (id, [])


def test_a_log_that_goes_on_under_another_name_may_fold_too() -> None:
    track, faults = tracked("e.1")
    assert len(say(track, "f.5", 4)) == 1
    assert not faults


@pytest.mark.parametrize(("folded", "lost", "given"), [(2, ("e.1", "e.3", 2), 1), (6, ("e.1", "e.5", 4), 0)])
def test_one_that_stands_for_fewer_or_for_what_was_there_is_a_fault(folded: int, lost: Any, given: int) -> None:
    track, faults = tracked("e.1")
    with pytest.raises(Ended, match="missing"):
        say(track, "e.5", folded)
    assert str(track.cursor) == "e.1"
    gap, *events = say(track, "e.5", folded)
    assert (str(gap.after), str(gap.to), gap.missed) == lost
    assert (gap.reason, len(events)) == ("hole", given)
    assert [fault.kind for fault in faults] == ["hole", "hole"]
    assert str(track.cursor) == "e.5"


@pytest.mark.parametrize("folded", [0, -1, "2", None])
def test_a_number_that_is_none_ends_the_connection(folded: Any) -> None:
    with pytest.raises(Ended, match="no message"):
        read(encode_json({"type": "event", "id": "e.1", "folded": folded}))


def event(data: Any, key: str | None = "k", fold: str | None = None) -> Event:
    return Event(Cursor("e", 1), "c", "message", encode_json(data), key, 0, fold)


def test_values_are_the_states_by_key() -> None:
    values = Values()
    for item in [event("a", fold="concat"), event("b", fold="concat"), event(1, "n", "sum"), event(2, "n", "sum")]:
        assert values.take(item)
    assert not values.take(event("x", None))
    assert values == {"k": "ab", "n": 3}
    assert values.take(event([1]))
    assert values.take(event([2], fold="concat"))
    assert (values["k"], len(values), list(values)) == ([1, 2], 2, ["k", "n"])
    assert values.take(event(5, "n", "of a later version"))
    assert values["n"] == 5


def test_a_state_takes_the_place_of_all_and_stays_as_it_was_given() -> None:
    values = Values()
    values.take(event(1))
    state = Snapshot(Cursor("e", 5), {"k": [1], "o": {"a": 1}})
    assert values.take(state)
    values.take(event([2], fold="concat"))
    values.take(event({"b": 2}, "o", "merge"))
    assert values == {"k": [1, 2], "o": {"a": 1, "b": 2}}
    assert state.data == {"k": [1], "o": {"a": 1}}
    values.take(Snapshot(Cursor("e", 6), "a text"))
    assert values == {}


@pytest.mark.parametrize("case", json.loads(CASES.read_text(encoding="utf-8")))
def test_both_clients_make_the_same_of_a_state(case: Any) -> None:
    before = copy.deepcopy(case)
    made = apply(case["fold"], case["state"], case["data"])
    assert (made, type(made)) == (case["becomes"], type(case["becomes"]))
    assert case == before


def test_a_state_is_not_changed_by_what_is_applied_to_it() -> None:
    state = [1]
    assert apply("concat", state, [2]) == [1, 2]
    assert state == [1]
