"""Both logs against the simplest log there is: a list of all events, and the rules of retention."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from triolet.event import Cursor, Draft, Event
from triolet.limits import Limits
from triolet.log import EventLog, MemoryLog, Page
from triolet.log.contract import resume
from triolet.sqlite.log import SqliteLog
from triolet.testing import play

LIMITS = Limits(keep_events=8, keep_bytes=100, keep_seconds=10)


@dataclass
class Model:
    """Every event that was ever appended to one channel, and what of it may still be read."""

    now: float = 1_000.0
    events: list[Event] = field(default_factory=list)

    def oldest(self) -> int:
        head = len(self.events)
        kept = [event for event in self.events if event.published_at >= self.now - LIMITS.keep_seconds]
        oldest = max(kept[0].offset if kept else head + 1, head - LIMITS.keep_events + 1, 1)
        while oldest < head and sum(len(event.json) for event in self.events[oldest - 1 :]) > LIMITS.keep_bytes:
            oldest += 1
        return oldest

    def page(self, after: Cursor, limit: int, max_bytes: int, epoch: str) -> Page:
        position, gap = resume(after, epoch, self.oldest(), len(self.events))
        events: list[Event] = []
        for event in self.events[position : position + limit]:
            if events and sum(len(each.json) for each in [*events, event]) > max_bytes:
                break
            events.append(event)
        return Page(tuple(events), gap, Cursor(epoch, len(self.events)))


Step = tuple[str, object]

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.integers(1, 60), min_size=1, max_size=12)),
        st.tuples(st.just("wait"), st.sampled_from([0.5, 3.0, 10.0, 11.0])),
        st.tuples(
            st.just("read"),
            st.tuples(
                st.sampled_from(["", "present", "other"]),
                st.integers(0, 60),
                st.sampled_from([1, 3, 100]),
                st.sampled_from([1, 50, 1_000]),
            ),
        ),
    ),
    max_size=40,
)


async def _follow_the_model(open_log: Callable[[Callable[[], float]], EventLog], steps: list[Step]) -> None:
    model = Model()
    async with open_log(lambda: model.now).open() as log:
        epoch = (await log.head("a")).epoch
        for step, what in steps:
            if step == "append":
                assert isinstance(what, list)
                model.events += await log.append("a", [Draft(b"1" * size) for size in what])
            elif step == "wait":
                assert isinstance(what, float)
                model.now += what
            else:
                assert isinstance(what, tuple)
                whose, offset, limit, max_bytes = what
                after = Cursor(epoch if whose == "present" else whose, offset)
                page = await log.read("a", after, limit=limit, max_bytes=max_bytes)
                assert page == model.page(after, limit, max_bytes, epoch)
        assert [event.offset for event in model.events] == list(range(1, len(model.events) + 1))


@given(STEPS)
def test_the_log_in_memory_is_the_model(steps: list[Step]) -> None:
    trio.run(_follow_the_model, lambda clock: MemoryLog(LIMITS, clock), steps)


@given(STEPS)
@settings(max_examples=50)
def test_the_log_in_sqlite_is_the_model(steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        play(0, _follow_the_model, lambda clock: SqliteLog(Path(folder, "a.db"), LIMITS, clock), steps)


@pytest.mark.parametrize("size", [1, 30])
def test_the_model_forgets(size: int) -> None:
    """Or the two above would prove little."""
    model = Model()
    model.events = [Event(Cursor("e", n), "a", "message", b"1" * size, None, 1_000.0) for n in range(1, 21)]
    assert model.oldest() == (13 if size == 1 else 18)
    model.now = 1_010.5
    assert model.oldest() == 21
