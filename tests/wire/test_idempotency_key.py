"""The id of a command, as a header says it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triolet.wire.idempotency_key import parse_key, write_key

PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1)


@given(PRINTABLE)
def test_what_is_written_is_read(key: str) -> None:
    written = write_key(key)
    assert written is not None
    assert parse_key(written) == key


@given(st.text())
def test_what_is_read_can_be_written(value: str) -> None:
    key = parse_key(value)
    assert key is None or write_key(key) is not None


@pytest.mark.parametrize("value", ['"a"', "a", ' "a"\t'])
def test_quotes_are_for_what_is_no_word(value: str) -> None:
    assert parse_key(value) == "a"


@pytest.mark.parametrize("value", ["", '""', '"', '"a', 'a"', '"a" b', '"\\a"', '"\x7f"', '"é"', "é", '"a";b=1', "a b"])
def test_what_is_no_string_and_no_word_is_none(value: str) -> None:
    assert parse_key(value) is None


@pytest.mark.parametrize("key", ["", "é", "a\n", "\x00"])
def test_what_no_header_can_say_is_not_written(key: str) -> None:
    assert write_key(key) is None
