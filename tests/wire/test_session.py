"""A WebSocket session: its table cell by cell, and what it makes of bytes, however they are cut."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import islice, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triolet.bounds import UNHEARD_IN_A_ROW
from triolet.closing import BAD_MESSAGE, FLOOD, NOT_UTF8, PROTOCOL_ERROR, TOO_BIG, Closing
from triolet.errors import RemoteError
from triolet.limits import Limits
from triolet.wire.frames import Binary, Close, Text, encode_close
from triolet.wire.session import TRANSITIONS, Answer, Event, Session, State, Step, reply_to

from .test_frames import frame

TEXT, BINARY, CLOSE, PING, PONG, CONTINUED, HALF = 0x81, 0x82, 0x88, 0x89, 0x8A, 0x80, 0x01
PEER_CLOSES = frame(CLOSE, (4_001).to_bytes(2, "big") + b"bye")
BROKEN = frame(0x83, b"a reserved opcode")

WAYS = {
    State.OPEN: (),
    State.LOCAL_CLOSING: (Step.CLOSE_SENT,),
    State.REMOTE_CLOSING: (Step.CLOSE_RECEIVED,),
    State.FAILED: (Step.FAILURE,),
    State.DISCARDING: (Step.FAILURE, Step.CLOSE_SENT),
    State.CLOSED: (Step.CLOSE_SENT, Step.CLOSE_RECEIVED),
}
"""How a session gets into each state."""

NEXT = {
    (State.OPEN, Step.CLOSE_SENT): State.LOCAL_CLOSING,
    (State.OPEN, Step.CLOSE_RECEIVED): State.REMOTE_CLOSING,
    (State.OPEN, Step.FAILURE): State.FAILED,
    (State.LOCAL_CLOSING, Step.CLOSE_RECEIVED): State.CLOSED,
    (State.LOCAL_CLOSING, Step.FAILURE): State.DISCARDING,
    (State.REMOTE_CLOSING, Step.CLOSE_SENT): State.CLOSED,
    (State.FAILED, Step.CLOSE_SENT): State.DISCARDING,
}
"""What each state makes of each step, but for the end, which closes them all; where nothing stands, it stays."""

READING = {State.OPEN, State.LOCAL_CLOSING}
OWING = {State.OPEN, State.REMOTE_CLOSING, State.FAILED}


def read(session: Session, data: bytes, now: float = 0) -> tuple[list[Event], Closing | None]:
    """What a session makes of bytes, and the closing that it raised in the end."""
    events: list[Event] = []
    try:
        for event in session.receive(data, now):
            events.append(event)
    except RemoteError as error:
        return events, error.closing
    return events, None


def take(session: Session, step: Step) -> bytes:
    """Have a step happen; returns what is to be sent for it."""
    if step is Step.CLOSE_SENT:
        return session.close(4_000, "done")
    if step is Step.END:
        session.end()
    else:
        read(session, PEER_CLOSES if step is Step.CLOSE_RECEIVED else BROKEN)
    return b""


def session_in(state: State, limits: Limits | None = None) -> Session:
    session = Session(limits or Limits())
    for step in WAYS[state]:
        take(session, step)
    assert session.state is state
    return session


class TestTable:
    @pytest.mark.parametrize(("state", "step"), list(product(State, Step)))
    def test_each_state_makes_of_each_step_what_the_standard_says(self, state: State, step: Step) -> None:
        session = session_in(state)
        sent = take(session, step)
        expected = State.CLOSED if step is Step.END else NEXT.get((state, step), state)
        assert session.state is expected
        owed = step is Step.CLOSE_SENT and state in OWING
        assert sent == (encode_close(4_000, "done") if owed else b"")

    def test_the_table_names_every_state_and_none_twice(self) -> None:
        assert set(TRANSITIONS) == set(State)
        assert all(after is not state for state, steps in TRANSITIONS.items() for after in steps.values())

    def test_every_state_can_end_and_none_goes_back(self) -> None:
        order = list(State)
        for state, steps in TRANSITIONS.items():
            assert state is State.CLOSED or steps[Step.END] is State.CLOSED
            assert all(order.index(after) > order.index(state) for after in steps.values())

    @pytest.mark.parametrize("state", State)
    @pytest.mark.parametrize(
        ("data", "when_open"),
        [
            (frame(TEXT, b"hi"), [Text("hi")]),
            (frame(BINARY, b"hi"), [Binary(b"hi")]),
            (frame(PING, b"hi"), [Answer(b"\x8a\x02hi")]),
            (frame(PONG, b"hi"), []),
            (frame(HALF, b"hi"), []),
        ],
    )
    def test_messages_and_pings_count_while_it_is_open(self, state: State, data: bytes, when_open: list[Event]) -> None:
        session = session_in(state)
        assert read(session, data) == (when_open if state is State.OPEN else [], None)
        assert session.state is state

    @pytest.mark.parametrize("state", State)
    def test_a_close_is_told_where_one_is_looked_for(self, state: State) -> None:
        session = session_in(state)
        assert read(session, PEER_CLOSES)[0] == ([Close(4_001, "bye")] if state in READING else [])

    @pytest.mark.parametrize("state", State)
    def test_a_broken_rule_is_raised_where_something_is_read(self, state: State) -> None:
        session = session_in(state)
        assert read(session, BROKEN)[1] == (PROTOCOL_ERROR if state in READING else None)

    @pytest.mark.parametrize(
        ("state", "code"),
        [
            (State.OPEN, 1006),
            (State.LOCAL_CLOSING, 4_000),
            (State.REMOTE_CLOSING, 4_001),
            (State.FAILED, 1006),
            (State.DISCARDING, 4_000),
            (State.CLOSED, 4_000),
        ],
    )
    def test_the_app_is_told_the_code_of_the_first_close(self, state: State, code: int) -> None:
        session = session_in(state)
        session.end()
        assert session.code == code

    @pytest.mark.parametrize("ours", [True, False])
    def test_the_app_is_told_1005_where_a_close_has_no_code(self, ours: bool) -> None:
        session = Session(Limits())
        if ours:
            assert session.close(None) == b"\x88\x00"
        else:
            assert read(session, frame(CLOSE)) == ([Close(None, "")], None)
        assert session.code == 1005


class TestClosings:
    @pytest.mark.parametrize(
        ("data", "closing"),
        [
            (BROKEN, PROTOCOL_ERROR),
            (frame(TEXT, b"\xff"), NOT_UTF8),
            (frame(TEXT, b"x" * 101), TOO_BIG),
            (frame(HALF) + frame(0) * 200, BAD_MESSAGE),
            (frame(CLOSE, b"\x03"), PROTOCOL_ERROR),
            (frame(CLOSE, (1005).to_bytes(2, "big")), PROTOCOL_ERROR),
            (frame(CLOSE, (2_999).to_bytes(2, "big")), PROTOCOL_ERROR),
            (frame(CLOSE, (5_000).to_bytes(2, "big")), PROTOCOL_ERROR),
        ],
    )
    def test_a_broken_rule_fails_it_after_what_came_before(self, data: bytes, closing: Closing) -> None:
        session = Session(Limits(message_bytes=100))
        assert read(session, frame(TEXT, b"hi") + data + frame(TEXT, b"late")) == ([Text("hi")], closing)
        assert session.state is State.FAILED
        assert session.close(closing.code, closing.reason) == encode_close(closing.code, closing.reason)

    @pytest.mark.parametrize(("code", "answer"), [(None, 1000), (1000, 1000), (1014, 1014), (4_999, 4_999)])
    def test_a_close_is_answered_with_its_own_code(self, code: int | None, answer: int) -> None:
        assert reply_to(Close(code, "whatever")) == Closing(answer, "", None)

    def test_nothing_that_comes_behind_a_close_is_read(self) -> None:
        session = Session(Limits())
        assert read(session, PEER_CLOSES + BROKEN + frame(TEXT, b"hi")) == ([Close(4_001, "bye")], None)
        assert read(session, frame(TEXT, b"hi")) == ([], None)

    def test_after_our_close_the_peers_is_found_behind_anything(self) -> None:
        session = session_in(State.LOCAL_CLOSING, Limits(control_per_second=1))
        noise = frame(TEXT, b"hi") + frame(PING) * 100 + frame(HALF, b"a") + frame(CONTINUED, b"b")
        assert read(session, noise + PEER_CLOSES) == ([Close(4_001, "bye")], None)
        assert session.state is State.CLOSED


class TestRates:
    def test_a_flood_of_control_frames_is_raised_and_the_peers_close_still_found(self) -> None:
        session = Session(Limits(control_per_second=10))
        events, closing = read(session, frame(PING) * 51 + PEER_CLOSES)
        assert len(events) == 50
        assert closing is FLOOD
        assert session.state is State.OPEN
        assert session.close(FLOOD.code)
        assert read(session, b"") == ([Close(4_001, "bye")], None)

    def test_control_frames_at_the_allowed_pace_go_on_for_ever(self) -> None:
        session = Session(Limits(control_per_second=10))
        assert all(read(session, frame(PING), second / 10) == ([Answer(b"\x8a\x00")], None) for second in range(500))

    def test_a_message_says_by_how_much_it_came_too_early(self) -> None:
        session = Session(Limits(messages_per_second=10))
        early = [session.early for _ in session.receive(frame(TEXT, b"x") * 25, 0)]
        assert early == pytest.approx([0] * 20 + [0.1, 0.2, 0.3, 0.4, 0.5])

    @pytest.mark.parametrize(
        ("fragment", "fragments", "weight"), [(b"", 128, 128), (b"x", 128, 128), (bytes(1_024), 9, 1), (b"x", 1, 1)]
    )
    def test_a_message_counts_as_many_as_it_has_fragments_without_content(
        self, fragment: bytes, fragments: int, weight: int
    ) -> None:
        session = Session(Limits(messages_per_second=100))
        first, last = (HALF, CONTINUED) if fragments > 1 else (TEXT, None)
        parts = [frame(first, fragment), *[frame(0x00, fragment)] * (fragments - 2)]
        message = b"".join(parts) + (b"" if last is None else frame(last, fragment))
        assert len(read(session, message * 2)[0]) == 2
        assert session.weight == weight
        assert session.early == pytest.approx(max(0, 2 * weight - 200) / 100)
        read(session, frame(TEXT, b"whole"))
        assert session.weight == 1

    @pytest.mark.parametrize("noise", [frame(TEXT, b"x"), frame(PING), frame(HALF) + frame(CONTINUED)])
    def test_after_our_close_it_pauses_for_others_and_finds_the_peers_behind_all(self, noise: bytes) -> None:
        session = session_in(State.LOCAL_CLOSING)
        seen, readings = read(session, noise * 4 * UNHEARD_IN_A_ROW + PEER_CLOSES), 1
        while session.behind:
            assert seen == ([], None)
            seen, readings = read(session, b""), readings + 1
        assert seen == ([Close(4_001, "bye")], None)
        assert readings >= 5

    def test_a_shell_that_has_waited_says_the_time_again(self) -> None:
        session = Session(Limits(messages_per_second=10))
        for _ in session.receive(frame(TEXT, b"x") * 100, 0):
            session.now += session.early
        assert session.now == pytest.approx(8)
        assert session.early == pytest.approx(0.1)


class TestDeadline:
    @pytest.mark.parametrize("begun", [b"\x81", b"\x81\x85\x00\x00\x00\x00ab", frame(HALF, b"ab")])
    def test_a_message_that_is_begun_has_a_deadline_that_more_bytes_do_not_move(self, begun: bytes) -> None:
        session = Session(Limits(message_seconds=10))
        assert session.deadline == math.inf
        read(session, begun, 5)
        assert session.deadline == 15
        read(session, b"", 9)
        assert session.deadline == 15
        assert session.late().closing == BAD_MESSAGE

    def test_its_end_takes_the_deadline_away(self) -> None:
        session = Session(Limits())
        whole = frame(TEXT, b"hello")
        read(session, whole[:7])
        assert session.deadline < math.inf
        assert read(session, whole[7:], 1) == ([Text("hello")], None)
        assert session.deadline == math.inf

    def test_a_next_message_that_begins_with_the_end_of_the_last_has_its_own(self) -> None:
        session, whole = Session(Limits(message_seconds=10)), frame(TEXT, b"hello")
        read(session, whole[:7])
        for now in range(6, 60, 6):
            assert read(session, whole[7:] + whole[:7], now) == ([Text("hello")], None)
            assert session.deadline == now + 10

    def test_what_is_not_taken_has_none(self) -> None:
        session = Session(Limits(message_seconds=10))
        events = session.receive(frame(TEXT, b"1") + frame(HALF, b"2"), 0)
        assert next(events) == Text("1")
        assert session.deadline == math.inf
        assert read(session, b"", 30) == ([], None)
        assert session.deadline == 40

    @pytest.mark.parametrize("state", [state for state in State if state not in READING])
    def test_it_has_none_where_nothing_is_read(self, state: State) -> None:
        session = Session(Limits())
        read(session, frame(HALF, b"ab"))
        for step in WAYS[state]:
            take(session, step)
        assert session.deadline == math.inf


FRAMES = [
    frame(TEXT, b"hello"),
    frame(TEXT, "gr\u00fc\u00dfe".encode()),
    frame(BINARY, bytes(200)),
    frame(HALF, b"in "),
    frame(CONTINUED, b"pieces"),
    frame(PING, b"?"),
    frame(PONG, b"!"),
    frame(TEXT, b"\xff"),
    frame(TEXT, b"x" * 300),
    BROKEN,
    PEER_CLOSES,
]


class TestAnySplit:
    @given(st.lists(st.sampled_from(FRAMES) | st.binary(max_size=8), max_size=12), st.data())
    def test_the_same_bytes_give_the_same_events_however_they_are_cut(
        self, frames: list[bytes], data: st.DataObject
    ) -> None:
        stream = b"".join(frames)
        cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)))))
        pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
        assert read_all(pieces) == read_all([stream])

    @given(st.lists(st.sampled_from(FRAMES), max_size=12), st.integers(1, 5))
    def test_nothing_is_lost_where_the_shell_stops_in_the_middle(self, frames: list[bytes], at_once: int) -> None:
        stream = rest = b"".join(frames)
        session = Session(Limits(message_bytes=250))
        events: list[Event] = []
        closing, taken = None, -1
        try:
            while len(events) > taken:
                taken = len(events)
                for event in islice(session.receive(rest, 0), at_once):
                    events.append(event)
                rest = b""
        except RemoteError as error:
            closing = error.closing
        assert (events, closing, session.state) == read_all([stream])


def read_all(pieces: Iterable[bytes]) -> tuple[list[Event], Closing | None, State]:
    """All events of the pieces, the first closing, and the state in the end."""
    session = Session(Limits(message_bytes=250))
    events: list[Event] = []
    closing = None
    for piece in pieces:
        more, failed = read(session, piece)
        events += more
        closing = closing or failed
    return events, closing, session.state
