"""``@live.channel(…, recheck=…)``: the view is asked again, and what it says then holds."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from quart import Response, abort, session
from quart_trio import QuartTrio
from trio.testing import MockClock

from triolet import ConfigError, Identity, Triolet
from triolet.bounds import RECHECK_PART, RECHECKS_AT_ONCE
from triolet.testing.seed import play
from triolet.testing.server import serve

from .roads import ROADS, served

ANN = {"authorization": "Bearer ann"}
EVENTS = "/orders/7/events"
RECHECK = 10


class Shop:
    """An app whose view says what it is told to say.

    Attributes:
        says: a channel's number, a status, a response, or what to raise.
        asked: when the view was asked, by Trio's time.
    """

    def __init__(self, recheck: float | None = RECHECK) -> None:
        self.says: Any = "7"
        self.asked: list[float] = []
        self.identified = 0
        self.visits = 0
        self.app = app = QuartTrio("orders")
        app.secret_key = "not a secret"
        self.live = live = Triolet(app)

        @app.before_request
        async def visit() -> None:
            self.visits += 1
            session["visited"] = True

        @live.identify
        async def identity_of(token: str | None) -> Identity | None:
            self.identified += 1
            return None if token is None else Identity(token)

        @live.channel("/orders/<order_id>/events", recheck=recheck)
        async def events(order_id: str) -> Any:
            await trio.lowlevel.checkpoint()
            identity = await live.identity()
            assert identity == (None if identity is None else Identity("ann"))
            self.asked.append(trio.current_time())
            if isinstance(self.says, type):
                raise self.says("the database is away")
            if isinstance(self.says, Response):
                return self.says
            if isinstance(self.says, int):
                abort(self.says)
            return f"orders/{self.says}"

        live.socket("/live")

    @property
    def rechecks(self) -> dict[str, int]:
        return dict(self.live.service.statistics().counts.rechecks)


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("transport", ["websocket", "sse"])
@pytest.mark.parametrize("no", [403, 404, 401, "8"])
async def test_a_no_ends_a_stream(no: Any, transport: str, road: str, autojump_clock: MockClock) -> None:
    shop = Shop()
    async with served(shop.app, road) as server, server.client(transport, EVENTS, headers=ANN) as client:
        await client.until("live")
        await trio.sleep(3 * RECHECK)
        assert client.closed is None
        assert shop.rechecks["yes"] >= 3
        shop.says = no
        at = trio.current_time()
        bye = await client.until("bye")
        assert (bye["code"], bye["reason"], bye["retry"]) == (4403, "refused", None)
        assert trio.current_time() - at <= RECHECK
        assert (shop.rechecks["no"], shop.rechecks["failed"]) == (1, 0)
        assert shop.identified == 1
        assert shop.visits == len(shop.asked)
        await shop.live.publish("orders/7", "secret")
        await trio.sleep(1)
        assert not client.events


@pytest.mark.parametrize("road", ROADS)
async def test_a_no_takes_a_followed_url_away(road: str, autojump_clock: MockClock) -> None:
    shop = Shop()
    url = f"{EVENTS}?after=0"
    async with served(shop.app, road) as server, server.websocket("/live", headers=ANN) as client:
        await client.follow(url)
        await trio.sleep(2 * RECHECK)
        shop.says = 403
        assert await client.until("refused") == {"type": "refused", "url": url, "channel": "orders/7"}
        asked = len(shop.asked)
        await trio.sleep(3 * RECHECK)
        assert client.closed is None
        assert len(shop.asked) == asked
        assert shop.identified == 1


@pytest.mark.parametrize("failure", [500, 503, 429, RuntimeError, Response(b"", status=502)], ids=repr)
async def test_a_view_that_fails_says_neither_yes_nor_no(
    failure: Any, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    shop = Shop()
    async with serve(shop.app) as server, server.sse(EVENTS, headers=ANN) as client:
        await client.until("live")
        shop.says = failure
        await trio.sleep(3 * RECHECK)
        assert client.closed is None
        assert shop.rechecks["failed"] >= 2
        assert "could not be asked again" in caplog.text
        shop.says = 403
        await client.until("bye")


async def test_a_view_that_never_answers_has_failed(autojump_clock: MockClock) -> None:
    shop = Shop()
    hangs = False

    @shop.app.before_request
    async def hang() -> None:
        if hangs:
            await trio.sleep_forever()

    async with serve(shop.app) as server, server.sse(EVENTS, headers=ANN) as client:
        await client.until("live")
        hangs = True
        await trio.sleep(60)
        assert shop.rechecks["failed"] >= 1
        hangs = False
        shop.says = 403
        await client.until("bye")


async def test_what_is_followed_no_longer_is_not_asked_about(autojump_clock: MockClock) -> None:
    shop = Shop()
    async with serve(shop.app) as server, server.websocket("/live", headers=ANN) as client:
        for _ in range(50):
            await client.follow(EVENTS)
            await client.say(type="unfollow", channel="orders/7")
        await trio.sleep(1)
        asked = len(shop.asked)
        await trio.sleep(3 * RECHECK)
        assert len(shop.asked) == asked


async def test_a_route_without_it_is_not_asked_again(autojump_clock: MockClock) -> None:
    shop = Shop(recheck=None)
    async with serve(shop.app) as server, server.sse(EVENTS, headers=ANN) as client:
        await client.until("live")
        await trio.sleep(10 * RECHECK)
        assert len(shop.asked) == 1


async def test_clients_that_came_together_are_not_asked_about_together(autojump_clock: MockClock) -> None:
    shop = Shop()
    count = 300
    async with serve(shop.app) as server:
        clients = [server.sse(EVENTS, headers=ANN) for _ in range(count)]
        for client in clients:
            await client.__aenter__()
        began = len(shop.asked)
        await trio.sleep(3 * RECHECK)
        seconds = Counter(int(at) for at in shop.asked[began:])
        assert max(seconds.values()) < count / 4
        assert sum(seconds.values()) >= 3 * count
        for client in clients:
            await client.__aexit__(None, None, None)


async def test_only_some_are_asked_about_at_the_same_moment(autojump_clock: MockClock) -> None:
    shop = Shop()
    running = most = 0
    opening = True

    @shop.app.before_request
    async def slow() -> None:
        nonlocal running, most
        if not opening:
            running += 1
            most = max(most, running)
            try:
                await trio.sleep(5)
            finally:
                running -= 1

    async with serve(shop.app) as server:
        clients = [server.sse(EVENTS, headers=ANN) for _ in range(3 * RECHECKS_AT_ONCE)]
        for client in clients:
            await client.__aenter__()
        opening = False
        await trio.sleep(3 * RECHECK)
        assert most == RECHECKS_AT_ONCE
        for client in clients:
            await client.__aexit__(None, None, None)


@pytest.mark.parametrize("seconds", [0, 0.5, -1, float("nan"), float("inf"), True, "30"])
def test_a_time_that_cannot_be_is_refused_at_the_start(seconds: Any) -> None:
    live = Triolet(QuartTrio("orders"))
    with pytest.raises(ConfigError, match="recheck="):
        live.channel("/orders", recheck=seconds)


DECISIONS = st.lists(st.tuples(st.integers(1, 25), st.sampled_from(["7", "7", 403, "8", 500])), min_size=1, max_size=8)


@given(DECISIONS, st.booleans(), st.integers(0, 1_000))
@settings(max_examples=60)
def test_a_connections_decision_is_the_views_within_its_time(
    decisions: list[tuple[int, Any]], followed: bool, seed: int
) -> None:
    play(seed, _decide_over_time, decisions, followed)


async def _decide_over_time(decisions: list[tuple[int, Any]], followed: bool) -> None:
    shop = Shop()
    spans: list[tuple[float, float, Any]] = []
    ended: float | None = None
    async with serve(shop.app) as server:
        client = server.websocket("/live" if followed else EVENTS, headers=ANN)
        async with client:
            if followed:
                await client.follow(EVENTS)
            await client.until("live")

            async def watch() -> None:
                nonlocal ended
                await client.until("refused" if followed else "bye", within=10_000)
                ended = trio.current_time()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch)
                for seconds, says in decisions:
                    shop.says = says
                    begins = trio.current_time()
                    await trio.sleep(seconds)
                    spans.append((begins, trio.current_time(), says))
                nursery.cancel_scope.cancel()
    for begins, ends, says in _joined(spans):
        if ended is not None and ended < begins:
            break
        if says:  # a no; it was there when this began
            assert ends - begins <= RECHECK or (ended is not None and ended - begins <= RECHECK)
    if ended is not None:
        assert any(says in (403, "8") and begins <= ended <= ends for begins, ends, says in spans)


def _joined(spans: list[tuple[float, float, Any]]) -> list[tuple[float, float, bool]]:
    """Spans of a no, whichever it is, and of the rest."""
    joined: list[tuple[float, float, bool]] = []
    for begins, ends, says in spans:
        is_no = says in (403, "8")
        if joined and joined[-1][2] is is_no:
            begins = joined.pop()[0]
        joined.append((begins, ends, is_no))
    return joined


def test_the_part_of_its_time_leaves_room() -> None:
    assert 0.5 < RECHECK_PART < 1
