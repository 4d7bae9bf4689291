"""The shop, in memory: its orders, and the path of order A123 from event 1041 to 1044 on every transport."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import pytest
import trio

from triolet.testing.server import Answer, MemoryServer, serve

from .conftest import EXAMPLES

EVENTS = "/orders/A123/events"


def told(event: Any) -> tuple[int, str]:
    """An event's offset, and the state that it tells."""
    return int(event["id"].split(".")[1]), event["data"]["state"]


async def ask(server: MemoryServer, path: str, data: Any = None) -> Answer:
    """Ask for a command, whose id is its path."""
    return await server.request("POST", path, {"idempotency-key": f'"{path}"'}, json=data)


async def advance(server: MemoryServer, *states: str) -> None:
    for state in states:
        assert (await ask(server, f"/orders/A123/{state}")).status == 200


async def test_an_order_nobody_has_seen_has_been_created_at_1041(
    shop: ModuleType, autojump_clock: trio.testing.MockClock
) -> None:
    async with serve(shop.app) as server:
        first = (await server.get("/orders/A123")).json
        again = (await server.get("/orders/A123")).json
    assert first == again
    assert first["cursor"].endswith(".1041")
    assert list(first["states"]) == ["created"]


async def test_a_customer_whose_network_drops_gets_1044_on_return(
    shop: ModuleType, autojump_clock: trio.testing.MockClock
) -> None:
    async with serve(shop.app) as server:
        cursor = (await server.get("/orders/A123")).json["cursor"]
        async with server.events(f"{EVENTS}?after={cursor}") as stream:
            await advance(server, "paid", "packed")
            paid, packed = await stream.event(), await stream.event()
        await advance(server, "shipped")
        assert paid is not None
        assert packed is not None
        async with server.events(f"{EVENTS}?after={cursor}", headers={"last-event-id": packed["id"]}) as stream:
            assert (await stream.own("open") or {})["cursor"] == packed["id"]
            shipped = await stream.event()
    assert [told(event) for event in (paid, packed, shipped)] == [(1042, "paid"), (1043, "packed"), (1044, "shipped")]


async def test_the_same_order_by_polls(shop: ModuleType, autojump_clock: trio.testing.MockClock) -> None:
    async with serve(shop.app) as server:
        await server.get("/orders/A123")
        await advance(server, "paid", "packed")
        seen = (await server.get(f"{EVENTS}?after=1041")).json
        assert [told(event) for event in seen["events"]] == [(1042, "paid"), (1043, "packed")]
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                held = (await server.get(f"{EVENTS}?after={seen['cursor']}&wait=25")).json
                assert [told(event) for event in held["events"]] == [(1044, "shipped")]

            nursery.start_soon(wait)
            await trio.sleep(10)
            await advance(server, "shipped")


async def test_the_warehouse_follows_and_picks_on_one_socket(
    shop: ModuleType, autojump_clock: trio.testing.MockClock
) -> None:
    async with serve(shop.app) as server, server.websocket("/live") as client:
        await server.get("/orders/A123")
        for url in (EVENTS, "/tasks/events"):
            await client.say(type="follow", url=url)
            await client.until("live")
        await advance(server, "paid")
        await client.expect(data={"order": "A123", "task": "pick", "done": False})
        assert told(await client.expect(channel="orders/A123")) == (1042, "paid")
        answer = await client.command("/orders/A123/packed")
        assert (answer["status"], answer["data"]["state"]) == (200, "packed")
        heard = [await client.expect() for _ in range(2)]
        assert [event["data"] for event in heard if event["channel"] == "tasks"] == [
            {"order": "A123", "task": "pick", "done": True}
        ]
        assert [told(event) for event in heard if event["channel"] == "orders/A123"] == [(1043, "packed")]


@pytest.mark.parametrize(
    ("path", "data", "status"),
    [
        ("/orders/A123/shipped", None, 409),
        ("/orders/A123/eaten", None, 404),
        ("/orders/Z9/paid", None, 404),
        ("/orders/Z9/positions", {"count": 1}, 404),
        ("/orders/A123/positions", {"count": 61}, 400),
        ("/orders/A123/positions", {"count": "many"}, 400),
        ("/orders/A123/positions", None, 400),
    ],
)
async def test_what_cannot_be_done_is_refused(
    shop: ModuleType, autojump_clock: trio.testing.MockClock, path: str, data: Any, status: int
) -> None:
    async with serve(shop.app) as server:
        assert (await ask(server, path, data)).status == status
        assert (await server.get(f"{EVENTS}?after=1041")).json["events"] == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/orders/Z9", 404),
        ("/orders/A1%D9%A3%D9%A4", 404),
        ("/orders/Z9/events", 404),
        ("/orders/Z9/presence", 404),
        (f"{EVENTS}?after=x", 400),
    ],
)
async def test_what_cannot_be_is_not_shown(
    shop: ModuleType, autojump_clock: trio.testing.MockClock, path: str, status: int
) -> None:
    async with serve(shop.app) as server:
        assert (await server.get(path)).status == status


async def test_every_answer_forbids_inline_script(shop: ModuleType, autojump_clock: trio.testing.MockClock) -> None:
    async with serve(shop.app) as server:
        for path in ("/orders/A123", EVENTS, "/nothing"):
            assert (await server.get(path)).headers["content-security-policy"].startswith("default-src 'self';")


@pytest.mark.parametrize("example", ["shop", "ticker"])
def test_the_pages_hold_no_inline_script_and_no_inline_style(example: str) -> None:
    page = (EXAMPLES / example / "static" / "index.html").read_text()
    assert '<script type="module" src=' in page
    assert re.search(r"<style|<script>|\s(?:style|on\w+)=", page) is None
