"""Polls: a page, where to go on, and when to ask again."""

from __future__ import annotations

import json
import random
from collections.abc import Awaitable, Callable, Sequence

import pytest
import trio
from quart import request
from trio.testing import MockClock

from tests.shop import ORDER, ORDERS, make_shop
from triolet import Cursor, Draft, Limits, LogBusy
from triolet.bounds import DRAINED_POLL_SECONDS
from triolet.budget import Budget
from triolet.clock import wall_time
from triolet.connection import Context
from triolet.hub import Hub, Park, Polled, Subscription
from triolet.log import MemoryLog, Page
from triolet.testing.server import Answer, serve
from triolet.transports.negotiate import Ask, TransportKind, Wish
from triolet.transports.polling import poll


async def test_a_short_poll_answers_at_once_with_where_to_go_on(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(poll_seconds=2))
    async with serve(app) as server:
        body = (await server.get(ORDERS)).json
        assert (body["channel"], body["events"], body["gap"], body["live"], body["retry"]) == (
            ORDER,
            [],
            None,
            True,
            2_000,
        )
        await live.publish(ORDER, {"state": "paid"}, name="order-status", key="A123")
        (event,) = (await server.get(f"{ORDERS}?after={body['cursor']}")).json["events"]
        assert (event["event"], event["data"], event["key"]) == ("order-status", {"state": "paid"}, "A123")
        assert trio.current_time() == 0


