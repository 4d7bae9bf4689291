"""A client whose credential ends: it renews in time, comes back with another, or says that it is over."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.identity.shop import ORDER, ORDERS, make_shop, token
from triolet.client import ClientError
from triolet.testing import serve

from .stage import WAYS, client_of, options_of, take, told

STREAMS = ("websocket", "socket", "websockets", "sse")


def tokens(seconds: float) -> tuple[list[str], Callable[[], str]]:
    """A function that gives tokens which are good for so long, and those that it gave."""
    given: list[str] = []

    def give() -> str:
        given.append(token("ann", seconds))
        return given[-1]

    return given, give


@pytest.mark.parametrize("way", STREAMS)
async def test_a_client_renews_in_time_and_stays_where_it_is(way: str, autojump_clock: MockClock) -> None:
    app, live = make_shop()
    given, give = tokens(120)
    states: list[str] = []
    async with (
        serve(app) as server,
        client_of(server, token=give, **options_of(way)) as client,
        client.follow(ORDERS, on_state=lambda events: states.append(events.state)) as events,
    ):
        assert told(await take(events, 1)) == ["live"]
        for number in range(6):
            await trio.sleep(100)
            await live.publish(ORDER, number)
            assert told(await take(events, 1)) == [number]
        assert states == ["behind", "live"]
        assert len(given) > 5


@pytest.mark.parametrize("way", WAYS)
async def test_a_token_that_is_a_text_is_over_when_it_expires(way: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with (
        serve(app) as server,
        client_of(server, token=token("ann", 60), **options_of(way)) as client,
        client.follow(ORDERS) as events,
    ):
        assert told(await take(events, 1)) == ["live"]
        with pytest.raises(ClientError) as caught:
            await take(events, 1)
        assert caught.value.kind == "expired"


@pytest.mark.parametrize("way", [*STREAMS, "long-poll"])
async def test_a_revoked_client_is_told_so(way: str, autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with (
        serve(app) as server,
        client_of(server, token="ann", **options_of(way)) as client,
        client.follow(ORDERS) as events,
    ):
        assert told(await take(events, 1)) == ["live"]
        await trio.sleep(5)
        await live.revoke(subject="ann")
        with pytest.raises(ClientError) as caught:
            await take(events, 1)
        assert caught.value.kind == "revoked"


@pytest.mark.parametrize("way", WAYS)
async def test_tokens_and_headers_may_be_functions_of_any_kind(way: str, autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    asked = count(1)

    async def give() -> str | None:
        await trio.sleep(0.1)
        if next(asked) < 3:
            raise OSError("the issuer is away")
        return "ann"

    async with serve(app) as server:
        opened = client_of(server, token=give, headers=lambda: {"X-Tab": str(next(asked))}, **options_of(way))
        async with opened as client, client.follow(ORDERS) as events:
            assert told(await take(events, 1)) == ["live"]


async def test_a_function_that_gives_no_token_is_not_asked_again(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    wrong: Any = lambda: 7  # noqa: E731  # as a program might
    async with serve(app) as server, client_of(server, token=wrong) as client, client.follow(ORDERS) as events:
        with pytest.raises(ClientError, match="token"):
            await take(events, 1)
