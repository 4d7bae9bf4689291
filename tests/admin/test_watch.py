"""The stream of figures, and the page's files: in memory."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from tests.shop import ORDER, ORDERS, make_shop
from triolet import Limits
from triolet.admin.bounds import ADMIN_IDLE_LOOK_SECONDS, ADMIN_LATE_SECONDS, ADMIN_PAGES
from triolet.admin.contract import Answer, Hear, Question, nothing
from triolet.admin.listener import Office
from triolet.bounds import ADMIN_SECONDS, TAIL_EVENTS
from triolet.testing.server import serve

from .asking import KEY, ask, get, office, raw
from .test_figures import QUIET, said

REQUEST = b"GET /figures?snapshot=1&format=triolet HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"


class Workers:
    """Workers that say what the test says; one of whom nothing is said answers never."""

    ready = True
    figures: Mapping[str, float] | None = None

    def __init__(self, *samples: Any) -> None:
        self.samples = samples
        self.asked = 0

    async def ask_one(self, question: Question) -> Answer:
        raise AssertionError("not asked here")

    async def ask_all(self, question: Question, hear: Hear = nothing) -> Mapping[int, Answer | None]:
        self.asked += 1
        for number, sample in enumerate(self.samples):
            hear(number, None)
            if sample is not None:
                hear(number, sample if isinstance(sample, Answer) else Answer(200, msgspec.json.encode(sample)))
        if None in self.samples:
            await trio.sleep(2)
        return {}


class Page:
    """A client of the stream, as a program reads it."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._text = ""

    async def hear(self) -> tuple[str, Any]:
        """The next block: its name, its data."""
        while (found := re.search(r"event: (\S+)\ndata: (.*)\n(?:time: \d+\n)?\n", self._text)) is None:
            more = await self._stream.receive_some()
            assert more, self._text
            self._text += more.decode()
        self._text = self._text[found.end() :]
        return found[1], json.loads(found[2])

    async def begin(self) -> Any:
        """Read all that stands before the first second's figures: the state."""
        assert (await self.hear())[0] == "triolet.open"
        name, state = await self.hear()
        assert (name, (await self.hear())[0]) == ("triolet.snapshot", "triolet.live")
        return state["data"]


