"""Request heads and bodies: what h11 would forgive is refused, what is left it reads as we do."""

from __future__ import annotations

from contextlib import suppress

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from triolet.wire.http_head import BadRequest, Body, Framing, check_head, is_host, read_head, split_head

HOST = b"Host: a.example\r\n"


def head(line: bytes = b"GET / HTTP/1.1", *headers: bytes) -> bytes:
    return b"\r\n".join([line, *(headers or (b"Host: a.example",)), b"", b""])


class TestSplitHead:
    def test_a_head_ends_with_its_blank_line(self) -> None:
        assert split_head(head() + b"body", 1_000) == len(head())

    @pytest.mark.parametrize("size", [0, 1, 15, 17, len(head()) - 1])
    def test_part_of_a_head_is_waited_for(self, size: int) -> None:
        assert split_head(head()[:size], 1_000) is None

    def test_a_head_over_the_bound_is_refused_before_it_ends(self) -> None:
        with pytest.raises(BadRequest) as refusal:
            split_head(b"GET /" + b"a" * 200, 100)
        assert refusal.value.status == 431

    @pytest.mark.parametrize(
        "garbage",
        [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"\x00",
            b"\r\n",
            b" GET / HTTP/1.1\r\n",
            b"GET / HTTP/1.1\n",
            b"GET / HTTP/1.1\r\nHost: a\n\n",
            b"G\xc3\x89T / HTTP/1.1\r\n",
            b"GET /\x00 HTTP",
        ],
    )
    def test_what_cannot_become_a_head_is_refused_at_once(self, garbage: bytes) -> None:
        with pytest.raises(BadRequest) as refusal:
            split_head(garbage, 1_000)
        assert refusal.value.status == 400

    @given(st.binary(max_size=60), st.binary(max_size=60))
    def test_any_bytes_end_in_an_answer(self, begin: bytes, rest: bytes) -> None:
        data = begin + b"\r\n" + rest + b"\r\n\r\n"
        with suppress(BadRequest):
            end = split_head(data, 1_000)
            assert end is not None
            assert isinstance(check_head(data[:end]), Framing)


