"""A client renews its identity in time, on its WebSocket or by the key that its stream was told, and loses nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from quart_trio import QuartTrio
from trio.testing import MockClock

from triolet import Cursor, Identity, Limits, Triolet
from triolet.clock import wall_time
from triolet.connection.expiry import key_of, renew
from triolet.identity.control import IDENTITY_CHANNEL
from triolet.log.memory import MemoryLog
from triolet.testing.http import Answer
from triolet.testing.server import MemoryServer

from .shop import ORDER, ORDERS, PATHS, STREAMS, Sent, Shared, bearer, deadlines, make_shop, post, sent, served, token
from .test_expiry import to_the_end, told

__all__ = ["sent"]  # a fixture

RENEW = "/triolet/renew"


async def renew_by(
    server: MemoryServer, client: Any, warning: dict[str, Any], subject: str, seconds: float | None
) -> Answer | None:
    """Renew on the connection, or by its key. Returns the answer of the latter."""
    if client.transport == "websocket":
        await client.say(type="auth", token=token(subject, seconds))
        return None
    return await post(server, RENEW, bearer(subject, seconds), {"key": warning["key"]})


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("transport", STREAMS)
async def test_a_client_that_renews_in_time_hears_every_event_without_a_break(
    transport: str, path: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop()
    async with served(app, path) as server:
        async with server.client(transport, ORDERS, headers=bearer("ann", 40)) as client:
            began = trio.current_time()
            for _ in range(3):
                warning = await client.until("expiring")
                await live.publish(ORDER, 1)
                answer = await renew_by(server, client, warning, "ann", 60)
                assert answer is None or (answer.status == 204 and "content-type" not in answer.headers)
                await client.expect("event")
                assert (await client.expect("renewed"))["in"] == pytest.approx(60_000, abs=10)
            await renew_by(server, client, await client.until("expiring"), "ann", None)
            await client.expect("renewed", in_=None)
            await client.nothing_for(1_000)
            assert trio.current_time() > began + 1_000
            assert deadlines(server) == 0
            await live.publish(ORDER, 2)
            await client.expect("event", data=2)
        counts = live.statistics().counts
        assert (dict(counts.renewals), counts.expired) == ({"ok": 4, "refused": 0}, 0)


@pytest.mark.parametrize("transport", STREAMS)
async def test_the_same_end_is_told_once_though_it_is_renewed(transport: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with served(app) as server:
        same = bearer("ann", 40)
        async with server.client(transport, ORDERS, headers=same) as client:
            warning = await client.until("expiring")
            for _ in range(2):
                if transport == "websocket":
                    await client.say(type="auth", token=same["authorization"].removeprefix("Bearer "))  # type: ignore[attr-defined]  # a WebSocket's
                else:  # the key is good for as long as it was told for
                    assert (await post(server, RENEW, same, {"key": warning["key"]})).status == 204
                await client.expect("renewed")
            await to_the_end(client)
            assert told(client) == ["expiring", "renewed", "renewed", "bye"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("transport", STREAMS)
@pytest.mark.parametrize("subject", ["bob", "bad", "blocked"])
async def test_another_subject_or_a_credential_that_is_no_good_is_refused_and_changes_nothing(
    subject: str, transport: str, path: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop()
    async with served(app, path) as server, server.client(transport, ORDERS, headers=bearer("ann", 40)) as client:
        until = trio.current_time() + 40
        warning = await client.until("expiring")
        answer = await renew_by(server, client, warning, subject, 600)
        if answer is None:
            assert (await client.expect("expiring"))["refused"] is True
        else:
            assert answer.status == (401 if subject == "bad" else 403)
        await live.publish(ORDER, 1)
        await to_the_end(client)
        assert "event" in told(client)
        assert trio.current_time() == pytest.approx(until, abs=0.1)
        assert client.heard[-1]["code"] == 4401


async def test_an_app_that_fails_or_takes_too_long_has_refused(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    app, _ = make_shop(Limits(write_seconds=5))
    async with served(app) as server, server.websocket(ORDERS, headers=bearer("ann")) as client:
        await client.until("live")
        await client.say(type="auth", token="broken-canary")
        await client.say(type="auth", token=token("broken", 5))
        await client.expect("expiring", in_=None, refused=True)  # one at a time
        await client.expect("expiring", in_=None, refused=True)
    assert "canary" not in caplog.text


async def test_two_at_a_time_are_too_many(autojump_clock: MockClock) -> None:
    app, live = make_shop(ask_seconds=1)
    async with served(app) as server, server.websocket(ORDERS, headers=bearer("ann", 400)) as client:
        await client.until("live")
        for _ in range(3):
            await client.say(type="auth", token=token("ann", 500))
        assert (await client.expect("expiring"))["refused"] is True
        assert (await client.expect("expiring"))["refused"] is True
        await client.expect("renewed")
        assert live.statistics().counts.renewals == {"ok": 1, "refused": 2}


@pytest.mark.parametrize("path", PATHS)
async def test_a_socket_that_was_opened_by_nobody_is_somebodys_after_its_first_message(
    path: str, autojump_clock: MockClock
) -> None:
    app, _ = make_shop()
    async with served(app, path) as server, server.websocket("/who") as client:
        await client.say(type="message", data=None)
        await client.expect("message", data=None)
        await client.say(type="auth", token=token("ann", 40))
        assert (await client.expect("renewed"))["in"] == pytest.approx(40_000, abs=10)
        await client.say(type="message", data=None)
        await client.expect("message", data="ann")
        await client.say(type="auth", token=token("bob", 90))
        assert (await client.expect("expiring"))["refused"] is True
        await to_the_end(client)
        assert client.code == 4401
        assert trio.current_time() == pytest.approx(40, abs=1)


async def test_an_app_without_identities_refuses_all(autojump_clock: MockClock) -> None:
    app = QuartTrio("orders")
    live = Triolet(app)
    live.socket("/live")
    async with served(app) as server, server.websocket("/live") as client:
        await client.say(type="auth", token="ann")
        await client.expect("expiring", in_=None, refused=True)
        assert (await server.post(RENEW, json={"key": "x"})).status == 405
        assert (await server.post("/triolet/ticket")).status == 405


async def test_a_raw_socket_has_no_auth(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with served(app) as server, server.websocket("/raw", headers=bearer("ann", 40)) as client:
        said = json.dumps({"type": "auth", "token": token("ann", 400)})
        await client.send(said)
        assert (await client.until("auth"))["token"].startswith("ann@")  # as it went in: the app's own message
        await to_the_end(client)
        assert trio.current_time() == pytest.approx(40, abs=0.1)


@pytest.mark.parametrize("renewal_first", [False, True])
async def test_of_a_renewal_and_an_end_in_one_moment_one_wins(
    renewal_first: bool, sent: Sent, autojump_clock: MockClock
) -> None:
    app, live = make_shop(ask_seconds=5)
    async with served(app) as server, server.websocket(ORDERS, headers=bearer("ann", 45)) as client:
        await client.until("expiring")
        await trio.sleep_until(40 - (0.01 if renewal_first else 0))  # the app is asked for five seconds
        await client.say(type="auth", token=token("ann", 100))
        await trio.sleep_until(45)
        await live.publish(ORDER, "after the end")
        if renewal_first:
            await client.expect("renewed")
            await client.expect("event")
            assert live.statistics().counts.expired == 0
        else:
            await to_the_end(client)
            assert told(client) == ["expiring", "bye"]
            assert b"after the end" not in sent.since(0)
            assert live.statistics().counts.expired == 1


# --- streams of another process


async def test_a_stream_of_another_process_is_renewed_through_the_log(autojump_clock: MockClock) -> None:
    (one, _), (other, _) = make_shop(), make_shop()
    log = MemoryLog(Limits())
    async with log.open():
        for app in (one, other):
            app.extensions["triolet"].make_log = lambda: Shared(log)
        async with served(one) as here, served(other) as there:
            async with here.sse(ORDERS, headers=bearer("ann", 40)) as client:
                key = (await client.until("expiring"))["key"]
                answer = await post(there, RENEW, bearer("ann", 90), {"key": key})
                assert answer.status == 202
                assert (await client.expect("renewed"))["in"] == pytest.approx(90_000, abs=10)
                key = (await client.until("expiring", within=90))["key"]
                assert (await post(there, RENEW, bearer("bob", 90), {"key": key})).status == 202
                assert (await client.expect("expiring"))["refused"] is True
                unknown = await post(there, RENEW, bearer("ann", 90), {"key": "no such key"})
                assert (unknown.status, unknown.body) == (answer.status, answer.body)
                await to_the_end(client)
            page = await log.read(IDENTITY_CHANNEL, Cursor("", 0), limit=9, max_bytes=10**6)
            told_there = b"".join(event.json for event in page.events)
            assert key.encode() not in told_there
            assert key_of(key).hex().encode() in told_there


async def test_claims_that_are_no_json_go_to_no_other_process(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    app = QuartTrio("orders")
    live = Triolet(app)
    live.identify(lambda token: None if token is None else Identity(token, claims={"secret": object()}))
    async with served(app) as server:
        answer = await post(server, RENEW, bearer("ann"), {"key": "elsewhere"})
        assert (answer.status, answer.json["error"]) == (503, "elsewhere")
    assert "a stream of another process cannot be renewed: an identity that is told to other processes" in caplog.text


# --- the door


@pytest.mark.parametrize("path", ["http1", "http2", "middleware", "hypercorn"])
async def test_who_may_ask_and_how(path: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with served(app, path) as server:
        body = {"key": "x"}
        assert (await post(server, RENEW, {}, body)).status == 401
        assert (await post(server, RENEW, bearer("bad"), body)).status == 401
        assert (await post(server, RENEW, bearer("ann"), {})).status == 400
        assert (await post(server, RENEW, bearer("ann"), {"key": "x" * 1_025})).status == 413
        foreign = await post(server, RENEW, {**bearer("ann"), "origin": "https://evil.example"}, body)
        assert (foreign.status, foreign.json["error"]) == (403, "origin")
        listed = await post(server, RENEW, {**bearer("ann"), "origin": "https://shop.example"}, body)
        assert listed.status == 202
        assert listed.headers["access-control-allow-origin"] == "https://shop.example"
        asked = {"origin": "https://shop.example", "access-control-request-method": "POST"}
        preflight = await server.request("OPTIONS", RENEW, {**asked, "access-control-request-headers": "authorization"})
        assert (preflight.status, preflight.headers["access-control-allow-methods"]) == (204, "POST")
        assert "Authorization" in preflight.headers["access-control-allow-headers"]
        assert "Content-Type" in preflight.headers["access-control-allow-headers"]
        elsewhere = await server.request("OPTIONS", ORDERS, asked)
        assert "access-control-allow-methods" not in elsewhere.headers


@pytest.mark.parametrize("path", ["http1", "middleware"])
async def test_a_key_that_came_while_the_process_stood_still_came_in_time(path: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with served(app, path) as server:
        body, rights = b'{"key":"elsewhere"}', bearer("ann")["authorization"]
        end = server.connect()
        head = f"POST {RENEW} HTTP/1.1\r\nhost: test\r\nauthorization: {rights}\r\ncontent-length: {len(body)}\r\n\r\n"
        await end.send_all(head.encode() + body[:1])
        await trio.testing.wait_all_tasks_blocked()
        end.connection.client.send(body[1:])
        autojump_clock.jump(server.worker.settings.limits.header_seconds + 1)
        assert bytes(await end.receive_some()).startswith(b"HTTP/1.1 202 ")
        end.reset()


async def test_a_key_that_does_not_come_is_408(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with served(app) as server:
        rights = bearer("ann")["authorization"]
        end = server.connect()
        head = f"POST {RENEW} HTTP/1.1\r\nhost: test\r\nauthorization: {rights}\r\ncontent-length: 9\r\n\r\n{{"
        await end.send_all(head.encode())
        assert bytes(await end.receive_some()).startswith(b"HTTP/1.1 408 ")
        end.reset()


async def test_a_connection_that_has_ended_is_not_renewed(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with served(app) as server, server.websocket("/live", headers=bearer("ann", 40)) as client:
        await client.until("open")
        (conn,) = app.extensions["triolet"].context.registry.open.values()
        autojump_clock.jump(40)
        assert not renew(conn, Identity("ann", expires_at=wall_time() + 100))
        await to_the_end(client)
        assert client.code == 4401
        assert live.statistics().counts.renewals == {"ok": 0, "refused": 1}
        del conn
