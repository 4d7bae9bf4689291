"""The shop's own tests. Run them in this folder with ``pytest``: no server, no sleep, and hours take milliseconds."""

from __future__ import annotations

import pytest
from app import app
from trio.testing import MockClock

from triolet.testing import TRANSPORTS, cut, serve, stalled

EVENTS = "/orders/A123/events"
POSITIONS = "/orders/A123/positions"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_customer_whose_network_drops_misses_nothing(transport: str, autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.sse("/tasks/events") as warehouse:
        order = (await server.get("/orders/A123")).json
        async with server.client(transport, EVENTS, after=order["cursor"]) as page:
            await page.command("/orders/A123/paid")
            await page.expect(event="order-status", data={"state": "paid"})
            with cut(page):
                await warehouse.command("/orders/A123/packed")
                await warehouse.command("/orders/A123/shipped")
            await page.reconnect()
            await page.expect(data={"state": "packed"})
            await page.expect(data={"state": "shipped"})
            await page.nothing_for(600)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_command_that_is_asked_again_is_answered_again_and_done_once(
    transport: str, autojump_clock: MockClock
) -> None:
    async with serve(app, log="memory:") as server, server.client(transport, EVENTS) as page:
        await page.until("open")
        first, second = [await page.command(POSITIONS, {"count": 2}, id="8e03978e") for _ in range(2)]
        assert first["data"] == second["data"] == {"count": 2}
        assert second["repeated"]
        for _ in range(2):
            await page.expect(event="position")
        await page.nothing_for(60)


async def test_two_people_who_press_the_same_button_are_told_of_one_payment(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.sse(EVENTS) as page:
        await page.until("open")
        first, second = [(await page.command("/orders/A123/paid"))["data"] for _ in range(2)]
        assert first == second
        await page.expect(id=first["id"], data={"state": "paid"})
        await page.nothing_for(60)


async def test_the_warehouse_picks_what_was_paid(autojump_clock: MockClock) -> None:
    async with (
        serve(app, log="memory:") as server,
        server.follow("/tasks/events", through="/live") as tasks,
        server.websocket("/live") as dashboard,
    ):
        await dashboard.command("/orders/A123/paid")
        await tasks.expect(event="task", data={"order": "A123", "task": "pick", "done": False})
        packed = await dashboard.command("/orders/A123/packed")
        await tasks.expect(event="task", data={"order": "A123", "task": "pick", "done": True})
        assert packed["data"]["id"] == (await server.get("/orders/A123")).json["cursor"]


async def test_who_looks_at_an_order_is_seen_by_the_others(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.sse("/orders/A123/presence", after=0) as others:
        visitor = server.user()
        await visitor.get("/")
        you = (await visitor.get("/orders/A123")).json["you"]
        async with visitor.sse(EVENTS):
            join = await others.expect(event="join")
        leave = await others.expect(event="leave")
        assert join["data"]["member"] == leave["data"]["member"] == you


async def test_a_telephone_in_a_tunnel_holds_up_nobody(autojump_clock: MockClock) -> None:
    async with serve(app, log="memory:") as server, server.sse(EVENTS) as telephone, server.sse(EVENTS) as page:
        with stalled(telephone):
            for _ in range(10):
                await page.command(POSITIONS, {"count": 50})
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
