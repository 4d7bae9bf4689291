"""What may be published: a JSON value that comes back as it went in.

The encoder of msgspec takes more than JSON can say (NaN, bytes, sets, dates, keys that are numbers) and writes
something near to it. So what was encoded is decoded again, by the decoder that every reader uses, and compared. JSON
that was written elsewhere (``msgspec.Raw``, a draft made by hand) has nothing to be compared with: there it is what a
decoder would drop or round to nothing that is looked for.
"""

from __future__ import annotations

import json as python_json
import re
from array import array
from collections import Counter
from itertools import accumulate
from typing import Any, Final

import msgspec

from .errors import DataError, repr_of

__all__ = ["MAX_DEPTH", "check_json", "encode_json", "name_twice", "name_twice_within", "nesting_exceeds"]

MAX_DEPTH: Final = 32
"""Deepest nesting of what is published: that of a client's messages (``limits.message_depth``)."""

_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
"""One deeper, or one (255 is -1 as a signed byte) less deep."""
_SMALL: Final = re.compile(rb"(?<![0-9.])(?:[0-9.]+[eE]-[0-9]+|0\.0{300}[0-9]+(?:[eE][+-]?[0-9]+)?)")
"""What may be too small for a number: such as 1e-400, or as many zeros written out. It is looked for only where a
number begins: from each digit of a long one on, it would take time in the square of its length."""

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode
_decode_outermost: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_CONTAINERS: Final = (list, dict)
_BAD: Final = (TypeError, ValueError, RecursionError, OverflowError, AttributeError)


def encode_json(data: Any, depth: int = MAX_DEPTH) -> bytes:
    """Encode a JSON value in one line.

    Integers are kept exactly, whatever their size; JavaScript reads those beyond 2**53 rounded, and of more than 308
    digits as Infinity. A tuple is an array.

    Args:
        data: the value.
        depth: how deep it may be nested: one more where it is put around a value that somebody else has made.

    Raises:
        DataError: it would not come back as it went in; the message names the culprit.
    """
    try:
        encoded = _encode(data)
        decoded = _decode(encoded)
        if isinstance(data, msgspec.Raw) or (decoded != data and _differs(data, decoded)):  # there is a Raw in it
            # Only that brings line breaks; one would forge a field of an SSE stream.
            encoded = encoded.replace(b"\n", b" ").replace(b"\r", b" ")
            _check_foreign(encoded, decoded)
        _check_depth(encoded, decoded, depth)
    except _BAD as error:
        why = _why(bytes(data), error) if isinstance(data, msgspec.Raw) else error
        raise DataError(f"cannot be sent as JSON: {why}; use dicts, lists, text, numbers, None") from error
    _Checked.last = encoded
    return encoded


def check_json(json: bytes) -> None:
    """Check JSON that was written by hand.

    Raises:
        DataError: a reader would not get what stands there.
    """
    if json is _Checked.last:
        return
    try:
        if not isinstance(json, bytes) or b"\n" in json or b"\r" in json:
            raise ValueError("it is not bytes without a line break")
        json.decode()
        decoded = _decode(json)
        _check_depth(json, decoded)
        _check_foreign(json, decoded)
    except _BAD as error:
        raise DataError(f"the JSON of a draft is none: {error}; use Draft.of") from None


def nesting_exceeds(json: bytes, depth: int) -> bool:
    """Tell whether brackets nest deeper than ``depth``.

    Only for what is JSON: in a text whose strings do not end, looking for their ends would take time in the square
    of its length.
    """
    if json.count(b"[") + json.count(b"{") <= depth:
        return False
    steps = array("b", _STRING.sub(b"", json).translate(_STEPS, _NOT_BRACKETS))
    return max(accumulate(steps), default=0) > depth


def name_twice(json: bytes) -> str | None:
    """Return a name that stands twice in a JSON object itself, whatever is within its values; None: none does.

    Of two values of one name decoders take the first or the last, and say nothing.

    Raises:
        ValueError, RecursionError: it is no JSON object.
    """
    values = _decode_outermost(json)
    if _colons(json) == len(values) + sum(map(_colons, values.values())):
        return None
    names: list[str] = [name for name, _ in python_json.loads(json, object_pairs_hook=list)]
    return max(names, key=Counter(names).__getitem__)