class TestCheckHead:
    @pytest.mark.parametrize(
        ("raw", "framing"),
        [
            (head(), Framing(0, False)),
            (head(b"GET / HTTP/1.0", b"Accept: */*"), Framing(0, False)),
            (head(b"OPTIONS * HTTP/1.1"), Framing(0, False)),
            (head(b"GET http://A.example/x?y HTTP/1.1"), Framing(0, False)),
            (head(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 12"), Framing(12, False)),
            (head(b"POST / HTTP/1.1", b"Host: a", b"transfer-encoding:\tChunked "), Framing(0, True)),
            (head(b"GET / HTTP/1.1", b"Host:", b"X: \xff\tlatin-1"), Framing(0, False)),
        ],
    )
    def test_a_plain_head_is_framed(self, raw: bytes, framing: Framing) -> None:
        assert check_head(raw) == framing
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(raw)
        request = connection.next_event()
        assert isinstance(request, h11.Request)
        ours = read_head(raw)
        assert (ours.method, ours.target, ours.http_version) == (request.method, request.target, request.http_version)
        assert [(name, value.lower()) for name, value in ours.headers] == [(n, v.lower()) for n, v in request.headers]

    @pytest.mark.parametrize(
        "raw",
        [
            head(b"GET / HTTP/1.1", b"Host: a", b"Transfer-Encoding: chunked", b"Content-Length: 3"),
            head(b"GET / HTTP/1.1", b"Host: a", b"Content-Length: 3", b"Content-Length: 3"),
            head(b"GET / HTTP/1.1", b"Host: a", b"Content-Length: 3, 3"),
            head(b"GET / HTTP/1.1", b"Host: a", b"Content-Length: +3"),
            head(b"GET / HTTP/1.1", b"Host: a", b"Content-Length: 0x3"),
            head(b"GET / HTTP/1.1", b"Host: a", b"Content-Length: "),
            head(b"GET / HTTP/1.1", b"Host: a", b"Content-Length: " + b"1" * 5_000),
            head(b"GET / HTTP/1.1", b"Host: a", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
            head(b"GET / HTTP/1.1", b"Host: a", b"Transfer-Encoding: chunked, identity"),
            head(b"GET / HTTP/1.1", b"Host: a", b"Transfer-Encoding: xchunked"),
            head(b"GET / HTTP/1.1", b"Host: a", b"Transfer-Encoding:\x0bchunked"),
            head(b"GET / HTTP/1.1", b"Host: a", b"Transfer-Encoding : chunked"),
            head(b"GET / HTTP/1.0", b"Transfer-Encoding: chunked"),
            head(b"GET / HTTP/1.1", b"Host: a", b"X: a", b" folded"),
            head(b"GET / HTTP/1.1", b" Host: a"),
            head(b"GET / HTTP/1.1", b"Host: a\nX: b"),
            head(b"GET / HTTP/1.1", b"Host: a\rX: b"),
            head(b"GET / HTTP/1.1", b"Host: a", b"X: \x00"),
            head(b"GET / HTTP/1.1", b"Host: a", b"no colon"),
            head(b"GET / HTTP/1.1", b"Host: a", b": no name"),
            head(b"GET / HTTP/1.1", b"Host: a", b"Host: b"),
            head(b"GET / HTTP/1.1", b"X: no host"),
            head(b"GET / HTTP/1.1", b"Host: \xe9"),
            head(b"GET / HTTP/1.1", b"Host: a b"),
            head(b"GET http://b.example/ HTTP/1.1"),
            head(b"CONNECT a.example:80 HTTP/1.1"),
            head(b"CONNECT / HTTP/1.1"),
            head(b"PRI * HTTP/2.0"),
            head(b"GET / HTTP/2.0"),
            head(b"GET / HTTP/0.9"),
            head(b"GET /"),
            head(b"GET  / HTTP/1.1"),
            head(b"GET /a b HTTP/1.1"),
            head(b"GET * HTTP/1.1"),
            head(b"GET ?a HTTP/1.1"),
            head(b"GET /a#b HTTP/1.1"),
            head(b"GET file:///etc/passwd HTTP/1.1"),
            head(b"GET /\xe9 HTTP/1.1"),
        ],
    )
    def test_what_could_be_read_in_two_ways_is_refused(self, raw: bytes) -> None:
        with pytest.raises(BadRequest) as refusal:
            check_head(raw)
        assert refusal.value.status == 400


CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=6)


class TestBody:
    def test_no_body_is_finished_before_it_begins(self) -> None:
        assert Body(Framing(0, False)).finished

    def test_a_length_is_counted_down(self) -> None:
        body = Body(Framing(5, False))
        assert [body.take(b"abc"), body.finished, body.take(b"defg"), body.finished] == [3, False, 2, True]

    @given(CHUNKS, st.integers(1, 30))
    def test_chunks_end_where_h11_sees_them_end(self, chunks: list[bytes], step: int) -> None:
        data = b"".join(b"%x;a=b\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
        body, taken, following = Body(Framing(0, True)), 0, data + b"GET / HTTP/1.1"
        while not body.finished:
            taken += body.take(following[taken : taken + step])
        assert taken == len(data)
        assert body.size == len(b"".join(chunks))

        connection = h11.Connection(h11.SERVER)
        connection.receive_data(head(b"POST / HTTP/1.1", b"Host: a", b"Transfer-Encoding: chunked"))
        connection.receive_data(following)
        while not isinstance(connection.next_event(), h11.EndOfMessage):
            pass
        assert connection.trailing_data[0] == b"GET / HTTP/1.1"

    @pytest.mark.parametrize(
        "data",
        [
            b"xyz\r\n",
            b"-1\r\n",
            b"\r\n",
            b"3\nabc\r\n",
            b"3 ;a\nb\r\n",
            b"0\r\n\n",
            b"0\r\nX: trailer\r\n\r\n",
            b"0\r\n\rG",
            b"1" * 16 + b"\r\n",
            b"3;" + b"a" * 300,
            b"0x3\r\n",
        ],
    )
    def test_a_chunk_line_of_another_form_is_refused(self, data: bytes) -> None:
        with pytest.raises(BadRequest):
            Body(Framing(0, True)).take(data)

    def test_a_chunk_counts_when_it_is_announced(self) -> None:
        body = Body(Framing(0, True))
        body.take(b"fffffff\r\n")
        assert body.size == 0xFFFFFFF


HOSTS = [
    b"",
    b"shop",
    b"shop.example",
    b"shop.example.",
    b"127.0.0.1:8000",
    b"[::1]:8000",
    b"a" * 63,
    b"xn--bcher-kva.example",
]
NO_HOSTS = [
    b"a..b",
    b".a",
    b"a" * 64,
    b"[::1",
    b"a b",
    b"a:b",
    b"a/b",
    b"user@shop",
    b"b\xc3\xbccher.example",
    b"a:123456",
]


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_that_can_be_is_taken(host: bytes) -> None:
    assert is_host(host)


@pytest.mark.parametrize("host", NO_HOSTS)
def test_a_host_that_cannot_be_is_refused_before_the_app_meets_it(host: bytes) -> None:
    assert not is_host(host)
    with pytest.raises(BadRequest, match="host"):
        check_head(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")


def test_a_head_is_read_with_names_in_lower_case_and_values_without_white_space() -> None:
    head = read_head(b"GET /a?b=%20 HTTP/1.1\r\nHost: \t here \r\nX-Thing:a: b\r\nEMPTY:\r\n\r\n")
    assert (head.method, head.target, head.http_version) == (b"GET", b"/a?b=%20", b"1.1")
    assert head.headers == [(b"host", b"here"), (b"x-thing", b"a: b"), (b"empty", b"")]
    assert read_head(b"GET / HTTP/1.0\r\n\r\n").headers == []


LINES = [b"GET", b"POST", b" ", b"/", b"/a?b", b"*", b"HTTP/1.1", b"HTTP/1.0", b"\r\n", b"\n", b"\r", b", 3"]
FIELDS = [b"Host: a", b"host:b", b"Content-Length: 3", b"Transfer-Encoding: chunked", b"X", b":"]
ODD = [b"\t", b"\x00", b"\x0b", b"\x7f", b"\xff"]
PIECES = st.sampled_from([*LINES, *FIELDS, *ODD])


@settings(max_examples=500)
@given(st.lists(PIECES, max_size=8), st.integers(0, 60), st.integers(0, 3))
@example([], 0, 0)
def test_what_is_read_h11_reads_as_we_do(pieces: list[bytes], at: int, cut: int) -> None:
    plain = b"GET /x HTTP/1.1\r\nHost: a\r\nAccept: b\r\n\r\n"
    raw = plain[:at] + b"".join(pieces) + plain[at + cut :]
    try:
        size = split_head(raw, 10_000)
        ours = None if size is None else read_head(raw[:size])
    except BadRequest:
        return
    if ours is None:
        return
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(raw[:size])
    theirs = connection.next_event()
    assert isinstance(theirs, h11.Request)
    assert (ours.method, ours.target, ours.http_version) == (theirs.method, theirs.target, theirs.http_version)
    assert [(n, v.lower()) for n, v in ours.headers] == [(n, v.lower()) for n, v in theirs.headers]
