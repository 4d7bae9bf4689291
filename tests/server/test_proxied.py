"""Clients behind a listed proxy are counted one by one, by what it says of them and by nothing that can be forged."""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.paths.memory import served
from tests.shop import ORDERS, make_shop
from tests.sockets.test_tls import certified, trusting
from tests.transports.test_limits import REQUESTS, answer
from triolet import Limits
from triolet.server.forwarded import Forwarded
from triolet.server.proxied import say_busy
from triolet.testing.clients import TRANSPORTS
from triolet.testing.network import ClientEnd
from triolet.testing.server import MemoryServer, serve

__all__ = ["certified"]

PROXY, FARTHER, STRANGER = "198.51.100.9", "10.9.9.9", "198.51.100.1"
LISTED = "198.51.100.9, 10.0.0.0/8"
ANN, BEN = "203.0.113.7", "203.0.113.8"
ROADS = ["http1", "tls", "http2", "middleware", "http2 middleware"]


@asynccontextmanager
async def proxied(road: str = "http1", listed: str = LISTED, **settings: Any) -> AsyncIterator[MemoryServer]:
    """A server that has room for two of each address."""
    app, _ = make_shop(Limits(connections_per_address=2))
    async with served(app, road, forwarded=Forwarded.parse(listed), **settings) as server:
        yield server


async def ask(server: MemoryServer, transport: str, told: str | None, peer: str = PROXY) -> tuple[ClientEnd, bytes]:
    """Ask on a connection of its own; ``told`` is what the peer says of who asks."""
    stream = server.connect(address=peer)
    header = "" if told is None else f"X-Forwarded-For: {told}\r\n"
    request = REQUESTS[transport].replace("Host: test\r\n", f"Host: test\r\n{header}")
    return stream, await answer(stream, request)


def counted(server: MemoryServer) -> dict[str, int]:
    return dict(server.worker.admission._by_address)


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_clients_of_a_listed_proxy_are_counted_and_not_the_proxy(
    transport: str, road: str, autojump_clock: MockClock
) -> None:
    async with proxied(road) as server:
        streams = [(await ask(server, "sse", told))[0] for told in (ANN, ANN, BEN)]
        assert counted(server) == {ANN: 2, BEN: 1}
        refused, said = await ask(server, transport, ANN)
        assert said.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: " in said.lower()
        assert (server.worker.admission.refused, server.worker.metrics.refused) == (1, 1)
        refused.reset()
        welcome, said = await ask(server, transport, BEN)
        assert transport == "long poll" or said.split(b" ")[1] in (b"101", b"200")
        streams[0].reset()
        await wait_all_tasks_blocked()
        again, said = await ask(server, transport, ANN)
        assert transport == "long poll" or said.split(b" ")[1] in (b"101", b"200")
        for stream in (*streams, welcome, again):
            stream.reset()
        await trio.sleep(30)
        assert counted(server) == {}


@pytest.mark.parametrize("road", [road for road in ROADS if "http2" not in road])  # one request a connection there
async def test_a_page_is_counted_while_it_is_made_and_an_idle_connection_is_nobodys(
    road: str, autojump_clock: MockClock
) -> None:
    async with proxied(road) as server:
        stream = server.connect(address=PROXY)
        for path in (ORDERS, "/none", ORDERS, "/none"):
            await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: {ANN}\r\n\r\n".encode())
            await stream.receive_some()
            await wait_all_tasks_blocked()
            assert (counted(server), server.connections) == ({}, 1)
        stream.reset()


async def test_who_is_not_listed_is_counted_by_its_own_address_whatever_it_sends(autojump_clock: MockClock) -> None:
    async with proxied() as server:
        streams = [(await ask(server, "sse", f"192.0.2.{n}, {ANN}", STRANGER))[0] for n in range(2)]
        assert counted(server) == {STRANGER: 2}
        refused, said = await ask(server, "sse", "192.0.2.77", STRANGER)
        assert said.startswith(b"HTTP/1.1 503 ")
        welcome, said = await ask(server, "sse", ANN)  # nobody else's room is taken by what it sent
        assert said.startswith(b"HTTP/1.1 200 ")
        for stream in (*streams, refused, welcome):
            stream.reset()


