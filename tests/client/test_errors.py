"""What a program gets where something goes wrong: one error, its own as it is, and no group."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.shop import ORDER, ORDERS
from triolet import ConfigError, Limits, errors
from triolet.client import (
    Client,
    ClientError,
    Events,
    MemoryStore,
    Store,
    Unanswered,
    by_trio_websocket,
    by_websockets,
    http,
    open_client,
    sse,
)
from triolet.closing import GONE
from triolet.testing import MemoryServer

from .stage import WAYS, client_of, data, options_of, shop, take, told

SECRET = "/orders/secret/events"


@pytest.mark.parametrize("way", WAYS)
async def test_an_error_of_a_follow_is_caught_around_the_client(way: str, autojump_clock: MockClock) -> None:
    async with shop() as (server, _):
        try:
            async with client_of(server, **options_of(way)) as client, client.follow(SECRET) as events:
                async for _item in events:
                    raise AssertionError("nothing comes")
        except ClientError as error:
            caught = error
        assert (caught.kind, caught.__cause__) == ("refused", None)
        assert str(caught).startswith(f"{SECRET}: ")


async def test_an_error_in_a_task_of_the_programs_is_in_its_own_group_alone(autojump_clock: MockClock) -> None:
    async def follow(client: Client) -> None:
        async with client.follow(SECRET) as events:
            await anext(events)

    async with shop() as (server, _):
        with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 - a program, and how it ends
            async with client_of(server) as client, trio.open_nursery() as nursery:
                nursery.start_soon(follow, client)
                nursery.start_soon(trio.sleep_forever)
        (error,) = caught.value.exceptions
        assert isinstance(error, ClientError)


async def test_an_error_of_the_programs_keeps_its_cause(autojump_clock: MockClock) -> None:
    first, second = ZeroDivisionError(), KeyError("b")
    async with shop() as (server, _):
        with pytest.raises(KeyError) as caught:  # noqa: PT012 - a program, and how it ends
            async with client_of(server) as client, client.follow(ORDERS) as events:
                await take(events, 1)
                raise second from first
        assert caught.value is second
        assert (second.__cause__, second.__context__) == (first, None)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [BrokenPipeError, ZeroDivisionError, KeyboardInterrupt])
async def test_what_a_function_of_the_programs_raises_ends_the_block(
    way: str, kind: type[BaseException], autojump_clock: MockClock
) -> None:
    """Also an OSError, which is not the network's."""
    error = kind("the program's")

    def fail(events: Events) -> None:
        if events.state == "live":
            raise error

    async with shop() as (server, _):
        with pytest.raises(kind) as caught:
            async with client_of(server, **options_of(way)) as client, client.follow(ORDERS, on_state=fail):
                await trio.sleep(100)
        assert caught.value is error


async def test_a_function_that_would_have_to_be_awaited_is_said(autojump_clock: MockClock) -> None:
    async def wrong(events: Events) -> None:
        raise AssertionError("it is not run")

    async with shop() as (server, _):
        with pytest.raises(ConfigError, match="no async function"):
            async with client_of(server) as client, client.follow(ORDERS, on_state=wrong):
                await trio.sleep(100)


class Broken:
    """A store of the program's that does not keep."""

    async def load(self, name: str) -> str | None:
        await trio.lowlevel.checkpoint()
        return None

    async def save(self, name: str, cursor: str) -> None:
        await trio.sleep(0.2)
        raise ConnectionError("no database")


@pytest.mark.parametrize("way", WAYS)
async def test_a_store_that_fails_ends_the_block_with_its_error(way: str, autojump_clock: MockClock) -> None:
    store: Store = Broken()
    async with shop() as (server, live):
        await live.publish(ORDER, 1)
        with pytest.raises(ConnectionError, match="database"):  # noqa: PT012 - a program, and how it ends
            async with (
                client_of(server, store=store, **options_of(way)) as client,
                client.follow(ORDERS, after=0) as events,
            ):
                await take(events, 2)
                await trio.sleep(100)