def name_twice_within(json: bytes, value: Any) -> str | None:
    """Return a name that stands twice in an object of JSON, however deep that is; None: none does.

    Args:
        json: JSON that is one, of a depth that was bounded.
        value: the same, decoded.
    """
    encoded = _encode(value)
    # Where none of a text's colons is written as `\u003a` both have the same of those. To look for texts takes twenty
    # times as long as to decode them.
    if json.count(b":") == encoded.count(b":") and b"\\u003" not in json:
        return None
    if _colons(json) == _colons(encoded):
        return None
    twice: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        names = Counter(name for name, _ in pairs)
        twice.extend(name for name, times in names.items() if times > 1)

    python_json.loads(json, object_pairs_hook=look, parse_int=str, parse_float=str)  # as texts, which have no bounds
    return twice[0]


def _why(json: bytes, error: Exception) -> object:
    """What is wrong with JSON that was written elsewhere. Of a number that is none, and of half a surrogate pair, both
    of which Python writes, the decoder says only that they are malformed."""
    found: list[str] = []
    try:
        value = python_json.loads(json, parse_constant=found.append)
        python_json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as surrogate:
        return surrogate
    except (ValueError, RecursionError):
        return error
    return f"{found[0]} is no number of JSON" if found else error


class _Checked:
    """The bytes that were encoded here last, so that a draft made of them is not looked at twice."""

    last: bytes = b""


def _check_depth(json: bytes, decoded: Any, depth: int = MAX_DEPTH) -> None:
    """Refuse what is nested too deep. Here the value is at hand, and walking it costs a tenth of reading its text."""
    if json.count(b"[") + json.count(b"{") <= depth:
        return
    level = [decoded] if type(decoded) in _CONTAINERS else []  # the brackets may be a text's
    for _ in range(depth):
        level = [
            value
            for outer in level
            for value in (outer.values() if type(outer) is dict else outer)
            if type(value) in _CONTAINERS
        ]
    if level:
        raise ValueError(f"it is nested deeper than {depth}")


def _check_foreign(json: bytes, decoded: Any) -> None:
    """Refuse what a decoder drops without a word: all but the last of equal keys, and numbers too small to be any."""
    if (twice := name_twice_within(json, decoded)) is not None:
        raise ValueError(f"a key stands twice in an object: {twice!r:.40}")
    if len(json) < 300 and b"e-" not in json and b"E-" not in json:
        return  # no number in it can be so small; to leave its texts out takes as long as all the rest
    for number in _SMALL.findall(_STRING.sub(b"", json)):
        if float(number) == 0 and number.lower().partition(b"e")[0].strip(b"0."):
            raise ValueError(f"{number.decode():.40} is too small for a number")


def _colons(json: bytes | msgspec.Raw) -> int:
    """How many names of objects there are: each is followed by one that is in no text."""
    return _STRING.sub(b"", json).count(b":")


def _differs(data: Any, decoded: Any) -> bool:
    """Look for where what came back is not what went in. Return whether it is JSON that was encoded elsewhere.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(data, msgspec.Raw):
        if _decode(data) != decoded:  # as of Raw(b'1,"admin":true'), which is more than a value
            raise ValueError("a msgspec.Raw in it is no JSON value by itself")
        return True
    if isinstance(data, list | tuple) and isinstance(decoded, list):
        return True in [_differs(*pair) for pair in zip(data, decoded, strict=True)]
    if isinstance(data, dict) and isinstance(decoded, dict):
        odd = [key for key in data if not isinstance(key, str)]
        if odd:
            raise ValueError(f"the key {repr_of(odd[0], 40)} is no text")
        return True in [_differs(value, decoded[key]) for key, value in data.items()]
    if data == decoded:
        return False
    raise ValueError(f"{repr_of(data, 40)} would come back as {decoded!r:.40}")
