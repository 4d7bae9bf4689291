"""Heads that we write: read by wsproto's client, and never split by what an app puts into them."""

from __future__ import annotations

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request

from triolet.wire.http_answer import accept_response, date, refusal, response, stream_response

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


class TestAnswers:
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
            b"HTTP/1.1 403 Forbidden\r\nX-Why: so\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno"
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


def test_a_response_leaves_the_connection_open() -> None:
    framing = [(b"Connection", b"close"), (b"Content-Length", b"999"), (b"ETag", b'"1"')]
    head = b'HTTP/1.1 200 OK\r\nETag: "1"\r\ncontent-length: 2\r\n\r\n'
    assert response(200, framing, b"{}") == head + b"{}"
    assert response(200, framing, b"{}", head_only=True) == head


@pytest.mark.parametrize("status", [204, 304])
def test_a_response_without_content_says_no_length(status: int) -> None:
    assert response(status, [(b"etag", b'"1"')], b"never").endswith(b'\r\netag: "1"\r\n\r\n')
    assert b"ength" not in response(status)


def test_a_second_has_its_date() -> None:
    assert date(784_111_777) == b"Sun, 06 Nov 1994 08:49:37 GMT"
