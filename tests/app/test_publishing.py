"""Publishing: in a served app, in a script, in batches; and what is announced to nobody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.shop import ORDER, ORDERS, make_shop
from triolet import (
    ChannelNameError,
    ConfigError,
    DataError,
    Draft,
    Event,
    Limits,
    LogBusy,
    LogFull,
    NotServingError,
    Triolet,
)
from triolet.log import MemoryLog
from triolet.testing.server import serve


@pytest.mark.parametrize("when", ["no app", "before", "after"])
async def test_publishing_while_nobody_serves_raises(when: str, autojump_clock: MockClock) -> None:
    if when == "no app":
        live = Triolet()
    else:
        app, live = make_shop()
    if when == "after":
        async with serve(app):
            pass
    with pytest.raises(NotServingError):
        await live.publish(ORDER, 1)


async def test_a_script_publishes_without_a_server(autojump_clock: MockClock) -> None:
    async with Triolet() as live:
        event = await live.publish(ORDER, {"state": "paid"}, name="order-status", key="A123")
        assert (event.channel, event.name, event.key, event.offset) == (ORDER, "order-status", "A123", 1)
        page = await live.log.read(ORDER, event.cursor, limit=10, max_bytes=1_000)
        assert page.events == ()
    with pytest.raises(NotServingError):
        await live.publish(ORDER, 1)
    async with live:
        await live.publish(ORDER, 1)


async def test_what_a_script_raises_comes_out_as_it_is(autojump_clock: MockClock) -> None:
    with pytest.raises(ZeroDivisionError):
        async with Triolet():
            raise ZeroDivisionError
    with pytest.raises(DataError):
        async with Triolet() as live:
            await live.publish(ORDER, object())
    _app, live = make_shop()
    with pytest.raises(ConfigError, match="has an app"):
        async with live:
            pass


async def test_a_log_that_cannot_be_opened_is_the_scripts_error(autojump_clock: MockClock) -> None:
    with pytest.raises(ConfigError, match="names no log"):
        async with Triolet(log="mysql://somewhere"):
            pass


async def test_a_batch_is_published_in_order_data_and_drafts(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, server.websocket(ORDERS) as client:
        await client.until("live")
        drafts: Sequence[Any] = [1, Draft.of(2, name="two", key="k"), {"three": 3}]
        events = await live.publish_many(ORDER, drafts)
        assert [event.offset for event in events] == [1, 2, 3]
        heard = [await client.event() for _ in range(3)]
        assert [message["data"] for message in heard] == [1, 2, {"three": 3}]
        assert (heard[1]["event"], heard[1]["key"]) == ("two", "k")
        assert await live.publish_many(ORDER, []) == []


async def test_a_repeated_publish_returns_the_first_event_and_is_heard_once(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, server.websocket(ORDERS) as client:
        await client.until("live")
        first = await live.publish(ORDER, "first", dedupe="pay-1")
        assert await live.publish(ORDER, "again", dedupe="pay-1") == first
        assert (await live.publish("other", "elsewhere", dedupe="pay-1")).data == "elsewhere"
        await live.publish(ORDER, "second")
        assert [(await client.event())["data"] for _ in range(2)] == ["first", "second"]


@pytest.mark.parametrize(
    ("channel", "data", "options", "error"),
    [
        ("", 1, {}, ChannelNameError),
        ("a\nb", 1, {}, ChannelNameError),
        (ORDER, object(), {}, DataError),
        (ORDER, "x" * 100, {}, DataError),
        (ORDER, 1, {"name": "a\rb"}, DataError),
        (ORDER, 1, {"name": "triolet.bye"}, DataError),
        (ORDER, 1, {"key": ""}, DataError),
    ],
)
async def test_what_cannot_be_published_is_announced_to_nobody(
    channel: str, data: Any, options: dict[str, str], error: type[Exception], autojump_clock: MockClock
) -> None:
    app, live = make_shop(Limits(event_bytes=50))
    async with serve(app) as server, server.websocket(ORDERS) as client:
        await client.until("live")
        with pytest.raises(error):
            await live.publish(channel, data, **options)
        with pytest.raises(error):
            await live.publish_many(channel, [Draft.of(1), Draft.of(data, **options)])
        await live.publish(ORDER, "fine")
        event = await client.event()
        assert (event["data"], event["id"].rpartition(".")[2]) == ("fine", "1")


@pytest.mark.parametrize("error", [LogFull("no room on the disk"), LogBusy("locked by another")])
async def test_an_append_that_fails_raises_and_is_announced_to_nobody(
    error: Exception, autojump_clock: MockClock
) -> None:
    class FailingLog(MemoryLog):
        failing = True

        async def append(self, channel: str, drafts: Sequence[Draft]) -> list[Event]:
            if self.failing:
                raise type(error)(*error.args)
            return await super().append(channel, drafts)

    log = FailingLog()
    app, live = make_shop(log=log)
    async with serve(app) as server, server.websocket(ORDERS) as client:
        await client.until("live")
        with pytest.raises(type(error)):
            await live.publish(ORDER, "lost")
        log.failing = False
        await live.publish(ORDER, "kept")
        assert (await client.event())["data"] == "kept"
        assert trio.current_time() == 0
