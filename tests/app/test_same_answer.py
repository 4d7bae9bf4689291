"""A channel that is not there and one that is forbidden are told apart by nobody: the same answer, after as many steps."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from quart import abort
from quart_trio import QuartTrio
from trio.testing import MockClock, wait_all_tasks_blocked

from triolet import Identity, Triolet
from triolet.testing.kernel import Kernel

from .roads import ROADS, ask, served

ANN = {"authorization": "Bearer ann"}


def make_app() -> QuartTrio:
    app = QuartTrio("orders")
    live = Triolet(app)

    @live.identify
    async def identity_of(token: str | None) -> Identity | None:
        return None if token is None else Identity(token)

    @live.channel("/orders/<order_id>/events", recheck=60, allow=lambda event, identity: True)
    async def events(order_id: str) -> str:
        await trio.lowlevel.checkpoint()
        if order_id != "ann":
            abort(404)  # of somebody else, or of nobody: as an app says it that keeps to this
        return f"orders/{order_id}"

    @live.channel("/rooms/<room_id>")
    async def room(room_id: str) -> str:
        await trio.lowlevel.checkpoint()
        abort(403 if room_id == "ben" else 404)

    live.socket("/live")
    return app


class Steps(trio.abc.Instrument):
    """Counts the steps of all tasks."""

    def __init__(self) -> None:
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1


TIMES = 60
"""As often each is done: the scheduler's order makes a step more or less of it, whichever it is."""


async def watched(happen: Callable[[], Awaitable[Any]], patch: pytest.MonkeyPatch) -> tuple[int, set[bytes]]:
    """How many steps something takes at least, and what is sent meanwhile by both sides, without dates."""
    seen = [await _watched(happen, patch) for _ in range(TIMES)]
    return min(steps for steps, _ in seen), {plain(wire) for _, wire in seen}


async def _watched(happen: Callable[[], Awaitable[Any]], patch: pytest.MonkeyPatch) -> tuple[int, bytes]:
    sent: list[bytes] = []
    send = Kernel.send

    def watch(kernel: Kernel, data: Any) -> int:
        taken = send(kernel, data)
        sent.append(bytes(data)[:taken])
        return taken

    await wait_all_tasks_blocked()
    steps = Steps()
    with patch.context() as patched:
        patched.setattr(Kernel, "send", watch)
        trio.lowlevel.add_instrument(steps)
        await happen()
        await wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(steps)
    return steps.count, b"".join(sent)


def plain(wire: bytes) -> bytes:
    wire = re.sub(rb"(?i)(date|sec-websocket-key|host): [^\r]*\r\n", b"", wire)
    return wire.replace(b"/ben", b"/eve")


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("transport", ["websocket", "sse", "long poll", "short poll"])
async def test_a_request(transport: str, road: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(make_app(), road) as server:
        await ask(server, transport, "/orders/eve/events", ANN)  # what is made once is made now
        absent = await watched(lambda: ask(server, transport, "/orders/eve/events", ANN), monkeypatch)
        forbidden = await watched(lambda: ask(server, transport, "/orders/ben/events", ANN), monkeypatch)
    assert absent == forbidden
    assert all(b" 404 " in wire for wire in absent[1])


@pytest.mark.parametrize("road", ROADS)
async def test_a_follow_even_where_the_view_says_which(
    road: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(make_app(), road) as server, server.websocket("/live", headers=ANN) as client:
        await client.until("open")

        async def follow(url: str) -> None:
            await client.say(type="follow", url=url)
            assert await client.until("refused") == {"type": "refused", "url": url}

        await follow("/rooms/eve")
        absent, _ = await watched(lambda: follow("/rooms/eve"), monkeypatch)
        forbidden, _ = await watched(lambda: follow("/rooms/ben"), monkeypatch)
    assert absent == forbidden
