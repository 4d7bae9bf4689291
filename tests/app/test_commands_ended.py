"""A command of a client that loses what it was let in with before it has begun, and commands of several hosts."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from quart import request
from quart_trio import QuartTrio
from trio.testing import MockClock

from triolet import Command, Identity, Triolet
from triolet.clock import wall_time
from triolet.log import MemoryLog
from triolet.testing import Answer, ScriptedLog, serve, slow

from .roads import ROADS, served
from .warehouse import ANN, PICK, Warehouse, ask


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("waits", ["before its view", "for its claim"])
async def test_a_command_that_has_not_begun_when_its_client_is_revoked_is_not_done(
    waits: str, road: str, autojump_clock: MockClock
) -> None:
    log, answers = ScriptedLog(MemoryLog()), list[Answer]()
    shop = Warehouse(log=log)

    @shop.app.before_request
    async def look_up() -> None:
        if waits == "before its view":
            await shop.live.identity()
        await trio.sleep(5 if waits == "before its view" else 0)

    async with served(shop.app, road) as server:

        async def one() -> None:
            answers.append(await ask(server))

        with log.having(slow("claim", 5 if waits == "for its claim" else 0)):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one)
                await trio.sleep(2)
                await shop.live.revoke(subject="bob")
                await shop.live.revoke(subject="ann")
        assert [(answer.status, answer.json["error"]) for answer in answers] == [(403, "revoked")]
        assert shop.done == []
        assert (await ask(server)).status == 200, "the app lets it come back"


async def test_who_is_let_in_anew_while_a_revoked_command_is_given_up_has_it_done(autojump_clock: MockClock) -> None:
    shop, log, answers = Warehouse(), ScriptedLog(MemoryLog()), list[Answer]()
    async with serve(shop.app, log=log) as server:

        async def one() -> None:
            answers.append(await ask(server))

        with log.having(slow("claim", 5)):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one)
                await trio.sleep(2)
                await shop.live.revoke(subject="ann")
                nursery.start_soon(one)
            await trio.sleep(6)  # a renewal of the claim that was under way has come to its end, too
        assert sorted(answer.status for answer in answers) == [200, 403]
        assert len(shop.done) == 1


async def test_a_command_that_has_begun_is_brought_to_its_end(autojump_clock: MockClock) -> None:
    shop, answers = Warehouse(), list[Answer]()
    async with serve(shop.app) as server:

        async def one() -> None:
            answers.append(await ask(server, f"{PICK}?seconds=5"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one)
            await trio.sleep(2)
            await shop.live.revoke(subject="ann")
    assert [answer.status for answer in answers] == [200]
    assert len(shop.done) == 1


@pytest.mark.parametrize("way", ["http", "websocket"])
async def test_a_command_whose_client_expires_while_it_waits_for_its_claim_is_not_done(
    way: str, autojump_clock: MockClock
) -> None:
    app, log, done = QuartTrio("orders"), ScriptedLog(MemoryLog()), list[str]()
    live = Triolet(app)
    until = wall_time() + 3

    @live.identify
    async def who(token: str | None) -> Identity | None:
        return None if token is None else Identity(token, expires_at=until)

    live.socket("/live")

    @live.command("/pick")
    async def pick(command: Command) -> str:
        done.append(command.id)
        return "done"

    async with serve(app, log=log) as server:
        with log.having(slow("claim", 5)):
            if way == "http":
                answer = await ask(server, "/pick")
                assert (answer.status, answer.json["error"]) == (401, "expired")
                assert answer.headers["www-authenticate"].startswith("Bearer")
            else:
                async with server.websocket("/live", headers=ANN) as client:
                    await client.say(type="command", id="1", url="/pick", data=None)
                    await client.until("bye")
                    await trio.sleep(10)
    assert done == []


async def test_a_command_on_a_socket_whose_client_expires_in_that_instant_is_not_done(
    autojump_clock: MockClock,
) -> None:
    """Its process lags: the message is handled, though its sender's time is over."""
    app, done = QuartTrio("orders"), list[str]()
    live = Triolet(app)

    @live.identify
    async def who(token: str | None) -> Identity | None:
        return None if token is None else Identity(token, expires_at=wall_time() + 60)

    live.socket("/live")

    @live.command("/pick")
    async def pick(command: Command) -> str:
        done.append(command.id)
        return "done"

    async with serve(app) as server, server.websocket("/live", headers=ANN) as client:
        await client.say(type="command", id="1", url="/pick", data=None)
        await client.until("reply")
        (conn,) = app.extensions["triolet"].context.registry.open.values()
        conn.grant.until = trio.current_time()  # and nothing looks at deadlines yet
        del conn
        await client.say(type="command", id="2", url="/pick", data=None)
        reply = await client.until("reply")
        assert (reply["id"], reply["status"], reply["data"]["error"]) == ("2", 401, "expired")
    assert done == ["1"]


@pytest.mark.parametrize("matching", ["host", "subdomain"])
async def test_one_id_on_two_hosts_of_an_app_are_two_commands(matching: str, autojump_clock: MockClock) -> None:
    hosts = ["red.example", "blue.example"]
    static: Any = {"static_host": "x"} if matching == "host" else {}
    app = QuartTrio("tenants", host_matching=matching == "host", **static)
    options: dict[str, Any] = {"host": "<tenant>.example"}
    if matching == "subdomain":
        app.subdomain_matching = True
        app.config["SERVER_NAME"] = "example"
        options = {"subdomain": "<tenant>"}
    live = Triolet(app)
    live.identify(lambda token: None if token is None else Identity(token))

    @live.command("/pick", **options)
    async def pick(command: Command, tenant: str) -> str:
        return f"{tenant} at {request.host}"

    async with serve(app) as server:
        for times in range(2):
            answers = [
                await server.request("POST", "/pick", {"idempotency-key": '"1"', "host": host, **ANN}) for host in hosts
            ]
            assert [answer.text for answer in answers] == ["red at red.example", "blue at blue.example"]
            assert ["idempotency-replayed" in answer.headers for answer in answers] == 2 * [times == 1]
