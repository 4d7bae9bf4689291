"""A socket as the server sees it. Two ends of a Unix socket pair: nothing leaves the process."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest
import trio

from triolet.sockets.link import SocketLink

Pair = tuple[SocketLink, socket.socket]


def fill(link: SocketLink) -> None:
    """Send until nothing fits."""
    while True:
        link.send(b"x" * 100_000)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    link = SocketLink(ours, "")
    yield link, theirs
    link.abort()
    theirs.close()


async def test_a_link_sends_at_once_or_says_that_nothing_fits(pair: Pair) -> None:
    link, theirs = pair
    assert link.send(b"hello") == 5
    assert theirs.recv(10) == b"hello"
    with pytest.raises(BlockingIOError):
        fill(link)


async def test_a_link_says_when_something_fits_again(pair: Pair) -> None:
    link, theirs = pair
    with pytest.raises(BlockingIOError):
        fill(link)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.wait_writable)
        theirs.recv(1 << 20)
    assert link.send(b"x") == 1


async def test_a_link_receives_and_sees_the_end(pair: Pair) -> None:
    link, theirs = pair
    theirs.send(b"hello")
    assert await link.receive_some(3) == b"hel"
    assert await link.receive_some(10) == b"lo"
    theirs.shutdown(socket.SHUT_WR)
    assert await link.receive_some(10) == b""


async def test_a_link_ends_its_side_and_reads_on(pair: Pair) -> None:
    link, theirs = pair
    link.send_eof()
    assert theirs.recv(10) == b""
    theirs.send(b"after")
    assert await link.receive_some(10) == b"after"
    with pytest.raises(OSError, match="pipe"):
        link.send(b"x")


async def test_what_was_sent_before_a_close_still_arrives(pair: Pair) -> None:
    link, theirs = pair
    link.send(b"last words")
    link.close()
    assert theirs.recv(20) == b"last words"
    assert theirs.recv(20) == b""


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_a_closed_link_says_so_and_may_be_closed_again(pair: Pair, how: str) -> None:
    link, _ = pair
    getattr(link, how)()
    with pytest.raises(OSError, match="descriptor"):
        link.send(b"x")
    with pytest.raises(trio.ClosedResourceError):
        await link.receive_some(10)
    with pytest.raises(trio.ClosedResourceError):
        await link.wait_writable()
    link.send_eof()
    link.abort()
    link.close()


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_who_waits_at_a_link_is_woken_when_it_is_closed(pair: Pair, how: str) -> None:
    link, _ = pair
    with pytest.raises(BlockingIOError):
        fill(link)
    woken = []

    async def wait(wait_for: object) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await wait_for()  # type: ignore[operator]  # start_soon passes any object
        woken.append(wait_for)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, link.wait_writable)
        nursery.start_soon(wait, lambda: link.receive_some(10))
        await trio.testing.wait_all_tasks_blocked()
        getattr(link, how)()
    assert len(woken) == 2


async def test_a_peer_that_closed_with_bytes_unread_has_reset(pair: Pair) -> None:
    link, theirs = pair
    link.send(b"unread")
    theirs.close()
    with pytest.raises(trio.BrokenResourceError):
        await link.receive_some(10)


async def test_a_link_knows_both_addresses(pair: Pair) -> None:
    link, _ = pair
    assert link.family == socket.AF_UNIX
    assert link.getpeername() == link.getsockname() == ""


async def test_a_link_says_what_has_come_already(pair: Pair) -> None:
    link, theirs = pair
    assert link.receive_now(10) == b""
    theirs.send(b"hello")
    assert link.receive_now(3) == b"hel"
    assert await link.receive_some(10) == b"lo"
    link.close()
    assert link.receive_now(10) == b""
