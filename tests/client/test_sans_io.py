"""The parts of the client that wait for nothing: the parser of streams, the choice of a transport, proxies' answers."""

from __future__ import annotations

import re
from math import inf

import pytest
import trio
from trio.testing import memory_stream_pair

from tests.shop import ORDER, ORDERS
from triolet.client import ClientError
from triolet.client.bounds import CLIENT_MESSAGE_BYTES
from triolet.client.choice import Choice
from triolet.client.dial import _connect
from triolet.client.errors import Ended
from triolet.client.heard import cursor_of, own_message, read
from triolet.client.sse import Block, StreamParser

from .stage import client_of, shop, take, told

LONG = "9" * 5_000
STREAM = (
    "\ufeff: a comment\nretry: 500\n\n"
    "id: 1\nevent: paid\ndata: {\ndata:  1}\ntime: 12\n\n"
    "data\n\n"
    "id: a\0b\ndata: x:y\n\n"
    "event: lost\n\n"
    "id\ndata: ä€😀\n\n"
    "data: 1\nkey: k\nfold: sum\nfolded: 12\n\n"
    "data: 1\nfolded: 0\ntime: 1_0\n\n"
    f"data: 1\nfolded: {LONG}\ntime: {LONG}\n\n"
)
PARSED = [
    Block("paid", "{\n 1}", "1", 12),
    Block("message", "", "1", None),
    Block("message", "x:y", "1", None),
    Block("message", "ä€😀", "", None),
    Block("message", "1", "", None, "k", "sum", 12),
    Block("message", "1", ""),
    Block("message", "1", ""),
]


@pytest.mark.parametrize("ending", ["\n", "\r", "\r\n"])
@pytest.mark.parametrize("size", range(1, 12))
def test_the_parser_reads_any_line_ends_wherever_the_bytes_are_cut(ending: str, size: int) -> None:
    data = STREAM.replace("\n", ending).encode()
    parser = StreamParser()
    assert [block for at in range(0, len(data), size) for block in parser.feed(data[at : at + size])] == PARSED


def test_an_event_is_given_without_waiting_for_half_of_a_crlf() -> None:
    assert len(list(StreamParser().feed(b"data: 1\r\r"))) == 1


def test_a_block_without_end_is_given_up() -> None:
    parser, line = StreamParser(), b"data: " + b"x" * (1 << 20) + b"\n"
    for _ in range(CLIENT_MESSAGE_BYTES >> 20):
        assert not list(parser.feed(line))
    with pytest.raises(Ended, match="more than"):
        list(parser.feed(2 * line))


def test_a_block_of_empty_lines_without_end_is_given_up() -> None:
    parser, lines = StreamParser(), b"data\n" * (1 << 20)
    for _ in range(CLIENT_MESSAGE_BYTES >> 20):
        assert not list(parser.feed(lines))
    with pytest.raises(Ended, match="more than"):
        list(parser.feed(lines))


def test_a_long_event_that_comes_in_many_pieces_is_looked_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []

    class Counting:
        def split(self, text: str) -> list[str]:
            looked.append(len(text))
            return re.split("\n", text)

    monkeypatch.setattr("triolet.client.sse._LINE_ENDS", Counting())
    parser = StreamParser()
    pieces = [b"data: ", *[b"x" * 100] * 1_000, b"\n", b"\n"]
    (block,) = [block for piece in pieces for block in parser.feed(piece)]
    assert (len(block.data), sum(looked)) == (100_000, 100_008)


BLOCKED = Ended("HTTP 400", blames=True)
CUT = Ended("reset")


def test_what_fails_by_itself_is_left_for_the_next_and_after_the_last_there_is_a_pause() -> None:
    choice = Choice(["websocket", "sse", "poll"])
    assert choice.fails("websocket", BLOCKED, cut=False)
    assert choice.current == "sse"
    assert choice.fails("sse", CUT, cut=True)
    assert choice.current == "poll"
    assert not choice.fails("poll", BLOCKED, cut=False)
    assert choice.current == "websocket"


def test_what_has_worked_is_not_left_for_a_network_that_is_down() -> None:
    choice = Choice(["websocket", "sse"])
    choice.works("websocket", 0)
    assert not choice.fails("websocket", CUT, cut=True)
    assert not choice.fails("websocket", CUT, cut=False)
    assert choice.current == "websocket"


def test_a_better_one_is_tried_after_five_minutes_then_ten_and_an_hour_at_most() -> None:
    choice, now = Choice(["websocket", "sse"]), 0.0
    choice.fails("websocket", BLOCKED, cut=False)
    waits = []
    for _ in range(7):
        choice.works("sse", now)
        waits.append(choice.better_at - now)
        now = choice.better_at
        choice.try_better()
        assert (choice.current, choice.better_at) == ("websocket", inf)
        assert choice.fails("websocket", BLOCKED, cut=False)
        assert choice.current == "sse"
    assert waits == [300, 600, 1200, 2400, 3600, 3600, 3600]


def test_another_follow_that_failed_over_the_old_transport_goes_on_over_the_new_one() -> None:
    choice = Choice(["websocket", "sse"])
    choice.fails("websocket", BLOCKED, cut=False)
    assert choice.fails("websocket", BLOCKED, cut=False)
    assert choice.current == "sse"


async def test_a_follow_that_is_refused_leaves_the_others_their_transport(autojump_clock: object) -> None:
    async with shop() as (server, live), client_of(server) as client:
        for _ in range(2):
            async with client.follow("/orders/secret/events") as refused:
                with pytest.raises(ClientError):
                    await take(refused, 1)
            assert client.transport == "websocket"
            async with client.follow(ORDERS) as events:
                assert told(await take(events, 1)) == ["live"]
                await live.publish(ORDER, 1)
                assert told(await take(events, 1)) == [1]


@pytest.mark.parametrize(
    ("answer", "fits"), [(b"HTTP/1.1 200 OK\r\n\r\n", True), (b"HTTP/1.1 407 No\r\n\r\n", False), (b"", False)]
)
async def test_a_proxy_is_asked_to_connect(answer: bytes, fits: bool) -> None:
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:

        async def proxy() -> None:
            asked = b""
            while b"\r\n\r\n" not in asked:
                asked += await theirs.receive_some()
            assert asked.startswith(b"CONNECT shop.test:443 HTTP/1.1\r\n")
            assert b"Basic YW5uOmE6Yg==" in asked
            await theirs.send_all(answer)
            await theirs.aclose()

        nursery.start_soon(proxy)
        if fits:
            await _connect(ours, "shop.test:443", "ann", "a%3Ab")
        else:
            with pytest.raises(Ended, match="does not connect"):
                await _connect(ours, "shop.test:443", "ann", "a%3Ab")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "7",
        '{"type": 7}',
        '{"type": "bye", "retry": -1}',
        '{"type": "expiring", "in": 1e400}',
        f'{{"type": "bye", "retry": 1{"0" * 400}}}',
        '{"type": "event", "id": 3}',
        "[" * 100_000,
    ],
)
def test_what_is_no_message_ends_a_connection_and_not_the_program(text: str) -> None:
    with pytest.raises(Ended, match="no message"):
        read(text)


def test_data_of_a_stream_that_is_no_json_is_no_event() -> None:
    with pytest.raises(Ended, match="no message"):
        own_message(Block("paid", "{", "e.1"))
    with pytest.raises(Ended, match="no message"):
        cursor_of("now")
    assert bytes(own_message(Block("paid", '{"a":1}', "e.1", 5)).data) == b'{"a":1}'
