"""The front: one head read, and who it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.peer import CLOSE, PING, PONG, TEXT, UPGRADE, Peer, encode
from tests.shop import ORDERS, make_shop
from triolet import Limits
from triolet.budget import Budget
from triolet.server.front import Front
from triolet.sockets.incoming import Incoming
from triolet.sockets.server_state import stream_of
from triolet.sockets.stream import ClientStream
from triolet.testing.network import ClientEnd, link_pair
from triolet.testing.server import serve
from triolet.wire.handshake import Upgrade

PAGE = b"GET /page HTTP/1.1\r\nHost: test\r\n\r\n"
OPEN = UPGRADE.format(path="/live%20now?after=5").encode()


class House:
    """What is behind a front: it takes note of who came in, and how."""

    def __init__(self, *, ours: bool = True, refuses: bool = False, **limits: Any) -> None:
        self.ours = ours
        self.refuses = refuses
        self.front = Front(Limits(**limits), lambda: self, self.hypercorn, "/root", {"of": "the lifespan"})
        self.pages: list[bytes] = []
        self.streams: list[tuple[dict[str, Any], bytes]] = []
        self.upgrades: list[tuple[dict[str, Any], Upgrade, bytes]] = []

    async def hypercorn(self, stream: Any, first: bytes, is_ours: Any) -> bytes | None:
        self.pages.append(first)
        return None

    def find(self, scope: dict[str, Any]) -> Any:
        return scope if self.ours else None

    async def serve_websocket(
        self, request: Any, upgrade: Upgrade, stream: Any, first: bytes, again: Callable[[], dict[str, Any]]
    ) -> None:
        assert again() == request
        self.upgrades.append((request, upgrade, first))

    async def serve_request(self, request: Any, client: Incoming, again: Any) -> bytes | None:
        self.streams.append((request, client.ahead))
        return client.ahead if self.refuses else None

    async def visit(self, *pieces: bytes, pause: float = 0) -> ClientEnd:
        """Let a client in that sends these pieces."""
        client, link = link_pair(peer=("203.0.113.9", 4_711))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.front.serve, ClientStream(link, Budget(1 << 30)))
            for piece in pieces:
                await client.send_all(piece)
                await trio.sleep(pause)
            await client.send_eof()
        return client


async def test_a_page_goes_to_hypercorn_with_all_that_was_read(autojump_clock: MockClock) -> None:
    house = House(ours=False)
    await house.visit(PAGE + b"GET /next")
    assert house.pages == [PAGE + b"GET /next"]


async def test_a_head_may_come_in_pieces(autojump_clock: MockClock) -> None:
    house = House(ours=False)
    await house.visit(*(bytes([byte]) for byte in PAGE), pause=0.05)
    assert house.pages == [PAGE]


async def test_empty_lines_before_a_request_are_passed_over(autojump_clock: MockClock) -> None:
    house = House(ours=False)
    await house.visit(b"\r\n\r\n" + PAGE)
    assert house.pages == [PAGE]


async def test_an_upgrade_is_the_get_request_that_it_is(autojump_clock: MockClock) -> None:
    house = House()
    await house.visit(OPEN + b"eager")
    ((scope, upgrade, first),) = house.upgrades
    assert (scope["type"], scope["method"], scope["scheme"], scope["root_path"]) == ("http", "GET", "http", "/root")
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == (
        "/root/live now",
        b"/root/live%20now",
        b"after=5",
    )
    assert scope["client"] == ("203.0.113.9", 4_711)
    assert (b"host", b"test") in scope["headers"]
    assert isinstance(stream_of(scope), ClientStream)
    assert scope["state"]["of"] == "the lifespan"
    assert (upgrade.key, first) == (b"dGhlIHNhbXBsZSBub25jZQ==", b"eager")


async def test_an_upgrade_of_the_apps_own_goes_to_hypercorn(autojump_clock: MockClock) -> None:
    house = House(ours=False)
    await house.visit(OPEN + b"eager")
    assert (house.pages, house.upgrades) == ([OPEN + b"eager"], [])


BAD = {
    b"\x16\x03\x01\x02\x00": 400,
    b"hello\r\n\r\n": 400,
    b"GET / HTTP/1.1\nHost: test\n\n": 400,
    b"GET / HTTP/1.1\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n": 400,
    b"CONNECT test:80 HTTP/1.1\r\nHost: test:80\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost: test\r\nX: " + b"x" * 20_000: 431,
    OPEN.replace(b"Version: 13", b"Version: 12"): 426,
    OPEN.replace(b"Host: test\r\n", b"Host: test\r\nContent-Length: 5\r\n"): 400,
    OPEN.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"short"): 400,
}


@pytest.mark.parametrize("request_", BAD)
async def test_what_could_be_read_in_two_ways_is_refused_by_the_door(
    request_: bytes, autojump_clock: MockClock
) -> None:
    house = House()
    client = await house.visit(request_)
    answer = await client.receive_some()
    assert answer.startswith(b"HTTP/1.1 %d " % BAD[request_])
    assert b"connection: close" in answer.lower()
    assert (house.pages, house.upgrades) == ([], [])


async def test_a_refused_client_that_goes_on_sending_is_waited_for_a_moment(autojump_clock: MockClock) -> None:
    house = House(goodbye_seconds=2)
    client, link = link_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.front.serve, ClientStream(link, Budget(1 << 30)))
        await client.send_all(b"nonsense\r\n\r\n")
    assert trio.current_time() == pytest.approx(2)
    assert (await client.receive_some()).startswith(b"HTTP/1.1 400 ")


async def test_a_client_that_says_nothing_is_not_served(autojump_clock: MockClock) -> None:
    house = House(header_seconds=5)
    client, link = link_pair()
    await house.front.serve(ClientStream(link, Budget(1 << 30)))
    assert trio.current_time() == pytest.approx(5)
    assert house.pages == []
    client.reset()


async def test_a_client_that_goes_within_its_head_is_not_served(autojump_clock: MockClock) -> None:
    house = House()
    await house.visit(PAGE[:20])
    assert (house.pages, trio.current_time()) == ([], 0)


# --- with the whole server behind it


async def test_frames_that_come_with_the_upgrade_are_read(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        stream = server.connect()
        eager = encode(TEXT, "first") + encode(PING, b"?") + encode(CLOSE, (1000).to_bytes(2, "big"))
        await stream.send_all(UPGRADE.format(path="/raw").encode() + eager)
        head, _, rest = (await stream.receive_some()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        client = Peer(stream)
        client._buffer = rest
        assert await client.frame() == (PONG, b"?")
        assert await client.ended() == 1000


@pytest.mark.parametrize("path", ["/orders/A%31/events", "/orders/%C3%A9/events", "/orders/%ff/events", "//x", "/%00"])
async def test_any_path_is_answered(path: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        assert (await server.upgrade(path)).status in (101, 400, 404, 308)
        assert (await server.get(path)).status in (200, 400, 404, 308)
        assert server.worker.crashes == 0


@pytest.mark.parametrize(
    "host", ["", "test:80", "[::1]", "a b", "é", "x" * 300, "test/..", "@", ":", "[", "test:99999"]
)
async def test_any_host_is_answered_as_a_page_of_the_app_is(host: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop()

    async def status(request: bytes) -> bytes:
        stream = server.connect()
        await stream.send_all(request.replace(b"Host: test", f"Host: {host}".encode()))
        return (await stream.receive_some())[9:12]

    async with serve(app) as server:
        page = await status(PAGE)
        assert await status(UPGRADE.format(path=ORDERS).encode()) == {b"200": b"101"}.get(page, page)
        assert server.worker.crashes == 0
