"""``connect()`` in a real browser: tabs that come to grief, reloads at any moment, and pages that freeze and wake."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from threading import Event, Thread
from typing import Any

import pytest

from .browser import Browser, Page, open_browser
from .needs import needs
from .ports import free_port
from .screen.joining import channel_of, join
from .server import Server, serving, wait_for
from .test_metrics import scrape

pytestmark = needs("chromium")

LOGGER = logging.getLogger(__name__)

BEAT_SECONDS = 30
"""So that nothing of what a test waits for is brought by a beat."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def operators_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, operators_port: int) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("connect")
    arguments = ["--metrics", str(operators_port)]
    with serving(folder, arguments=arguments, limits={"beat_seconds": BEAT_SECONDS}) as server:
        yield server
        assert not server.crashes()


@pytest.fixture
def channel(request: pytest.FixtureRequest) -> str:
    return channel_of(request)


# --- tabs


@pytest.mark.parametrize("options", [{"socket": "/talk"}, {"transports": ["sse"]}])
def test_six_tabs_have_one_connection_whoever_of_them_closes_crashes_or_freezes(
    browser: Browser, server: Server, operators_port: int, channel: str, options: dict[str, Any]
) -> None:
    """With six streams of its own a browser would have none left for the server over HTTP/1.1."""
    ids = server.publish_many(channel, list(range(1, 7)))
    published = count(7)
    with ExitStack() as stack:
        closed = stack.enter_context(ExitStack())
        tabs = [closed.enter_context(browser.page(f"{server.url}/"))]
        tabs += [stack.enter_context(browser.page(f"{server.url}/")) for _ in range(5)]
        for tab, after in zip(tabs, ["0", *ids], strict=False):  # each from a place of its own
            join(tab, channel, (after,), share=channel, **options)

        def one_has_it_and_all_hear(alive: list[Page]) -> None:
            number = next(published)
            server.publish(channel, number)
            for tab in alive:
                tab.wait(f"heard[0].includes({number})")
                assert tab.evaluate("heard[0]") == list(range(tabs.index(tab) + 1, number + 1))
            assert [tab.evaluate("client.isLeader") for tab in alive] == [True] + [False] * (len(alive) - 1)
            wait_for(lambda: open_connections(operators_port) == 1, "one connection")

        one_has_it_and_all_hear(tabs)
        closed.close()
        one_has_it_and_all_hear(tabs[1:])
        tabs[1].crash()
        one_has_it_and_all_hear(tabs[2:])
        tabs[2].freeze(True)
        one_has_it_and_all_hear(tabs[3:])
        tabs[2].freeze(False)
        one_has_it_and_all_hear([*tabs[3:], tabs[2]])


def test_of_a_tab_that_hangs_the_others_take_the_lead_and_it_hears_all_when_it_goes_on(
    browser: Browser, server: Server, channel: str
) -> None:
    with ExitStack() as stack:
        tabs = [stack.enter_context(browser.page(f"{server.url}/")) for _ in range(3)]
        for tab in tabs:
            join(tab, channel, ("0",), share=channel, socket="/talk", silence=4_000)
        server.publish(channel, 1)
        for tab in tabs:
            tab.wait("heard[0].includes(1)")
        assert [tab.evaluate("client.isLeader") for tab in tabs] == [True, False, False]
        tabs[0].call("Debugger.enable")
        tabs[0].evaluate("void setTimeout(() => { debugger; })")  # as a loop does, but for what that costs
        wait_for(lambda: any(tab.evaluate("client.isLeader") for tab in tabs[1:]), "another leads")
        server.publish(channel, 2)
        for tab in tabs[1:]:
            tab.wait("heard[0].includes(2)")
        tabs[0].call("Debugger.resume")
        tabs[0].wait("heard[0].includes(2)")
        wait_for(lambda: sum(tab.evaluate("client.isLeader") for tab in tabs) == 1, "one leads")
        assert not tabs[0].evaluate("client.isLeader")
        server.publish(channel, 3)
        for tab in tabs:
            tab.wait("heard[0].includes(3)")
            assert tab.evaluate("heard[0]") == [1, 2, 3]


def open_connections(operators_port: int) -> float:
    return sum(value for (name, _), value in scrape(operators_port).items() if name == "triolet_connections_open")


# --- reloads


