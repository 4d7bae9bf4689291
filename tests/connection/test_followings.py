"""What one connection follows: how several followers of one channel are written to beside each other."""

from __future__ import annotations

from typing import Any, cast

import trio

from tests.hub.doubles import running
from triolet import Cursor, policies
from triolet.connection.followings import ALONE, Following, Followings, Share
from triolet.hub import Follower, State, Subscription, key_of
from triolet.log import MemoryLog

from .test_writer import writing

FLUSHED = 9


class Double:
    """A follower of which only that counts which decides about others."""

    def __init__(self, offset: int = FLUSHED, *, live: bool = False, policy: Any = None, channel: str = "c") -> None:
        self.channel = channel
        self.position = Cursor("e", offset)
        self.state = State.LIVE if live else State.BEHIND
        self.opened = self.announced = live
        self.policy = policy
        self.filter: Any = None

    def would_be_live(self, position: Cursor) -> bool:
        return position.offset == FLUSHED

    def fall_behind(self) -> None:
        self.state = State.BEHIND


class Table:
    """A connection's followings, by what each is called."""

    def __init__(self) -> None:
        self.followings = Followings()

    def add(self, sub: str | None, double: Double) -> Double:
        following = Following(Subscription(double.channel, sub=sub), cast(Follower, double), None)
        self.followings.add(following)
        return double

    def share(self, double: Double) -> Share:
        return self.followings.share(cast(Follower, double), double.position)

    def told(self, *subs: str, channel: str = "c") -> None:
        self.followings.tell(channel, Share([], None, list(subs), False, False, None), True)

    @property
    def places(self) -> dict[str, str]:
        return dict(self.followings.places())


def test_where_nothing_has_a_name_each_is_alone() -> None:
    table = Table()
    assert table.share(table.add(None, Double())) is ALONE
    table.add("a", Double(channel="other"))
    assert table.share(table.add(None, Double(channel="d"))) == ALONE


def test_the_first_has_the_way() -> None:
    table = Table()
    one = table.add("a", Double())
    assert table.share(one) == Share(["a"], None, ["a"], True, False, None)
    table.told("a")
    assert table.share(one) == Share(["a"], None, ["a"], False, False, None)


def test_one_that_stands_where_the_live_one_stands_is_merged() -> None:
    table = Table()
    lead = table.add("a", Double(live=True))
    table.told("a")
    assert table.share(table.add("b", Double())) == Share(["b"], None, ["a", "b"], True, True, cast(Follower, lead))


def test_one_that_stands_elsewhere_is_not() -> None:
    for lead, other in (
        (Double(FLUSHED - 1, live=True), Double()),  # it was not written the present round yet
        (Double(FLUSHED - 1, live=True), Double(FLUSHED - 1)),  # nor this one, which nobody would write it then
        (Double(live=True), Double(FLUSHED + 1)),
        (Double(live=True), Double(policy=policies.catch_up())),
    ):
        table = Table()
        table.add("a", lead)
        table.told("a")
        assert table.share(table.add("b", other)) == Share(["b"], None, ["a"], False, True, None)


def test_one_that_was_told_to_be_live_and_waits_for_its_outlet_has_the_way() -> None:
    table = Table()
    lead = table.add("a", Double())
    other = table.add("b", Double(FLUSHED - 1))
    lead.announced = other.announced = True
    table.told("a")
    assert table.share(lead) == Share(["a"], None, ["a"], False, False, None)
    assert table.share(other) == Share(["b"], None, ["a"], False, True, None)
    other.position = lead.position
    assert table.share(other) == Share(["b"], None, ["a", "b"], True, True, cast(Follower, lead))


def test_a_name_that_was_told_before_is_taken_out_first() -> None:
    table = Table()
    table.add("a", Double(live=True))
    again = table.add("b", Double(FLUSHED - 5))
    table.told("a", "b")
    assert table.share(again) == Share(["b"], ["a"], ["a"], False, True, None)
    again.opened = True
    assert table.share(again) == Share(["b"], None, ["a"], False, True, None)


