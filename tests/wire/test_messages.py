"""The JSON of both directions: what a client may say, and how what we say looks."""

from __future__ import annotations

import json
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triolet import Cursor, CursorError, Event, Gap
from triolet.closing import BAD_MESSAGE, RESTARTING
from triolet.errors import RemoteError
from triolet.wire.messages import (
    AppMessage,
    Beat,
    CommandMessage,
    Follow,
    Incoming,
    Live,
    Message,
    Open,
    Refused,
    Reply,
    Unfollow,
    encode_event,
    encode_message,
    gap_fields,
    parse_client,
    say_bye,
)

DEPTH = 32
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (Open("orders", "e.0"), {"type": "open", "channel": "orders", "cursor": "e.0"}),
        (Open("orders", "e.0", "/o"), {"type": "open", "channel": "orders", "cursor": "e.0", "url": "/o"}),
        (Open(None, None), {"type": "open", "channel": None, "cursor": None}),
        (Live("orders", "e.5"), {"type": "live", "channel": "orders", "cursor": "e.5"}),
        (Beat(5, {"orders": "e.5"}), {"type": "beat", "time": 5, "cursors": {"orders": "e.5"}}),
        (
            gap_fields("orders", Gap(Cursor("e", 2), Cursor("e", 7), 5, "expired")),
            {"type": "gap", "channel": "orders", "from": "e.2", "to": "e.7", "missed": 5, "reason": "expired"},
        ),
        (
            gap_fields("orders", Gap(Cursor("d", 2), Cursor("e", 7), None, "epoch")),
            {"type": "gap", "channel": "orders", "from": "d.2", "to": "e.7", "missed": None, "reason": "epoch"},
        ),
        (say_bye(RESTARTING, 250), {"type": "bye", "code": 1012, "reason": "restarting", "retry": 250}),
        (say_bye(BAD_MESSAGE, None), {"type": "bye", "code": 1008, "reason": "bad message", "retry": None}),
        (Refused("/secret"), {"type": "refused", "url": "/secret"}),
        (Reply("1", 204, msgspec.Raw(b"null")), {"type": "reply", "id": "1", "status": 204, "data": None}),
        (
            Reply("1", 503, msgspec.Raw(b"[1]"), 1000, True),
            {"type": "reply", "id": "1", "status": 503, "data": [1], "retry": 1000, "repeated": True},
        ),
        (AppMessage(msgspec.Raw(b'{"a":1}')), {"type": "message", "data": {"a": 1}}),
    ],
)
def test_a_message_has_exactly_these_fields(message: Message, wire: dict[str, Any]) -> None:
    assert json.loads(encode_message(message)) == wire


def test_an_event_has_its_key_only_where_it_was_given_one() -> None:
    event = Event(Cursor("e", 3), "orders", "status", b'{"a":1}', None, 1.5)
    wire = {"type": "event", "channel": "orders", "id": "e.3", "event": "status", "data": {"a": 1}, "time": 1500}
    assert json.loads(encode_event(event)) == wire
    assert json.loads(encode_event(msgspec.structs.replace(event, key="A1"))) == {**wire, "key": "A1"}


RAW = msgspec.Raw('[1, "é"]'.encode())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"type":"follow","url":"/o"}', Follow("/o")),
        ('{"type":"follow","url":"/o","after":"e.5"}', Follow("/o", "e.5")),
        ('{"type":"follow","url":"/o","after":5}', Follow("/o", 5)),
        ('{"type":"unfollow","channel":"orders"}', Unfollow("orders")),
        ('{"type":"message","data":null}', Incoming(None)),
        ('{"type":"command","id":"1","url":"/o"}', CommandMessage("1", "/o")),
        ('{"type":"command","id":"1","url":"/o","data":[1, "é"]}', CommandMessage("1", "/o", RAW)),
        ('{"data":1,"type":"message","more":"is passed over"}', Incoming(1)),
    ],
)
def test_a_client_says_what_the_protocol_knows(text: str, said: Any) -> None:
    assert parse_client(text, DEPTH) == said


