"""Why a client has no connection now: in words, and as the error that it is."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from quart import abort, redirect
from trio.testing import MockClock

from tests.shop import ORDERS, make_shop
from triolet.client import ClientError, Events, Messages, open_client
from triolet.testing import serve

from .stage import BASE, WAYS, client_of, options_of, shop, take
from .talk import talking

OWN = [way for way in WAYS if way not in ("socket", "shared sse", "shared long-poll")]


@pytest.mark.parametrize("way", WAYS)
async def test_a_follow_that_reaches_nobody_says_so_each_time(way: str, autojump_clock: MockClock) -> None:
    told: list[Any] = []

    async def dial(host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise ConnectionRefusedError("nobody listens")

    def note(events: Events) -> None:
        error = events.error
        assert error is not None
        told.append((events.state, error.kind, error.status, error.code, "nobody listens" in str(events.reason)))

    async with (
        open_client(BASE, dial=dial, **options_of(way)) as client,
        client.follow(ORDERS, on_state=note) as events,
    ):
        assert (events.error, events.reason) == (None, None)
        await trio.sleep(60)
    assert len(told) > 2
    assert set(told) == {("connecting", "network", None, None, True)}


@pytest.mark.parametrize("way", OWN)
async def test_a_server_that_says_not_now_says_it_by_its_status(way: str, autojump_clock: MockClock) -> None:
    app, live = make_shop()

    @live.channel("/busy/events")
    async def busy() -> str:
        abort(503)

    async with (
        serve(app) as server,
        client_of(server, **options_of(way)) as client,
        client.follow("/busy/events") as events,
    ):
        await trio.sleep(5)
        assert events.state == "connecting"
        assert events.error is not None
        assert (events.error.status, str(events.error)) == (503, "/busy/events: HTTP 503")


@pytest.mark.parametrize("way", ["websocket", "socket", "sse", "shared sse"])
async def test_a_server_that_goes_says_it_by_its_code_and_what_is_live_has_no_error(
    way: str, autojump_clock: MockClock
) -> None:
    told: list[ClientError] = []

    def note(events: Events) -> None:
        if events.error is not None:
            told.append(events.error)

    async with (
        shop() as (server, _),
        client_of(server, **options_of(way)) as client,
        client.follow(ORDERS, on_state=note) as events,
    ):
        await trio.sleep(5)
        assert (events.state, events.error) == ("live", None)
        server.stop.set()
        await server.ended.wait()
        assert (told[0].code, told[0].status) == (1012, None)


async def test_messages_say_it_too(autojump_clock: MockClock) -> None:
    async with (
        talking() as (server, _),
        client_of(server, socket="/forbidden", transports=["websocket"]) as client,
        client.messages() as messages,
    ):
        assert messages.error is None
        with pytest.raises(ClientError, match=r"^/forbidden: HTTP 403$"):
            await messages.ready()
        assert messages.error is not None
        assert (messages.error.status, messages.reason) == (403, "HTTP 403")


@pytest.mark.parametrize(
    ("path", "says", "status"),
    [
        ("/login", "/login: HTTP 200, a page in HTML in place of the channel: log in?", 200),
        ("/moved", "/moved: HTTP 302, a redirect to '/login' in place of the channel: log in?", 302),
        ("/nothing", "/nothing: HTTP 404", 404),
    ],
)
async def test_an_error_prints_the_status(path: str, says: str, status: int, autojump_clock: MockClock) -> None:
    app, _ = make_shop()

    @app.get("/login")
    async def login() -> str:
        return "<p>Log in"

    @app.get("/moved")
    async def moved() -> Any:
        return redirect("/login")

    async with serve(app) as server, client_of(server, transports=["sse"]) as client, client.follow(path) as events:
        with pytest.raises(ClientError) as caught:
            await anext(events)
        assert (str(caught.value), caught.value.status) == (says, status)


async def test_an_error_that_a_closing_was_prints_its_code(autojump_clock: MockClock) -> None:
    async with shop() as (server, live), client_of(server) as client, client.follow(ORDERS) as events:
        await trio.sleep(5)
        await live.revoke(channel="orders/A123")
        with pytest.raises(ClientError, match=r"/orders/A123/events: revoked \(4403\)"):
            await take(events, 2)


async def test_who_waits_for_messages_when_their_block_is_left_hears_no_error_of_a_connection(
    autojump_clock: MockClock,
) -> None:
    async def dial(host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise ConnectionRefusedError("nobody listens")

    async def read(messages: Messages) -> None:
        async for _ in messages:
            pass

    async with (
        open_client(BASE, dial=dial, socket="/live") as client,
        trio.open_nursery() as nursery,
        client.messages() as messages,
    ):
        nursery.start_soon(read, messages)
        await trio.sleep(5)
        assert (messages.state, messages.error is None) == ("connecting", False)
