"""Live groups: two flat lists that stay side by side, whoever comes and goes."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from triolet import Cursor, Limits
from triolet.hub import Follower, Lag, State, Step, Subscription, Window
from triolet.wire.codec import WEBSOCKET

from .doubles import Sink


class Woken(list[Follower]):
    """An owner that writes down who fell behind."""

    def fell_behind(self, follower: Follower) -> None:
        self.append(follower)

    def stepped(self, follower: Follower, step: Step, lag: Lag) -> None:
        raise AssertionError("it has no policy")


def follower(window: Window, woken: Woken | None = None, after: Cursor | None = None) -> Follower:
    return Follower(window, Subscription(window.channel, after), WEBSOCKET, Sink(), Woken() if woken is None else woken)


def begun(offset: int = 0) -> Window:
    window = Window("orders", Limits(), lambda more: None)
    window.begin(Cursor("e", offset))
    return window


@given(st.lists(st.integers(0, 9), max_size=80))
async def test_the_lists_stay_side_by_side_whoever_comes_and_goes(steps: list[int]) -> None:
    window = begun()
    people = [follower(window) for _ in range(10)]
    for step in steps:
        if people[step].state is State.LIVE:
            people[step].fall_behind()
        else:
            assert people[step].go_live()
        group = window.live[WEBSOCKET]
        live = [person for person in people if person.state is State.LIVE]
        assert set(group.followers) == set(live)
        assert group.sends == [person.outlet.send for person in group.followers]
        assert all(group.followers[person.index] is person for person in live)


async def test_a_follower_from_now_stands_at_the_head() -> None:
    assert follower(begun(5)).position == Cursor("e", 5)


async def test_only_who_stands_at_the_head_of_the_same_epoch_becomes_live() -> None:
    window = begun(5)
    for after in (Cursor("e", 4), Cursor("e", 6), Cursor("d", 5), Cursor("", 5)):
        assert not follower(window, after=after).go_live()
    assert follower(window, after=Cursor("e", 5)).go_live()


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
    window = begun()
    gone = follower(window, woken)
    gone.go_live()
    gone.end()
    gone.fall_behind()
    assert (woken, gone.state, window.live[WEBSOCKET].followers) == ([], State.ENDED, [])
