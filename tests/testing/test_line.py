"""Whatever the line, and however often it stalls: what is sent arrives whole, in order, and within the bounds."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from triolet.testing.line import Connection
from triolet.testing.network import ClientEnd, Line, MemoryLink, Network

LINES = st.builds(
    Line,
    latency=st.sampled_from([0.0, 0.3, 5.0]),
    bandwidth=st.sampled_from([inf, 500.0, 1e6]),
    server_bytes=st.integers(1, 5_000),
    client_bytes=st.integers(1, 5_000),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("up"), st.integers(1, 9_000)),
        st.tuples(st.just("down"), st.integers(1, 9_000)),
        st.tuples(st.just("read"), st.integers(1, 9_000)),
        st.tuples(st.just("wait"), st.sampled_from([0.1, 1.0, 30.0])),
        st.tuples(st.just("stall"), st.just(0)),
        st.tuples(st.just("flow"), st.just(0)),
    ),
    max_size=40,
)


class Diary:
    """Bytes that were sent one way, of which no two near each other are alike, and how many of them were read."""

    def __init__(self) -> None:
        self.sent = self.read = 0

    def more(self, count: int) -> bytes:
        return bytes((self.sent + at) % 251 for at in range(count))

    def check(self, data: bytes) -> None:
        assert data == bytes((self.read + at) % 251 for at in range(len(data)))
        self.read += len(data)
        assert self.read <= self.sent


@given(LINES, STEPS)
def test_what_is_sent_arrives_whole_in_order_and_within_bounds(line: Line, steps: list[tuple[str, Any]]) -> None:
    async def play() -> None:
        network = Network(line)
        async with network.running():
            links: list[MemoryLink] = []
            client = network.connect("198.51.100.7", links.append)
            await trio.sleep(100)
            up, down = Diary(), Diary()
            connection = client.connection
            stalls = 0
            for what, number in steps:
                if what == "wait":
                    await trio.sleep(number)
                elif what == "stall":
                    connection.stall()
                    stalls += 1
                elif what == "flow" and stalls:
                    connection.flow()
                    stalls -= 1
                elif what == "read":
                    up.check(links[0].receive_now(number))
                    down.check(connection.client.read(number))
                elif what in ("up", "down"):
                    diary, kernel = (up, connection.client) if what == "up" else (down, connection.server)
                    diary.sent += send_some(kernel.send, diary.more(number))
                check_bounds(connection)
            for _ in range(stalls):
                connection.flow()
            await finish(client, links[0], up, down)

    trio.run(play, clock=MockClock(autojump_threshold=0))


def send_some(send: Callable[[bytes], int], data: bytes) -> int:
    try:
        return send(data)
    except BlockingIOError:
        return 0


def check_bounds(connection: Connection) -> None:
    for kernel in (connection.client, connection.server):
        assert len(kernel.outgoing) + kernel.unacknowledged <= kernel.bound
        assert len(kernel.incoming) <= kernel.bound


async def finish(client: ClientEnd, link: MemoryLink, up: Diary, down: Diary) -> None:
    await client.send_eof()
    link.send_eof()
    while data := await link.receive_some(10_000):
        up.check(data)
    while data := await client.receive_some(10_000):
        down.check(data)
    assert (up.read, down.read) == (up.sent, down.sent)
