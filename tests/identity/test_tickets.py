"""A ticket stands in a URL, is good once over all processes and for half a minute, and is seen by nobody else."""

from __future__ import annotations

import logging
import secrets
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from quart import request
from quart_trio import QuartTrio
from trio.testing import MockClock

from triolet import ConfigError, Connection, DataError, EventLog, Identity, Limits, LogError, Triolet
from triolet.clock import wall_time
from triolet.identity import tickets
from triolet.log.memory import MemoryLog
from triolet.testing.server import MemoryServer

from ..app.roads import ask
from .shop import ORDERS, PATHS, Shared, bearer, make_shop, post, served, token

TRANSPORTS = ["websocket", "sse", "long poll", "short poll"]
CANARY = "canary-7f3e"


def with_ticket(url: str, ticket: str) -> str:
    return f"{url}?ticket={ticket}"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_ticket_lets_in_once_whatever_asks(transport: str, path: str, autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with served(app, path) as server:
        ticket = await live.ticket(Identity("ann"))
        good = 101 if transport == "websocket" else 200
        if transport == "sse":
            async with server.events(with_ticket(ORDERS, ticket)) as stream:
                assert stream.status == good
        else:
            assert (await ask(server, transport, with_ticket(ORDERS, ticket))).status == good
        again = await ask(server, transport, with_ticket(ORDERS, ticket))
        unknown = await ask(server, transport, with_ticket(ORDERS, "no-such-ticket"))
        old = await live.ticket(Identity("ann"))
        await trio.sleep(31)
        late = await ask(server, transport, with_ticket(ORDERS, old))
        assert {answer.status for answer in (again, unknown, late)} == {401}
        assert again.body == unknown.body == late.body
        assert live.statistics().counts.authentications["ticket"] >= 3


async def test_of_a_hundred_that_use_it_in_one_moment_on_two_processes_one_is_let_in(
    autojump_clock: MockClock,
) -> None:
    (one, live), (other, _) = make_shop(), make_shop()
    log = MemoryLog(Limits())
    statuses: list[int] = []

    async def use(server: MemoryServer, ticket: str) -> None:
        statuses.append((await server.get(with_ticket(ORDERS, ticket))).status)

    async with log.open():
        for app in (one, other):
            app.extensions["triolet"].make_log = lambda: Shared(log)
        async with served(one) as here, served(other) as there:
            async with one.app_context():
                ticket = await live.ticket(Identity("ann"))
            async with trio.open_nursery() as nursery:
                for n in range(100):
                    nursery.start_soon(use, (here, there)[n % 2], ticket)
    assert sorted(statuses) == [200] + 99 * [401]


@pytest.mark.parametrize("path", ["http1", "http2", "middleware", "hypercorn"])
async def test_a_client_gets_one_with_its_credential(path: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with served(app, path) as server:
        answer = await post(server, "/triolet/ticket", bearer("ann"))
        assert (answer.status, answer.json["in"]) == (200, 30_000)
        assert answer.headers["cache-control"] == "no-store"
        assert len(answer.json["ticket"]) == 43
        async with server.websocket(with_ticket("/who", answer.json["ticket"])) as client:
            await client.say(type="message", data=None)
            await client.expect("message", data="ann")
        assert (await server.post("/triolet/ticket")).status == 401
        assert (await post(server, "/triolet/ticket", bearer("bad"))).status == 401
        assert (
            await post(server, "/triolet/ticket", {**bearer("ann"), "origin": "https://evil.example"})
        ).status == 403


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_an_identity_that_came_by_ticket_ends_as_any_and_is_renewed_as_any(
    transport: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop()
    async with served(app) as server:
        ticket = await live.ticket(Identity("ann", expires_at=wall_time() + 40))
        client: Any
        async with server.client(transport, with_ticket(ORDERS, ticket)) as client:
            warning = await client.until("expiring")
            if transport == "sse":
                answer = await post(server, "/triolet/renew", bearer("ann", 60), {"key": warning["key"]})
                assert answer.status == 204
            else:
                await client.say(type="auth", token=token("ann", 60))
            await client.expect("renewed")
            await client.until("bye", within=100)


async def test_a_header_counts_before_a_ticket_which_stays_good(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with served(app) as server:
        ticket = await live.ticket(Identity("ann"))
        assert (await server.request("GET", with_ticket(ORDERS, ticket), bearer("bad"))).status == 401
        assert (await server.request("GET", with_ticket(ORDERS, ticket), bearer("bob"))).status == 200
        assert (await server.get(with_ticket(ORDERS, ticket))).status == 200


@pytest.mark.parametrize("path", PATHS)
async def test_neither_ticket_nor_token_is_seen_anywhere(
    path: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("triolet", "quart", "hypercorn"):
        caplog.set_level(logging.DEBUG, name)
    seen: list[Any] = []
    app = QuartTrio("orders")
    live = Triolet(app)

    @live.identify
    async def who(token: str | None) -> Identity | None:
        return Identity("ann", claims={"secret": CANARY})

    @live.channel("/orders")
    async def orders() -> str:
        seen.append((request.url, dict(request.args), request.query_string, request.full_path))
        return "orders"

    @live.socket("/live")
    async def handle(conn: Connection) -> None:
        assert conn.request is not None
        seen.append((conn.request.url, dict(conn.request.args), repr(conn.request), repr(conn.identity)))
        seen.append(str(live.explain(conn)))
        async for _ in conn:
            raise RuntimeError("a bug")

    drawn = SimpleNamespace(token_urlsafe=lambda size: CANARY, token_bytes=secrets.token_bytes)
    monkeypatch.setattr(tickets, "secrets", drawn)
    settings: dict[str, Any] = {} if path == "hypercorn" else {"access_log": True}
    async with served(app, path, **settings) as server:
        await live.ticket(Identity("ann", claims={"secret": CANARY}))
        url = f"/orders?a=1&ticket={CANARY}&b=2"
        assert (await server.get(url)).status == 200
        assert (await server.get(url)).status == 401
        await trio.sleep(100)
        await live.ticket(Identity("ann", claims={"secret": CANARY}))
        async with server.websocket(f"/live?ticket={CANARY}") as client:
            await client.say(type="auth", token=CANARY)
            await client.say(type="follow", url="/orders")
            await client.say(type="message", data=1)
            while await client.next() is not None:
                pass
        for transport in ("websocket", "sse"):
            headers = {"authorization": f"Bearer {CANARY}"}
            async with server.client(transport, "/orders", headers=headers) as other:
                await other.until("live")
        seen.append((live.statistics(), live.service.exposition(), live.connections()))
        seen.append([str(live.explain(ended.id)) for ended in live.service._registry.ended])
    assert seen[0][1:] == ({"a": "1", "b": "2"}, b"a=1&b=2", "/orders?a=1&b=2")
    assert not [one for one in seen if CANARY in repr(one)]
    assert CANARY not in caplog.text
    if path != "hypercorn":
        assert '"GET /orders" 200' in caplog.text


async def test_an_app_that_knows_nobody_keeps_its_own_ticket(autojump_clock: MockClock) -> None:
    app = QuartTrio("orders")
    live = Triolet(app)
    seen: list[str | None] = []

    @live.channel("/orders")
    async def orders() -> str:
        seen.append(request.args.get("ticket"))
        return "orders"

    async with served(app) as server:
        assert (await server.get("/orders?ticket=17")).status == 200
    assert seen == ["17"]


@pytest.mark.parametrize("seconds", [0, -1, 31, float("nan"), True, "30"])
async def test_a_ticket_lasts_half_a_minute_at_most(seconds: Any, autojump_clock: MockClock) -> None:
    _, live = make_shop()
    with pytest.raises(ConfigError, match="a ticket is good for at most 30 seconds"):
        await live.ticket(Identity("ann"), seconds)


async def test_claims_that_are_no_json_make_no_ticket(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with served(app):
        with pytest.raises(DataError, match="claims"):
            await live.ticket(Identity("ann", claims={"secret": object()}))
        with pytest.raises(DataError, match="a ticket is for an Identity, not str"):
            await live.ticket("ann")  # type: ignore[arg-type]  # the mistake is meant


async def test_a_log_that_is_away_is_no_bad_ticket(autojump_clock: MockClock) -> None:
    class Away(MemoryLog):
        async def claim(self, *args: Any, **options: Any) -> Any:
            raise LogError("away")

    app, live = make_shop(log=Away(Limits()))
    async with served(app) as server:
        with pytest.raises(LogError):
            await live.ticket(Identity("ann"))
        assert (await server.get(with_ticket(ORDERS, "x"))).status == 503
        assert (await post(server, "/triolet/ticket", bearer("ann"))).status == 503


async def test_a_log_of_ones_own_that_keeps_none_refuses_all(autojump_clock: MockClock) -> None:
    class Plain(MemoryLog):
        commit, claim = EventLog.commit, EventLog.claim

    app, live = make_shop(log=Plain(Limits()))
    async with served(app) as server:
        with pytest.raises(ConfigError):
            await live.ticket(Identity("ann"))
        assert (await server.get(with_ticket(ORDERS, "x"))).status == 401


async def test_a_log_keeps_nothing_of_those_that_are_unknown(autojump_clock: MockClock) -> None:
    log = MemoryLog(Limits())
    async with log.open():
        for n in range(100):
            assert await tickets.redeem(log, f"no such ticket {n}", 0.0) is None
        assert not log._answers._claims
