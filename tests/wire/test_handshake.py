"""The opening handshake: RFC 6455 section 4.2.1 line by line, against wsproto's client."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request

from triolet.wire.handshake import Upgrade, accept_response, accept_token, refusal, stream_response, upgrade
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


class TestAnswers:
    def test_the_key_of_the_standard_gives_its_token(self) -> None:
        assert accept_token(KEY) == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

    def test_wsprotos_client_accepts_our_acceptance(self) -> None:
        client = WSConnection(ConnectionType.CLIENT)
        request = client.send(Request(host="a.example", target="/", subprotocols=["x", "triolet.1"]))
        (key,) = (line[19:] for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
        client.receive_data(accept_response(key, "triolet.1", [(b"set-cookie", b"a=b")]))
        (event,) = client.events()
        assert isinstance(event, AcceptConnection)
        assert event.subprotocol == "triolet.1"
        assert (b"set-cookie", b"a=b") in event.extra_headers

    def test_a_refusal_is_a_whole_response_that_ends_the_connection(self) -> None:
        framing = [(b"Content-Length", b"999"), (b"Transfer-Encoding", b"chunked"), (b"X-Why", b"so")]
        assert refusal(403, framing, b"no") == (
            b"HTTP/1.1 403 Forbidden\r\nX-Why: so\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
        )

    def test_a_status_without_a_name_has_none(self) -> None:
        assert refusal(599).startswith(b"HTTP/1.1 599 \r\n")

    @pytest.mark.parametrize(
        "header", [(b"x", b"a\r\nSet-Cookie: b=c"), (b"x\r\ny", b""), (b"x", b"a\x00"), (b"", b"a"), (b"x ", b"a")]
    )
    def test_a_header_that_would_split_the_answer_is_refused(self, header: tuple[bytes, bytes]) -> None:
        with pytest.raises(ValueError, match="no header"):
            refusal(200, [header])
        with pytest.raises(ValueError, match="no header"):
            accept_response(KEY, None, [header])


def test_a_stream_ends_with_its_connection_whatever_the_app_says() -> None:
    head = stream_response([(b"x-own", b"1"), (b"Content-Length", b"5"), (b"connection", b"keep-alive")])
    assert head == b"HTTP/1.1 200 OK\r\nx-own: 1\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    with pytest.raises(ValueError, match="no header"):
        stream_response([(b"x", b"a\r\nb: c")])


def test_a_refusal_may_leave_the_connection_open() -> None:
    assert b"close" not in refusal(403, close=False)
