"""The whole stack in memory: one event on every transport."""

from __future__ import annotations

import pytest
import trio
from quart import abort
from quart_trio import QuartTrio

from triolet import Limits, Triolet
from triolet.testing.server import serve


def make_app(limits: Limits | None = None) -> tuple[QuartTrio, Triolet]:
    app = QuartTrio("shop")
    live = Triolet(app, limits=limits)

    @live.channel("/orders/<order_id>/events")
    async def order_events(order_id: str) -> str:
        if order_id == "secret":
            abort(403)
        return f"orders/{order_id}"

    @live.socket("/warehouse")
    async def warehouse(conn):  # type: ignore[no-untyped-def]  # as a user writes it
        await conn.follow("tasks")
        async for message in conn:
            await conn.send({"echo": message})

    return app, live


async def test_a_websocket_is_sent_what_was_missed_and_then_what_happens(
    autojump_clock: trio.testing.MockClock,
) -> None:
    app, live = make_app()
    async with serve(app) as server:
        await live.publish("orders/A123", {"state": "paid"}, name="order-status")
        async with server.websocket("/orders/A123/events?after=0") as client:
            await client.expect("open")
            await client.expect(data={"state": "paid"})
            await client.expect("live")
            await live.publish("orders/A123", {"state": "packed"}, name="order-status")
            await client.expect(event="order-status", data={"state": "packed"})


async def test_an_event_stream_goes_on_after_last_event_id(autojump_clock: trio.testing.MockClock) -> None:
    app, live = make_app()
    async with serve(app) as server:
        events = await live.publish_many("orders/A123", [{"n": n} for n in range(3)])
        async with server.events("/orders/A123/events", headers={"last-event-id": str(events[0].cursor)}) as stream:
            assert [(await stream.event() or {})["data"]["n"] for _ in range(2)] == [1, 2]
            assert (await stream.own("live") or {})["cursor"] == str(events[2].cursor)
            await live.publish("orders/A123", {"n": 3})
            assert (await stream.event() or {})["data"] == {"n": 3}


async def test_a_long_poll_waits_for_an_event_and_a_short_one_does_not(autojump_clock: trio.testing.MockClock) -> None:
    app, live = make_app()
    async with serve(app) as server, trio.open_nursery() as nursery:
        assert (await server.get("/orders/A123/events")).json["events"] == []
        start = trio.current_time()

        async def publish() -> None:
            await trio.sleep(10)
            await live.publish("orders/A123", {"state": "paid"})

        nursery.start_soon(publish)
        answer = await server.get("/orders/A123/events?wait=20")
        assert [event["data"] for event in answer.json["events"]] == [{"state": "paid"}]
        assert trio.current_time() - start == pytest.approx(10)


async def test_a_draining_server_says_bye_and_ends(autojump_clock: trio.testing.MockClock) -> None:
    app, _ = make_app()
    async with (
        serve(app) as server,
        server.websocket("/warehouse") as client,
        server.events("/orders/A123/events") as stream,
    ):
        for _ in range(3):
            await client.next()
        await stream.own("live")
        server.stop.set()
        await client.expect("bye", code=1012)
        assert (await stream.own("bye") or {})["code"] == 1012
        assert await stream.block() is None
