"""The shop's own tests. Run them in this folder with ``pytest``: no server, no sleep, and hours take milliseconds."""

from __future__ import annotations

import pytest
from app import app
from trio.testing import MockClock

from triolet.testing import TRANSPORTS, cut, serve, stalled

EVENTS = "/orders/A123/events"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_customer_whose_network_drops_misses_nothing(transport: str, autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server:
        order = (await server.get("/orders/A123")).json
        async with server.client(transport, EVENTS, after=order["cursor"]) as page:
            await server.post("/orders/A123/paid")
            await page.expect(event="order-status", data={"state": "paid"})
            with cut(page):
                await server.post("/orders/A123/packed")
                await server.post("/orders/A123/shipped")
            await page.reconnect()
            await page.expect(data={"state": "packed"})
            await page.expect(data={"state": "shipped"})
            await page.nothing_for(600)


async def test_a_double_click_is_told_once(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.sse(EVENTS) as page:
        first, second = [(await server.post("/orders/A123/paid")).json for _ in range(2)]
        assert first == second
        await page.expect(id=first["id"], data={"state": "paid"})
        await page.nothing_for(60)


async def test_the_warehouse_picks_what_was_paid(autojump_clock: MockClock) -> None:
    async with (
        serve(app, log="memory:") as server,
        server.follow("/tasks/events", through="/warehouse") as tasks,
        server.websocket("/warehouse") as dashboard,
    ):
        await server.post("/orders/A123/paid")
        await tasks.expect(event="task", data={"order": "A123", "task": "pick", "done": False})
        await dashboard.say(type="message", data={"pick": "A123"})
        await tasks.expect(event="task", data={"order": "A123", "task": "pick", "done": True})
        packed = (await server.get("/orders/A123")).json["cursor"]
        await dashboard.expect("message", data={"picked": "A123", "id": packed})


async def test_a_telephone_in_a_tunnel_holds_up_nobody(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.sse(EVENTS) as telephone, server.sse(EVENTS) as page:
        with stalled(telephone):
            await server.post("/orders/A123/positions?count=500")
            for _ in range(500):
                await page.expect(event="position", within=1)
        for _ in range(500):
            await telephone.expect(event="position")


async def test_a_restart_tells_every_page_when_to_come_back(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.sse(EVENTS) as page:
        server.stop.set()
        await page.expect("bye", reason="restarting")
        assert page.retry is not None
        assert page.retry <= 5_000
