"""Patterns of channels: a star stands for any characters, everything else for itself."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triolet.errors import ConfigError
from triolet.pattern import Pattern, Patterns

TEXT = st.text("ab*", max_size=12)


@given(TEXT.filter(bool), st.text("ab", max_size=12))
def test_a_star_stands_for_any_characters(pattern: str, channel: str) -> None:
    expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), channel, re.DOTALL)
    assert Pattern(pattern).matches(channel) == (expected is not None)


@given(st.lists(TEXT.filter(bool), min_size=1, max_size=4), st.text("ab", max_size=12))
def test_of_several_one_has_to_mean_a_channel(texts: list[str], channel: str) -> None:
    assert Patterns(texts).matches(channel) == any(Pattern(text).matches(channel) for text in texts)


@pytest.mark.parametrize("text", ["a.c", "[ab]", "a?", "(", "a\\", "Å", "a\nb"])
def test_everything_else_is_itself(text: str) -> None:
    assert Pattern(text).matches(text)
    assert Pattern(f"*{text}*").matches(f"x/{text}/y")
    assert not Pattern(text).matches("abc")


def test_no_name_makes_it_slow() -> None:
    """By steps and not by time: a pattern that tries again would not come to an end here."""
    assert not Pattern("*a" * 30 + "b").matches("a" * 255)


@pytest.mark.parametrize("text", ["", None, 5, b"a"])
def test_what_is_no_pattern_is_refused(text: Any) -> None:
    with pytest.raises(ConfigError, match="pattern"):
        Pattern(text)
    with pytest.raises(ConfigError, match="pattern"):
        Patterns(["a", text])