def test_beside_one_without_a_name_none_has_the_way() -> None:
    table = Table()
    named = table.add("a", Double(live=True))
    table.told("a")
    plain = table.add(None, Double(FLUSHED - 5))
    assert named.state is State.BEHIND
    assert table.share(plain) == Share([], [], None, False, False, None)
    assert table.share(named) == Share(["a"], [], [], False, True, None)
    table.followings.tell("c", Share([], [], None, False, False, None), True)
    assert table.share(plain) == ALONE
    assert table.share(named) == Share(["a"], None, [], False, True, None)


def test_what_was_told_of_a_channel_is_forgotten_with_its_last() -> None:
    table = Table()
    table.add("a", Double())
    table.told("a")
    (following,) = table.followings.by_key.values()
    assert table.followings.remove(following)
    assert table.followings._told == {}


def test_a_beat_names_the_live_one_the_one_without_a_name_or_the_only_one() -> None:
    table = Table()
    one, other = table.add("a", Double(3)), table.add("b", Double(4))
    one.opened = other.opened = True
    assert table.places == {}
    other.state = State.LIVE
    assert table.places == {"c": "e.4"}
    plain = table.add(None, Double(5))
    assert table.places == {}
    plain.opened = True
    assert table.places == {"c": "e.5"}
    table.add("only", Double(6, channel="d")).opened = True
    assert table.places == {"c": "e.5", "d": "e.6"}


async def test_what_was_taken_back_while_the_log_was_asked_is_not_followed() -> None:
    async with running(MemoryLog()) as hub, writing(hub) as (conn, _):
        asked = trio.CancelScope()
        asked.cancel()
        await conn.subscriptions.add(Subscription("other", sub="a"), asked=asked)
        assert (dict(conn.followers), hub.statistics().followers) == ({}, 0)


def test_a_beat_names_by_their_names_those_that_no_live_has_named() -> None:
    table = Table()
    one, other = table.add("a", Double(3)), table.add("b", Double(4))
    one.opened = True
    assert table.followings.apart() == {"a": "e.3"}  # the other was told nothing yet
    other.opened = True
    other.state = State.LIVE
    table.told("b")
    assert (table.places, table.followings.apart()) == ({"c": "e.4"}, {"a": "e.3"})
    table.told("a", "b")  # it is another follower than the live one
    assert table.followings.apart() == {"a": "e.3"}
    table.add(None, Double(5)).opened = True
    assert (table.places, table.followings.apart()) == ({"c": "e.5"}, {"a": "e.3", "b": "e.4"})


def test_where_none_has_a_name_a_beat_names_none() -> None:
    table = Table()
    table.add(None, Double(5)).opened = True
    assert table.followings.apart() == {}


def test_the_last_that_waits_at_the_head_is_named_though_it_is_the_only_one() -> None:
    """The client still takes what stands in no bracket for one that has left."""
    table = Table()
    table.add("a", Double(3, live=True))
    table.told("a")
    table.add("b", Double(4)).opened = True
    table.followings.remove(table.followings.by_key[key_of("a")])
    assert (table.places, table.followings.apart()) == ({"c": "e.4"}, {"b": "e.4"})


class Sieve:
    """What a filter is to the heartbeat."""

    def __init__(self) -> None:
        self.writes = 0
        self.told: Cursor | None = None
        self.noted: Any = None


def test_a_channel_that_goes_on_in_silence_is_to_be_told() -> None:
    table = Table()
    double = table.add("a", Double(3))
    double.filter = sieve = Sieve()
    double.opened = True
    assert not table.followings.has_passed()  # it was just told
    double.position = Cursor("e", 5)
    assert table.followings.has_passed()
    sieve.writes, sieve.told = 1, double.position
    assert not table.followings.has_passed()  # an event has told it
    assert not table.followings.has_passed()
    double.position = Cursor("e", 6)
    assert table.followings.has_passed()
    table.followings.note()
    assert not table.followings.has_passed()
