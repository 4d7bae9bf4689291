"""What may be published: everything that comes back as it went in, and nothing else."""

from __future__ import annotations

import datetime
import decimal
import json as python_json
import math
import uuid
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triolet import Cursor, DataError, Draft, Event
from triolet.value import MAX_DEPTH, name_twice_within


def _back(draft: Draft) -> Any:
    return Event(Cursor("e", 1), "c", draft.name, draft.json, None, 0.0).data


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_what_is_published_comes_back_as_it_went_in(data: Any) -> None:
    try:
        draft = Draft.of(data)
    except DataError:
        assert "\\ud" in ascii(data)  # half a surrogate pair
        return
    assert _back(draft) == data
    assert Draft(bytes(draft.json)).json == draft.json


class Colour(Enum):
    RED = "red"


class Size(IntEnum):
    LARGE = 3


@dataclass
class Order:
    number: int


@dataclass(slots=True)
class Half:
    number: int


Point = namedtuple("Point", "x y")

OTHERS = [
    *[math.nan, math.inf, -math.inf, b"bytes", bytearray(b"x"), memoryview(b"x"), {1, 2}, frozenset({1})],
    *[datetime.datetime(2026, 1, 1), datetime.date(2026, 1, 1), datetime.timedelta(1)],
    *[uuid.UUID(int=1), decimal.Decimal("1.5"), Colour.RED, Order(1), {1: 2}, {1.5: 2}, {None: 1}, {True: 1}],
    *[{Colour.RED: 1}, {1: "a", "1": "b"}, {b"k": 1}, "\ud800", {"\udfff": 1}, range(3), object(), msgspec.UNSET],
]


@pytest.mark.parametrize("data", OTHERS, ids=lambda data: repr(data).partition(" at 0x")[0])
@pytest.mark.parametrize("around", [lambda d: d, lambda d: [d], lambda d: {"a": {"b": (1, d)}}], ids=["", "in", "deep"])
def test_what_would_come_back_as_something_else_is_refused(data: Any, around: Any) -> None:
    with pytest.raises(DataError, match="cannot be sent as JSON"):
        Draft.of(around(data))


@pytest.mark.parametrize(
    ("data", "back"),
    [
        ((1, 2), [1, 2]),
        (Point(1, 2), [1, 2]),
        (OrderedDict(a=1), {"a": 1}),
        (Size.LARGE, 3),
        (2**53 + 1, 2**53 + 1),
        (-(2**70), -(2**70)),
        (5e-324, 5e-324),
        (1.7e308, 1.7e308),
        ([msgspec.Raw(b' {"a" :\r\n1.50} ')], [{"a": 1.5}]),
    ],
)
def test_what_says_the_same_in_json_is_let_through(data: Any, back: Any) -> None:
    assert _back(Draft.of(data)) == back


FOREIGN = [
    *[b"0." + 400 * b"0" + b"1", b"-0." + 400 * b"0" + b"1e5"],
    *[b"1e999", b"-1e999", b"1e-999", b"0.001E-400", b"1 2", b'{"a":1,"a":2}', b'[{"a":{"b":1,"\\u0062":2}}]'],
    *[
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b"\xff",
        b'"\xed\xa0\x80"',
        b"01",
        b"+1",
        b".5",
        b"nan",
        b"Infinity",
        b"",
        b" ",
    ],
    *[b"[1,]", b"{'a':1}", b"//x\n1", b"[" * 10_000 + b"]" * 10_000, b"\xef\xbb\xbf1", b'"a\x00"'],
    *[b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1)],
]


@pytest.mark.parametrize("json", FOREIGN, ids=lambda json: repr(json[:20]))
def test_json_that_no_reader_would_get_as_it_stands_is_refused(json: bytes) -> None:
    with pytest.raises(DataError):
        Draft(json)
    with pytest.raises(DataError):
        Draft.of(msgspec.Raw(json))
    with pytest.raises(DataError):
        Draft.of({"a": [msgspec.Raw(json)]})


@pytest.mark.parametrize(
    "data",
    [
        {"a": msgspec.Raw(b'1,"admin":true')},
        {"a": [msgspec.Raw(b'1],"admin":[2')]},
        [msgspec.Raw(b'"a'), msgspec.Raw(b'b",1')],
        [[msgspec.Raw(b"1],[2")], [3]],
    ],
)
def test_json_that_is_no_value_by_itself_is_refused_within_others(data: Any) -> None:
    with pytest.raises(DataError):
        Draft.of(data)


def test_an_object_that_has_not_all_that_it_should_is_refused() -> None:
    with pytest.raises(DataError, match="cannot be sent as JSON"):
        Draft.of(object.__new__(Half))


def test_a_number_of_many_digits_is_looked_at_once() -> None:
    long = b"0." + 500_000 * b"1"
    assert Draft(b"[" + long + b"]").json == b"[" + long + b"]"


@pytest.mark.parametrize(
    "json",
    [
        b"0." + 400 * b"0",
        b"0." + 400 * b"0" + b"1e200",
        b"0e-999",
        b"0.0E-5",
        b'{"a":":","b":"\\u003a"}',
        b'{"a":{"a":1}}',
        b'"1e-999"',
    ],
)
def test_json_that_only_looks_odd_is_let_through(json: bytes) -> None:
    assert _back(Draft(json)) == _back(Draft.of(msgspec.Raw(json)))


@pytest.mark.parametrize(
    ("json", "name"),
    [
        (b'{"a":1,"b":{"a":1}}', None),
        (b'{"a":":","b":"\\u003a"}', None),
        (b'[{"a":1},{"a":1}]', None),
        (b'"{\\"a\\":1,\\"a\\":2}"', None),
        (b'{"a":1,"a":1}', "a"),
        (b'[[{"b":{"c":0,"a:":1,"\\u0061:":2}}]]', "a:"),
        (b'{"a":"\\u003a","a":"\\u003A"}', "a"),
        (b'{"a":":","a":"\\u003a"}', "a"),
        (b'{"a":' + b"9" * 5_000 + b',"a":1e999}', "a"),
    ],
    ids=lambda said: repr(said)[:40],
)
def test_a_name_that_stands_twice_is_found_however_deep(json: bytes, name: str | None) -> None:
    value = python_json.loads(json, parse_int=float)
    assert name_twice_within(json, value) == name


def test_it_may_be_nested_to_its_bound_and_no_deeper() -> None:
    data: Any = []
    for _ in range(MAX_DEPTH - 1):
        data = {"a": data, "b": "[[[["}
    assert _back(Draft.of(data)) == data
    with pytest.raises(DataError, match="nested deeper than 32"):
        Draft.of([data])
    brackets = ["[" * 100]
    assert _back(Draft.of(brackets)) == brackets
    many = [[number] for number in range(1_000)]
    assert _back(Draft.of(many)) == many