async def test_the_programs_own_error_comes_before_that_of_its_store(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with shop() as (server, live):
        await live.publish(ORDER, 1)
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - a program, and how it ends
            async with client_of(server, store=Broken()) as client, client.follow(ORDERS, after=0) as events:
                await take(events, 2)
                raise ZeroDivisionError
        assert "not kept: no database" in caplog.text


async def test_one_that_is_cancelled_just_is(autojump_clock: MockClock) -> None:
    async with shop() as (server, _):
        with trio.move_on_after(5) as scope:
            async with client_of(server) as client, client.follow(ORDERS) as events, trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                async for _item in events:
                    pass
        assert scope.cancelled_caught


@pytest.mark.parametrize(
    "error",
    [
        ClientError("said", "refused", status=403, code=4403),
        Unanswered("said", "an id", True),
        errors.ConfigError("said"),
        errors.ChannelNameError("", "advice"),
        errors.ConnectionEnded(GONE),
        errors.CursorError("x"),
        errors.UnknownConnectionError(7, 8),
        errors.WrongThreadError("what"),
        errors.BadToken("key"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_can_be_sent_to_other_processes(error: errors.TrioletError) -> None:
    error.add_note("a note")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (type(again), str(again), again.__dict__) == (type(error), str(error), error.__dict__)


# --- what is used wrongly


async def test_a_follow_has_one_reader(autojump_clock: MockClock) -> None:
    async with shop() as (server, live), client_of(server) as client, client.follow(ORDERS) as events:
        await take(events, 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(data, events, 1)
            await trio.sleep(1)
            with pytest.raises(RuntimeError, match="another task"):
                await anext(events)
            await live.publish(ORDER, 1)


async def test_a_follow_is_read_within_its_block(autojump_clock: MockClock) -> None:
    async with shop() as (server, _):
        async with client_of(server) as client:
            events, late = client.follow(ORDERS), client.follow(ORDERS)
            with pytest.raises(RuntimeError, match="begins with its block"):
                await anext(events)
            async with events:
                with pytest.raises(RuntimeError, match="entered once"):
                    await events.__aenter__()
            with pytest.raises(RuntimeError, match="has been left"):
                await anext(events)
        with pytest.raises(RuntimeError, match="closed"):
            await late.__aenter__()


async def test_what_is_no_cursor_is_said(autojump_clock: MockClock) -> None:
    wrong: tuple[Any, ...] = (1.5, True, b"0", "-", "", "e.", [1])
    async with shop() as (server, _), client_of(server) as client:
        for after in wrong:
            with pytest.raises(ConfigError, match="after="):
                client.follow(ORDERS, after=after)
        for url in (None, 7, b"/orders", "/a b", "/a\nb", "/\ud800", "http://[", "https://shop.test/other"):
            with pytest.raises(ConfigError, match=r"URL|of http"):
                client.follow(url)  # type: ignore[arg-type]  # the mistake is meant


# --- what is too large


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_larger_than_the_bound_is_not_asked_for_again_and_again(
    way: str, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    for module in (by_trio_websocket, by_websockets, sse):
        monkeypatch.setattr(module, "CLIENT_MESSAGE_BYTES", 10_000)
    monkeypatch.setattr(http, "CLIENT_PAGE_BYTES", 10_000)
    async with (
        shop(Limits(event_bytes=100_000)) as (server, live),
        client_of(server, **options_of(way)) as client,
        client.follow(ORDERS) as events,
    ):
        assert told(await take(events, 1)) == ["live"]
        await live.publish(ORDER, "x" * 90_000)  # of an event stream so much comes in two pieces
        with trio.fail_after(60), pytest.raises(ClientError) as caught:
            await anext(events)
        assert caught.value.kind in ("closed", "bad answer")


# --- what the environment says


@pytest.mark.parametrize(
    "proxy", ["socks5://u:CANARY@127.0.0.1:9", "gopher://u:CANARY@127.0.0.1:9", "http://u:CANARY/x@a:9", "http://[::1"]
)
async def test_a_proxy_that_cannot_be_used_is_said_at_once(
    proxy: str, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(ConfigError, match="a proxy of the environment") as raised:
        async with open_client("http://shop.example"):
            pass
    assert "CANARY" not in str(raised.value)


async def test_an_error_has_no_secret_of_the_url_that_it_is_about(autojump_clock: MockClock) -> None:
    async with shop() as (server, _), client_of(server) as client:
        with pytest.raises(ClientError) as raised:
            async with client.follow("/nowhere?ticket=CANARY&after=0") as events:
                await anext(events)
    assert "/nowhere?ticket=…&after=0: HTTP 404" in str(raised.value)


# --- cancelled at any step


@pytest.mark.parametrize("way", ["websocket", "socket", "websockets", "sse", "long-poll"])
async def test_wherever_a_program_is_cancelled_nothing_is_left(way: str, autojump_clock: MockClock) -> None:
    async def use(server: MemoryServer, scope: trio.CancelScope) -> None:
        opened = client_of(server, store=MemoryStore(), acknowledge=1, **options_of(way))
        with scope:
            async with opened as client, client.follow(ORDERS, after=0) as events, client.follow(ORDERS) as other:
                await take(events, 2)
                await take(other, 1)
                assert (await client.send("/nothing")).status == 404
                await events.commit()
                await anext(events)

    async with shop() as (server, live):
        await live.publish(ORDER, 1)
        for steps in range(0, 400, 7):
            scope = trio.CancelScope()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(use, server, scope)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
        await trio.sleep(60)
        assert (server.followers, server.connections) == (0, 0)
