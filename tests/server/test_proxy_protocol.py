"""PROXY protocol, versions 1 and 2: who the client is, and that nothing behind the header is read."""

from __future__ import annotations

import struct
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from triolet.server.proxy_protocol import SIGNATURE, ProxyProtocolError, read_proxy_header
from triolet.sockets.link import Link
from triolet.testing.network import link_pair

IPV4 = bytes([203, 0, 113, 7, 10, 0, 0, 1]) + struct.pack("!HH", 5_123, 443)
IPV6 = bytes.fromhex("20010db8" + "00" * 11 + "01") + bytes(16) + struct.pack("!HH", 5_123, 443)


def version2(command: int, family: int, rest: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(rest)) + rest


async def read(data: bytes, *, piece: int = 1 << 16) -> tuple[Link, bytes]:
    """The link after a header, and what is left to read on it."""
    client, link = link_pair(peer=("10.0.0.1", 1))
    left = b""
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            for start in range(0, len(data), piece):
                await client.send_all(data[start : start + piece])
            await client.send_eof()

        nursery.start_soon(send)
        found = await read_proxy_header(link)
        while more := await found.receive_some(1 << 16):
            left += more
    return found, left


@pytest.mark.parametrize("piece", [1, 7, 1 << 16])
@pytest.mark.parametrize(
    ("header", "peer"),
    [
        (b"PROXY TCP4 203.0.113.7 10.0.0.1 5123 443\r\n", ("203.0.113.7", 5_123)),
        (b"PROXY TCP6 2001:db8::1 ::1 5123 443\r\n", ("2001:db8::1", 5_123)),
        (b"PROXY UNKNOWN\r\n", ("10.0.0.1", 1)),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", ("10.0.0.1", 1)),
        (version2(0x21, 0x11, IPV4), ("203.0.113.7", 5_123)),
        (version2(0x21, 0x11, IPV4 + b"\x04\x00\x02ab"), ("203.0.113.7", 5_123)),
        (version2(0x21, 0x21, IPV6), ("2001:db8::1", 5_123)),
        (version2(0x20, 0x00, b""), ("10.0.0.1", 1)),
        (version2(0x21, 0x31, bytes(216)), ("10.0.0.1", 1)),
    ],
)
async def test_the_peer_is_the_client_and_nothing_behind_is_read(
    header: bytes, peer: Any, piece: int, autojump_clock: MockClock
) -> None:
    link, left = await read(header + b"GET / HTTP/1.1\r\n\r\n", piece=piece)
    assert link.getpeername() == peer
    assert left == b"GET / HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(20),
        b"PROXY TCP4 203.0.113.7 10.0.0.1 5123\r\n",
        b"PROXY TCP4 2001:db8::1 ::1 5123 443\r\n",
        b"PROXY TCP4 1.2.3.4 10.0.0.1 99999 443\r\n",
        b"PROXY TCP4 1.2.3.4 10.0.0.1 x 443\r\n",
        b"PROXY UDP4 1.2.3.4 10.0.0.1 1 443\r\n",
        b"PROXY TCP4 1.2.3.4 10.0.0.1 1 443\n" + bytes(20),
        b"PROXY " + b"x" * 200,
        version2(0x11, 0x11, IPV4),
        version2(0x2F, 0x11, IPV4),
        version2(0x21, 0x11, IPV4[:8]),
        SIGNATURE + struct.pack("!BBH", 0x21, 0x11, 0xFFFF) + bytes(100),
    ],
)
async def test_what_does_not_begin_so_is_refused(data: bytes, autojump_clock: MockClock) -> None:
    client, link = link_pair()
    await client.send_all(data)
    with pytest.raises(ProxyProtocolError):
        await read_proxy_header(link)


async def test_a_peer_that_goes_within_its_header_is_gone(autojump_clock: MockClock) -> None:
    client, link = link_pair()
    await client.send_all(b"PROXY TCP4 203.0.113.7")
    await client.send_eof()
    with pytest.raises(trio.BrokenResourceError):
        await read_proxy_header(link)


@pytest.mark.parametrize("header", [b"PROXY TCP4 203.0.113.7 10.0.0.1 5123 443\r\n", version2(0x21, 0x11, IPV4)])
async def test_a_header_that_came_while_the_process_stood_still_came_in_time(
    header: bytes, autojump_clock: MockClock
) -> None:
    client, link = link_pair(peer=("10.0.0.1", 1))
    found: list[Link] = []

    async def find() -> None:
        found.append(await read_proxy_header(link, 5))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(find)
        await trio.testing.wait_all_tasks_blocked()
        client.connection.client.send(header)
        autojump_clock.jump(6)
    assert [one.getpeername() for one in found] == [("203.0.113.7", 5_123)]


async def test_a_header_that_does_not_come_whole_is_waited_for_no_longer_than_was_said(
    autojump_clock: MockClock,
) -> None:
    client, link = link_pair(peer=("10.0.0.1", 1))
    await client.send_all(b"PROXY TCP4 203.0.113.7")
    with pytest.raises(ProxyProtocolError, match="in time"):
        await read_proxy_header(link, 5)
    assert trio.current_time() == 5
