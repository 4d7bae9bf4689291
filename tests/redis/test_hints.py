"""What is heard of Redis's publish/subscribe: hints, and what somebody else says there."""

from __future__ import annotations

import msgspec
import pytest

from triolet.redis.scripts import parse_hint

HINT = ["E", 7, [["orders", 3, [[1.5, "paid", b"{}", None]]]]]


def test_a_hint_is_read() -> None:
    assert parse_hint(msgspec.msgpack.encode(HINT)) == ("E", 7, [("orders", 3, [(1.5, "paid", b"{}", None)])])


@pytest.mark.parametrize(
    "payload",
    [b"", b"{}", b"\xc1", msgspec.msgpack.encode(HINT).replace(b"orders", b"\xff\xfe\xfdders"), b"\x93" * 5_000],
)
def test_what_is_no_hint_is_passed_over(payload: bytes) -> None:
    assert parse_hint(payload) is None
