"""A revocation at every moment of everything that lets a client in: what was decided before it does not outlive it.

The app's own truth and the revocation change in the same moment, as in a view that ends a session and then revokes it.
That moment is before each step of each task in turn (an instrument of Trio's says which), from the client's first to
the last that follows from it. So every await of every way in, and of every way to write, has it before, in and after
it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import trio
from quart import abort
from quart_trio import QuartTrio
from trio.testing import MockClock, wait_all_tasks_blocked

from triolet import Connection, Cursor, Identity, Triolet
from triolet.identity import Revocation
from triolet.log import MemoryLog
from triolet.log.contract import Page, Status
from triolet.testing.http import RefusedError
from triolet.testing.kernel import Kernel
from triolet.testing.server import MemoryServer

from .roads import served


class Moment(trio.abc.Instrument):
    """Does something before the so-many-th step of any task."""

    def __init__(self, step: int, happen: Callable[[], None]) -> None:
        self._left = step
        self._happen = happen
        self.come = False

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._left -= 1
        if self._left < 0 and not self.come:
            self.come = True
            self._happen()


class Steps(MemoryLog):
    """One that takes its time, as a log on a disk or a server does."""

    async def status(self, channel: str) -> Status:
        await trio.lowlevel.checkpoint()
        status = await super().status(channel)
        await trio.lowlevel.checkpoint()
        return status

    async def read(self, channel: str, after: Cursor, *, limit: int, max_bytes: int) -> Page:
        await trio.lowlevel.checkpoint()
        page = await super().read(channel, after, limit=limit, max_bytes=max_bytes)
        await trio.lowlevel.checkpoint()
        return page


class Shop:
    """An app in which each subject has a channel of its own, until it has it no more.

    Attributes:
        revokes: what names it: a whole subject, its channel, or the session that it would go on with.
        gone: those whom ``live.identify`` refuses, or the view.
    """

    def __init__(self, revokes: str = "subject", *, view: bool = True, **route: Any) -> None:
        self.revokes = revokes
        self.app = QuartTrio("orders")
        self.live = live = Triolet(self.app, log=Steps())
        self.gone: set[str] = set()

        @live.identify
        async def identity_of(token: str | None) -> Identity | None:
            await trio.lowlevel.checkpoint()
            if self.revokes != "channel":
                self.check(token)
            await trio.lowlevel.checkpoint()
            return None if token is None else Identity(token.partition(".")[0], token)

        @live.channel("/orders/<name>/events", **route)
        async def events(name: str) -> str:
            await trio.lowlevel.checkpoint()
            if view:
                self.check(name)
            await trio.lowlevel.checkpoint()
            return f"orders/{name}"

        @live.socket("/live")
        async def handle(conn: Connection) -> None:
            async for name in conn:
                if name not in self.gone:
                    await conn.follow(f"orders/{name}", 0)

    def check(self, name: str | None) -> None:
        if name in self.gone:
            abort(403)

    async def tell(self, name: str) -> None:
        await self.live.publish(f"orders/{name}", "secret")

    def revoke(self, name: str) -> None:
        session = f"{name}.new"
        self.gone.add(session if self.revokes == "session" else name)
        named = {
            "subject": Revocation(name),
            "channel": Revocation(name, channel=f"orders/{name}"),
            "session": Revocation(session=session),
        }
        self.live.service.life.revoker.apply(named[self.revokes])


Scenario = Callable[[Shop, MemoryServer, str], Awaitable[None]]


async def connect_websocket(shop: Shop, server: MemoryServer, name: str) -> None:
    with suppress(RefusedError, trio.BrokenResourceError, AssertionError):
        async with server.websocket(f"/orders/{name}/events", headers=bearer(name), after=0) as client:
            await client.until("live")
            await shop.tell(name)
            await trio.sleep(1)


async def connect_events(shop: Shop, server: MemoryServer, name: str) -> None:
    with suppress(RefusedError, trio.BrokenResourceError, AssertionError):
        async with server.sse(f"/orders/{name}/events", headers=bearer(name), after=0) as client:
            await client.until("live")
            await shop.tell(name)
            await trio.sleep(1)


async def poll_long(shop: Shop, server: MemoryServer, name: str) -> None:
    async def ask() -> None:
        with suppress(trio.BrokenResourceError):
            answer = await server.request("GET", f"/orders/{name}/events?wait=5", bearer(name))
            assert answer.status in (200, 403)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        await shop.tell(name)


async def poll_short(shop: Shop, server: MemoryServer, name: str) -> None:
    with suppress(trio.BrokenResourceError):
        answer = await server.request("GET", f"/orders/{name}/events?after=0", bearer(name))
        assert answer.status in (200, 403)


async def follow_url(shop: Shop, server: MemoryServer, name: str) -> None:
    async with server.websocket("/live", headers=bearer(name)) as client:
        await client.say(type="follow", url=f"/orders/{name}/events?after=0")
        await wait_all_tasks_blocked()
        await shop.tell(name)
        await trio.sleep(1)
        assert client.closed in stays(server)


async def follow_by_handler(shop: Shop, server: MemoryServer, name: str) -> None:
    async with server.websocket("/live", headers=bearer(name)) as client:
        await client.say(type="message", data=name)
        await wait_all_tasks_blocked()
        await shop.tell(name)
        await trio.sleep(1)
        assert client.closed in stays(server)


def stays(server: MemoryServer) -> tuple[str | None, ...]:
    """How a socket is that has lost a channel: open; but behind middleware what waits in the buffer may be an event."""
    return (None,) if "asgi_app" not in vars(server.app) else (None, "reset: reset by the peer")


def bearer(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {name}"}


async def explore(shop: Shop, server: MemoryServer, scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> int:
    """Play a scenario once for each of its steps, with a subject of its own, and return how many there are."""
    late: list[bytes] = []
    moment: Moment | None = None
    send = Kernel.send

    def watched(kernel: Kernel, data: Any) -> int:
        taken = send(kernel, data)
        if moment is not None and moment.come and shop.revokes != "session" and b"secret" in bytes(data)[:taken]:
            late.append(bytes(data)[:taken])
        return taken

    monkeypatch.setattr(Kernel, "send", watched)
    step = 0
    while True:
        name = f"a{step}"
        await shop.tell(name)
        moment = Moment(step, partial(shop.revoke, name))
        trio.lowlevel.add_instrument(moment)
        try:
            await scenario(shop, server, name)
            come = moment.come
        finally:
            trio.lowlevel.remove_instrument(moment)
        await wait_all_tasks_blocked()
        assert not late, f"after the revocation before step {step}: {late}"
        moment = None
        if not come:
            return step
        step += 1


CONNECTS: dict[str, Scenario] = {
    "websocket": connect_websocket,
    "sse": connect_events,
    "long poll": poll_long,
    "short poll": poll_short,
}


@pytest.mark.parametrize("road", ["direct", "asgi"])
@pytest.mark.parametrize("transport", CONNECTS)
async def test_a_connect_or_poll(
    transport: str, road: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop()
    async with served(shop.app, road) as server:
        assert await explore(shop, server, CONNECTS[transport], monkeypatch) > 20


@pytest.mark.parametrize("road", ["direct", "asgi"])
@pytest.mark.parametrize("scenario", [follow_url, follow_by_handler])
async def test_a_follow(
    scenario: Scenario, road: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop("channel")
    async with served(shop.app, road) as server:
        assert await explore(shop, server, scenario, monkeypatch) > 20


@pytest.mark.parametrize("road", ["direct", "asgi"])
async def test_a_ticket(road: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(view=False)

    async def use_ticket(shop: Shop, server: MemoryServer, name: str) -> None:
        answer = await server.request("POST", "/triolet/ticket", bearer(name))
        if answer.status == 200:
            with suppress(RefusedError, trio.BrokenResourceError, AssertionError):
                async with server.sse(f"/orders/{name}/events?ticket={answer.json['ticket']}", after=0) as client:
                    await client.until("live")
                    await shop.tell(name)
                    await trio.sleep(1)

    async with served(shop.app, road) as server:
        assert await explore(shop, server, use_ticket, monkeypatch) > 40


@pytest.mark.parametrize("road", ["direct", "asgi"])
async def test_a_renewal_with_a_session_that_is_revoked_meanwhile(
    road: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop("session")
    outcomes = set()

    async def renew(shop: Shop, server: MemoryServer, name: str) -> None:
        headers = bearer(f"{name}.old")
        async with server.websocket(f"/orders/{name}/events", headers=headers) as client:
            await client.until("live")
            await client.say(type="auth", token=f"{name}.new")
            await wait_all_tasks_blocked()
            connections = shop.live.service.context.registry.open.values()
            renewed = [conn.identity == Identity(name, f"{name}.new") for conn in connections if conn.closing is None]
            outcomes.add((f"{name}.new" in shop.gone, *renewed))
            await trio.sleep(1)

    async with served(shop.app, road) as server:
        assert await explore(shop, server, renew, monkeypatch) > 40
    # Refused, or ended; and not revoked before it took effect.
    assert outcomes == {(True, False), (True,), (False, True)}


async def test_rechecks(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(recheck=1)

    async def stay(shop: Shop, server: MemoryServer, name: str) -> None:
        with suppress(RefusedError, trio.BrokenResourceError, AssertionError):
            async with server.sse(f"/orders/{name}/events", headers=bearer(name), after=0) as client:
                await client.until("live")
                for _ in range(3):
                    await trio.sleep(1)
                    await shop.tell(name)

    async with served(shop.app, "direct") as server:
        assert await explore(shop, server, stay, monkeypatch) > 50
