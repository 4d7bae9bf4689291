"""Cursors, drafts, channel names: what is let in, and what is refused."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triolet import ChannelNameError, Cursor, CursorError, DataError, Draft, Event, Limits
from triolet.closing import BAD_MESSAGE
from triolet.errors import ConfigError
from triolet.event import check_channel

EPOCHS = st.text("ABCxyz019_-", min_size=1, max_size=32)
OFFSETS = st.integers(0, 10**18 - 1)


@given(EPOCHS, OFFSETS)
def test_a_cursor_reads_back_what_it_wrote(epoch: str, offset: int) -> None:
    assert Cursor.parse(str(Cursor(epoch, offset))) == Cursor(epoch, offset)


def test_a_bare_offset_is_one_of_the_present_epoch() -> None:
    assert Cursor.parse("1041") == Cursor("", 1041)
    assert str(Cursor("", 1041)) == "1041"


NO_CURSORS = [
    *["", ".", "a.", ".5", "-1", "1.5.6", "a b.1", "é.1", "1\n", " 1", "+1", "1e3", "٣", "a.٣", "0x1", "null"],
    *["9" * 19, "9" * 5_000, "a" * 33 + ".1", "a" * 5_000],
]


@pytest.mark.parametrize("text", NO_CURSORS)
def test_what_is_no_cursor_is_the_clients_fault(text: str) -> None:
    with pytest.raises(CursorError) as refused:
        Cursor.parse(text)
    assert refused.value.closing is BAD_MESSAGE
    assert len(str(refused.value)) < 250


@given(st.text())
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    with suppress(CursorError):
        assert Cursor.parse(text).offset >= 0


def test_an_event_gives_its_data_anew_each_time() -> None:
    event = Event(Cursor("e", 7), "orders", "message", b'{"items":[]}', None, 0.0)
    event.data["items"].append("changed")
    assert event.data == {"items": []}
    assert event.offset == 7


@pytest.mark.parametrize("data", [None, True, 0, -1.5, "", "\n", "\x00", [], {}, {"a": [1, {"b": None}]}])
def test_any_json_value_can_be_published(data: Any) -> None:
    draft = Draft.of(data)
    assert Event(Cursor("e", 1), "c", draft.name, draft.json, None, 0).data == data
    assert b"\n" not in draft.json


@pytest.mark.parametrize("data", [object(), {1, object()}, lambda: None, 1j, "\ud800", {("a", "b"): 1}])
def test_what_is_no_json_is_refused_by_name(data: Any) -> None:
    with pytest.raises(DataError, match="cannot be sent as JSON"):
        Draft.of(data)


@pytest.mark.parametrize("json", [b"", b"{", b"nan", b"\xff", b'"\xff"', b"1 2", b"1\n", b"1\r", "1", None, 1])
def test_a_draft_made_by_hand_holds_json_of_one_line(json: Any) -> None:
    with pytest.raises(DataError, match=r"Draft\.of"):
        Draft(json)


@pytest.mark.parametrize("raw", [b'"\xff"', b"{", b""])
def test_data_that_claims_to_be_json_is_looked_at(raw: bytes) -> None:
    with pytest.raises(DataError):
        Draft.of({"a": msgspec.Raw(raw)})


def test_data_that_holds_itself_is_refused() -> None:
    data: list[Any] = []
    data.append(data)
    with pytest.raises(DataError):
        Draft.of(data)


@pytest.mark.parametrize("what", ["name", "key", "dedupe"])
@pytest.mark.parametrize("text", ["", "x" * 129, "a\nb", "a\rb", "a\0b", "a\u2028b", "a\x85b", "\ud800", 5, b"a"])
def test_a_name_that_could_forge_a_field_is_refused(what: str, text: Any) -> None:
    with pytest.raises(DataError, match=what):
        Draft.of(1, **{what: text})


def test_an_event_without_a_name_is_refused() -> None:
    with pytest.raises(DataError, match="name must be text"):
        Draft.of(1, name=None)  # type: ignore[arg-type]  # as an app does that checks no types


def test_the_fold_of_a_subclass_of_text_is_that_text() -> None:
    assert type(Draft.of("a", key="k", fold=type("Text", (str,), {})("concat")).fold) is str


@pytest.mark.parametrize("name", ["triolet.bye", "triolet.gap", "triolet.", "triolet.end"])
def test_a_name_of_triolets_own_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="own"):
        Draft.of(1, name=name)
    with pytest.raises(DataError, match="own"):  # so the last event of a channel is made by live.end, and nowhere else
        Draft.of(1, name=name, dedupe=name)


@pytest.mark.parametrize("name", ["", "x" * 256, "é" * 128, "a\nb", "a\0", "a\u2029", "\udfff", 5, None, b"orders"])
def test_a_channel_cannot_be_called_so(name: Any) -> None:
    with pytest.raises(ChannelNameError):
        check_channel(name)


@pytest.mark.parametrize("name", ["a", "orders/A123", "x" * 255, "é" * 127, "a b", "日本", "..", "a\u00a0b"])
def test_a_channel_may_be_called_so(name: str) -> None:
    assert check_channel(name) == name


@pytest.mark.parametrize("value", [0, -1, math.nan, True, "5", None])
def test_a_limit_that_is_no_number_above_zero_is_refused_by_name(value: Any) -> None:
    with pytest.raises(ConfigError, match="stall_seconds"):
        Limits(stall_seconds=value)
