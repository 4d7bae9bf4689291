"""The frame reader against wsproto as its oracle, and every bound at its edge."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.connection import CLIENT, SERVER, Connection, ConnectionState
from wsproto.events import BytesMessage, CloseConnection, TextMessage
from wsproto.events import Ping as WsprotoPing
from wsproto.events import Pong as WsprotoPong

from triolet.closing import BAD_MESSAGE, NOT_UTF8, PROTOCOL_ERROR, TOO_BIG, Closing
from triolet.errors import RemoteError
from triolet.limits import Limits
from triolet.wire import frames
from triolet.wire.frames import Binary, Close, Event, FrameReader, Ping, Pong, Text

MASK = b"\x11\x22\x33\x44"


def frame(first: int, payload: bytes = b"", *, masked: bool = True, length: int | None = None) -> bytes:
    """A client's frame; ``length`` lies about the payload's size."""
    size = len(payload) if length is None else length
    bit = 0x80 if masked else 0
    if size < 126:
        head = struct.pack("!BB", first, bit | size)
    elif size < 65_536:
        head = struct.pack("!BBH", first, bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, bit | 127, size)
    if not masked:
        return head + payload
    return head + MASK + bytes(byte ^ MASK[i % 4] for i, byte in enumerate(payload))


def read(pieces: Iterable[bytes], limits: Limits | None = None) -> tuple[list[Event], Closing | None]:
    """What a reader yields for the pieces, and the closing it raised in the end."""
    reader = FrameReader(limits or Limits())
    events: list[Event] = []
    try:
        for piece in pieces:
            events.extend(reader.feed(piece))
    except RemoteError as error:
        return events, error.closing
    return events, None


def read_by_wsproto(data: bytes) -> tuple[list[Event], int | None]:
    """What wsproto makes of the same bytes: the oracle."""
    connection = Connection(SERVER)
    connection.receive_data(data)
    events: list[Event] = []
    message: list[bytes] = []
    for event in connection.events():
        if isinstance(event, TextMessage | BytesMessage):
            message.append(event.data.encode() if isinstance(event, TextMessage) else bytes(event.data))
            if event.message_finished:
                whole = b"".join(message)
                events.append(Text(whole.decode()) if isinstance(event, TextMessage) else Binary(whole))
                message.clear()
        elif isinstance(event, WsprotoPing):
            events.append(Ping(bytes(event.payload)))
        elif isinstance(event, WsprotoPong):
            events.append(Pong(bytes(event.payload)))
        elif isinstance(event, CloseConnection):
            if connection.state is not ConnectionState.REMOTE_CLOSING:
                return events, int(event.code)
            events.append(Close(None if event.code == 1005 else int(event.code), event.reason or ""))
    return events, None


def cut(data: bytes, at: Sequence[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(position % (len(data) + 1) for position in at)})
    return [data[a:b] for a, b in pairwise(edges)]


LEGAL = st.builds(
    frame,
    st.sampled_from([0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x89, 0x8A]),
    st.one_of(st.binary(max_size=20), st.text(max_size=20).map(str.encode), st.binary(min_size=120, max_size=130)),
)
PADDED = st.builds(
    lambda first, width, size: struct.pack("!BB", first, 254 + (width == 8)) + size.to_bytes(width, "big"),
    st.sampled_from([0x01, 0x81, 0x89]),
    st.sampled_from([2, 8]),
    st.integers(0, 300),
)
"""Heads that write their length in more bytes than it needs."""
ILLEGAL = st.one_of(
    PADDED,
    st.builds(frame, st.integers(0, 255), st.binary(max_size=130)),
    st.builds(frame, st.sampled_from([0x81, 0x89]), st.binary(max_size=9), masked=st.just(False)),
    st.binary(max_size=30),
)
CUTS = st.lists(st.integers(0, 10_000), max_size=12)


def check_against_wsproto(data: bytes, cuts: list[int]) -> None:
    events, closing = read([*cut(data, cuts), b"\x00" * 300], Limits(message_bytes=1 << 70))
    expected, code = read_by_wsproto(data + b"\x00" * 300)
    assert events == expected
    assert (closing.code if closing else None) == code


class TestAgainstWsproto:
    @settings(max_examples=400, deadline=None)
    @given(st.lists(st.one_of(LEGAL, LEGAL, LEGAL, ILLEGAL), max_size=8).map(b"".join), CUTS)
    def test_any_bytes_cut_anywhere_are_read_as_by_wsproto(self, data: bytes, cuts: list[int]) -> None:
        check_against_wsproto(data, cuts)

    @settings(max_examples=400, deadline=None)
    @given(st.lists(LEGAL, min_size=1, max_size=5).map(b"".join), st.integers(0), st.integers(0, 255), CUTS)
    def test_legal_frames_with_one_wrong_byte_are_too(
        self, data: bytes, where: int, byte: int, cuts: list[int]
    ) -> None:
        where %= len(data)
        check_against_wsproto(data[:where] + bytes((byte,)) + data[where + 1 :], cuts)

    @settings(max_examples=200, deadline=None)
    @given(st.text(max_size=400), st.lists(st.integers(0, 2_000), max_size=6), CUTS)
    def test_a_text_in_any_fragments_comes_out_whole(self, text: str, at: list[int], cuts: list[int]) -> None:
        parts = cut(text.encode(), at) or [b""]
        opcodes = [1] + [0] * (len(parts) - 1)
        opcodes[-1] |= 0x80
        data = b"".join(frame(first, part) for first, part in zip(opcodes, parts, strict=True))
        assert read(cut(data, cuts)) == ([Text(text)], None)


class TestMessages:
    @pytest.mark.parametrize("size", [0, 1, 125, 126, 999, 1_001, 65_535, 65_536, 1 << 20])
    def test_a_message_of_any_size_up_to_the_bound_is_read(self, size: int) -> None:
        data = bytes(range(256)) * (size // 256 + 1)
        assert read([frame(0x82, data[:size])]) == ([Binary(data[:size])], None)

    def test_an_empty_binary_message_stays_empty_bytes(self) -> None:
        assert read([frame(0x82)]) == ([Binary(b"")], None)
        assert read([frame(0x02), frame(0x80)]) == ([Binary(b"")], None)

    def test_a_ping_between_fragments_comes_first(self) -> None:
        pieces = [frame(0x01, b"to") + frame(0x89, b"?") + frame(0x80, b"gether")]
        assert read(pieces) == ([Ping(b"?"), Text("together")], None)

    def test_after_a_close_nothing_is_read(self) -> None:
        reader = FrameReader(Limits())
        close = frame(0x88, (1001).to_bytes(2, "big") + b"away")
        assert list(reader.feed(close + frame(0x81, b"late"))) == [Close(1001, "away")]
        assert list(reader.feed(frame(0x81, b"later"))) == []
        assert not reader.mid_message

    def test_a_close_without_a_code_has_none(self) -> None:
        assert read([frame(0x88)]) == ([Close(None, "")], None)

    def test_a_caller_that_stops_in_the_middle_gets_the_rest_next_time(self) -> None:
        reader = FrameReader(Limits())
        assert next(reader.feed(frame(0x81, b"a") + frame(0x81, b"b"))) == Text("a")
        assert list(reader.feed(frame(0x81, b"c"))) == [Text("b"), Text("c")]


class TestMidMessage:
    @pytest.mark.parametrize(
        "begun",
        [frame(0x01, b"a"), frame(0x81, b"abc")[:-1], frame(0x81, b"abc")[:1], frame(0x89, b"abc")[:-1]],
        ids=["fragment", "payload missing", "head missing", "half a ping"],
    )
    def test_what_has_begun_is_seen(self, begun: bytes) -> None:
        reader = FrameReader(Limits())
        assert list(reader.feed(begun)) == []
        assert reader.mid_message

    def test_a_finished_message_leaves_nothing(self) -> None:
        reader = FrameReader(Limits())
        for piece in (frame(0x01, b"a"), frame(0x89), frame(0x80, b"b"), frame(0x81, b"whole")):
            list(reader.feed(piece))
        assert not reader.mid_message


class TestRefusals:
    @pytest.mark.parametrize(
        ("data", "closing"),
        [
            (frame(0x81, b"a", masked=False), PROTOCOL_ERROR),
            (frame(0xC1, b"a"), PROTOCOL_ERROR),
            (frame(0x91, b"a"), PROTOCOL_ERROR),
            (frame(0x83, b"a"), PROTOCOL_ERROR),
            (frame(0x8B, b"a"), PROTOCOL_ERROR),
            (frame(0x80, b"a"), PROTOCOL_ERROR),
            (frame(0x01, b"a") + frame(0x81, b"b"), PROTOCOL_ERROR),
            (frame(0x09, b"a"), PROTOCOL_ERROR),
            (frame(0x89, b"a" * 126), PROTOCOL_ERROR),
            (frame(0x88, b"\x03"), PROTOCOL_ERROR),
            (frame(0x88, b"\x03\xed"), PROTOCOL_ERROR),
            (frame(0x88, b"\x03\xe8\xff"), NOT_UTF8),
            (b"\x81\xfe\x00\x05" + MASK, PROTOCOL_ERROR),
            (b"\xff" * 12, PROTOCOL_ERROR),
            (b"\x8b\x85", PROTOCOL_ERROR),
            (b"\x09\x85", PROTOCOL_ERROR),
            (b"\x89\xff" + bytes(8), PROTOCOL_ERROR),
            (frame(0x81, b"\xff"), NOT_UTF8),
            (frame(0x81, b"\xed\xa0\x80"), NOT_UTF8),
            (frame(0x01, b"\xce") + frame(0x80, b"\xce"), NOT_UTF8),
            (frame(0x01, b"\xf4\x90"), NOT_UTF8),
            (frame(0x81, b"\xf4\x90" + b"a" * 20)[:9], NOT_UTF8),
        ],
    )
    def test_an_illegal_frame_is_refused_after_those_before_it(self, data: bytes, closing: Closing) -> None:
        assert read([frame(0x81, b"before") + data]) == ([Text("before")], closing)

    def test_a_message_over_the_bound_is_refused_by_its_head(self) -> None:
        limits = Limits(message_bytes=10)
        assert read([frame(0x81, b"a" * 10)], limits) == ([Text("a" * 10)], None)
        assert read([frame(0x81, length=11)], limits) == ([], TOO_BIG)
        assert read([b"\x82\xff" + (1 << 24).to_bytes(8, "big")], limits) == ([], TOO_BIG)

    def test_fragments_count_together(self) -> None:
        limits = Limits(message_bytes=10)
        assert read([frame(0x01, b"a" * 6), frame(0x80, b"a" * 4)], limits) == ([Text("a" * 10)], None)
        assert read([frame(0x01, b"a" * 6), frame(0x00, length=5)], limits) == ([], TOO_BIG)

    def test_the_bounds_are_those_of_one_message(self) -> None:
        limits = Limits(message_bytes=10, message_fragments=2)
        whole = frame(0x01, b"a" * 6) + frame(0x80, b"a" * 4)
        assert read([whole * 5], limits) == ([Text("a" * 10)] * 5, None)

    def test_one_fragment_too_many_is_refused(self) -> None:
        limits = Limits(message_fragments=3)
        assert read([frame(0x01) + frame(0x00) + frame(0x80)], limits) == ([Text("")], None)
        assert read([frame(0x01) + frame(0x00) + frame(0x00) + frame(0x80)], limits) == ([], BAD_MESSAGE)


class TestCost:
    def test_a_flood_is_decoded_only_as_far_as_it_is_taken(self) -> None:
        events = FrameReader(Limits()).feed(frame(0x89) * 10_000)
        tracemalloc.start()
        for _ in range(50):
            next(events)
        assert tracemalloc.get_traced_memory()[1] < 10_000
        tracemalloc.stop()

    def test_a_message_in_pieces_of_a_byte_takes_little_more_than_its_size(self) -> None:
        reader = FrameReader(Limits())
        data = frame(0x81, "é".encode() * 10_000)
        tracemalloc.start()
        events = [event for byte in data[:-1] for event in reader.feed(bytes((byte,)))]
        assert tracemalloc.get_traced_memory()[1] < 60_000
        tracemalloc.stop()
        assert events == []
        assert list(reader.feed(data[-1:])) == [Text("é" * 10_000)]

    def test_a_million_fragments_cost_what_the_first_hundred_do(self) -> None:
        reader = FrameReader(Limits())
        with pytest.raises(RemoteError) as refusal:
            list(reader.feed(frame(0x01, b"a") + frame(0x00, b"a") * 1_000_000))
        assert refusal.value.closing is BAD_MESSAGE


class TestEncoding:
    @pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 100_000])
    def test_what_is_encoded_a_client_decodes(self, size: int) -> None:
        client = Connection(CLIENT)
        client.receive_data(frames.encode_text(b"a" * size) + frames.encode_binary(b"\xff" * size))
        text, binary = client.events()
        assert isinstance(text, TextMessage)
        assert text.data == "a" * size
        assert isinstance(binary, BytesMessage)
        assert binary.data == b"\xff" * size

    def test_control_frames_are_those_of_the_standard(self) -> None:
        assert frames.encode_ping() == b"\x89\x00"
        assert frames.encode_ping(b"hi") == b"\x89\x02hi"
        assert frames.encode_pong(b"x" * 125) == b"\x8a\x7d" + b"x" * 125
        with pytest.raises(ValueError, match="125"):
            frames.encode_pong(b"x" * 126)

    def test_a_close_carries_code_and_reason(self) -> None:
        assert frames.encode_close(1000, "done") == b"\x88\x06\x03\xe8done"
        assert frames.encode_close() == b"\x88\x00"

    @pytest.mark.parametrize("code", [1005, 1006, 1015])
    def test_a_code_that_means_none_is_not_sent(self, code: int) -> None:
        assert frames.encode_close(code, "gone") == b"\x88\x00"

    def test_a_long_reason_is_cut_between_characters(self) -> None:
        assert frames.encode_close(1008, "é" * 100) == b"\x88\x7c\x03\xf0" + "é".encode() * 61
