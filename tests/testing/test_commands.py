"""Clients of the kit that ask for a command, and ask again with the same id until it is answered."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from quart_trio import QuartTrio
from trio.testing import MockClock

from triolet import Command, Limits, Triolet
from triolet.testing import cut, half_open, serve

CARRIERS = ["websocket", "sse", "long poll", "short poll", "follow"]


def make_app(statuses: list[int], seconds: float = 5, limits: Limits | None = None) -> tuple[QuartTrio, list[str]]:
    app = QuartTrio("orders")
    live = Triolet(app, limits=limits)
    done: list[str] = []

    @live.channel("/events")
    async def events() -> str:
        return "orders"

    live.socket("/live")

    @live.command("/go")
    async def go(command: Command) -> Any:
        done.append(command.id)
        await trio.sleep(seconds)
        status = statuses.pop(0) if statuses else 200
        return {"times": len(done)}, status, {"retry-after": "7"} if status == 503 else {}

    return app, done


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_a_client_whose_connection_is_cut_asks_again_and_is_answered(
    carrier: str, autojump_clock: MockClock
) -> None:
    app, done = make_app([])
    async with serve(app) as server, server.client(carrier, "/events") as client, trio.open_nursery() as nursery:
        replies = []

        async def ask() -> None:
            replies.append(await client.command("/go", {"a": 1}))

        nursery.start_soon(ask)
        await trio.sleep(2)
        client.cut()
        await trio.sleep(10)
        assert [reply["data"] for reply in replies] == [{"times": 1}]
    assert len(done) == 1


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_an_answer_that_says_when_to_ask_again_is_asked_again_then(
    carrier: str, autojump_clock: MockClock
) -> None:
    app, done = make_app([503, 503], seconds=0)
    async with serve(app) as server, server.client(carrier, "/events") as client:
        reply = await client.command("/go")
        assert (reply["status"], reply["data"]) == (200, {"times": 3})
        assert trio.current_time() == pytest.approx(14)
        assert len(set(done)) == 1
        assert (await client.command("/go"))["data"] == {"times": 4}
    assert len(set(done)) == 2, "without an id, each has one of its own"


async def test_many_commands_of_one_client_are_answered_each_with_its_own(autojump_clock: MockClock) -> None:
    app, done = make_app([], limits=Limits(commands=4))
    async with serve(app) as server, server.websocket("/live") as client, trio.open_nursery() as nursery:
        replies: dict[str, Any] = {}

        async def ask(id: str) -> None:
            replies[id] = (await client.command("/go", None, id))["id"]

        for number in range(10):
            nursery.start_soon(ask, str(number))
        await trio.sleep(1)
        client.cut()
        await trio.sleep(30)
        assert replies == {str(number): str(number) for number in range(10)}, client.dialogue()
    assert sorted(done) == sorted(replies)


async def test_a_client_that_nobody_answers_gives_up_after_an_hour(autojump_clock: MockClock) -> None:
    app, _ = make_app([])
    async with serve(app) as server, server.sse("/events") as client:
        with half_open(client), pytest.raises(trio.TooSlowError):
            await client.command("/go")


async def test_a_client_on_a_network_that_breaks_and_comes_back_is_answered(autojump_clock: MockClock) -> None:
    app, done = make_app([])
    async with serve(app) as server, server.sse("/events") as client, trio.open_nursery() as nursery:
        replies = []

        async def ask() -> None:
            replies.append(await client.command("/go"))

        nursery.start_soon(ask)
        await trio.sleep(2)
        with cut(client):
            await trio.sleep(60)
        await trio.sleep(5)
        assert (len(replies), len(done)) == (1, 1)
