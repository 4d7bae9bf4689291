"""Many subscriptions on one WebSocket: each hears its own events once and in order, whatever a server does that keeps
to the rules of brackets and live sets."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from triolet.client import Event
from triolet.client.heard import Heard, read
from triolet.client.items import Fault
from triolet.client.routes import Routes
from triolet.client.track import Track
from triolet.event import Cursor
from triolet.event import encode_json as encode


class Subscription:
    """A subscription as its client sees it."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.heard: list[int] = []
        self.faults: list[Fault] = []
        self.track = Track("/c", Cursor("e", start), self.faults.append)

    def take(self, message: Heard) -> None:
        for item in self.track.take(message):
            if isinstance(item, Event):
                self.heard.append(item.offset)


class Socket:
    """A server that follows one channel for some subscriptions, and the client's end of it."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.head = 5
        self.routes = Routes()
        self.subscriptions: dict[str, Subscription] = {}
        self.places: dict[str, int] = {}
        self.live: set[str] = set()
        self.count = 0

    def say(self, **message: Any) -> None:
        heard = read(encode(message))
        for sub in self.routes.take(heard):
            self.subscriptions[sub].take(heard)

    def bracket(self, subs: list[str], *messages: dict[str, Any]) -> None:
        self.say(type="for", subs=subs, next=len(messages))
        for message in messages:
            self.say(**message)

    def follow(self) -> None:
        self.count += 1
        sub, start = f"s{self.count}", self.random.randint(0, self.head)
        self.subscriptions[sub] = Subscription(start)
        self.places[sub] = start
        self.routes.add(sub, "/c")
        self.bracket([sub], {"type": "open", "channel": "c", "cursor": f"e.{start}", "url": "/c", "sub": sub})

    def unfollow(self) -> None:
        if len(self.places) > 1:
            sub = self.random.choice(list(self.places))
            self.routes.remove(sub)
            self.check(sub)
            del self.places[sub]
            self.live.discard(sub)
            if self.random.random() < 0.5:  # what was on its way
                self.bracket([sub], event(self.head))

    def publish(self) -> None:
        self.head += 1
        if self.live:
            self.say(**event(self.head))
            self.places.update(dict.fromkeys(self.live, self.head))

    def catch_up(self) -> None:
        behind = [sub for sub, place in self.places.items() if sub not in self.live]
        if not behind:
            return
        place = self.places[self.random.choice(behind)]
        together = [sub for sub in behind if self.places[sub] == place]
        until = min(self.head, place + self.random.randint(0, 4))
        self.bracket(together, *(event(number) for number in range(place + 1, until + 1)))
        self.places.update(dict.fromkeys(together, until))
        if until == self.head:
            self.live |= set(together)
            self.bracket(together, {"type": "live", "channel": "c", "cursor": f"e.{until}", "subs": sorted(self.live)})

    def fall_behind(self) -> None:
        self.live = set()

    def beat(self) -> None:
        if self.live:
            self.say(type="beat", time=0, cursors={"c": f"e.{self.head}"})

    def check(self, sub: str) -> None:
        one = self.subscriptions[sub]
        assert one.heard == list(range(one.start + 1, self.places[sub] + 1)), sub
        assert not one.faults, (sub, one.faults)


def event(offset: int) -> dict[str, Any]:
    return {"type": "event", "channel": "c", "id": f"e.{offset}", "event": "x", "data": offset, "time": 0}


@pytest.mark.parametrize("seed", range(60))
def test_each_subscription_hears_its_own_events_once_and_in_order(seed: int) -> None:
    random = Random(seed)
    socket = Socket(random)
    socket.follow()
    does = [socket.follow, socket.unfollow, socket.fall_behind, socket.beat, *[socket.publish, socket.catch_up] * 4]
    for _ in range(300):
        random.choice(does)()
    for sub in socket.places:
        socket.check(sub)


def test_a_bracket_for_nobody_here_is_passed_over() -> None:
    routes = Routes()
    routes.add("s1", "/c")
    assert routes.take(Heard(type="for", subs=["s9"], next=1)) == ()
    assert routes.take(Heard(type="open", channel="c", cursor="e.1", url="/c", sub="s9")) == ()
    assert routes.take(Heard(type="open", channel="c", cursor="e.1", url="/c", sub="s1")) == ("s1",)
