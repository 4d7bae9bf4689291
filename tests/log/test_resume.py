"""Where reading goes on after a cursor: all that can be said of it, for every cursor and every state of a log."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from triolet.event import Cursor, Gap
from triolet.log.contract import resume

OFFSETS = st.integers(0, 12) | st.integers(0, 10**18 - 1)
CURSORS = st.builds(Cursor, st.sampled_from(["", "now", "then"]), OFFSETS)


@st.composite
def states(draw: st.DrawFn) -> tuple[int, int]:
    """Oldest offset kept and head: at least one, at most one past the head (nothing is kept)."""
    head = draw(OFFSETS)
    return draw(st.integers(1, head + 1)), head


@given(CURSORS, states())
def test_reading_goes_on_where_something_is_kept(after: Cursor, state: tuple[int, int]) -> None:
    oldest, head = state
    position, gap = resume(after, "now", oldest, head)
    assert oldest - 1 <= position <= head
    if gap is not None:
        assert gap.after == Cursor(after.epoch or "now", after.offset)
        assert gap.to == Cursor("now", position)


@given(CURSORS, states())
def test_a_gap_is_told_exactly_when_events_are_missing(after: Cursor, state: tuple[int, int]) -> None:
    oldest, head = state
    position, gap = resume(after, "now", oldest, head)
    is_of_this_life = after.epoch in ("", "now")
    is_within = is_of_this_life and oldest - 1 <= after.offset <= head
    assert (gap is None) == (is_within or after == Cursor("", 0))
    if is_within:
        assert position == after.offset


@given(CURSORS, states())
def test_a_gap_says_which_and_counts_what_can_be_counted(after: Cursor, state: tuple[int, int]) -> None:
    oldest, head = state
    position, gap = resume(after, "now", oldest, head)
    if gap is None:
        return
    if after.epoch == "then":
        assert gap == Gap(after, Cursor("now", oldest - 1), None, "epoch")
    elif after.offset > head:
        assert gap == Gap(Cursor(after.epoch or "now", after.offset), Cursor("now", head), None, "future")
    else:
        assert gap.reason == "expired"
        assert gap.missed == position - after.offset
        assert gap.missed > 0


@given(CURSORS, states())
def test_what_one_was_told_to_go_on_from_needs_no_gap(after: Cursor, state: tuple[int, int]) -> None:
    position, _ = resume(after, "now", *state)
    assert resume(Cursor("now", position), "now", *state) == (position, None)
