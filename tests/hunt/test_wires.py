"""The strict readers: what a standard forbids is not passed over."""

from __future__ import annotations

import json
import zlib

import pytest

from hunt.wires import EventStreamReader, FrameReader, MalformedError, accept_for, encode_frame, read_head

MESSAGE = b'{"type":"live","channel":"c"}'


def frame(payload: bytes = MESSAGE, first: int = 0x81) -> bytes:
    return bytes((first, len(payload))) + payload


def test_frames_byte_by_byte_with_control_frames_between_the_pieces_of_a_message() -> None:
    data = frame(MESSAGE[:5], 0x01) + frame(b"x", 0x89) + frame(MESSAGE[5:], 0x80) + frame(b"\x03\xf4bye", 0x88)
    reader = FrameReader()
    found = [message for byte in data for message in reader.feed(bytes((byte,)))]
    assert [message["type"] for message in found] == ["ping", "live", "close"]
    assert found[2] == {"type": "close", "code": 1012, "reason": "bye"}
    assert not reader.mid_frame


def test_a_deflated_message_where_it_was_agreed_on() -> None:
    deflater = zlib.compressobj(wbits=-15)
    payload = (deflater.compress(MESSAGE) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]
    assert [m["type"] for m in FrameReader(deflate=True).feed(frame(payload, 0xC1))] == ["live"]


@pytest.mark.parametrize(
    "data",
    [
        frame(first=0xC1),
        frame(first=0xA1),
        frame(first=0x83),
        frame(first=0x82),
        frame(first=0x80),
        frame(first=0x01) + frame(),
        b"\x81\x9d\0\0\0\0" + MESSAGE,
        b"\x81\x7e\x00\x1d" + MESSAGE,
        b"\x81\x7f" + (200).to_bytes(8, "big") + b"x" * 200,
        frame(b"", 0x09),
        b"\x89\x7e\x00\x80" + b"x" * 128,
        frame(b"x", 0x88),
        frame(b"\x03\xf4", 0x88) + frame(),
        frame(b"\xff\xff"),
        frame(b"[]"),
        frame(b"{}"),
        frame(b"{"),
    ],
)
def test_frames_that_rfc_6455_or_our_protocol_forbids(data: bytes) -> None:
    with pytest.raises(MalformedError):
        list(FrameReader().feed(data))


def test_an_event_stream_in_any_pieces() -> None:
    data = b'\xef\xbb\xbfretry: 1000\n\n: hello\nid: a.1\nevent: state\ndata: ["\xc3\xa9"]\ntime: 5\n\n'
    data += b'id: a.2\r\nevent: triolet.live\r\ndata: {"type":"live"}\r\n\r\nid: a.3\n'
    for size in (1, 7, 1_000):
        reader = EventStreamReader()
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        found = [message for piece in pieces for message in reader.feed(piece)]
        if size != 1:  # a CR at a piece's end and the LF behind it are two ends of lines, and no harm
            event = {"type": "event", "event": "state", "id": "a.1", "data": ["é"], "last_id": "a.1"}
            assert found == [event, {"type": "live", "last_id": "a.2"}]
        assert (reader.last_id, reader.retry) == ("a.2", 1_000)
        assert reader.mid_block


@pytest.mark.parametrize(
    "data",
    [
        b"data: {}\ndata: {}\n\n",
        b"event: triolet.live\ndata: {}\n\n",
        b'event: triolet.live\ndata: {"type":"beat"}\n\n',
        b"data: {\n\n",
        b"retry: soon\n\n",
        b"\x81\x05hello\n\n",
        b"id: 1\nid: 2\ndata: 1\n\n",
        b"HTTP/1.1 200 OK\n\n",
    ],
)
def test_event_streams_that_we_never_write(data: bytes) -> None:
    with pytest.raises(MalformedError):
        list(EventStreamReader().feed(data))


def test_heads_of_answers() -> None:
    assert read_head(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n") is None
    head = b"HTTP/1.1 101 \r\nUpgrade: websocket\r\n\r\n\x81"
    assert read_head(head) == (101, {"upgrade": "websocket"}, b"\x81")
    for wrong in (b"HTTP/1.0 101 x", b"HTTP/1.1 1", b"HTTP/1.1 101 x\r\nno header", b"HTTP/1.1 101 x\r\na b: c"):
        with pytest.raises(MalformedError):
            read_head(wrong + b"\r\n\r\n")


def test_the_example_of_rfc_6455() -> None:
    assert accept_for("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_a_clients_frame_is_one_that_the_server_reads(size: int) -> None:
    from triolet.limits import Limits
    from triolet.wire.frames import FrameReader as ServersReader
    from triolet.wire.frames import Text

    text = json.dumps("x" * size)
    found = list(ServersReader(Limits()).feed(encode_frame(1, text.encode())))
    assert [one.data for one in found if isinstance(one, Text)] == [text]
