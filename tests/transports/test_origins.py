"""Pages of other sites: refused on every transport that carries somebody's rights."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from tests.shop import ORDERS, make_shop
from triolet import ConfigError, Triolet
from triolet.testing.clients import TRANSPORTS
from triolet.testing.server import Answer, MemoryServer, serve

LISTED = ["https://shop.example", "https://shop.example:8443", "http://xn--bcher-kva.example"]

ORIGINS = [
    # ours (the server is http://test), and those that are listed
    ("http://test", True),
    ("https://shop.example", True),
    ("https://shop.example:8443", True),
    ("http://xn--bcher-kva.example", True),
    # like ours, and not ours
    ("https://test", False),
    ("http://test:80", False),
    ("http://test:8000", False),
    ("http://TEST", False),
    ("http://test.", False),
    ("http://test/", False),
    ("http://test@evil.example", False),
    ("http://test.evil.example", False),
    ("http://eviltest", False),
    # like a listed one, and not listed
    ("http://shop.example", False),
    ("https://shop.example.evil.example", False),
    ("https://evilshop.example", False),
    ("https://shop.example:443", False),
    ("https://SHOP.example", False),
    ("http://bücher.example", False),
    ("https://shop.example, http://test", False),
    # others
    ("null", False),
    ("", False),
    ("*", False),
    ("file://", False),
    ("http://evil.example", False),
]


async def ask(server: MemoryServer, transport: str, headers: dict[str, str]) -> Answer:
    if transport == "websocket":
        return await server.upgrade(ORDERS, headers)
    if transport == "sse":
        async with server.events(ORDERS, headers=headers) as stream:
            return Answer(stream.status, stream.headers, b"")
    return await server.request("GET", ORDERS + ("?wait=1" if transport == "long poll" else ""), headers)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(("origin", "welcome"), ORIGINS)
async def test_a_page_follows_only_from_our_origin_or_a_listed_one(
    transport: str, origin: str, welcome: bool, autojump_clock: MockClock
) -> None:
    app, _ = make_shop(origins=LISTED)
    headers = {"origin": origin.encode().decode("latin-1"), "cookie": "session=abc"}
    async with serve(app) as server:
        answer = await ask(server, transport, headers)
        assert answer.status == ((101 if transport == "websocket" else 200) if welcome else 403)
        assert server.worker.crashes == 0


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_who_is_no_page_sends_no_origin_and_follows(transport: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        assert (await ask(server, transport, {"cookie": "session=abc"})).status in (101, 200)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_page_without_a_cookie_reads_what_anyone_may_but_opens_no_websocket(
    transport: str, autojump_clock: MockClock
) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        answer = await ask(server, transport, {"origin": "http://evil.example"})
        assert answer.status == (403 if transport == "websocket" else 200)


async def test_two_origins_are_none(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        stream = server.connect()
        origins = "Origin: http://test\r\nOrigin: http://test\r\nCookie: a=b\r\n"
        await stream.send_all(f"GET {ORDERS} HTTP/1.1\r\nHost: test\r\n{origins}\r\n".encode())
        assert b" 403 " in (await stream.receive_some()).partition(b"\r\n")[0]


@pytest.mark.parametrize("transport", ["websocket", "long poll", "short poll"])
async def test_a_foreign_origin_is_told_what_to_do(transport: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    headers = {"origin": "http://evil.example", "cookie": "a=b"}
    async with serve(app) as server:
        answer = await ask(server, transport, headers)
        assert answer.headers["content-type"] == "application/json"
        assert answer.json["error"] == "origin"
        assert "evil" not in answer.json["message"]


async def test_a_socket_is_refused_to_a_foreign_page_too(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        for path in ("/warehouse", "/raw", "/live"):
            assert (await server.upgrade(path, {"origin": "http://evil.example"})).status == 403
            assert (await server.upgrade(path, {"origin": "http://test"})).status == 101


def test_one_text_is_no_list_of_origins() -> None:
    with pytest.raises(ConfigError, match="list"):
        Triolet(origins="https://shop.example")
