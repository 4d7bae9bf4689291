"""What "Who may follow, and for how long" and "Commands" say is tried out, with the app of both pages."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import jwt
import pytest
import trio
from trio.testing import MockClock

from triolet import Triolet
from triolet.bounds import TICKET_SECONDS
from triolet.clock import wall_time
from triolet.identity.bounds import TOKEN_LEEWAY_SECONDS
from triolet.testing import STREAMS, TRANSPORTS, Answer, Client, MemoryServer, RefusedError, serve

from .test_docs import load

KEY = "the key of a packing room's tokens"
FORM = "application/x-www-form-urlencoded"
EVENTS = "/orders/A1/events"
PICK = "/orders/A1/pick"
OPEN = [transport for transport in TRANSPORTS if transport in STREAMS]


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The pages' app, anew."""
    monkeypatch.setenv("SHOP_TOKEN_KEY", KEY)
    module: Any = load("app", "identity")
    module.LOGIN_SECONDS = 600  # instead of hours, full of beats
    return module  # type: ignore[no-any-return]  # so that its names can be set


async def log_in(server: MemoryServer, user: str = "ann", password: str = "apple") -> dict[str, str]:
    """What a browser sends along after its login."""
    answer = await post_form(server, user=user, password=password)
    assert answer.json == {"user": user}
    return {"cookie": answer.headers["set-cookie"].partition(";")[0]}


async def post_form(server: MemoryServer, **fields: str) -> Answer:
    body = "&".join(f"{name}={value}" for name, value in fields.items())
    return await server.request("POST", "/login", {"content-type": FORM}, body.encode())


def token(user: str, seconds: float = 900, **claims: Any) -> str:
    """A token as the page makes them."""
    said = {"sub": user, "aud": "packing-room", "exp": wall_time() + seconds - TOKEN_LEEWAY_SECONDS, **claims}
    return jwt.encode(said, KEY)


def bearer(user: str, seconds: float = 900, **claims: Any) -> dict[str, str]:
    return {"authorization": f"Bearer {token(user, seconds, **claims)}"}


async def pick(server: MemoryServer, headers: dict[str, str], id: str = '"8e03978e"', body: bytes = b"{}") -> Answer:
    return await server.request("POST", PICK, {**headers, "idempotency-key": id}, body)


async def ended(client: Client) -> tuple[int, str]:
    """With what a client's stream ends."""
    bye = await client.until("bye")
    return bye["code"], bye["reason"]


# --- who a client is


async def test_a_login_needs_its_password(shop: ModuleType, autojump_clock: MockClock) -> None:
    async with serve(shop.app) as server:
        for password in ("pear", "", "%C3%A4pfel"):
            assert (await post_form(server, user="ann", password=password)).status == 401
        assert (await post_form(server, user="zed", password="")).status == 401
        assert (await post_form(server, user="ann")).status == 400


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("way", ["cookie", "header"])
async def test_a_page_and_a_script_follow_over_every_transport(
    way: str, transport: str, shop: ModuleType, autojump_clock: MockClock
) -> None:
    async with serve(shop.app) as server:
        headers = await log_in(server) if way == "cookie" else bearer("ann")
        async with server.client(transport, EVENTS, headers=headers) as client:
            await client.until("open")
            await pick(server, headers)
            await client.expect(event="order-status", data={"state": "packed", "by": "ann"})


async def test_a_pages_websocket_brings_its_token_as_a_subprotocol(shop: ModuleType, autojump_clock: MockClock) -> None:
    async with serve(shop.app) as server:
        ours = ("triolet.1", f"triolet.token.{token('ann')}")
        async with server.websocket(EVENTS, subprotocols=ours) as client:
            assert (await client.until("live"))["channel"] == "orders/A1"


async def test_what_is_not_there_and_what_is_another_users_are_answered_alike(
    shop: ModuleType, autojump_clock: MockClock
) -> None:
    async with serve(shop.app) as server:
        assert (await server.get(EVENTS)).status == 401
        absent, forbidden = [await server.get(f"/orders/{order}/events", **bearer("bob")) for order in ("A9", "A1")]
        assert absent.status == forbidden.status == 404
        assert absent.body == forbidden.body


async def test_a_token_that_is_no_good_is_answered_401(shop: ModuleType, autojump_clock: MockClock) -> None:
    async with serve(shop.app) as server:
        late = await server.get(EVENTS, **bearer("ann", -1))
        assert (late.status, late.json["error"]) == (401, "expired")
        for bad in (bearer("ann", aud="another"), {"authorization": "Bearer nonsense"}):
            answer = await server.get(EVENTS, **bad)
            assert (answer.status, answer.json["error"]) == (401, "token")
        counted = shop.live.statistics().counts.authentications
        assert (counted["expired"], counted["audience"], counted["malformed"]) == (1, 1, 1)


