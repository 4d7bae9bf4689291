"""A channel that is not there and one that is forbidden: the same answer, after as many steps of who decides."""

from __future__ import annotations

import re
from collections import Counter
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

TIMES = 8
"""The scheduler's order is another one each time."""

ANN = {"authorization": "Bearer ann"}


def make_app(asked: Callable[[], None]) -> QuartTrio:
    app = QuartTrio("orders")
    live = Triolet(app)

    @live.identify
    async def identity_of(token: str | None) -> Identity | None:
        return None if token is None else Identity(token)

    @live.channel("/orders/<order_id>/events", recheck=60, allow=lambda event, identity: True)
    async def events(order_id: str) -> str:
        asked()
        await trio.lowlevel.checkpoint()
        if order_id != "ann":
            abort(404)  # of somebody else, or of nobody: as an app says it that keeps to this
        return f"orders/{order_id}"

    @live.channel("/rooms/<room_id>")
    async def room(room_id: str) -> str:
        asked()
        await trio.lowlevel.checkpoint()
        abort(403 if room_id == "ben" else 404)

    live.socket("/live")
    return app


class Steps(trio.abc.Instrument):
    """Counts the steps of each task."""

    def __init__(self) -> None:
        self.counts: Counter[trio.lowlevel.Task] = Counter()
        self.asked: list[tuple[trio.lowlevel.Task, int]] = []
        self.said: dict[trio.lowlevel.Task, int] = {}

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.counts[task] += 1


class Watch:
    """Watches what a question costs, and what is said."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self._steps = Steps()

    def asked(self) -> None:
        """A view is being asked."""
        task = trio.lowlevel.current_task()
        self._steps.asked.append((task, self._steps.counts[task]))

    async def __call__(self, happen: Callable[[], Awaitable[Any]]) -> tuple[list[int], bytes]:
        """How many steps each task went on that a view was asked in, up to the last that it sent, and what both sides
        sent, without dates. What a connection's task does then is to wait for the next request, or the end."""
        sent: list[bytes] = []
        send = Kernel.send

        def watch(kernel: Kernel, data: Any) -> int:
            taken = send(kernel, data)
            task = trio.lowlevel.current_task()
            self._steps.said[task] = self._steps.counts[task]
            sent.append(bytes(data)[:taken])
            return taken

        await wait_all_tasks_blocked()
        self._steps = steps = Steps()
        with self._patch.context() as patched:
            patched.setattr(Kernel, "send", watch)
            trio.lowlevel.add_instrument(steps)
            await happen()
            await wait_all_tasks_blocked()
            trio.lowlevel.remove_instrument(steps)
        assert steps.asked
        return [steps.said.get(task, steps.counts[task]) - count for task, count in steps.asked], plain(b"".join(sent))


def plain(wire: bytes) -> bytes:
    wire = re.sub(rb"(?i)(date|sec-websocket-key|host): [^\r]*\r\n", b"", wire)
    return wire.replace(b"/ben", b"/eve")


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("transport", ["websocket", "sse", "long poll", "short poll"])
async def test_a_request(transport: str, road: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watch(monkeypatch)
    async with served(make_app(watched.asked), road) as server:
        for _ in range(TIMES):
            absent = await watched(lambda: ask(server, transport, "/orders/eve/events", ANN))
            forbidden = await watched(lambda: ask(server, transport, "/orders/ben/events", ANN))
            assert absent == forbidden
            assert b" 404 " in absent[1]


@pytest.mark.parametrize("road", ROADS)
async def test_a_follow_even_where_the_view_says_which(
    road: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watch(monkeypatch)
    async with served(make_app(watched.asked), road) as server, server.websocket("/live", headers=ANN) as client:
        await client.until("open")

        async def follow(url: str) -> None:
            await client.say(type="follow", url=url)
            assert await client.until("refused") == {"type": "refused", "url": url}

        for _ in range(TIMES):
            absent, _ = await watched(lambda: follow("/rooms/eve"))
            forbidden, _ = await watched(lambda: follow("/rooms/ben"))
            assert absent == forbidden
