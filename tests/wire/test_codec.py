"""How events look on each wire, read back by parsers that are not ours."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from httpx_sse import ServerSentEvent
from httpx_sse._decoders import SSEDecoder
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from triolet import Cursor, DataError, Draft, Event, Gap
from triolet.event import OWN_PREFIX
from triolet.testing.strict import PlainReader
from triolet.wire.codec import DONE, JSON, PLAIN, SSE, SSE_CHUNKED, SSE_PLAIN, WEBSOCKET, WEBSOCKET_TEXT
from triolet.wire.messages import Beat, Bye, Expiring, LagMessage, Live, Open, encode_event, encode_message, gap_fields
from triolet.wire.poll_body import poll_body


def event(offset: int = 3, data: Any = None, name: str = "message") -> Event:
    draft = Draft.of(data, name=name)
    return Event(Cursor("e", offset), "orders", draft.name, draft.json, None, 1.5)


def blocks(stream: bytes) -> list[ServerSentEvent]:
    """What httpx-sse reads from an event stream, whose lines end as the HTML standard says."""
    decoder = SSEDecoder()
    found = [decoder.decode(line) for line in re.split("\r\n|\n|\r", stream.decode())[:-1]]
    return [block for block in found if block is not None]


def texts(frames: bytes) -> list[Any]:
    """What wsproto reads from a server's frames."""
    reader = Connection(ConnectionType.CLIENT)
    reader.receive_data(frames)
    return [json.loads(found.data) for found in reader.events() if isinstance(found, TextMessage)]


def test_every_codec_carries_the_same_event() -> None:
    one = event(data={"a": 1})
    wire = json.loads(encode_event(one))
    assert texts(WEBSOCKET.join([WEBSOCKET.event(one)])) == [wire]
    assert [json.loads(text) for text in WEBSOCKET_TEXT.join([WEBSOCKET_TEXT.event(one)])] == [wire]
    assert json.loads(JSON.join([JSON.event(one)])) == [wire]
    (block,) = blocks(SSE.join([SSE.event(one)]))
    assert (block.id, block.event, json.loads(block.data)) == (wire["id"], wire["event"], wire["data"])


@pytest.mark.parametrize("codec", [WEBSOCKET, WEBSOCKET_TEXT, SSE])
def test_a_batch_holds_its_events_in_order(codec: Any) -> None:
    events = [event(offset, "x" * offset) for offset in (1, 200, 70_000)]
    batch = codec.join([codec.event(one) for one in events])
    if codec is SSE:
        found = [block.id for block in blocks(batch)]
    else:
        found = [wire["id"] for wire in (texts(batch) if codec is WEBSOCKET else map(json.loads, batch))]
    assert found == ["e.1", "e.200", "e.70000"]


def test_a_chunk_says_its_length_and_is_never_the_last() -> None:
    head, _, rest = SSE_CHUNKED.join([SSE.event(event())]).partition(b"\r\n")
    assert rest == SSE.event(event()) + b"\r\n"
    assert int(head, 16) == len(rest) - 2
    assert SSE_CHUNKED.join([]) == b""


@pytest.mark.parametrize("codec", [WEBSOCKET, WEBSOCKET_TEXT, *PLAIN, *PLAIN.values()])
def test_batches_put_together_are_what_they_were_apart(codec: Any) -> None:
    apart = [codec.say(Live("orders", "e.3")), codec.join([codec.event(event(4))])]
    assert codec.concat(apart) == apart[0] + apart[1]


@pytest.mark.parametrize(
    ("message", "name", "place"),
    [
        (Open("orders", "e.2"), "triolet.open", "e.2"),
        (gap_fields("orders", Gap(Cursor("e", 2), Cursor("e", 7), 5, "expired")), "triolet.gap", "e.7"),
        (Live("orders", "e.7"), "triolet.live", ""),
        (Beat(5, {"orders": "e.9"}), "triolet.beat", "e.9"),
        (Beat(5, {}), "triolet.beat", ""),
    ],
)
def test_a_browser_keeps_the_place_that_a_message_says(message: Any, name: str, place: str) -> None:
    (block,) = blocks(SSE.say(message))
    assert (block.event, block.id) == (name, place)