async def test_a_ticket_lets_in_once_and_for_a_short_time(shop: ModuleType, autojump_clock: MockClock) -> None:
    async with serve(shop.app) as server:
        cookie = await log_in(server)
        told = (await server.request("POST", "/triolet/ticket", cookie)).json
        assert told["in"] == TICKET_SECONDS * 1000
        async with server.sse(f"{EVENTS}?ticket={told['ticket']}") as client:
            await client.until("live")
        assert (await server.get(f"{EVENTS}?ticket={told['ticket']}")).status == 401
        late = (await server.request("POST", "/triolet/ticket", cookie)).json["ticket"]
        await trio.sleep(TICKET_SECONDS)
        assert (await server.get(f"{EVENTS}?ticket={late}")).status == 401
        assert (await server.post("/triolet/ticket")).status == 401


# --- until when


@pytest.mark.parametrize("transport", OPEN)
async def test_a_login_ends_announced(transport: str, shop: ModuleType, autojump_clock: MockClock) -> None:
    async with serve(shop.app) as server:
        cookie, began = await log_in(server), trio.current_time()
        async with server.client(transport, EVENTS, headers=cookie) as client:
            await client.until("expiring", within=shop.LOGIN_SECONDS)
            assert trio.current_time() - began == pytest.approx(shop.LOGIN_SECONDS - 30)
            assert await ended(client) == (4401, "expired")
            assert trio.current_time() - began == pytest.approx(shop.LOGIN_SECONDS)
        assert (await server.get(EVENTS, **cookie)).json["error"] == "expired"


async def test_a_poll_that_waits_ends_with_its_token(shop: ModuleType, autojump_clock: MockClock) -> None:
    async with serve(shop.app) as server:
        answer = await server.get(f"{EVENTS}?wait=20", **bearer("ann", 5))
        assert (answer.status, answer.json["error"]) == (401, "expired")


@pytest.mark.parametrize("new", ["cookie", "header"])
async def test_a_stream_is_renewed_by_its_key(new: str, shop: ModuleType, autojump_clock: MockClock) -> None:
    async with serve(shop.app) as server:
        old = await log_in(server)
        async with server.sse(EVENTS, headers=old) as client:
            key = (await client.until("expiring", within=shop.LOGIN_SECONDS))["key"]
            other = await server.request("POST", "/triolet/renew", bearer("bob"), json={"key": key})
            assert other.status == 403
            assert (await client.until("expiring"))["refused"] is True
            credential = await log_in(server) if new == "cookie" else bearer("ann", 900)
            answer = await server.request("POST", "/triolet/renew", credential, json={"key": key})
            assert answer.status == 204
            renewed = shop.LOGIN_SECONDS if new == "cookie" else 900
            assert (await client.until("renewed"))["in"] == pytest.approx(renewed * 1000, abs=1000)
            await pick(server, credential)
            await client.expect(event="order-status")


async def test_a_websocket_is_renewed_by_a_message(shop: ModuleType, autojump_clock: MockClock) -> None:
    async with serve(shop.app) as server, server.websocket(EVENTS, headers=bearer("ann", 60)) as client:
        await client.until("expiring")
        await client.say(type="auth", token=token("bob"))
        assert (await client.until("expiring"))["refused"] is True
        await client.say(type="auth", token=token("ann", 900))
        await client.until("renewed")
        await pick(server, bearer("ann"))
        await client.expect(event="order-status")


@pytest.mark.parametrize("transport", OPEN)
async def test_a_logout_ends_every_tab_of_it_and_no_other_login(
    transport: str, shop: ModuleType, autojump_clock: MockClock
) -> None:
    async with serve(shop.app) as server:
        here, elsewhere = await log_in(server), await log_in(server)
        async with (
            server.client(transport, EVENTS, headers=here) as tab,
            server.client(transport, EVENTS, headers=here) as other_tab,
            server.client(transport, EVENTS, headers=elsewhere) as phone,
        ):
            await phone.until("live")
            assert (await server.request("POST", "/logout", here)).json == {"user": None}
            assert await ended(tab) == await ended(other_tab) == (4403, "revoked")
            assert (await server.get(EVENTS, **here)).status == 401, "a copy of the cookie is worth nothing"
            await pick(server, elsewhere)
            await phone.expect(event="order-status")


async def test_a_user_who_is_blocked_is_out_and_stays_out(shop: ModuleType, autojump_clock: MockClock) -> None:
    async with serve(shop.app) as server:
        bob = await log_in(server, "bob", "birch")
        assert (await server.request("POST", "/admin/ann/block", bob)).status == 403
        async with server.sse("/orders/A2/events", headers=bob) as client:
            await client.until("live")
            assert (await server.request("POST", "/admin/bob/block", bearer("ann"))).json == {"blocked": "bob"}
            assert await ended(client) == (4403, "revoked")
            with pytest.raises(RefusedError):
                await client.reconnect()