@pytest.mark.parametrize(
    ("told", "client", "owner"),
    [
        (f"6.6.6.6, {ANN}", ANN, ANN),  # the client has sent the first itself
        (f"6.6.6.6, {ANN}, {FARTHER}", ANN, ANN),
        (f"6.6.6.6, {ANN}:5123, 10.8.8.8, {FARTHER}", ANN, ANN),
        (f"::ffff:{ANN}", ANN, ANN),
        ("2001:db8::1", "2001:db8::1", "2001:db8::/64"),
        ("[2001:0DB8:0:0::1]:443", "2001:db8::1", "2001:db8::/64"),
        ("6.6.6.6, [2001:db8::1]", "2001:db8::1", "2001:db8::/64"),
        ("2001:db8::2", "2001:db8::1", "2001:db8::/64"),
        ("[2001:db8::ffff:1%25eth0]:443", "2001:db8::1", "2001:db8::/64"),
    ],
)
async def test_the_nearest_that_is_no_listed_proxy_counts(
    told: str, client: str, owner: str, autojump_clock: MockClock
) -> None:
    async with proxied() as server:
        streams = [(await ask(server, "sse", one))[0] for one in (client, told)]
        assert counted(server) == {owner: 2}
        refused, said = await ask(server, "sse", told.replace("6.6.6.6", "7.7.7.7"))
        assert said.startswith(b"HTTP/1.1 503 ")
        for stream in (*streams, refused):
            stream.reset()


@pytest.mark.parametrize("told", [None, "unknown", PROXY, f"{FARTHER}, {PROXY}"])
async def test_what_a_listed_proxy_asks_for_itself_is_bounded_with_all_connections_alone(
    told: str | None, autojump_clock: MockClock
) -> None:
    async with proxied() as server:
        asked = [await ask(server, "sse", told) for _ in range(5)]
        assert all(said.startswith(b"HTTP/1.1 200 ") for _, said in asked)
        assert (counted(server), server.connections) == ({}, 5)
        for stream, _ in asked:
            stream.reset()


async def test_a_listed_proxy_has_no_more_connections_than_there_may_be_in_all(autojump_clock: MockClock) -> None:
    app, _ = make_shop(Limits(connections=3))
    async with serve(app, forwarded=Forwarded.parse(LISTED)) as server:
        asked = [await ask(server, "sse", f"203.0.113.{n}") for n in range(4)]
        assert [said[9:12] for _, said in asked] == [b"200", b"200", b"200", b"503"]
        for stream, _ in asked:
            stream.reset()


async def test_where_everybody_is_listed_peers_are_counted(autojump_clock: MockClock) -> None:
    async with proxied(listed="*") as server:
        asked = [await ask(server, "sse", f"192.0.2.{n}", STRANGER) for n in range(3)]
        assert [said[9:12] for _, said in asked] == [b"200", b"200", b"503"]
        assert counted(server) == {STRANGER: 2}
        for stream, _ in asked:
            stream.reset()


@pytest.mark.parametrize("road", ROADS)
async def test_a_client_of_ipv6_is_counted_by_its_64_whatever_address_it_takes(
    road: str, autojump_clock: MockClock
) -> None:
    async with proxied(road) as server:
        streams = [(await ask(server, "sse", None, f"2001:db8:1:2::{n}%eth0"))[0] for n in range(2)]
        assert counted(server) == {"2001:db8:1:2::/64": 2}
        if road in ("http1", "middleware"):  # over TLS there is no handshake with who is turned away
            refused, said = await ask(server, "sse", None, "2001:db8:1:2:ffff::1")
            assert said.startswith(b"HTTP/1.1 503 ")
            refused.reset()
        welcome, said = await ask(server, "sse", None, "2001:db8:1:3::1")
        assert said.startswith(b"HTTP/1.1 200 ")
        for stream in (*streams, welcome):
            stream.reset()
        await trio.sleep(30)
        assert counted(server) == {}


