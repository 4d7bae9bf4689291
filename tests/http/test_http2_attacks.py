"""What a client of HTTP/2 can make the server hold with few bytes counts while it is held, and goes with its client."""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import trio
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes
from trio.testing import MockClock

from triolet.http.bounds import REQUEST_BYTES

from .guarding import hosted
from .test_http2 import GET, POST, Client, client_of, connect_to
from .test_http2_frames import BIG, SLOW, frame
from .test_websocket import frame as message

WAITING = [(name, "/slow" if name == ":path" else value) for name, value in POST]
OPTIONS = [(":method", "OPTIONS"), *GET[1:], ("access-control-request-method", "PUT"), ("origin", "https://b")]
TRAILERS = [("x-last", "1"), ("x-more", "2" * 1_000)]


async def waiting_streams(client: Client) -> None:
    for stream in range(1, 201, 2):
        await client.send(stream, SLOW)


async def closed_windows(client: Client) -> None:
    client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
    for stream in range(1, 101, 2):
        await client.send(stream, BIG)


async def bodies_that_never_end(client: Client) -> None:
    for stream in range(1, 201, 2):
        await client.send(stream, WAITING, end=False)
        client.h2.send_data(stream, b"x")
    await client.flush()


async def half_messages(client: Client) -> None:
    for stream in range(1, 101, 2):
        await client.send(stream, connect_to(), end=False)
    await client.listen(0.1)
    for stream in range(1, 101, 2):
        client.h2.send_data(stream, message(0x01, b"x" * 500)[:300])
    await client.flush()


async def a_goaway_in_between(client: Client) -> None:
    await waiting_streams(client)
    await client.flush(frame(7, struct.pack(">II", 0, 0)) + frame(6, bytes(8)) * 100)


async def resets_of_what_waits(client: Client) -> None:
    await waiting_streams(client)
    for stream in range(1, 201, 2):
        client.h2.reset_stream(stream)
    await client.flush()


async def trailers(client: Client) -> None:
    for stream in range(1, 101, 2):
        await client.send(stream, WAITING, end=False)
        client.h2.send_data(stream, b"x")
        client.h2.send_headers(stream, TRAILERS, end_stream=True)
    await client.flush()


async def preflights(client: Client) -> None:
    for stream in range(1, 601, 2):
        await client.send(stream, OPTIONS)
        if stream % 50 == 49:
            await client.listen(0.01)


async def heads_that_never_end(client: Client) -> None:
    await client.flush(frame(1, b"\x82" * 5_000, 1) + frame(9, b"\x82" * 5_000, 1))


async def full_header_tables(client: Client) -> None:
    for stream in range(1, 201, 2):
        await client.send(stream, [*SLOW, *((f"x-{stream}-{n}", "y" * 60) for n in range(40))])


async def windows_that_toggle(client: Client) -> None:
    client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
    for stream in range(1, 101, 2):
        await client.send(stream, BIG)
    await client.flush(b"".join(frame(4, struct.pack(">HI", 4, size)) for size in (1, 0) * 100))


async def a_push(client: Client) -> None:
    await waiting_streams(client)
    await client.flush(frame(5, struct.pack(">I", 2) + b"\x82", 1, flags=4))


async def data_on_what_is_over(client: Client) -> None:
    for stream in range(1, 41, 2):
        await client.send(stream, POST, end=False)
        client.h2.send_data(stream, b"", end_stream=True)
    await client.flush()
    await client.listen(0.1)
    await client.flush(b"".join(frame(0, b"late", stream) for stream in range(1, 41, 2)))


ATTACKS: dict[str, Callable[[Client], Awaitable[None]]] = {
    attack.__name__.replace("_", " "): attack
    for attack in (
        waiting_streams,
        closed_windows,
        bodies_that_never_end,
        half_messages,
        a_goaway_in_between,
        resets_of_what_waits,
        trailers,
        preflights,
        heads_that_never_end,
        full_header_tables,
        windows_that_toggle,
        a_push,
        data_on_what_is_over,
    )
}


@pytest.mark.parametrize("leaves", ["closes", "resets", "freezes"])
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
async def test_nothing_is_left_of_it(
    attack: Callable[[Client], Awaitable[None]], leaves: str, autojump_clock: MockClock
) -> None:
    async with hosted() as host:
        client = Client(host.connect("h2"))
        await client.flush()
        with suppress(trio.BrokenResourceError, ProtocolError):
            await attack(client)
        await trio.sleep(0.5)
        if leaves == "closes":
            await client.stream.aclose()
        elif leaves == "resets":
            client.stream.reset()
        await trio.sleep(400 if leaves == "freezes" else 3)
        await host.check()


@pytest.mark.parametrize("attack", [waiting_streams, bodies_that_never_end], ids=["polls", "bodies"])
async def test_each_request_that_waits_counts(
    attack: Callable[[Client], Awaitable[None]], autojump_clock: MockClock
) -> None:
    async with hosted() as host, client_of(host) as client:
        await attack(client)
        await client.listen(0.5)
        assert host.budget.held >= 100 * REQUEST_BYTES
