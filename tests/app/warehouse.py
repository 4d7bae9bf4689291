"""An app with commands, whose views note what they have done; and processes that share its log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import trio
from quart import abort, request
from quart_trio import QuartTrio

from triolet import Command, Connection, Cursor, Event, EventLog, Identity, Limits, Triolet
from triolet.log import MemoryLog
from triolet.testing import Answer, LogFault, MemoryServer, ScriptedLog, serve

__all__ = ["ANN", "BOB", "CARRIERS", "ORDER", "PICK", "SharedLog", "Warehouse", "ask", "events", "two_processes"]

ANN: Final = {"authorization": "Bearer ann"}
BOB: Final = {"authorization": "Bearer bob"}
PICK: Final = "/orders/A1/pick"
ORDER: Final = "orders/A1"
CARRIERS: Final = ["websocket", "sse", "long poll", "short poll", "follow"]


class Warehouse:
    """An app.

    Attributes:
        done: what its views have done: order, id, data, subject.
        closed: of which orders the requests' contexts have been torn down.
    """

    def __init__(self, limits: Limits | None = None, turns: int = 0, faster: bool = False, **options: Any) -> None:
        self.app = app = QuartTrio("warehouse")
        app.secret_key = "not a secret"
        self.live = live = Triolet(app, limits=limits, **options)
        self.done: list[Any] = []
        self.closed: list[str] = []
        self._turns = turns
        self._faster = faster

        @live.identify
        async def identity_of(token: str | None) -> Identity | None:
            return None if token is None else Identity(token)

        @live.channel("/orders/<order_id>/events")
        async def events(order_id: str) -> str:
            return f"orders/{order_id}"

        live.socket("/live")

        @live.socket("/raw", raw=True)
        async def raw(conn: Connection) -> None:
            async for message in conn:
                await conn.send(message)

        live.command("/orders/<order_id>/pick")(self.pick)

        @app.get("/page")
        async def page() -> str:
            self.done.append("a page")
            return "a page"

        @app.post("/orders/<order_id>/other")
        async def other(order_id: str) -> str:
            self.done.append("another view")
            return "no command"

        @app.teardown_request
        async def close(_: BaseException | None) -> None:
            if request.endpoint == "pick" and request.view_args is not None:
                self.closed.append(request.view_args["order_id"])

    async def pick(self, order_id: str, command: Command) -> Any:
        """Pick an order."""
        subject = None if command.identity is None else command.identity.subject
        self.done.append((order_id, command.id, command.data, subject))
        times = len(self.done)
        for _ in range(self._turns):
            await trio.lowlevel.checkpoint()
        await command.publish(f"orders/{order_id}", {"state": "picked"}, name="order-status")
        await trio.sleep(0 if self._faster else float(request.args.get("seconds", 0)))
        if order_id == "secret":
            abort(403)
        if order_id == "broken":
            raise RuntimeError("a bug of the app's")
        return {"picked": order_id, "times": times}


class SharedLog(ScriptedLog):
    """One process's hands on a log that is open already."""

    def __init__(self, inner: EventLog, script: Sequence[LogFault] = ()) -> None:
        super().__init__(inner, script)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SharedLog]:
        """It is open."""
        yield self


async def ask(server: MemoryServer, path: str = PICK, body: bytes = b"", id: str = "1") -> Answer:
    return await server.post(path, body, idempotency_key=id, **ANN)


async def events(log: EventLog | ScriptedLog, channel: str = ORDER) -> list[Event]:
    return list((await log.read(channel, Cursor("", 0), limit=100, max_bytes=1 << 20)).events)


@asynccontextmanager
async def two_processes(
    first: Warehouse, second: Warehouse
) -> AsyncIterator[tuple[MemoryServer, MemoryServer, MemoryLog, SharedLog]]:
    """Two servers on one log, and the first one's hands on it."""
    store = MemoryLog()
    hands = SharedLog(store)
    async with store.open(), serve(first.app, log=hands) as one, serve(second.app, log=SharedLog(store)) as other:
        yield one, other, store, hands