@pytest.mark.parametrize("store", ["session", "indexeddb"])
@pytest.mark.parametrize("commit", ["before", "after"])
def test_reloads_amid_a_flow_of_events_keep_the_word_of_the_order(
    browser: Browser, server: Server, channel: str, store: str, commit: str
) -> None:
    """What a page has taken it notes where it outlives the page. A store that answers at once keeps both words."""
    taken = f"JSON.parse(localStorage.getItem('{channel}') ?? '[]')"
    over = Event()
    numbers = count(1)

    def publish() -> None:
        while not over.wait(0.01):
            server.publish(channel, next(numbers))

    publisher = Thread(target=publish)
    with browser.page(f"{server.url}/") as page:
        page.evaluate(f"localStorage.removeItem('{channel}')")
        publisher.start()
        try:
            for _ in range(4):
                page.reload()
                before = page.evaluate(f"{taken}.length")
                page.evaluate(FLOW.format(channel=channel, store=store, commit=commit, taken=taken))
                page.wait(f"{taken}.length > {before} + 10")
        finally:
            over.set()
            publisher.join()
        server.publish(channel, last := next(numbers))
        page.wait(f"{taken}.includes({last})")
        found = page.evaluate(taken)
    every = list(range(1, last + 1))
    if commit == "after":
        assert sorted(set(found)) == every, "none is lost"
    else:
        assert found == sorted(set(found)), "none comes twice"
    if store == "session":
        assert found == every


FLOW = """(async () => {{
    const {{connect}} = await import("/triolet/triolet.js");
    globalThis.client = connect("/", {{store: "{store}", commit: "{commit}", transports: ["sse"]}});
    const note = ({{data}}) => localStorage.setItem("{channel}", JSON.stringify([...{taken}, data]));
    client.follow("c/{channel}/events", {{after: "0"}}).on("event", note);
}})()"""


def test_a_cursor_that_is_kept_before_is_kept_for_good_when_the_page_has_the_event(
    browser: Browser, server: Server, channel: str
) -> None:
    with browser.page(f"{server.url}/") as page:
        page.evaluate(
            """(() => {
                globalThis.order = [];
                const {put} = IDBObjectStore.prototype;
                IDBObjectStore.prototype.put = function (value, key) {
                    this.transaction.addEventListener("complete", () => order.push(`kept ${value}`));
                    return put.call(this, value, key);
                };
            })()"""
        )
        join(page, channel, store="indexeddb", commit="before")
        page.evaluate("(follows[0].on('event', ({id}) => order.push(`taken ${id}`)), 0)")
        cursor = server.publish(channel, 1)
        page.wait(f"order.includes('taken {cursor}')")
        assert page.evaluate("order.slice(-2)") == [f"kept {cursor} c/{channel}", f"taken {cursor}"]


# --- pages that are put away


AWAKE = """(() => {
    globalThis.isTheSame = true;
    states.length = 0;
    addEventListener("pageshow", ({persisted}) => Object.assign(globalThis, {persisted, woken: performance.now()}));
    document.addEventListener("resume", () => (globalThis.woken = performance.now()));
    follows[0].on("event", () => (globalThis.there = performance.now()));
})()"""


def has_woken(page: Page) -> None:
    """The first try after it woke has brought what it missed: no beat, and no other try. How soon it logs."""
    page.wait("heard[0].includes(1) && client.state === 'live'")
    assert page.evaluate("[globalThis.isTheSame, heard[0]]") == [True, [1]]
    states = page.evaluate("states")
    assert (states[0], states.count("connecting"), states[-1]) == ("connecting", 1, "live")
    LOGGER.info("there %d ms after it woke", page.evaluate("Math.round(there - woken)"))


@pytest.mark.parametrize("options", [{}, {"transports": ["long-poll"]}, {"share": True}])
def test_a_frozen_page_lets_go_and_is_there_when_it_wakes(
    browser: Browser,
    server: Server,
    channel: str,
    options: dict[str, Any],
) -> None:
    with browser.page(f"{server.url}/") as page:
        join(page, channel, **options)
        page.evaluate(AWAKE)
        page.freeze(True)
        server.publish(channel, 1)
        page.freeze(False)
        has_woken(page)


@pytest.mark.parametrize(
    "options", [{}, {"socket": "/talk"}, {"transports": ["sse"]}, {"share": True, "store": "indexeddb"}]
)
def test_a_page_that_is_left_is_kept_and_is_there_when_somebody_comes_back(
    browser: Browser,
    server: Server,
    channel: str,
    options: dict[str, Any],
) -> None:
    with browser.page(f"{server.url}/") as page:
        join(page, channel, **options)
        page.evaluate(AWAKE)
        page.visit(f"{server.url}/hits/1")
        server.publish(channel, 1)
        page.back()
        reasons = page.evaluate("performance.getEntriesByType('navigation')[0].notRestoredReasons")
        assert page.evaluate("globalThis.persisted"), reasons
        has_woken(page)


def test_a_network_that_is_away_is_come_back_from_at_once_and_commands_wait_for_it(
    browser: Browser, server: Server, channel: str
) -> None:
    with browser.page(f"{server.url}/") as page:
        join(page, channel, transports=["sse"])
        page.offline(True)
        page.evaluate(f"globalThis.sent = client.send('/c/{channel}', {{data: 7, dedupe: 'once'}}), 0")
        page.wait("client.unanswered === 1")
        page.offline(False)
        page.wait("heard[0].includes(7)")
        assert page.evaluate("sent.then(({status}) => status)") == 200
        page.complaints.clear()  # of the browser, about the network