NO_MESSAGES = [
    *["", " ", "{", "null", "5", "[]", '"follow"', "{}", '{"type":null}', '{"type":"FOLLOW","url":"/o"}', "\ufeff{}"],
    *['{"type":"follow"}', '{"type":"follow","url":5}', '{"type":"follow","url":"/o","after":1.5}'],
    *['{"type":"follow","url":"/o","after":[]}', '{"type":"unfollow"}', '{"type":"message"}', '{"type":"event"}'],
    *['{"type":"command","url":"/o"}', '{"type":"command","id":1,"url":"/o"}', '{"type":"command","id":"1"}'],
    *['{"type":"command","id":"1","url":"/o","data":}', '{"type":"command","id":"1","url":"/o","data":[}'],
    *['{"type":"follow","url":"/o","u\\u0072l":"/p"}', '{"type":"ack","type":"ack","channel":"c","cursor":"1"}'],
    *['{"type":"message","data":{"a":[{"b":1,"b":2}]}}', '{"type":"command","id":"1","id":"2","url":"/o"}'],
    *['{"type":"message","data":NaN}', '{"type":"message","data":1}x', '{"type":"message","data":"\n"}'],
]


@pytest.mark.parametrize("text", NO_MESSAGES)
def test_what_the_protocol_does_not_know_is_a_bad_message(text: str) -> None:
    with pytest.raises(RemoteError) as refused:
        parse_client(text, DEPTH)
    assert refused.value.closing is BAD_MESSAGE
    assert not text.strip() or text not in str(refused.value)


@given(JSON | st.dictionaries(st.sampled_from(["type", "url", "after", "channel", "data"]), JSON | st.text()))
def test_any_json_is_a_message_or_a_bad_one(value: Any) -> None:
    found: Any
    try:
        found = parse_client(json.dumps(value), DEPTH)
    except RemoteError as error:
        found = error.closing
    assert found is BAD_MESSAGE or value["type"] in ("follow", "unfollow", "message")


@pytest.mark.parametrize("after", ["", "abc", "1.2.3", "-0", "9" * 40])
def test_a_follow_from_no_cursor_is_refused(after: str) -> None:
    with pytest.raises(CursorError):
        Follow("/o", after).cursor()


@pytest.mark.parametrize("digits", [20, 400, 5_000])
def test_an_offset_too_long_for_a_number_is_the_clients_fault(digits: int) -> None:
    with pytest.raises(RemoteError):
        cast(Follow, parse_client('{"type":"follow","url":"/o","after":' + "9" * digits + "}", DEPTH)).cursor()


@given(JSON)
def test_any_data_comes_through_as_it_was_sent(data: Any) -> None:
    said = parse_client(json.dumps({"type": "message", "data": data}), DEPTH)
    assert isinstance(said, Incoming)
    assert said.data == data


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"]":', "}]")])
def test_nesting_is_allowed_to_its_bound_and_no_deeper(opening: str, closing: str) -> None:
    def nested(levels: int) -> str:
        times = levels // (opening.count("[") + opening.count("{"))
        return '{"type":"message","data":' + opening * times + "1" + closing * times + "}"

    assert parse_client(nested(DEPTH - 2), DEPTH)
    with pytest.raises(RemoteError, match="deeper"):
        parse_client(nested(DEPTH + 2), DEPTH)


def test_brackets_in_texts_do_not_nest() -> None:
    data = ["[{" * 100, '"' + "[" * 100, "\\" + "[" * 100]
    assert parse_client(json.dumps({"type": "message", "data": data}), DEPTH) == Incoming(data)


@pytest.mark.parametrize("bomb", ["[" * 33 + '"' + '\\"' * 250_000, "[" * 500_000, "[" * 33 + '"\\' * 250_000])
@pytest.mark.parametrize("head", ["", '{"type":"message","data":'])
def test_a_bomb_costs_no_more_than_to_look_at_it_once(head: str, bomb: str) -> None:
    with pytest.raises(RemoteError):
        parse_client(head + bomb, DEPTH)
