"""Pages of other sites: refused on every transport that carries somebody's rights."""

from __future__ import annotations

from typing import Any

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


@pytest.mark.parametrize("origins", ["https://shop.example", "*", b"https://shop.example", None, 7, True])
def test_one_text_is_no_list_of_origins(origins: Any) -> None:
    with pytest.raises(ConfigError, match="list"):
        Triolet(origins=origins)


WRITTEN = [
    # as it is listed, and as a browser writes it
    ("https://x/", "https://x"),
    ("HTTPS://X", "https://x"),
    (" https://shop.example ", "https://shop.example"),
    ("https://Shop.Example/", "https://shop.example"),
    ("https://shop.example:443", "https://shop.example"),
    ("https://shop.example:0443/", "https://shop.example"),
    ("https://shop.example:", "https://shop.example"),
    ("http://shop.example:80", "http://shop.example"),
    ("http://shop.example:443", "http://shop.example:443"),
    ("https://shop.example:08443", "https://shop.example:8443"),
    ("https://shop.example.", "https://shop.example"),
    ("http://bücher.example", "http://xn--bcher-kva.example"),
    ("http://BÜCHER.example", "http://xn--bcher-kva.example"),
    ("http://bu\u0308cher.example", "http://xn--bcher-kva.example"),
    ("https://straße.example", "https://xn--strae-oqa.example"),
    ("https://日本。example", "https://xn--wgv71a.example"),
    ("http://XN--BCHER-KVA.example", "http://xn--bcher-kva.example"),
    ("http://my_host:8000", "http://my_host:8000"),
    ("http://LOCALHOST:5173/", "http://localhost:5173"),
    ("http://127.0.0.1:80", "http://127.0.0.1"),
    ("http://[::1]:80", "http://[::1]"),
    ("https://[2001:DB8:0:0:0:0:0:1]:8443", "https://[2001:db8::1]:8443"),
    ("https://[::ffff:127.0.0.1]", "https://[::ffff:7f00:1]"),
    ("capacitor://localhost", "capacitor://localhost"),
    ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
    ("https://*.shop.example", "https://a.shop.example"),
    ("https://*.shop.example", "https://a.b.c.shop.example"),
    ("HTTPS://*.Shop.Example:443/", "https://a.shop.example"),
    ("https://*.shop.example:8443", "https://a.shop.example:8443"),
    ("https://*.bücher.example", "https://a.xn--bcher-kva.example"),
    ("http://*.localhost:5173", "http://a.localhost:5173"),
    ("https://*.x", "https://a.x"),
]


@pytest.mark.parametrize(("listed", "origin"), WRITTEN)
async def test_an_origin_is_welcome_however_its_app_writes_it(
    listed: str, origin: str, autojump_clock: MockClock
) -> None:
    app, _ = make_shop(origins=[listed])
    async with serve(app) as server:
        assert (await server.upgrade(ORDERS, {"origin": origin})).status == 101


NO_ORIGINS = [
    "",
    " ",
    "x",
    "shop.example",
    "//shop.example",
    "*.shop.example",
    "null",
    "NULL",
    "https://",
    "https:///",
    "https://.",
    "https://shop..example",
    "https://-shop.example",
    "https://shop.example/path",
    "https://shop.example//",
    "https://shop.example?",
    "https://shop.example/?a=b",
    "https://shop.example#",
    "https://user@shop.example",
    "https://user:secret@shop.example",
    "https://shop example",
    "https://shop.example, https://b.example",
    "https://shop.example:http",
    "https://shop.example:0",
    "https://shop.example:65536",
    "https://shop.example:-1",
    "https://shop.example:8443:1",
    "https://*",
    "https://*:8443",
    "https://*.",
    "https://a.*.example",
    "https://*shop.example",
    "https://shop.*",
    "https://*.*.example",
    "https://*.127.0.0.1",
    "https://*.[::1]",
    "*://shop.example",
    "**",
    "https://127.1",
    "https://2130706433",
    "https://0x7f.0.0.1",
    "https://[::1",
    "https://::1",
    "https://[fe80::1%25eth0]",
    "https://[127.0.0.1]",
    "https://" + "x" * 64 + ".example",
    "https://" + "x." * 200 + "example",
    "https://sh\u200bop\u0000.example",
    "https://shop\n.example",
    "https:\\\\shop.example",
    "ws://shop.example",
    "wss://shop.example",
    "file://",
    "file://localhost",
    "data://x",
    7,
    None,
    b"https://shop.example",
    ("https", "shop.example"),
]


@pytest.mark.parametrize("listed", NO_ORIGINS)
def test_what_can_be_no_pages_origin_is_said_when_the_app_is_made(listed: Any) -> None:
    with pytest.raises(ConfigError, match="origin"):
        Triolet(origins=["https://shop.example", listed])


