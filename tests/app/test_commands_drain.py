"""Commands when their server shuts down: no more are taken, those that run have a while, and the rest is given back."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from triolet.testing import MemoryServer, serve

from .warehouse import ANN, PICK, Warehouse, ask, events, two_processes


async def test_a_server_that_drains_takes_no_more_and_lets_those_that_run_end(autojump_clock: MockClock) -> None:
    first, second = Warehouse(), Warehouse()
    answers = []
    async with two_processes(first, second) as (one, other, store, _), trio.open_nursery() as nursery:

        async def run() -> None:
            answers.append(await ask(one, f"{PICK}?seconds=5"))

        async with one.websocket("/live", headers=ANN) as client:
            nursery.start_soon(run)
            await trio.sleep(1)
            one.stop.set()
            await one.worker.draining.wait()
            await client.say(type="command", id="2", url=PICK)
            await trio.lowlevel.checkpoint()
        await one.ended.wait()
        assert answers[0].status == 200
        assert (await ask(other, f"{PICK}?seconds=5")).body == answers[0].body
        assert len(await events(store)) == 1
    assert len(first.done) == 1


async def test_what_is_asked_of_a_server_that_drains_is_503(autojump_clock: MockClock) -> None:
    shop = Warehouse()
    async with serve(shop.app) as server:
        end = server.connect()
        head = f'POST {PICK} HTTP/1.1\r\nhost: test\r\nidempotency-key: "1"\r\ncontent-length: 1\r\n\r\n'
        await end.send_all(head.encode())
        await trio.sleep(1)
        server.stop.set()
        await trio.sleep(1)
        await end.send_all(b"1")
        answer = bytes(await end.receive_some())
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1" in answer
    assert shop.done == []


@pytest.mark.parametrize("carrier", ["websocket", "post"])
async def test_what_runs_for_longer_than_the_drain_is_given_back_for_others(
    carrier: str, autojump_clock: MockClock
) -> None:
    first, second = Warehouse(), Warehouse()
    async with two_processes(first, second) as (one, other, store, _), trio.open_nursery() as nursery:
        if carrier == "post":
            nursery.start_soon(partial(_without_answer, one))
            await trio.sleep(1)
        else:
            async with one.websocket("/live", headers=ANN) as client:
                await client.say(type="command", id="1", url=f"{PICK}?seconds=20")
                await trio.sleep(1)
        assert len(first.done) == 1
        one.stop.set()
        await one.ended.wait()
        # While a client is there, what clients have of the grace; after the last, what Quart leaves to the app's tasks.
        assert trio.current_time() == pytest.approx(1 + (7 if carrier == "post" else 3))
        answer = await ask(other, f"{PICK}?seconds=20")
        assert (answer.status, answer.json["times"]) == (200, 1)
        assert len(await events(store)) == 1
    assert len(second.done) == 1


async def test_what_runs_when_the_last_client_has_gone_has_a_while_to_end(autojump_clock: MockClock) -> None:
    first, second = Warehouse(), Warehouse()
    ended: list[float] = []

    @first.app.after_serving
    async def close_what_commands_use() -> None:
        ended.append(trio.current_time())

    @first.app.while_serving
    async def hold_what_commands_use() -> AsyncGenerator[None, None]:
        yield
        ended.append(trio.current_time())

    async with two_processes(first, second) as (one, other, store, _):
        async with one.websocket("/live", headers=ANN) as client:
            await client.say(type="command", id="1", url=f"{PICK}?seconds=3")
            await trio.sleep(1)
        one.stop.set()
        await one.ended.wait()
        assert ended == [pytest.approx(3)] * 2
        assert (await ask(other, f"{PICK}?seconds=3")).headers["idempotency-replayed"] == "true"
        assert len(await events(store)) == 1


async def _without_answer(server: MemoryServer) -> None:
    with pytest.raises(trio.BrokenResourceError):
        await ask(server, f"{PICK}?seconds=20")
