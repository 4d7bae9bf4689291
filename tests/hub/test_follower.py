"""Followers: their states, and the lists of their channel, which follow them whoever comes and goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triolet import Cursor, Limits, policies
from triolet.hub import Follower, Lag, Policy, State, Step, Subscription, Window
from triolet.hub.audience import Audience
from triolet.hub.follower import MOVES
from triolet.wire.codec import WEBSOCKET

from .doubles import Sink


class Woken(list[Follower]):
    """An owner that writes down who fell behind."""

    codec = WEBSOCKET
    marks = None

    def __init__(self) -> None:
        super().__init__()
        self.outlet = Sink()

    def fell_behind(self, follower: Follower) -> None:
        self.append(follower)

    def finish(self, follower: Follower) -> None:
        raise AssertionError("its channel has not ended")

    def stepped(self, follower: Follower, step: Step, lag: Lag) -> None:
        raise AssertionError("it has no policy")


def follower(
    audience: Audience, woken: Woken | None = None, after: Cursor | None = None, policy: Policy | None = None
) -> Follower:
    return Follower(audience, Subscription("orders", after, policy=policy), Woken() if woken is None else woken)


def begun(offset: int = 0) -> Audience:
    window = Window("orders", Limits(), lambda more: None)
    window.begin(Cursor("e", offset))
    return Audience(window)


@given(st.lists(st.integers(0, 9), max_size=80))
async def test_the_lists_stay_side_by_side_whoever_comes_and_goes(steps: list[int]) -> None:
    audience = begun()
    people = [follower(audience) for _ in range(10)]
    for step in steps:
        if people[step].state is State.LIVE:
            people[step].fall_behind()
        else:
            assert people[step].go_live()
        group = audience.live[WEBSOCKET]
        live = [person for person in people if person.state is State.LIVE]
        assert set(group.followers) == set(live)
        assert group.sends == [person.outlet.send for person in group.followers]
        assert all(group.followers[person.index] is person for person in live)


async def test_a_follower_from_now_stands_at_the_head() -> None:
    assert follower(begun(5)).position == Cursor("e", 5)


async def test_only_who_stands_at_the_head_of_the_same_epoch_becomes_live() -> None:
    audience = begun(5)
    for after in (Cursor("e", 4), Cursor("e", 6), Cursor("d", 5), Cursor("", 5)):
        assert not follower(audience, after=after).go_live()
    assert follower(audience, after=Cursor("e", 5)).go_live()


async def test_who_has_something_left_to_write_does_not_become_live() -> None:
    late = follower(begun())
    sink: Any = late.outlet
    sink.rest = b"rest"
    assert not late.go_live()


async def test_falling_behind_is_told_once() -> None:
    woken = Woken()
    late = follower(begun(), woken)
    late.go_live()
    late.fall_behind()
    late.fall_behind()
    assert woken == [late]
    assert not late.announced


async def test_who_has_ended_is_told_nothing_more() -> None:
    woken = Woken()
    audience = begun()
    gone = follower(audience, woken)
    gone.go_live()
    gone.end()
    gone.fall_behind()
    assert (woken, gone.state, audience.live[WEBSOCKET].followers) == ([], State.ENDED, [])


ACTS: dict[State, Callable[[Follower], object]] = {
    State.LIVE: Follower.go_live,
    State.BEHIND: Follower.fall_behind,
    State.ENDED: Follower.end,
}


def brought(state: State) -> tuple[Audience, Follower]:
    """A follower that may hold publishers up, in a state."""
    audience = begun()
    one = follower(audience, policy=policies.block(events=1, seconds=1))
    if state is not State.BEHIND:
        ACTS[state](one)
    assert one.state is state
    return audience, one


@pytest.mark.parametrize("to", State)
@pytest.mark.parametrize("state", State)
async def test_a_follower_moves_as_the_table_allows_and_the_lists_follow(state: State, to: State) -> None:
    audience, one = brought(state)
    ACTS[to](one)
    assert one.state is (to if to in MOVES[state] else state)
    live = [each for group in audience.live.values() for each in group.followers]
    assert live == [one] * (one.state is State.LIVE)
    assert list(audience.watched) == [one] * (one.state is State.BEHIND)
    assert (one.index == -1) is (one.state is not State.LIVE)


async def test_who_has_ended_never_becomes_live_again() -> None:
    _, one = brought(State.ENDED)
    assert one.would_be_live(one.position)
    assert not one.go_live()
    assert not one.end()


async def test_who_has_ended_waits_for_no_round() -> None:
    audience, woken = begun(), Woken()
    gone, here = follower(audience, woken), follower(audience, woken)
    for one in (gone, here):
        one.wait_for_round()
    assert gone.end()
    assert list(audience.early) == [here]
    audience.wake()
    assert woken == [here]
