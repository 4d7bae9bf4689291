"""A window: what it holds, how it is bounded, and that every event is encoded once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triolet import Cursor, Draft, Event, Limits
from triolet.hub import Window
from triolet.wire.codec import WEBSOCKET, WEBSOCKET_TEXT


def event(offset: int, epoch: str = "e", size: int = 0) -> Event:
    return Event(Cursor(epoch, offset), "orders", "message", Draft.of("x" * size).json, None, 0.0)


def window(first: int, last: int, **limits: Any) -> Window:
    """One that was begun before ``first`` and took the events up to ``last``."""
    made = Window("orders", Limits(**limits), lambda more: None)
    made.begin(Cursor("e", first - 1))
    for offset in range(first, last + 1):
        made.append(event(offset))
    return made


@pytest.mark.parametrize(
    ("after", "held"),
    [
        (Cursor("e", 4), True),
        (Cursor("", 4), True),
        (Cursor("e", 9), True),
        (Cursor("e", 3), False),
        (Cursor("e", 10), False),
        (Cursor("d", 6), False),
        (Cursor("", 0), False),
    ],
)
def test_a_window_holds_what_comes_after_its_beginning(after: Cursor, held: bool) -> None:
    assert window(5, 9).holds(after) is held


def test_an_empty_window_holds_only_its_head() -> None:
    begun = window(5, 4)
    assert begun.holds(Cursor("e", 4))
    assert not begun.holds(Cursor("e", 3))
    assert begun.events(4, 10, 10) == []


def test_the_oldest_go_when_there_are_too_many() -> None:
    small = window(1, 10, window_events=3)
    assert (small.first, small.head) == (8, 10)


def test_the_oldest_go_when_they_are_too_big_but_the_newest_stays() -> None:
    small = Window("orders", Limits(window_bytes=100), lambda more: None)
    small.begin(Cursor("e", 0))
    for offset, size in enumerate((40, 40, 40, 500), 1):
        small.append(event(offset, size=size))
    assert (small.first, small.head) == (4, 4)


def test_a_hole_starts_the_window_again() -> None:
    holed = window(1, 3)
    holed.append(event(7))
    assert (holed.first, holed.head) == (7, 7)
    assert not holed.holds(Cursor("e", 3))


def test_another_epoch_starts_the_window_again() -> None:
    begun = window(1, 3)
    begun.append(event(1, "f"))
    assert (begun.cursor, begun.first) == (Cursor("f", 1), 1)
    assert begun.flushed < 0


def test_what_is_known_is_passed_over() -> None:
    known = window(1, 3)
    known.append(event(2))
    assert (known.first, known.head) == (1, 3)


def test_a_page_holds_one_event_at_least_and_no_more_than_its_bounds() -> None:
    big = window(1, 5)
    assert [e.offset for e in big.events(1, 2, 1_000)] == [2, 3]
    assert [e.offset for e in big.events(1, 10, 1)] == [2]
    assert [e.offset for e in big.events(1, 10, 5)] == [2, 3]
    assert big.events(5, 10, 10) == []


class Counting:
    """A codec that counts what it encodes."""

    def __init__(self) -> None:
        self.encoded: list[int] = []

    def event(self, event: Event) -> bytes:
        self.encoded.append(event.offset)
        return b"%d," % event.offset

    def join(self, parts: list[bytes]) -> bytes:
        return b"".join(parts)


def test_an_event_is_encoded_once_whoever_asks() -> None:
    made, codec = window(1, 5), Counting()
    asked: Any = codec
    assert made.batch(asked, 0, 3) == b"1,2,3,"
    assert made.batch(asked, 1, 5) == b"2,3,4,5,"
    assert made.batch(asked, 0, 3) is made.batch(asked, 0, 3)
    assert codec.encoded == [1, 2, 3, 4, 5]


def test_codecs_do_not_meet() -> None:
    made = window(1, 2)
    assert isinstance(made.batch(WEBSOCKET, 0, 2), bytes)
    assert isinstance(made.batch(WEBSOCKET_TEXT, 0, 2), tuple)


def test_what_was_encoded_goes_with_its_event() -> None:
    made = window(1, 3, window_events=3)
    made.batch(WEBSOCKET, 0, 3)
    for offset in range(4, 40):
        made.append(event(offset))
        made.batch(WEBSOCKET, offset - 1, offset)
    assert len(made._parts[WEBSOCKET]) == 3
    assert len(made._batches) <= 8


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 400)), max_size=60))
def test_whatever_the_tail_says_a_window_is_bounded_and_without_a_hole(steps: list[tuple[int, int]]) -> None:
    made = Window("orders", Limits(window_events=5, window_bytes=600), lambda more: None)
    made.begin(Cursor("e", 0))
    offset = 0
    for step, size in steps:  # 0: said before; 1: the next; more: a hole
        offset += step
        made.append(event(offset, size=size))
        held = made.events(made.first - 1, 100, 10**9)
        assert [e.offset for e in held] == list(range(made.first, made.head + 1))
        assert made.head == offset
        assert len(held) <= 5
        assert len(held) <= 1 or sum(len(e.json) for e in held) <= 600
