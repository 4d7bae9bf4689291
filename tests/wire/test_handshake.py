"""The opening handshake: RFC 6455 section 4.2.1 line by line."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triolet.wire.handshake import Upgrade, accept_token, upgrade
from triolet.wire.http_head import BadRequest

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
GOOD = {
    b"host": b"a.example",
    b"upgrade": b"websocket",
    b"connection": b"Upgrade",
    b"sec-websocket-key": KEY,
    b"sec-websocket-version": b"13",
}


def ask(
    changes: Mapping[bytes, bytes | None] | None = None,
    *more: tuple[bytes, bytes],
    method: bytes = b"GET",
    http_version: bytes = b"1.1",
) -> Upgrade | None:
    """Ask for a WebSocket with a good request, changed; None takes a header out."""
    headers = {**GOOD, **(changes or {})}
    pairs = [(name, value) for name, value in headers.items() if value is not None]
    return upgrade([*pairs, *more], method=method, http_version=http_version)


class TestUpgrade:
    def test_a_good_request_is_understood(self) -> None:
        assert ask() == Upgrade(KEY, ())

    @pytest.mark.parametrize(
        "changes",
        [
            {b"upgrade": b"WebSocket"},
            {b"upgrade": b"h2c, websocket"},
            {b"connection": b"keep-alive, upgrade"},
            {b"sec-websocket-extensions": b"permessage-deflate; client_max_window_bits=abc"},
            {b"sec-websocket-extensions": b"permessage-deflate; permessage-deflate, , ;"},
            {b"sec-websocket-extensions": b"\xff\xfe"},
        ],
    )
    def test_other_spellings_are_understood_too(self, changes: dict[bytes, bytes | None]) -> None:
        assert ask(changes) == Upgrade(KEY, ())

    @pytest.mark.parametrize("value", [None, b"h2c", b"TLS/1.0", b"websockets"])
    def test_a_request_for_something_else_is_none(self, value: bytes | None) -> None:
        assert ask({b"upgrade": value}) is None

    @pytest.mark.parametrize(
        "changes",
        [
            {b"connection": None},
            {b"connection": b"keep-alive"},
            {b"host": None},
            {b"sec-websocket-key": None},
            {b"sec-websocket-key": b""},
            {b"sec-websocket-key": b"short"},
            {b"sec-websocket-key": KEY[:-4]},
            {b"sec-websocket-key": b"\xff" * 24},
            {b"content-length": b"5"},
            {b"content-length": b"0"},
            {b"transfer-encoding": b"chunked"},
        ],
    )
    def test_a_malformed_request_is_refused(self, changes: dict[bytes, bytes | None]) -> None:
        with pytest.raises(BadRequest) as error:
            ask(changes)
        assert error.value.status == 400

    @pytest.mark.parametrize(("method", "version"), [(b"POST", b"1.1"), (b"GET", b"1.0"), (b"HEAD", b"1.1")])
    def test_only_get_over_http_1_1_opens_one(self, method: bytes, version: bytes) -> None:
        with pytest.raises(BadRequest) as error:
            ask(method=method, http_version=version)
        assert error.value.status == 400

    def test_two_keys_are_refused(self) -> None:
        with pytest.raises(BadRequest):
            ask(None, (b"sec-websocket-key", KEY))

    @pytest.mark.parametrize("version", [None, b"8", b"0", b"", b"13, 8", b"\xff"])
    def test_another_version_is_told_ours(self, version: bytes | None) -> None:
        with pytest.raises(BadRequest) as error:
            ask({b"sec-websocket-version": version})
        assert error.value.status == 426
        assert list(error.value.headers) == [(b"sec-websocket-version", b"13")]

    def test_subprotocols_are_kept_in_order_and_once(self) -> None:
        offered = {b"sec-websocket-protocol": b"b , a,b"}
        assert ask(offered, (b"sec-websocket-protocol", b"c")) == Upgrade(KEY, ("b", "a", "c"))

    def test_a_subprotocol_that_is_no_token_is_left_out(self) -> None:
        assert ask({b"sec-websocket-protocol": "gr\u00fc\u00dfe, a b, , ok".encode()}) == Upgrade(KEY, ("ok",))

    @given(st.dictionaries(st.sampled_from([*GOOD, b"sec-websocket-protocol"]), st.binary(max_size=30)))
    def test_any_values_end_in_an_answer(self, changes: dict[bytes, bytes | None]) -> None:
        with suppress(BadRequest):
            answer = ask(changes)
            assert answer is None or answer.key == KEY


def test_the_key_of_the_standard_gives_its_token() -> None:
    assert accept_token(KEY) == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
