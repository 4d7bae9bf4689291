"""Rounds and pages for clients that may not see every event, while everybody comes, goes, stalls and reads on."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from triolet import Cursor, Draft, Limits
from triolet.hub import Hub, State
from triolet.log import MemoryLog

from .doubles import CHANNEL, Client, Sink, running

ACTS = st.lists(
    st.tuples(st.sampled_from(["publish", "stall", "read on", "leave", "come"]), st.integers(0, 5), st.integers(0, 3)),
    max_size=40,
)


class Person:
    """A client and its writer; it comes back to where it was."""

    def __init__(self, hub: Hub, number: int, seen_by_it: set[int]) -> None:
        self.hub = hub
        self.allow = None if number == 0 else lambda event: event.offset in seen_by_it
        self.place: Cursor | None = None
        self.began = 0
        self.seen: list[int] = []
        self.here: Client | None = None

    async def come(self) -> None:
        if self.here is None:
            here = self.here = Client(self.hub, Sink())
            await here.follow(self.place, allow=self.allow)
            if self.place is None:
                self.began = here.follower.position.offset

    def leave(self) -> None:
        here = self.here
        if here is not None:
            here.sink.drain()  # what was given to the outlet arrives; its place is behind that
            self.hub.leave(here.follower)
            assert self.place is None or here.follower.position.offset >= self.place.offset
            self.place, self.here = here.follower.position, None
            self.seen += here.seen

    async def write(self) -> None:
        while True:
            await trio.lowlevel.checkpoint()
            here = self.here
            if here is not None and here.follower.state is State.BEHIND and here.sink.empty:
                assert await here.read_on() == []


async def play(acts: list[Any], masks: list[set[int]]) -> tuple[list[Person], int]:
    log = MemoryLog(Limits(), epoch="e")
    async with running(log, Limits(window_events=4, page_events=2)) as hub, trio.open_nursery() as nursery:
        people = [Person(hub, number, mask) for number, mask in enumerate(masks)]
        for person in people:
            await person.come()
            nursery.start_soon(person.write)
        for act, who, steps in acts:
            person = people[who]
            if act == "publish":
                await log.append(CHANNEL, [Draft.of(None)] * (1 + who))
            elif act == "come":
                await person.come()
            elif act == "leave":
                person.leave()
            elif person.here is not None and act == "stall":
                person.here.sink.room = 10
            elif person.here is not None:
                person.here.sink.drain()
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
        for _ in range(60):
            for person in people:
                await person.come()
                if person.here is not None:
                    person.here.sink.drain()
            await trio.lowlevel.checkpoint()
        head = (await log.head(CHANNEL)).offset
        for person in people:
            assert person.here is not None
            assert person.here.follower.position == Cursor("e", head)
            person.leave()
        assert hub.statistics().followers == hub.statistics().live == 0
        nursery.cancel_scope.cancel()
    return people, head


@settings(max_examples=200)
@given(ACTS, st.lists(st.sets(st.integers(1, 60)), min_size=6, max_size=6), st.random_module())
def test_everybody_is_written_what_is_allowed_once_and_in_order(
    acts: list[Any], masks: list[set[int]], seed: Any
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("triolet.hub.pump.WRITES_BETWEEN_CHECKPOINTS", 2)
        people, head = trio.run(play, acts, masks)
    for number, (person, mask) in enumerate(zip(people, masks, strict=True)):
        all_of_them = range(person.began + 1, head + 1)
        assert person.seen == [at for at in all_of_them if number == 0 or at in mask]
