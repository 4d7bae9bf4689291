"""Rounds with a checkpoint after every second write, while everybody comes, goes, stalls and reads on."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from triolet import Cursor, Draft, Limits
from triolet.hub import Hub, State
from triolet.log import MemoryLog

from .doubles import Client, Sink, running

CHANNELS = ("one", "two")
PEOPLE = 9
ACTS = st.tuples(
    st.sampled_from(["publish", "stall", "read on", "leave", "come"]),
    st.integers(0, PEOPLE - 1),
    st.sampled_from([0, 0, 1, 3]),
)


class Person:
    """A client and its writer, which reads on when it is woken and its kernel takes something."""

    def __init__(self, hub: Hub, number: int) -> None:
        self.hub = hub
        self.channel = CHANNELS[number % 2]
        self.lives: list[tuple[int, list[int]]] = []
        self._here: Client | None = None

    async def come(self) -> None:
        if self._here is None:
            here = self._here = Client(self.hub, Sink())
            await here.follow(channel=self.channel)
            self._begun = here.follower.position.offset

    def leave(self) -> None:
        here, self._here = self._here, None
        if here is not None:
            self.hub.leave(here.follower)
            if not here.sink.rest:  # else the last frame was cut with the connection
                self.lives.append((self._begun, here.seen))

    def stall(self) -> None:
        if self._here is not None:
            self._here.sink.room = 10

    def read_on(self) -> None:
        if self._here is not None:
            self._here.sink.drain()

    async def write(self) -> None:
        """The connection's writer."""
        while True:
            await trio.lowlevel.checkpoint()
            here = self._here
            if here is not None and here.follower.state is State.BEHIND and here.sink.empty:
                assert await here.read_on() == [], "a gap, and nothing is missing"


async def play(acts: list[Any]) -> list[Person]:
    log = MemoryLog(Limits(), epoch="e")
    async with running(log, Limits(window_events=4, page_events=2)) as hub, trio.open_nursery() as nursery:
        people = [Person(hub, number) for number in range(PEOPLE)]
        for person in people:
            await person.come()
            nursery.start_soon(person.write)
        for act, who, steps in acts:
            if act == "publish":
                await log.append(CHANNELS[who % 2], [Draft.of(None)] * (1 + who // 2))
            elif act == "come":
                await people[who].come()
            else:
                {"stall": people[who].stall, "read on": people[who].read_on, "leave": people[who].leave}[act]()
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
        for _ in range(50):
            for person in people:
                person.read_on()
            await trio.lowlevel.checkpoint()
        heads = {channel: (await log.head(channel)).offset for channel in CHANNELS}
        for person in people:
            assert person._here is None or person._here.follower.position == Cursor("e", heads[person.channel])
            person.leave()
        assert hub.statistics().followers == hub.statistics().live == 0
        nursery.cancel_scope.cancel()
    return people


@settings(max_examples=300)
@given(st.lists(ACTS, max_size=40), st.random_module())
def test_everybody_is_written_each_event_once_and_in_order(acts: list[Any], seed: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("triolet.hub.pump.WRITES_BETWEEN_CHECKPOINTS", 2)
        for person in trio.run(play, acts):
            for begun, seen in person.lives:
                assert seen == list(range(begun + 1, begun + 1 + len(seen)))
