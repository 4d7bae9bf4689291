"""URLs as they are printed: never with a password, a ticket or a token in them."""

from __future__ import annotations

import pytest

from triolet.wire.address import quoted, without_secrets


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://shop.example/orders/A/events", "https://shop.example/orders/A/events"),
        ("https://shop.example/a?after=x.3&wait=5&snapshot=1", "https://shop.example/a?after=x.3&wait=5&snapshot=1"),
        ("https://shop.example/a?ticket=SECRET&after=3", "https://shop.example/a?ticket=…&after=3"),
        ("/a?access_token=SECRET&SECRET", "/a?access_token=…&…"),
        ("/a?follow=%2Fb%3Fticket%3DSECRET#SECRET", "/a?follow=…"),
        ("wss://ann:SECRET@shop.example/a", "wss://…@shop.example/a"),
        ("redis://:SECRET/SECRET?SECRET#SECRET@cache:6379/0", "redis://…@cache:6379/0"),
        ("redis://user:SEC@RET@cache/0?sentinel_password=SECRET", "redis://…@cache/0?sentinel_password=…"),
        ("ann:SECRET@shop.example", "…@shop.example"),
        ("//ann:SECRET@", "//…@"),
        ("", ""),
    ],
)
def test_a_url_is_printed_without_its_secrets(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
    assert quoted(url) == repr(shown)