@pytest.mark.parametrize(
    "header", [b"PROXY TCP6 2001:db8::%d ::1 5123 443\r\n", b"PROXY TCP6 ::ffff:203.0.113.7 ::1 1 1\r\n"]
)
async def test_with_a_proxy_header_so_is_one_that_a_proxy_has_told_of(header: bytes, autojump_clock: MockClock) -> None:
    async with proxied(proxy_protocol=True, only_forwarded=True) as server:
        streams = [server.connect(address=PROXY) for _ in range(3)]
        said = []
        for n, stream in enumerate(streams):
            await stream.send_all(header % n if b"%d" in header else header)
            said.append(await answer(stream, REQUESTS["sse"]))
        assert [one[9:12] for one in said] == [b"200", b"200", b"503"]
        assert counted(server) in ({"2001:db8::/64": 2}, {ANN: 2})
        for stream in streams:
            stream.reset()


@pytest.mark.parametrize(
    ("listed", "peer", "client", "address"),
    [
        ("unix", None, (ANN, 0), ANN),
        ("unix", None, None, None),
        ("", None, (ANN, 0), None),
        (LISTED, None, (ANN, 0), None),
        ("unix", (STRANGER, 1), (ANN, 0), None),
        ("*", None, (ANN, 0), None),
        ("::/0", ("2001:db8::9", 1), ("2001:db8::1", 0), None),
        ("2001:db8::9", ("2001:db8::9", 1), ("2001:db8::1", 0), "2001:db8::1"),
        (LISTED, ("::ffff:198.51.100.9", 1), (ANN, 0), ANN),
        ("::ffff:198.51.100.9", (PROXY, 1), (ANN, 0), ANN),
        ("::ffff:198.51.100.0/120", ("::ffff:198.51.100.9", 1), (ANN, 0), ANN),
        ("::ffff:0:0/96", (PROXY, 1), (ANN, 0), None),  # that is everybody
        ("fe80::1%eth0", ("fe80::1%eth1", 1), (ANN, 0), ANN),
    ],
)
def test_a_client_is_behind_a_peer_that_is_listed_by_name(
    listed: str, peer: Any, client: Any, address: str | None
) -> None:
    assert Forwarded.parse(listed).client_behind(peer, client) == address


@pytest.mark.parametrize("road", ROADS)
async def test_who_is_turned_away_stands_in_the_access_log_by_its_own_address(
    road: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.INFO, "triolet.access")
    async with proxied(road, access_log=True) as server:
        streams = [(await ask(server, "sse", ANN))[0] for _ in range(3)]
        lines = [record.getMessage() for record in caplog.records if " 503 " in record.getMessage()]
        assert [line.split(" ")[0] for line in lines] == [ANN]
        for stream in streams:
            stream.reset()


# --- the PROXY protocol


def header_of(client: str) -> bytes:
    return f"PROXY TCP4 {client} 10.0.0.1 5123 443\r\n".encode()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_with_a_proxy_header_a_connection_is_its_clients(transport: str, autojump_clock: MockClock) -> None:
    async with proxied(proxy_protocol=True, only_forwarded=True) as server:
        streams = [server.connect(address=PROXY) for _ in range(4)]
        said: list[bytes] = []
        for stream, client in zip(streams, (ANN, BEN, ANN, ANN), strict=True):
            await stream.send_all(header_of(client))
            said.append(await answer(stream, REQUESTS["sse" if len(said) < 3 else transport]))
        assert [one[9:12] for one in said] == [b"200", b"200", b"200", b"503"]
        assert (counted(server), server.worker.metrics.refused) == ({ANN: 2, BEN: 1}, 1)
        for stream in streams:
            stream.reset()
        await wait_all_tasks_blocked()
        assert (counted(server), server.connections) == ({}, 0)


async def test_a_proxy_header_that_came_while_the_process_stood_still_came_in_time(autojump_clock: MockClock) -> None:
    async with proxied(proxy_protocol=True, only_forwarded=True) as server:
        stream = server.connect(address=PROXY)
        await wait_all_tasks_blocked()
        stream.connection.client.send(header_of(ANN) + REQUESTS["short poll"].encode())
        autojump_clock.jump(server.worker.settings.limits.header_seconds + 1)
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
        stream.reset()


