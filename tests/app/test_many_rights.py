"""Who may follow what of many channels, and what is taken away: by the clock, by the app, and by a view asked again."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from quart import abort, request
from quart_trio import QuartTrio
from trio.testing import MockClock

from triolet import Identity, Limits, Triolet
from triolet.closing import RESTARTING
from triolet.testing.clients import POLLS
from triolet.testing.http import Answer, RefusedError
from triolet.testing.server import MemoryServer, serve

from .roads import ROADS, served

ANN = {"authorization": "Bearer ann"}
A, B = "/orders/A", "/orders/B"
BOTH = f"/live?follow={A}&follow={B}"


class Shop:
    """Orders that members follow, while the app lets them."""

    def __init__(self, limits: Limits | None = None, expires: float | None = None) -> None:
        self.refuses: set[str] = set()
        self.identified = 0
        self.app = QuartTrio("orders")
        self.live = live = Triolet(self.app, limits=limits)

        @live.identify
        async def identity_of(token: str | None) -> Identity | None:
            self.identified += 1
            if token is None:
                return None
            return Identity(token, expires_at=None if expires is None else live.service.context.now() + expires)

        @live.channel("/orders/<name>", recheck=10, member=lambda name: "ann")
        async def order(name: str) -> str:
            identity = await live.identity()
            if name in self.refuses or identity is None:
                abort(403)
            return f"orders/{name}"

        live.socket("/live")


async def at(server: MemoryServer, answers: list[Answer], path: str = BOTH + "&wait=25") -> None:
    answers.append(await server.get(path, **ANN))


@pytest.mark.parametrize("road", ROADS)
async def test_each_is_allowed_by_its_own_view_with_the_connections_identity(
    road: str, autojump_clock: MockClock
) -> None:
    shop = Shop()
    shop.refuses.add("B")
    async with served(shop.app, road) as server:
        async with server.sse("/live", follow=[A, B], headers=ANN) as client:
            await client.pick(lambda message: message.get("url") == B and message["type"] == "refused", "B is refused")
            await client.until("live")
            assert shop.identified == 1
            await shop.live.publish("orders/A", 1)
            assert (await client.until("event"))["data"] == 1
        assert (await server.get(BOTH)).status == 403
        assert (await server.get(BOTH, **ANN)).json["refused"] == [{"type": "refused", "url": B}]


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize(
    "what", [{"channel": "orders/A"}, {"url": A}, {"subject": "ann", "channel": "orders/A"}, {"channels": "*/A"}]
)
async def test_what_is_revoked_of_one_channel_is_taken_away_alone(
    what: dict[str, str], road: str, autojump_clock: MockClock
) -> None:
    shop = Shop()
    async with served(shop.app, road) as server, server.sse("/live", follow=[A, B], headers=ANN) as client:
        for _ in range(2):
            await client.until("live")
        await shop.live.revoke(**what)
        assert await client.until("refused") == {"type": "refused", "url": A, "channel": "orders/A"}
        await shop.live.publish("orders/A", "secret")
        await shop.live.publish("orders/B", 1)
        assert (await client.until("event"))["data"] == 1
        assert server.followers == 1
        await shop.live.revoke(channel="orders/B")
        assert (await client.until("bye"))["code"] == 4403
        assert await client.next() is None
        assert "secret" not in client.dialogue()


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("what", [{"subject": "ann"}, {"url": "/live"}])
async def test_a_revocation_of_the_whole_ends_the_stream(
    what: dict[str, str], road: str, autojump_clock: MockClock
) -> None:
    shop = Shop()
    async with served(shop.app, road) as server, server.sse("/live", follow=[A, B], headers=ANN) as client:
        for _ in range(2):
            await client.until("live")
        await shop.live.revoke(**what)
        assert (await client.until("bye"))["code"] == 4403


@pytest.mark.parametrize("road", ROADS)
async def test_a_poll_goes_on_with_what_is_left(road: str, autojump_clock: MockClock) -> None:
    shop = Shop()
    answers: list[Answer] = []
    async with served(shop.app, road) as server:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(at, server, answers)
            await trio.sleep(3)
            await shop.live.revoke(channel="orders/A")
        assert trio.current_time() == 3
        (answer,) = answers
        assert answer.status == 200
        assert answer.json["refused"] == [{"type": "refused", "url": A, "channel": "orders/A"}]
        assert [one["channel"] for one in answer.json["follows"]] == ["orders/B"]
        for what in ({"url": A}, {"channel": "orders/B"}), ({"subject": "ann"},), ({"url": "/live"},):
            answers.clear()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(at, server, answers)
                await trio.sleep(3)
                for one in what:
                    await shop.live.revoke(**one)
            status = 403 if len(what) == 1 else 200
            assert answers[0].status == status
        answers.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(at, server, answers, f"/live?follow={A}&wait=25")
            await trio.sleep(3)
            await shop.live.revoke(channel="orders/A")
        assert (answers[0].status, answers[0].json["error"]) == (403, "revoked")


@pytest.mark.parametrize("transport", ["sse", *POLLS])
@pytest.mark.parametrize("taken", [["orders/A"], ["orders/A", "orders/B"]])
async def test_what_is_revoked_while_it_is_decided_is_not_followed(
    transport: str, taken: list[str], autojump_clock: MockClock
) -> None:
    shop = Shop()
    shop.live.channel("/slow", endpoint="slow")(_slow)
    async with serve(shop.app) as server, trio.open_nursery() as nursery:

        async def revoke() -> None:
            await trio.sleep(1)
            for channel in taken:
                await shop.live.revoke(channel=channel)

        nursery.start_soon(revoke)
        client = server.client(transport, "/live", follow=[A, B, "/slow"], headers=ANN)
        async with client:
            for channel in taken:
                message = await client.until("refused")
                assert message["channel"] == channel
            for channel in ("orders/A", "orders/B", "slow"):
                await shop.live.publish(channel, channel)
            await trio.sleep(5)
            while (await client.until("event"))["channel"] != "slow":
                pass
            assert {event["channel"] for event in client.events}.isdisjoint(taken)


async def _slow() -> str:
    await trio.sleep(2)
    return "slow"


@pytest.mark.parametrize("transport", ["sse", *POLLS])
async def test_where_all_is_revoked_while_it_is_decided_nothing_is_let_in(
    transport: str, autojump_clock: MockClock
) -> None:
    shop = Shop()
    shop.live.channel("/slow", endpoint="slow")(_slow)
    async with serve(shop.app) as server:
        async with trio.open_nursery() as nursery:

            async def revoke() -> None:
                await trio.sleep(1)
                for channel in ("orders/A", "slow"):
                    await shop.live.revoke(channel=channel)

            nursery.start_soon(revoke)
            with pytest.raises(RefusedError) as refusal:
                async with server.client(transport, "/live", follow=[A, "/slow"], headers=ANN):
                    pass
        assert refusal.value.status == 403
        await trio.sleep(5)
        assert (server.connections, server.followers) == (0, 0)


@pytest.mark.parametrize("road", ROADS)
async def test_a_view_that_is_asked_again_takes_its_own_channel(road: str, autojump_clock: MockClock) -> None:
    shop = Shop()
    async with served(shop.app, road) as server, server.sse("/live", follow=[A, B], headers=ANN) as client:
        for _ in range(2):
            await client.until("live")
        shop.refuses.add("B")
        refused = await client.until("refused")
        assert refused == {"type": "refused", "url": B, "channel": "orders/B"}
        shop.refuses.add("A")
        assert (await client.until("bye"))["code"] == 4403


@pytest.mark.parametrize("road", ROADS)
async def test_a_stream_of_many_expires_and_is_renewed(road: str, autojump_clock: MockClock) -> None:
    shop = Shop(expires=100)
    async with served(shop.app, road) as server, server.sse("/live", follow=[A, B], headers=ANN) as client:
        warning = await client.until("expiring", within=80)
        answer = await server.request("POST", "/triolet/renew", ANN, json={"key": warning["key"]})
        assert answer.status == 204
        await client.until("renewed")
        await trio.sleep(60)
        await shop.live.publish("orders/B", 1)
        assert (await client.until("event"))["data"] == 1
        assert (await client.until("bye", within=200))["code"] == 4401


@pytest.mark.parametrize("road", ROADS)
async def test_a_poll_of_many_ends_with_its_identity(road: str, autojump_clock: MockClock) -> None:
    shop = Shop(expires=5)
    async with served(shop.app, road) as server:
        answer = await server.get(BOTH + "&wait=25", **ANN)
        assert (answer.status, answer.json["error"]) == (401, "expired")
        assert trio.current_time() == 5


@pytest.mark.parametrize("transport", ["sse", "long poll"])
async def test_a_member_is_present_in_each_channel(transport: str, autojump_clock: MockClock) -> None:
    shop = Shop()
    async with serve(shop.app) as server:
        async with server.client(transport, "/live", follow=[A, B], headers=ANN) as client:
            await client.until("live")
            await trio.sleep(1)
            for order in "AB":
                assert list((await shop.live.presence(f"orders/{order}").roster()).members) == ["ann"]
            await shop.live.revoke(channel="orders/A")
            shop.refuses.add("A")
            await trio.sleep(60)
            assert list((await shop.live.presence("orders/A").roster()).members) == []
            assert list((await shop.live.presence("orders/B").roster()).members) == ["ann"]
        await trio.sleep(60)
        assert list((await shop.live.presence("orders/B").roster()).members) == []


@pytest.mark.parametrize("road", ROADS[:2])
async def test_a_server_that_drains_sends_all_away(road: str, autojump_clock: MockClock) -> None:
    shop = Shop()
    answers: list[Answer] = []
    async with served(shop.app, road) as server, server.sse("/live", follow=[A, B], headers=ANN) as client:
        for _ in range(2):
            await client.until("live")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(at, server, answers)
            await trio.sleep(1)
            server.stop.set()
            assert (await client.until("bye"))["code"] == 1012
        (answer,) = answers
        assert RESTARTING.retry is not None
        assert (answer.status, answer.json["events"]) == (200, [])
        assert RESTARTING.retry[0] <= answer.json["retry"] <= RESTARTING.retry[1]


async def test_pages_of_other_origins_are_held_to_the_same(autojump_clock: MockClock) -> None:
    shop = Shop()
    async with serve(shop.app) as server:
        for accept in ("text/event-stream", "*/*"):
            answer = await server.get(BOTH, accept=accept, origin="http://evil.example", **ANN)
            assert (answer.status, answer.json["error"]) == (403, "origin")
        assert shop.identified == 0


async def test_the_view_of_the_socket_itself_is_asked_first(autojump_clock: MockClock) -> None:
    shop = Shop()

    @shop.app.before_request
    async def closed() -> Any:

        return ("closed", 418) if request.path == "/live" else None

    async with serve(shop.app) as server:
        assert (await server.get(BOTH, **ANN)).status == 418


async def test_a_client_that_reads_nothing_is_held_to_the_bounds_of_one(autojump_clock: MockClock) -> None:
    limits = Limits(stall_seconds=10)
    shop = Shop(limits)
    async with serve(shop.app) as server, server.events(BOTH, headers=ANN, kernel_bytes=2_000):
        for number in range(200):
            await shop.live.publish("orders/" + "AB"[number % 2], "x" * 1_000)
            await trio.sleep(0.01)
        assert shop.live.statistics().memory.held < 3 * limits.window_bytes
        await trio.sleep(20)
        assert server.followers == 0


async def test_a_ticket_lets_a_page_in(autojump_clock: MockClock) -> None:
    shop = Shop()
    async with serve(shop.app) as server:
        ticket = (await server.request("POST", "/triolet/ticket", ANN)).json["ticket"]
        async with server.events(f"{BOTH}&ticket={ticket}") as stream:
            block = await stream.block()
            assert block is not None
            assert json.loads(block["data"])["channel"] == "orders/A"
            await trio.sleep(30)
            assert server.followers == 2, "asked again, its views see the same identity"
