"""A served shop, and Python clients of it, on the in-memory network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import trio

from tests.shop import make_shop
from triolet import Limits, Triolet
from triolet.client import Client, Event, Events, Gap, Item, Live, open_client
from triolet.testing import MemoryServer, serve

BASE = "http://shop.test"
WAYS = ("websocket", "socket", "websockets", "sse", "long-poll", "poll", "shared sse", "shared long-poll")
"""The transports; the WebSocket on a channel's URL, on a shared socket, and by another library; and what may be shared
where there is no WebSocket."""


def options_of(way: str) -> dict[str, Any]:
    """What a client of one way is opened with."""
    match way:
        case "socket":
            return {"transports": ["websocket"], "socket": "/live"}
        case "websockets":
            return {"transports": ["websocket"], "websocket": "websockets"}
    transport = way.removeprefix("shared ")
    return {"transports": [transport]} if transport == way else {"transports": [transport], "socket": "/live"}


def client_of(
    server: MemoryServer, dialled: list[float] | None = None, **options: Any
) -> AbstractAsyncContextManager[Client]:
    """A client of a served app. Where a list is given, the times at which it connects are noted there."""

    async def dial(host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        if dialled is not None:
            dialled.append(trio.current_time())
        return server.connect()

    return open_client(BASE, dial=dial, **options)


@asynccontextmanager
async def shop(limits: Limits | None = None, **options: Any) -> AsyncIterator[tuple[MemoryServer, Triolet]]:
    """A served shop."""
    app, live = make_shop(limits, **options)
    async with serve(app) as server:
        yield server, live


async def take(events: Events, count: int) -> list[Item]:
    """So many items."""
    with trio.fail_after(600):
        return [await anext(events) for _ in range(count)]


async def data(events: Events, count: int) -> list[Any]:
    """The data of so many events; what comes between them is passed over, and is no gap."""
    found: list[Any] = []
    while len(found) < count:
        (item,) = await take(events, 1)
        assert not isinstance(item, Gap)
        found += [item.data] if isinstance(item, Event) else []
    return found


def told(items: list[Item]) -> list[Any]:
    """Items in short: the data of an event, the reason of a gap, ``live``; of a state and an end what they are."""
    return [_in_short(item) for item in items]


def _in_short(item: Item) -> Any:
    match item:
        case Event():
            return item.data
        case Live():
            return "live"
        case Gap():
            return f"gap {item.reason}"
    return (type(item).__name__, item.data)
