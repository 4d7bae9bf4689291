"""An event's key is told over every transport, with a fold or without."""

from __future__ import annotations

import pytest
from quart_trio import QuartTrio
from trio.testing import MockClock

from triolet import Triolet
from triolet.testing import serve
from triolet.testing.clients import TRANSPORTS


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_key_is_told_with_a_fold_and_without(transport: str, autojump_clock: MockClock) -> None:
    app = QuartTrio(__name__)
    live = Triolet(app, log="memory:")

    @live.channel("/cars/events")
    async def cars() -> str:
        return "cars"

    async with serve(app) as server:
        await live.publish("cars", 1, key="red")
        await live.publish("cars", 2, key="blue", fold="sum")
        await live.publish("cars", 3)
        async with server.client(transport, "/cars/events", after="0") as client:
            told = [await client.expect(data=data) for data in (1, 2, 3)]
            assert [(event.get("key"), event.get("fold")) for event in told] == [
                ("red", None),
                ("blue", "sum"),
                (None, None),
            ]