async def test_only_who_asks_is_told_in_which_version_of_http_it_came(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        assert "triolet-probe" not in (await server.get(ORDERS)).headers
        for query in ("triolet-probe=", "triolet-probe=x&wait=1"):
            assert (await server.get(f"{ORDERS}?{query}")).headers["triolet-probe"] == "1.1"
        told = await server.get(f"{ORDERS}?triolet-probe=&after=0")
        tag = {"if-none-match": told.headers["etag"]}
        again = await server.request("GET", f"{ORDERS}?triolet-probe=&after=0", tag)
        assert (again.status, again.headers["triolet-probe"]) == (304, "1.1")


async def test_polls_one_after_the_other_miss_nothing_between_them(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        cursor = (await server.get(ORDERS)).json["cursor"]
        for n in range(5):
            await live.publish_many(ORDER, [n] * n)
            body = (await server.get(f"{ORDERS}?after={cursor}&wait=1")).json
            assert [event["data"] for event in body["events"]] == [n] * n
            cursor = body["cursor"]


async def test_a_poll_is_bounded_and_says_that_there_is_more(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(page_events=3))
    async with serve(app) as server:
        await live.publish_many(ORDER, list(range(7)))
        found, cursor, pages = [], "0", []
        for _ in range(3):
            body = (await server.get(f"{ORDERS}?after={cursor}")).json
            found += [event["data"] for event in body["events"]]
            cursor = body["cursor"]
            pages.append((body["live"], body["retry"]))
        assert found == list(range(7))
        assert pages == [(False, 0), (False, 0), (True, 2_000)]


async def test_a_poll_of_one_event_that_is_over_the_bound_gets_it(autojump_clock: MockClock) -> None:
    app, live = make_shop(Limits(page_bytes=100))
    async with serve(app) as server:
        await live.publish_many(ORDER, ["x" * 1_000] * 2)
        assert len((await server.get(f"{ORDERS}?after=0")).json["events"]) == 1


async def test_a_poll_with_the_tag_of_the_last_is_answered_304_until_something_is_new(
    autojump_clock: MockClock,
) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        await live.publish(ORDER, 1)
        first = await server.get(f"{ORDERS}?after=0")
        tag = first.headers["etag"]
        for _ in range(2):
            again = await server.get(f"{ORDERS}?after=0", if_none_match=f'W/"other", {tag}')
            assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
        await live.publish(ORDER, 2)
        new = await server.get(f"{ORDERS}?after=0", if_none_match=tag)
        assert (new.status, len(new.json["events"])) == (200, 2)
        assert new.headers["etag"] != tag


async def test_polls_from_different_places_have_different_tags(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        await live.publish_many(ORDER, [1, 2])
        tags = {
            (await server.get(f"{ORDERS}{query}")).headers["etag"] for query in ("", "?after=0", "?after=1", "?after=2")
        }
        assert len(tags) == 4


@pytest.mark.parametrize("query", ["", "?after=0", "?after=-2", "?after=0&fold=1"])
async def test_the_tag_of_one_clients_channel_is_not_that_of_anothers_at_the_same_url(
    query: str, autojump_clock: MockClock
) -> None:
    app, live = make_shop()

    @live.channel("/mine")
    async def mine() -> str:
        return f"users/{request.headers['authorization'].removeprefix('Bearer ')}"

    async with serve(app) as server:
        for user in ("ann", "bob"):
            await live.publish_many(f"users/{user}", [user, user])
        first = await server.get(f"/mine{query}", authorization="Bearer ann")
        other = await server.get(f"/mine{query}", authorization="Bearer bob", if_none_match=first.headers["etag"])
        assert (other.status, other.json["channel"]) == (200, "users/bob")


async def test_a_poll_is_kept_by_no_cache(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        answer = await server.get(ORDERS)
        assert answer.headers["cache-control"] in ("no-cache", "no-store")
        assert "accept" in answer.headers["vary"]
        assert answer.headers["content-type"] == "application/json"
        assert "server" not in answer.headers


async def test_a_long_poll_is_answered_with_nothing_when_its_time_is_over(autojump_clock: MockClock) -> None:
    app, _ = make_shop()
    async with serve(app) as server:
        body = (await server.get(f"{ORDERS}?wait=7")).json
        assert (body["events"], body["live"], body["retry"]) == ([], True, 0)
        assert trio.current_time() == pytest.approx(7)


async def test_a_long_poll_is_answered_at_once_where_something_waits(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        await live.publish(ORDER, 1)
        assert (await server.get(f"{ORDERS}?after=0&wait=20")).json["events"][0]["data"] == 1
        assert trio.current_time() == 0


async def test_a_thousand_long_polls_are_answered_by_one_event(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    answers: list[Answer] = []

    async def ask(get: Callable[[str], Awaitable[Answer]]) -> None:
        answers.append(await get(f"{ORDERS}?after=0&wait=20"))

    async with serve(app) as server:
        async with trio.open_nursery() as nursery:
            for _ in range(300):
                nursery.start_soon(ask, server.get)
            await trio.sleep(5)
            assert server.followers == 300
            await live.publish(ORDER, 1)
        assert all(answer.json["events"][0]["data"] == 1 for answer in answers)
        assert trio.current_time() == pytest.approx(5)


async def test_a_client_that_leaves_its_long_poll_leaves_nothing(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server:
        waiting = live.service.context.long_polls
        stream = server.connect()
        await stream.send_all(f"GET {ORDERS}?wait=20 HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        await trio.sleep(1)
        assert (server.connections, server.followers, len(waiting)) == (1, 1, 1)
        stream.reset()
        await trio.sleep(3)
        assert (server.connections, server.followers, len(waiting)) == (0, 0, 0)


async def test_a_draining_server_answers_its_long_polls_and_spreads_their_return(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    retries = []
    async with serve(app) as server, trio.open_nursery() as nursery:
        await live.publish(ORDER, 1)

        async def ask() -> None:
            body = (await server.get(f"{ORDERS}?wait=20")).json
            retries.append(body["retry"])
            assert body["cursor"].endswith(".1")

        for _ in range(20):
            nursery.start_soon(ask)
        await trio.sleep(1)
        server.stop.set()
        await server.ended.wait()
        assert 1 < trio.current_time() < 1.1 + DRAINED_POLL_SECONDS
    assert all(0 <= retry <= 5_000 for retry in retries)
    assert len(set(retries)) > 10


@pytest.mark.parametrize("query", ["?after=0", "?after=0&wait=5"])
async def test_a_log_that_cannot_be_read_is_answered_503(query: str, autojump_clock: MockClock) -> None:
    class FailingLog(MemoryLog):
        async def read(self, *args: object, **options: object) -> Page:
            raise LogBusy("locked")

    limits = Limits(window_events=1)
    app, live = make_shop(limits, log=FailingLog(limits))
    async with serve(app) as server:
        await live.publish_many(ORDER, [1, 2, 3])
        answer = await server.get(ORDERS + query)
        assert (answer.status, answer.json["error"]) == (503, "log")
        assert "locked" not in answer.body.decode()
        assert server.worker.crashes == 0


async def test_a_long_poll_whose_log_fails_while_it_waits_is_answered_503(autojump_clock: MockClock) -> None:
    class FailingLog(MemoryLog):
        failing = False

        async def read(self, *args: object, **options: object) -> Page:
            if self.failing:
                raise LogBusy("locked")
            return await super().read(*args, **options)  # type: ignore[arg-type]  # passed on

    limits = Limits(window_events=1)
    log = FailingLog(limits)
    app, live = make_shop(limits, log=log)
    answers: list[Answer] = []
    async with serve(app) as server:
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                answers.append(await server.get(f"{ORDERS}?wait=20"))

            nursery.start_soon(ask)
            await trio.sleep(1)
            log.failing = True
            await live.publish_many(ORDER, [1, 2, 3])
        assert answers[0].status == 503


async def test_a_poll_that_a_draining_server_answers_is_given_what_came_at_that_moment(
    autojump_clock: MockClock,
) -> None:
    asked: list[Cursor | None] = []

    class LateHub(Hub):
        """An event comes just when the poll is given up."""

        async def pages(
            self, subscriptions: Sequence[Subscription], wait_seconds: float = 0, park: Park = trio.sleep_forever
        ) -> list[Polled]:
            if wait_seconds:
                await trio.sleep_forever()
            asked.extend([one.after for one in subscriptions])
            return await super().pages(subscriptions)

    async with MemoryLog(epoch="E").open() as log:
        hub, draining = LateHub(log, Limits(), Budget(1 << 30)), trio.Event()
        context = Context(hub, Limits(), Budget(1 << 30), draining, random.Random(0), wall_time)
        await log.append(ORDER, [Draft.of(1), Draft.of(2)])
        draining.set()
        ask = Ask(TransportKind.LONG_POLL, Wish(Cursor("E", 1)), 20)
        body = json.loads((await poll(context, Subscription(ORDER, Cursor("E", 1)), ask, None)).body)
    assert asked == [Cursor("E", 1)]
    assert [event["id"] for event in body["events"]] == ["E.2"]
