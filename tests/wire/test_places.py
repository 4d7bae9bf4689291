"""The cursor of many channels: what is written is read, and nothing else is."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triolet import Cursor
from triolet.bounds import PLACE_CHARACTERS
from triolet.wire.places import PlacesError, parse_places, place_key, write_places

EPOCHS = st.one_of(st.just(""), st.just("e"), st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True))
CURSORS = st.builds(Cursor, EPOCHS, st.integers(0, 10**18 - 1))
CHANNELS = st.lists(st.text(min_size=1, max_size=20).filter(str.isprintable), max_size=12, unique_by=place_key)


@given(CHANNELS, st.data())
def test_what_is_written_is_read(channels: list[str], data: st.DataObject) -> None:
    places = {place_key(channel): data.draw(CURSORS) for channel in channels}
    text = write_places(places.items())
    assert re.fullmatch(r"[A-Za-z0-9_.~-]*", text), "it can stand in a header and in a URL"
    assert len(text) <= len(places) * PLACE_CHARACTERS
    if places:
        assert list(parse_places(text, len(places)).items()) == list(places.items())


def test_an_epoch_is_said_once() -> None:
    places = [(place_key(f"orders/{n}"), Cursor("rqvwGEJM", 1_041)) for n in range(3)]
    assert write_places(places) == "rqvwGEJM.Y-0RddeC.1041~Bx7kQ-OL.1041~_AXhZYnL.1041"


@pytest.mark.parametrize(
    "text",
    [
        "now",
        "e.5",
        "12345678.5",  # no epoch
        "e.12345678",
        "e.1234567.5",
        "e.123456789.5",
        "e.12345678.5~",
        "~e.12345678.5",
        "e.12345678.5~~e.abcdefgh.5",
        "e.12345678.5~12345678.6",  # twice
        "e.12345678.-5",
        "e.12345678.5 ",
        "e.12345678.1234567890123456789",
        "ü.12345678.5",
        "e.12345678.\u0665",
        "e e.12345678.5",
        f"{'e' * 33}.12345678.5",
    ],
)
def test_what_is_none_is_refused_and_quoted(text: str) -> None:
    with pytest.raises(PlacesError, match=re.escape(repr(text)[:20])):
        parse_places(text, 100)


def test_more_channels_than_may_be_followed_are_refused() -> None:
    text = write_places([(place_key(str(n)), Cursor("e", n)) for n in range(4)])
    assert len(parse_places(text, 4)) == 4
    with pytest.raises(PlacesError):
        parse_places(text, 3)


def test_the_length_is_looked_at_first() -> None:
    with pytest.raises(PlacesError):
        parse_places("e.12345678.5~" * 1_000_000, 100)


@given(st.text(max_size=80))
def test_nothing_else_is_raised(text: str) -> None:
    try:
        places = parse_places(text, 3)
    except PlacesError:
        return
    assert parse_places(write_places(places.items()), 3) == places