async def test_a_proxy_behind_one_with_a_proxy_header_tells_of_clients_too(autojump_clock: MockClock) -> None:
    async with proxied(proxy_protocol=True, only_forwarded=True) as server:
        streams = [server.connect(address=PROXY) for _ in range(3)]
        said = []
        for stream in streams:
            await stream.send_all(header_of(FARTHER))
            said.append(await answer(stream, REQUESTS["sse"].replace("Host", f"X-Forwarded-For: {ANN}\r\nHost")))
        assert [one[9:12] for one in said] == [b"200", b"200", b"503"]
        assert counted(server) == {ANN: 2}
        for stream in streams:
            stream.reset()


async def test_where_no_proxy_is_listed_its_header_does_not_say_who_is_counted(autojump_clock: MockClock) -> None:
    async with proxied(listed="", proxy_protocol=True) as server:
        streams = [server.connect(address=STRANGER) for _ in range(2)]
        for n, stream in enumerate(streams):
            await stream.send_all(header_of(f"192.0.2.{n}"))
        await wait_all_tasks_blocked()
        assert counted(server) == {STRANGER: 2}
        refused = server.connect(address=STRANGER)
        assert (await refused.receive_some()).startswith(b"HTTP/1.1 503 ")
        for stream in (*streams, refused):
            stream.reset()


@pytest.mark.parametrize("listed", [LISTED, ""])
@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n\r\n", b"PROXY ", header_of(ANN), b""])
async def test_a_handshake_that_never_begins_behind_a_proxy_header_is_not_counted_for_ever(
    listed: str, first: bytes, certified: ssl.SSLContext, autojump_clock: MockClock
) -> None:
    async with proxied(listed=listed, proxy_protocol=True) as server:
        worker = server.worker
        worker.settings = replace(worker.settings, tls=certified)
        before = worker.budget.held
        stream = server.connect(address=PROXY)
        await stream.send_all(first)
        await wait_all_tasks_blocked()
        stream.reset()
        await trio.sleep(60)
        assert (worker.admission.handshakes, worker.admission.connections, worker.budget.held) == (0, 0, before)
        assert not worker.admission._handshakes_by_address


async def test_handshakes_behind_a_proxy_header_are_their_clients(
    certified: ssl.SSLContext, autojump_clock: MockClock
) -> None:
    app, _ = make_shop(Limits(handshakes_per_address=1))
    listed = Forwarded.parse(LISTED)
    async with serve(app, forwarded=listed, proxy_protocol=True) as server:
        worker = server.worker
        worker.settings = replace(worker.settings, tls=certified)
        slow = [server.connect(address=PROXY) for _ in range(2)]
        for end in slow:
            await end.send_all(header_of(ANN))
            await wait_all_tasks_blocked()
        assert (await slow[1].receive_some()).startswith(b"HTTP/1.1 503 ")
        assert (worker.admission.handshakes, dict(worker.admission._handshakes_by_address)) == (1, {ANN: 1})
        raw = server.connect(address=PROXY)
        await raw.send_all(header_of(BEN))
        stream = trio.SSLStream(raw, trusting())
        await stream.do_handshake()
        await wait_all_tasks_blocked()
        assert worker.admission.handshakes == 1
        for end in (*slow, raw):
            end.reset()


# --- what is answered where an app is asked


@pytest.mark.parametrize(
    ("scope", "types"),
    [
        ({"type": "http"}, ["http.response.start", "http.response.body"]),
        (
            {"type": "websocket", "extensions": {"websocket.http.response": {}}},
            ["websocket.http.response.start", "websocket.http.response.body"],
        ),
        ({"type": "websocket"}, ["websocket.close"]),
    ],
)
async def test_one_too_many_is_answered_in_asgis_words(scope: dict[str, Any], types: list[str]) -> None:
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    await say_busy(scope, None, send)
    assert [message["type"] for message in said] == types
    assert said[0].get("status", 503) == 503