@asynccontextmanager
async def watched(asked: Office) -> AsyncIterator[Any]:
    """Run a listener's watch. Gives a function that opens one more page."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(asked.watch.run)

        async def open_page(hook: Any = None) -> Page:
            client, server = memory_stream_pair()
            if hook is not None:
                pump: Any = server.send_stream.send_all_hook

                async def hooked() -> None:
                    await hook()
                    await pump()

                server.send_stream.send_all_hook = hooked
            nursery.start_soon(asked.serve, server)
            await client.send_all(REQUEST)
            return Page(client)

        yield open_page
        nursery.cancel_scope.cancel()


async def test_a_page_is_told_the_hour_and_then_each_second(autojump_clock: MockClock) -> None:
    workers = Workers(said(open={"sse": 3}))
    async with watched(office(workers)) as open_page:
        await trio.sleep(35)
        page = await open_page()
        name, opened = await page.hear()
        assert (name, opened["channel"], opened["cursor"], opened["filtered"]) == (
            "triolet.open",
            "figures",
            None,
            True,
        )
        name, state = await page.hear()
        assert name == "triolet.snapshot"
        assert [point[1] for point in state["data"]["points"]] == [3, 3, 3, 3]
        assert state["data"]["now"]["open"]["sse"] == 3
        name, live = await page.hear()
        assert (name, live["cursor"]) == ("triolet.live", state["cursor"])
        before = trio.current_time()
        times = [(await page.hear())[1]["time"] for _ in range(5)]
        assert trio.current_time() - before == pytest.approx(5)
        assert len(set(times)) == 5


async def test_while_no_page_is_open_workers_are_asked_once_in_ten_seconds(autojump_clock: MockClock) -> None:
    workers = Workers(QUIET)
    async with watched(office(workers)):
        await trio.sleep(10 * ADMIN_IDLE_LOOK_SECONDS - 1)
    assert workers.asked == 10


async def test_twenty_pages_cost_as_much_as_one_and_one_more_than_there_may_be_is_told_so(
    autojump_clock: MockClock,
) -> None:
    workers = Workers(QUIET)
    asked = office(workers)
    async with watched(asked) as open_page:
        pages = [await open_page() for _ in range(ADMIN_PAGES)]
        for page in pages:
            await page.begin()
        before = workers.asked
        for _ in range(10):
            told = [await page.hear() for page in pages]
            assert all(one == told[0] for one in told)
        assert workers.asked - before == 10
        told_no = await get(asked, "/figures")
        assert (told_no.status, told_no.json["error"], told_no.headers["retry-after"]) == (503, "pages", "1")


async def test_pages_are_shown_a_server_that_is_at_its_memory_ceiling(autojump_clock: MockClock) -> None:
    app, _ = make_shop(Limits(memory_bytes=32 << 20))
    async with serve(app) as server, server.events(ORDERS) as stream:
        await stream.own("live")
        asked, budget = office(server.worker), server.worker.budget
        room = budget.ceiling - budget.held
        budget.hold(room)
        async with watched(asked) as open_page:
            pages = [await open_page() for _ in range(20)]
            for page in pages:
                now = (await page.begin())["now"]
                assert now["notices"][0]["text"] == "Worker 0 holds 100% of its memory ceiling: nobody new is let in."
            for page in pages:
                assert (await page.hear())[1]["open"] == {"websocket": 0, "sse": 1}
            assert budget.held == budget.ceiling
        budget.hold(-room)


async def test_a_slow_page_skips_and_after_a_while_begins_anew(autojump_clock: MockClock) -> None:
    workers = Workers(QUIET)
    pauses = iter([0, 0, 5, 25])

    async def slowly() -> None:
        await trio.sleep(next(pauses, 0))

    async with watched(office(workers)) as open_page:
        page = await open_page(slowly)
        first = (await page.begin())["now"]["time"]
        name, next_one = await page.hear()  # it took the page five seconds to take the state
        assert (name, next_one["time"] - first >= 4_000) == ("figures", True)
        assert (await page.hear())[0] == "triolet.snapshot"  # and 25 for this: it has missed points of the hour


async def test_a_page_that_takes_nothing_is_cut_off_in_time(autojump_clock: MockClock) -> None:
    asked = office(Workers(QUIET))
    async with watched(asked) as open_page:
        await open_page(trio.sleep_forever)
        await trio.sleep(1)
        head_is_written_without_end = asked.watch.pages == 0
        assert head_is_written_without_end
        calls = iter([None])

        async def stuck() -> None:
            if next(calls, stuck) is stuck:
                await trio.sleep_forever()

        await open_page(stuck)
        await trio.sleep(1)
        assert asked.watch.pages == 1
        await trio.sleep(ADMIN_SECONDS)
        assert asked.watch.pages == 0


async def test_a_worker_that_does_not_answer_holds_no_other_up(autojump_clock: MockClock) -> None:
    workers = Workers(QUIET, said(process=2))
    async with watched(office(workers)) as open_page:
        page = await open_page()
        await page.begin()
        workers.samples = (QUIET, None)
        before = trio.current_time()
        _, told = await page.hear()
        assert [one["silent"] for one in told["workers"]] == [None, pytest.approx(1 + ADMIN_LATE_SECONDS)]
        assert trio.current_time() - before <= 1 + ADMIN_LATE_SECONDS
        for _ in range(5):
            _, told = await page.hear()
        assert told["workers"][1]["silent"] > 5
        assert told["notices"][0]["key"] == "silent 1"
        workers.samples = (QUIET, said(process=2))
        for _ in range(2):
            _, told = await page.hear()
        assert told["notices"] == []


async def test_a_look_that_fails_is_followed_by_another(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    workers = Workers(Answer(200, b"[]"))
    async with watched(office(workers)) as open_page:
        page = await open_page()
        await page.begin()
        workers.samples = (said(open={"sse": 2}),)
        while (await page.hear())[1]["open"]["sse"] != 2:
            pass
    assert "crashed: ValidationError" in caplog.text
    caplog.clear()


async def test_a_process_says_all_of_itself(autojump_clock: MockClock) -> None:
    app, live = make_shop()
    async with serve(app) as server, server.sse(ORDERS) as good, server.events(ORDERS) as slow:
        await good.until("live")
        await slow.own("live")
        async with watched(office(server.worker)) as open_page:
            page = await open_page()
            await page.begin()
            await live.publish(ORDER, "a small one")
            await page.hear()
            await live.publish_many(ORDER, ["x" * 100_000] * 20)
            await trio.sleep(2)
            while not (now := (await page.hear())[1])["furthest"]:
                pass
    assert (now["log"], now["away"], now["serving"], now["behind"], now["stalled"]) == ("memory", False, 1, 1, 1)
    assert now["lag"] == {"events": 0, "seconds": 0, "waiting": 0, "room": TAIL_EVENTS}
    assert now["channels"][0]["name"] == ORDER
    assert now["channels"][0]["followers"] == 2
    assert now["furthest"][0]["channels"][0]["events_behind"] > 0
    assert now["rates"]["published"] > 0
    assert now["written"]["most"] is not None


# --- the page's files


async def test_the_page_is_there_for_everybody_and_its_figures_for_who_has_the_key(autojump_clock: MockClock) -> None:
    asked = office(Workers(QUIET), KEY)
    for path, kind in [("/", "text/html"), ("/page/page.js", "text/javascript"), ("/page/page.css", "text/css")]:
        told = await get(asked, path, sec_fetch_site="cross-site")
        assert (told.status, told.headers["content-type"].partition(";")[0]) == (200, kind)
    assert (await get(asked, "/triolet/triolet.js")).body.startswith(b"/**\n * Triolet in a page")
    assert (await get(asked, "/figures")).status == 401
    assert (await get(office(Workers(QUIET)), "/figures", sec_fetch_site="cross-site")).status == 403


async def test_the_page_may_do_what_it_needs_and_nothing_else(autojump_clock: MockClock) -> None:
    told = await get(office(Workers()), "/")
    policies = [line for line in told.headers if line == "content-security-policy"]
    assert len(policies) == 1
    assert "default-src 'none'; script-src 'self'; style-src 'self';" in told.headers["content-security-policy"]
    assert b"<script>" not in told.body
    assert b" style=" not in told.body
    assert b"http:" not in told.body.replace(b"http://www.w3.org", b"").replace(b"'http:", b"")
    assert b"https:" not in told.body


@pytest.mark.parametrize(
    "path", ["/page/absent.js", "/page/..%2Fassets.py", "/page/assets.py", "/triolet/package.json", "/triolet/..%2f"]
)
async def test_only_the_pages_own_files_are_given(path: str, autojump_clock: MockClock) -> None:
    told = await get(office(Workers()), path)
    assert (told.status, told.json["error"]) == (404, "path")


async def test_who_asks_for_the_head_of_the_stream_gets_that(autojump_clock: MockClock) -> None:
    asked = office(Workers(QUIET))
    told = await ask(asked, "HEAD", "/figures")
    assert (told.status, told.headers["content-type"], told.body) == (200, "text/event-stream; charset=utf-8", b"")
    assert told.headers["x-accel-buffering"] == "no"
    assert (await raw(asked, REQUEST.replace(b"format", b"colour"))).startswith(b"HTTP/1.1 400")
