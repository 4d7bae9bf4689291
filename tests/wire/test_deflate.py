"""permessage-deflate: what is agreed on, what comes back, and what a bomb costs."""

from __future__ import annotations

import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import CLIENT, Connection
from wsproto.events import BytesMessage, TextMessage
from wsproto.extensions import PerMessageDeflate

from triolet.closing import PROTOCOL_ERROR, TOO_BIG, Closing
from triolet.errors import RemoteError
from triolet.limits import Limits
from triolet.wire.deflate import accept_offer, deflate
from triolet.wire.frames import Binary, Close, FrameReader, Ping, Text, encode_deflated

from .test_frames import cut, frame

AGREED = b"permessage-deflate; server_no_context_takeover; client_no_context_takeover"


class TestOffers:
    @pytest.mark.parametrize(
        ("offer", "answer"),
        [
            (b"permessage-deflate", AGREED),
            (b"permessage-deflate; client_max_window_bits", AGREED),
            (b"permessage-deflate;client_max_window_bits=9;server_no_context_takeover", AGREED),
            (b'permessage-deflate; client_max_window_bits="10"', AGREED),
            (b"permessage-deflate; server_max_window_bits=15", AGREED + b"; server_max_window_bits=15"),
            (b"permessage-deflate; server_max_window_bits=9, permessage-deflate", AGREED),
            (b"x-webkit-deflate-frame, permessage-deflate", AGREED),
            (b"", None),
            (b"x-webkit-deflate-frame", None),
            (b"permessage-deflate; server_max_window_bits=9", None),
            (b"permessage-deflate; server_max_window_bits", None),
            (b"permessage-deflate; server_max_window_bits=16", None),
            (b"permessage-deflate; client_max_window_bits=abc", None),
            (b"permessage-deflate; client_max_window_bits=7", None),
            (b"permessage-deflate; client_max_window_bits; client_max_window_bits", None),
            (b"permessage-deflate; server_no_context_takeover=1", None),
            (b"permessage-deflate; unknown", None),
            (b"permessage-deflate;", None),
            (b"\xff\xfe", None),
        ],
    )
    def test_the_first_offer_that_can_be_kept_is_taken(self, offer: bytes, answer: bytes | None) -> None:
        assert accept_offer([offer]) == answer


def peer() -> Connection:
    """A client of wsproto's that agreed with us."""
    extension = PerMessageDeflate(client_no_context_takeover=True, server_no_context_takeover=True)
    extension.finalize(AGREED.decode())
    return Connection(CLIENT, [extension])


class TestMessages:
    @given(st.lists(st.one_of(st.text(), st.binary()), max_size=4), st.lists(st.integers(0, 500), max_size=5))
    def test_what_wsproto_deflates_is_read(self, messages: list[str | bytes], cuts: list[int]) -> None:
        client = peer()
        sent = b"".join(
            bytes(client.send(TextMessage(data) if isinstance(data, str) else BytesMessage(data))) for data in messages
        )
        reader = FrameReader(Limits(), deflate=True)
        events = [event for piece in cut(sent, cuts) for event in reader.feed(piece)]
        assert events == [Text(data) if isinstance(data, str) else Binary(data) for data in messages]
        assert not reader.mid_message

    @given(st.one_of(st.binary(max_size=300), st.binary(max_size=9).map(lambda data: data * 200)))
    def test_what_we_deflate_wsproto_reads(self, data: bytes) -> None:
        client = peer()
        client.receive_data(encode_deflated(data, binary=True))
        assert b"".join(bytes(event.data) for event in client.events() if isinstance(event, BytesMessage)) == data

    def test_an_event_is_deflated_only_if_that_is_smaller(self) -> None:
        assert encode_deflated(b"a" * 100)[0] == 0xC1
        assert len(encode_deflated(b"a" * 100)) < 20
        assert encode_deflated(b"ab") == b"\x81\x02ab"
        assert encode_deflated(b"") == b"\x81\x00"

    def test_fragments_pings_and_a_close_may_stand_in_between(self) -> None:
        data = deflate(b"hello " * 50)
        reader = FrameReader(Limits(), deflate=True)
        pieces = frame(0x41, data[:5]) + frame(0x89, b"?") + frame(0x00, data[5:9]) + frame(0x80, data[9:])
        assert list(reader.feed(pieces)) == [Ping(b"?"), Text("hello " * 50)]
        assert list(reader.feed(frame(0x41, data[:5]) + frame(0x88))) == [Close(None, "")]

    def test_a_message_after_a_last_block_is_read_to_there(self) -> None:
        deflater = zlib.compressobj(wbits=-15)
        data = deflater.compress(b"hello") + deflater.flush() + b"\x00"
        assert list(FrameReader(Limits(), deflate=True).feed(frame(0xC1, data))) == [Text("hello")]

    def test_not_every_message_need_be_deflated(self) -> None:
        reader = FrameReader(Limits(), deflate=True)
        assert list(reader.feed(frame(0xC1, deflate(b"one")) + frame(0x81, b"two"))) == [Text("one"), Text("two")]


class TestRefusals:
    @pytest.mark.parametrize(
        ("data", "closing"),
        [
            (frame(0xC1, b"\xff\xff\xff"), PROTOCOL_ERROR),
            (frame(0xC9, b""), PROTOCOL_ERROR),
            (frame(0xA1, b"a"), PROTOCOL_ERROR),
            (frame(0x41, deflate(b"a")) + frame(0xC0, b""), PROTOCOL_ERROR),
            (frame(0x01, b"a") + frame(0xC0, deflate(b"b")), PROTOCOL_ERROR),
            (frame(0xC1, deflate(b"a" * 1_001)), TOO_BIG),
            (frame(0x41, deflate(b"ab" * 600)[:5]) + frame(0x80, deflate(b"ab" * 600)[5:]), TOO_BIG),
        ],
    )
    def test_what_is_illegal_or_too_big_is_refused(self, data: bytes, closing: Closing) -> None:
        with pytest.raises(RemoteError) as error:
            list(FrameReader(Limits(message_bytes=1_000), deflate=True).feed(data))
        assert error.value.closing is closing

    def test_a_message_just_within_the_bound_is_read(self) -> None:
        reader = FrameReader(Limits(message_bytes=1_000), deflate=True)
        assert list(reader.feed(frame(0xC1, deflate(b"a" * 1_000)))) == [Text("a" * 1_000)]

    def test_a_bomb_costs_no_more_than_the_bound(self) -> None:
        bomb = frame(0xC2, deflate(bytes(50 << 20)))
        reader = FrameReader(Limits(message_bytes=100_000), deflate=True)
        tracemalloc.start()
        with pytest.raises(RemoteError):
            list(reader.feed(bomb))
        assert tracemalloc.get_traced_memory()[1] < 500_000
        tracemalloc.stop()

    def test_without_an_agreement_rsv1_is_an_error(self) -> None:
        with pytest.raises(RemoteError):
            list(FrameReader(Limits()).feed(frame(0xC1, deflate(b"a"))))