GAP = gap_fields("orders", Gap(Cursor("e", 2), Cursor("e", 7), 5, "expired"))
SAID = (
    *(Open("orders", "e.2"), Live("orders", "e.7"), GAP, LagMessage("orders", 3, "block"), Expiring(5, "key")),
    *(Beat(5, {"orders": "e.9"}), Bye(1012, "restarting", 77), Bye(1000, "done", None)),
)


@pytest.mark.parametrize(
    ("message", "lines"),
    [
        (Open("orders", "e.2"), [': triolet.open {"type":"open","channel":"orders","cursor":"e.2"}', "retry: 1000"]),
        (Live("orders", "e.7"), [': triolet.live {"type":"live","channel":"orders","cursor":"e.7"}']),
        (Bye(1012, "restarting", 77), [": triolet.bye " + encode_message(SAID[6]).decode(), "retry: 77"]),
        (Bye(1000, "done", None), [": triolet.bye " + encode_message(SAID[7]).decode()]),
    ],
)
def test_what_is_no_event_is_a_comment_of_a_plain_stream(message: Any, lines: list[str]) -> None:
    assert SSE_PLAIN.say(message).decode() == "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("name", ["message", "order-status"])
def test_an_event_of_a_plain_stream_has_its_cursor_its_name_and_its_data(name: str) -> None:
    called = "" if name == "message" else f"event: {name}\n"
    assert SSE_PLAIN.event(event(3, {"a": 1}, name)).decode() == f'id: e.3\n{called}data: {{"a":1}}\n\n'


@given(st.lists(st.one_of(st.sampled_from(SAID), st.text(max_size=20)), max_size=12), st.integers(1, 9))
def test_whatever_is_said_between_a_plain_streams_events_only_the_events_are_events(said: list[Any], size: int) -> None:
    stream, events = b"", []
    for offset, one in enumerate(said, 1):
        if isinstance(one, str):
            events.append((f"e.{offset}", one))
            stream += SSE_PLAIN.join([SSE_PLAIN.event(event(offset, one))])
        else:
            stream += SSE_PLAIN.say(one)
    found = blocks(stream + DONE)
    assert [(block.id, json.loads(block.data)) for block in found[:-1]] == events
    assert found[-1].data == "[DONE]"
    reader = PlainReader()  # the kit's, which is strict, however it is cut
    read = [block for at in range(0, len(stream), size) for block in reader.feed(stream[at : at + size])]
    words = [block for block in read if block.get("event", "").startswith("triolet.")]
    assert [block["data"] for block in read if block not in words] == [block.data for block in found[:-1]]
    assert [block["data"].encode() for block in words] == [
        encode_message(one) for one in said if not isinstance(one, str)
    ]
    reader.end()


@given(st.text(max_size=20), st.text(max_size=40))
def test_no_name_and_no_data_make_more_or_less_than_one_event(name: str, data: str) -> None:
    try:
        one = event(data=data, name=name)
    except DataError:
        return
    (block,) = blocks(SSE.event(one) + SSE.event(event(4)))[:-1]
    assert (block.id, block.event, json.loads(block.data)) == ("e.3", name, data)
    assert not name.startswith(OWN_PREFIX)


def test_the_body_of_a_poll_says_where_to_go_on() -> None:
    gap = Gap(Cursor("e", 1), Cursor("e", 2), 1, "expired")
    body = json.loads(poll_body("orders", [event(3), event(4)], gap, Cursor("e", 4), False, 0, 1_500))
    assert [wire["id"] for wire in body["events"]] == ["e.3", "e.4"]
    assert (body["channel"], body["cursor"], body["live"], body["retry"]) == ("orders", "e.4", False, 0)
    assert body["gap"] == json.loads(JSON.say(gap_fields("orders", gap)))[0]
    assert body["time"] == 1_500