OTHERS = [
    # what a pattern does not stand for
    ("https://*.shop.example", "https://shop.example"),
    ("https://*.shop.example", "https://.shop.example"),
    ("https://*.shop.example", "http://a.shop.example"),
    ("https://*.shop.example", "https://a.shop.example:8443"),
    ("https://*.shop.example", "https://ashop.example"),
    ("https://*.shop.example", "https://a.shop.example.evil.example"),
    ("https://*.shop.example", "https://evil.example/.shop.example"),
    ("https://*.shop.example", "https://evil.example#.shop.example"),
    ("https://*.shop.example", "https://evil.example:80.shop.example"),
    ("https://*.shop.example", "https://evil.example@a.shop.example"),
    ("https://*.shop.example", "https://*.shop.example"),
    ("https://*.shop.example", "https://A.shop.example"),
    ("https://*.shop.example", "https://a..shop.example"),
    ("https://*.shop.example", "https://a b.shop.example"),
    ("https://*.shop.example", "https://a.shop.example."),
    ("https://*.shop.example", "https://a.shop.example, https://b.shop.example"),
    ("https://*.shop.example:8443", "https://a.shop.example"),
    # never, whatever is listed
    ("*", "null, http://test"),
    ("https://x/", "https://x/"),
    ("https://bücher.example", "https://bücher.example"),
]


@pytest.mark.parametrize(("listed", "origin"), OTHERS)
async def test_a_pattern_stands_for_the_names_below_one_and_for_nothing_else(
    listed: str, origin: str, autojump_clock: MockClock
) -> None:
    app, _ = make_shop(origins=[listed])
    async with serve(app) as server:
        headers = {"origin": origin.encode().decode("latin-1"), "cookie": "a=b"}
        assert (await server.upgrade(ORDERS, headers)).status == 403


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("TEST", "http://test"),
        ("test:80", "http://test"),
        ("Test:0080", "http://test"),
        ("test:8000", "http://test:8000"),
        ("test.", "http://test."),
        ("[::1]:80", "http://[::1]"),
        ("[0:0:0:0:0:0:0:1]:8000", "http://[::1]:8000"),
    ],
)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_own_origin_is_the_own_one_however_a_proxy_writes_the_host(
    transport: str, host: str, origin: str, autojump_clock: MockClock
) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        answer = await ask(server, transport, {"host": host, "origin": origin, "cookie": "a=b"})
        assert answer.status in (101, 200)


@pytest.mark.parametrize("host", ["", "é", "a b", "test:http", "test/", "[", "*"])
async def test_a_host_that_is_none_makes_no_origin_the_own_one(host: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        for origin in (f"http://{host}", host, "null", ""):
            headers = {"host": host, "origin": origin, "cookie": "a=b"}
            named = {name: value.encode().decode("latin-1") for name, value in headers.items()}
            assert (await server.request("GET", ORDERS, named)).status in (400, 403, 404)


@pytest.mark.parametrize("transport", ["sse", "long poll", "short poll"])
async def test_a_browsers_stored_password_is_its_visitors_right_too(transport: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        headers = {"origin": "http://evil.example", "authorization": "Basic YTpi"}
        assert (await ask(server, transport, headers)).status == 403


async def test_an_origin_that_may_not_follow_is_named_in_the_log_once(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    app, _ = make_shop(origins=["https://shop.example"])
    async with serve(app) as server:
        for transport in TRANSPORTS * 3:
            await ask(server, transport, {"origin": "http://evil.example"})
            await ask(server, transport, {"origin": "https://shop.example", "cookie": "a=b"})
        asked = {"origin": "http://other.example", "access-control-request-method": "GET"}
        await server.request("OPTIONS", ORDERS, asked)
    named = [record.getMessage() for record in caplog.records if "origin" in record.getMessage()]
    assert ["evil.example" in line for line in named] == [True, False]
    assert "other.example" in named[1]
    assert all("Triolet(origins=" in line for line in named)


async def test_an_origin_in_the_log_is_escaped_and_cut(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        for origin in ("http://\x1b[31mred", "http://\xe9\x85vil", "http://" + "x" * 8_000, "http://" + "x" * 8_001):
            assert (await server.upgrade(ORDERS, {"origin": origin})).status in (400, 403)
    named = [record.getMessage() for record in caplog.records if "origin" in record.getMessage()]
    assert all(line.isprintable() and len(line) < 400 for line in named)
    assert len(named) <= 3


async def test_origins_that_a_client_makes_up_fill_neither_the_log_nor_the_memory(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        for number in range(600):
            await server.get(ORDERS, origin=f"http://evil-{number}.example")
    named = [record.getMessage() for record in caplog.records if "origin" in record.getMessage()]
    assert len(named) == 257
    assert "no more" in named[-1]