async def test_a_script_revokes_what_a_server_has_let_in(
    shop: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    log = f"sqlite:///{tmp_path}/shop.db"
    monkeypatch.setenv("SHOP_LOG", log)
    async with serve(load("app", "identity").app) as server, server.sse(EVENTS, headers=bearer("ann")) as client:
        await client.until("live")
        async with Triolet(log=log) as live:
            assert await live.revoke(subject="ann")
        assert await ended(client) == (4403, "revoked")


async def test_one_order_is_taken_away_and_the_rest_of_the_socket_goes_on(
    shop: ModuleType, autojump_clock: MockClock
) -> None:
    async with serve(shop.app) as server, server.websocket("/live", headers=bearer("bob")) as client:
        await client.follow("/orders/A2/events")
        await client.follow("/notices")
        await shop.live.revoke(subject="bob", channel="orders/A2")
        refused = await client.until("refused")
        assert (refused["url"], refused["channel"]) == ("/orders/A2/events", "orders/A2")
        await client.say(type="message", data={"text": "all packed", "to": None})
        await client.expect(data={"text": "all packed", "by": "bob"})


@pytest.mark.parametrize("transport", OPEN)
async def test_a_right_that_has_gone_is_noticed_by_asking_again(
    transport: str, shop: ModuleType, autojump_clock: MockClock
) -> None:
    async with serve(shop.app) as server, server.client(transport, EVENTS, headers=bearer("ann")) as client:
        await client.until("live")
        shop.orders["ann"].discard("A1")
        gone = trio.current_time()
        assert await ended(client) == (4403, "refused")
        assert trio.current_time() - gone <= 30


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_notice_to_one_user_is_seen_by_nobody_else(
    transport: str, shop: ModuleType, autojump_clock: MockClock
) -> None:
    async with (
        serve(shop.app) as server,
        server.client(transport, "/notices", headers=bearer("ann", 10_000)) as ann,
        server.client(transport, "/notices", headers=bearer("bob", 10_000)) as bob,
        server.websocket("/live", headers=bearer("ann", 10_000)) as desk,
    ):
        assert (await ann.until("open"))["filtered"] is True
        await bob.until("open")
        for message in ({"text": "lunch", "to": "bob"}, {"nonsense": 1}, {"text": "done", "to": None}):
            await desk.say(type="message", data=message)
        await bob.expect(data={"text": "lunch", "by": "ann"})
        await bob.expect(data={"text": "done", "by": "ann"})
        await ann.expect(data={"text": "done", "by": "ann"})


# --- commands


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_command_takes_effect_once_whatever_carries_it(
    transport: str, shop: ModuleType, autojump_clock: MockClock
) -> None:
    async with serve(shop.app) as server, server.client(transport, EVENTS, headers=bearer("ann")) as client:
        await client.until("open")
        first = await client.command(PICK, {"table": 4}, id="8e03978e")
        assert (first["status"], first["data"], "repeated" in first) == (200, {"picked": "A1"}, False)
        again = await client.command(PICK, {"table": 4}, id="8e03978e")
        assert (again["data"], again["repeated"]) == (first["data"], True)
        other = await client.command(PICK, {"table": 5}, id="8e03978e")
        assert (other["status"], other["data"]["error"]) == (422, "id")
        await client.expect(event="order-status", data={"state": "packed", "by": "ann"})
        await client.nothing_for(60)


async def test_a_command_over_http_says_what_the_page_says(shop: ModuleType, autojump_clock: MockClock) -> None:
    async with serve(shop.app) as server:
        cookie = await log_in(server)
        assert (await server.request("POST", PICK, cookie)).status == 400
        assert (await pick(server, {})).status == 401
        assert "idempotency-replayed" not in (await pick(server, cookie)).headers
        again = await pick(server, bearer("ann"))
        assert again.headers["idempotency-replayed"] == "true", "it is one subject, whatever it comes with"
        assert (await pick(server, bearer("bob"))).status == 404, "another subject's is another command"


async def test_a_refusal_is_kept_as_well(shop: ModuleType, autojump_clock: MockClock) -> None:
    async with serve(shop.app) as server, server.sse("/orders/A2/events", headers=bearer("ann")) as client:
        await client.command("/orders/A2/pick")
        await client.expect(event="order-status")
        for _ in range(2):
            headers = {**bearer("bob"), "idempotency-key": "one"}
            answer = await server.request("POST", "/orders/A2/pick", headers)
            assert (answer.status, answer.json) == (409, {"picked_by": "ann"})
        assert answer.headers["idempotency-replayed"] == "true"
        await client.nothing_for(60)


async def test_another_process_gives_the_same_answer(
    shop: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setenv("SHOP_LOG", f"sqlite:///{tmp_path}/shop.db")
    async with serve(load("app", "identity").app) as server:
        first = await pick(server, bearer("ann"))
    async with serve(load("app", "identity").app) as server:
        again = await pick(server, bearer("ann"))
        page = (await server.get(f"{EVENTS}?after=0", **bearer("ann"))).json
    assert (again.body, again.headers["idempotency-replayed"]) == (first.body, "true")
    assert len(page["events"]) == 1
