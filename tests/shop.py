"""The app that the in-memory tests serve: orders to follow, and sockets to talk to."""

from __future__ import annotations

from typing import Any

from quart import abort
from quart_trio import QuartTrio

from triolet import Connection, Limits, Triolet

ORDERS = "/orders/A123/events"
ORDER = "orders/A123"


def make_shop(limits: Limits | None = None, **options: Any) -> tuple[QuartTrio, Triolet]:
    """A shop, not yet served. Routes may be added."""
    app = QuartTrio("shop")
    live = Triolet(app, limits=limits, **options)

    @live.channel("/orders/<order_id>/events")
    async def order_events(order_id: str) -> str:
        if order_id == "secret":
            abort(403)
        if order_id == "absent":
            abort(404)
        if order_id == "broken":
            raise RuntimeError("a bug of the app's")
        return f"orders/{order_id}"

    @live.socket("/warehouse")
    async def warehouse(conn: Connection) -> None:
        async for message in conn:
            await conn.send({"echo": message})

    @live.socket("/raw", raw=True)
    async def raw(conn: Connection) -> None:
        async for message in conn:
            await conn.send(message)

    live.socket("/live")

    @app.get("/page")
    async def page() -> str:
        return "a page"

    return app, live
